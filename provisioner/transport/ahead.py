"""Dials a device before the SSH library is there: sshd gets ready while that is imported, and tasks are compiled."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from provisioner import __version__
from provisioner.transport import sshconfig
from provisioner.transport.network import dial

if TYPE_CHECKING:
    import socket

    from provisioner.transport.target import Target

SSH_PORT = 22
IDENTITY = "SSH-2.0-provision_" + re.sub(r"[^!-,.-~]", "_", __version__)
"""What a server is told that it talks to; RFC 4253 has the program's part without blanks and hyphens."""


def dial_ahead(target: Target) -> socket.socket | None:
    """Dial and greet a device; None where ssh_config may lead elsewhere, which only the SSH library can tell.

    Raises Unreachable.
    """
    if target.proxy_jump or sshconfig.may_lead_elsewhere(target.ssh_config):
        return None
    sock = dial(target.address, target.port or SSH_PORT, target.connect_timeout)
    with suppress(OSError):  # whoever reads from it next learns of that, and tells it better
        sock.sendall(f"{IDENTITY}\r\n".encode())
    return sock
