"""ssh2-python: libssh2, in C, one thread for each connection."""

from __future__ import annotations

import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from ssh2.session import LIBSSH2_METHOD_HOSTKEY, Session

from bench.transports.way import PATIENCE

if TYPE_CHECKING:
    from bench.transports.way import Way


@cache
def _key(path: str) -> bytes:
    return Path(path).read_bytes()


class session:  # noqa: N801 - every module has one of this name
    """A blocking session; libssh2 lets go of Python's lock while it waits."""

    def __init__(self, way: Way) -> None:
        self.target = way.target
        self._way = way

    def open(self) -> None:
        """Connect, check the key, log in, and start the shell."""
        way = self._way
        self._sock = socket.create_connection((way.address, way.port), PATIENCE)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock.settimeout(None)
        self._session = Session()
        self._session.set_timeout(int(PATIENCE * 1000))
        self._session.method_pref(LIBSSH2_METHOD_HOSTKEY, way.host_key[0])
        self._session.handshake(self._sock)
        way.check(self._session.hostkey()[0])
        self._session.userauth_publickey_frommemory(way.user, _key(way.key), "", _key(f"{way.key}.pub"))
        self._channel = self._session.open_session()
        self._channel.execute(way.command)

    def send(self, data: bytes) -> None:
        """Write to the shell."""
        self._channel.write(data)

    def receive(self, timeout: float) -> bytes:
        """Return what it says next."""
        self._session.set_timeout(int(timeout * 1000))
        size, data = self._channel.read(1 << 16)
        if size < 0:
            raise TimeoutError(size)
        return bytes(data)

    def close(self) -> None:
        """Hang up."""
        self._session.disconnect()
        self._sock.close()
