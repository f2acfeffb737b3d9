"""Sockets towards a device: resolved, timed, without Nagle, and with keep-alive."""

from __future__ import annotations

import socket
import time
from typing import IO

from provisioner.errors import Unreachable
from provisioner.transport.text import gist

_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_KEEPALIVE = {"TCP_KEEPIDLE": 15, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 4, "TCP_USER_TIMEOUT": 60_000}


def dial(host: str, port: int, timeout: float, *, family: str = "any") -> socket.socket:
    """Return a connected socket, or raise Unreachable with what went wrong at the last address."""
    deadline = time.monotonic() + timeout
    addresses = _resolve(host, port, family)
    failure: OSError = TimeoutError()
    for index, (kind, address) in enumerate(addresses):
        share = (deadline - time.monotonic()) / (len(addresses) - index)
        try:
            return _connect(kind, address, max(share, 0.1))
        except OSError as error:
            failure = error
    raise unreachable(host, port, failure, timeout) from failure


def _resolve(host: str, port: int, family: str) -> list[tuple[int, tuple[object, ...]]]:
    # As bytes: text goes through the codec for names of other scripts, which takes milliseconds to import.
    name = host.encode() if host.isascii() else host
    try:
        found = socket.getaddrinfo(name, port, _FAMILIES.get(family, socket.AF_UNSPEC), socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise Unreachable(
            f"no address is known for {host}", hint="check ansible_host, or the name in DNS or /etc/hosts"
        ) from error
    return [(kind, address) for kind, _, _, _, address in found]


def _connect(kind: int, address: tuple[object, ...], timeout: float) -> socket.socket:
    sock = socket.socket(kind, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        tune(sock)
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def tune(sock: socket.socket) -> None:
    """Send small packets at once, and notice a peer that is gone."""
    # Without TCP_NODELAY each request waits some 45 ms for a delayed ACK, on loopback too.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def unreachable(host: str, port: int, error: OSError, timeout: float) -> Unreachable:
    """Return the message for a connection that did not come about."""
    place = f"{host} port {port}"
    if isinstance(error, TimeoutError):
        return Unreachable(
            f"no answer from {place} within {timeout:g} s", hint="is the device on, and the address right?"
        )
    if isinstance(error, ConnectionRefusedError):
        return Unreachable(f"{place} refused the connection", hint="is sshd running there? check ansible_port")
    cause = error.strerror or str(error) or type(error).__name__
    return Unreachable(f"no way to {place}: {cause}", hint="check the cable, the VPN and the route")


class Proxy:
    """A ProxyCommand whose standard streams are one socket, so that time-outs and its end are seen.

    paramiko's ProxyCommand spins when the program ends, and never reads its stderr.
    """

    def __init__(self, command: str) -> None:
        import subprocess
        import tempfile

        self.sock, theirs = socket.socketpair()
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the proxy
        with theirs:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=self._errors,
                start_new_session=True,  # Ctrl-C is ours: the device must be told to stop first
            )

    def complaint(self) -> str:
        """Return what the program last wrote to its stderr."""
        self._errors.seek(0)
        return gist(self._errors.read()[-4096:])

    def close(self) -> None:
        """End the program."""
        self.sock.close()
        self._process.terminate()
        self._process.wait()
        self._errors.close()
