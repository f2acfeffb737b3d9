"""OpenSSH with ControlPersist: a process for each session, and a master that stays for each connection."""

from __future__ import annotations

import os
import select
import subprocess
from typing import TYPE_CHECKING

from bench.transports.way import PATIENCE

if TYPE_CHECKING:
    from bench.transports.way import Way


def command(way: Way, *more: str) -> list[str]:
    """Return the command line of ssh, without what runs there."""
    options = {
        "ControlMaster": "auto",
        "ControlPersist": "600",
        "ControlPath": f"{way.control}/%C",
        "UserKnownHostsFile": way.known_hosts,
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "KexAlgorithms": "curve25519-sha256",  # as with the others: sntrup761, its own choice, costs 0.1 s of CPU
        "IdentitiesOnly": "yes",
        "IdentityFile": way.key,
        "BatchMode": "yes",
        "ConnectTimeout": str(int(PATIENCE)),
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return ["ssh", "-F", "none", "-T", *words, "-p", str(way.port), "-l", way.user, *more, way.address]


class session:  # noqa: N801 - every module has one of this name
    """A program whose standard streams are the shell's."""

    def __init__(self, way: Way) -> None:
        self.target = way.target
        self._way = way

    def open(self) -> None:
        """Start ssh, which does the rest."""
        self._process = subprocess.Popen(
            [*command(self._way), self._way.command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )

    def send(self, data: bytes) -> None:
        """Write to the shell."""
        view = memoryview(data)
        while view and self._process.stdin:
            view = view[os.write(self._process.stdin.fileno(), view) :]

    def receive(self, timeout: float) -> bytes:
        """Return what it says next."""
        if self._process.stdout is None:
            raise AssertionError
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        if not poll.poll(timeout * 1000):
            raise TimeoutError
        return os.read(self._process.stdout.fileno(), 1 << 16)

    def close(self) -> None:
        """Hang up; the master stays."""
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.stdout.close()
        self._process.wait()
