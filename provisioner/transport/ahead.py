"""Dials a device before the SSH library is there: sshd gets ready while that is imported, and tasks are compiled."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from provisioner import __version__
from provisioner.records import dataclass
from provisioner.transport import sshconfig
from provisioner.transport.network import dial

if TYPE_CHECKING:
    import socket

    from provisioner.transport.target import Target

SSH_PORT = 22
SOFTWARE = "provision_" + re.sub(r"[^!-,.-~]", "_", __version__)
"""What a server is told that it talks to; RFC 4253 has it without blanks and hyphens."""

GREETING = f"SSH-2.0-{SOFTWARE}\r\n".encode()


@dataclass
class Dialled:
    """A connection to a device that has been greeted, and no more."""

    host: str
    port: int
    sock: socket.socket

    def close(self) -> None:
        """Hang up."""
        self.sock.close()


def dial_ahead(target: Target) -> Dialled | None:
    """Dial and greet a device; None where ssh_config may lead elsewhere, which only the SSH library can tell.

    Raises Unreachable.
    """
    if target.proxy_jump or sshconfig.may_lead_elsewhere(target.ssh_config):
        return None
    port = target.port or SSH_PORT
    sock = dial(target.address, port, target.connect_timeout)
    with suppress(OSError):  # whoever reads from it next learns of that, and tells it better
        sock.sendall(GREETING)
    return Dialled(target.address, port, sock)
