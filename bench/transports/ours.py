"""The program's own: fabric and paramiko, as `provision apply` uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.transport import SshSession

if TYPE_CHECKING:
    from bench.transports.way import Way


def session(way: Way) -> SshSession:
    """Return a session of the program's own."""
    return SshSession(way.target)
