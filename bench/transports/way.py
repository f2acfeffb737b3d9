"""How to get to a host, and what runs there: the same for each library."""

from __future__ import annotations

import base64
import secrets
import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from provisioner.transport import Target
from provisioner.transport.shell import opening

PATIENCE = 60.0


class WrongKey(Exception):  # noqa: N818 - it is what is wrong
    """A host showed another key than the one on file."""


@dataclass(frozen=True)
class Way:
    """One host, as the benchmark's fleet has it; `control` is a folder for the sockets of OpenSSH's masters."""

    name: str
    address: str
    port: int
    user: str
    key: str
    known_hosts: str
    host_key: tuple[str, str]
    control: str

    @cached_property
    def target(self) -> Target:
        """Return the host as ours is told of it; nothing of the user's own ssh_config counts."""
        return Target(
            name=self.name,
            address=self.address,
            port=self.port,
            user=self.user,
            key_files=(Path(self.key),),
            known_hosts=(Path(self.known_hosts),),
            ssh_config=Path("/dev/null"),
            connect_timeout=PATIENCE,
        )

    @property
    def command(self) -> str:
        """Return what starts the shell and has it say who it is, for which ours needs no other shell."""
        return f"exec /bin/sh -c {shlex.quote(f'{opening(secrets.token_hex(8), become=False).strip()}; exec /bin/sh')}"

    def check(self, blob: bytes) -> None:
        """Refuse any other key than the one on file."""
        if blob != base64.b64decode(self.host_key[1]):
            raise WrongKey(self.name)


class Session(Protocol):
    """What a library has to offer."""

    target: Target

    def open(self) -> None:
        """Connect, log in, and start the shell."""

    def send(self, data: bytes) -> None:
        """Write to the shell."""

    def receive(self, timeout: float) -> bytes:
        """Return what it says next."""

    def close(self) -> None:
        """Hang up."""
