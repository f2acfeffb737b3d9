"""Everything that touches the network towards a device: it carries bytes and knows nothing of tasks."""

from __future__ import annotations

from provisioner.transport.hostkeys import KnownHosts, UnknownHostKey, remember
from provisioner.transport.knownhosts import HostKey
from provisioner.transport.ssh import SshSession, warm_up
from provisioner.transport.target import Secret, Target, default_key_files, default_known_hosts
from provisioner.transport.text import clean, gist

__all__ = [
    "HostKey",
    "KnownHosts",
    "Secret",
    "SshSession",
    "Target",
    "UnknownHostKey",
    "clean",
    "default_key_files",
    "default_known_hosts",
    "gist",
    "remember",
    "warm_up",
]
