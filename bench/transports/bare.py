"""paramiko and nothing else: the floor of what is written in it."""

from __future__ import annotations

import socket
from functools import cache
from typing import TYPE_CHECKING

import paramiko

from bench.transports.way import PATIENCE

if TYPE_CHECKING:
    from bench.transports.way import Way


@cache
def _key(path: str) -> paramiko.PKey:
    return paramiko.PKey.from_path(path)


class session:  # noqa: N801 - every module has one of this name
    """A transport and a channel, with paramiko's own choices."""

    def __init__(self, way: Way) -> None:
        self.target = way.target
        self._way = way

    def open(self) -> None:
        """Connect, check the key, log in, and start the shell."""
        way = self._way
        sock = socket.create_connection((way.address, way.port), PATIENCE)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = paramiko.Transport(sock)
        self._transport.banner_timeout = PATIENCE
        self._transport.get_security_options().key_types = (way.host_key[0],)
        self._transport.start_client(timeout=PATIENCE)
        way.check(self._transport.get_remote_server_key().asbytes())
        self._transport.auth_publickey(way.user, _key(way.key))
        self._channel = self._transport.open_session()
        self._channel.exec_command(way.command)

    def send(self, data: bytes) -> None:
        """Write to the shell."""
        self._channel.sendall(data)

    def receive(self, timeout: float) -> bytes:
        """Return what it says next."""
        self._channel.settimeout(timeout)
        return self._channel.recv(1 << 16)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()
