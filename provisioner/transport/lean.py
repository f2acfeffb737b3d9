"""Imports paramiko and fabric without what nothing here uses; to be imported before them.

paramiko imports invoke, and fabric all of it: its command line, its tasks, a copy of PyYAML, and unittest.mock, which
brings asyncio and ssl along. paramiko itself reads its own version with an e-mail parser, and has PyNaCl for one kind
of key. That is a third of what a start takes. So while they are imported, others stand in for these modules.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import yaml

from provisioner.lean import Nothing, standing_in
from provisioner.transport.ed25519 import as_nacl

_UNUSED = (
    "unittest.mock",  # for a context that tests of invoke's users have
    "invoke.parser", "invoke.program", "invoke.executor", "invoke.loader",  # invoke's command line,
    "invoke.collection", "invoke.tasks",  # and what it runs
    "tempfile",  # to forward an agent
    "paramiko.sftp_client", "paramiko.sftp_server",  # files travel over the shell
    "fabric.group", "fabric.tasks", "fabric.executor", "fabric.auth",  # runs on groups of hosts, and fabric's own
)  # fmt: skip


class _Metadata(ModuleType):
    """Knows the versions of installed packages, as importlib.metadata does, by the names of their folders."""

    @staticmethod
    def version(package: str) -> str:
        """Return a package's version; PackageNotFoundError where it is not installed in the usual way."""
        for folder in map(Path, sys.path):
            for found in folder.glob(f"{package}-*.dist-info"):
                return found.name.removesuffix(".dist-info").partition("-")[2]
        sys.modules.pop("importlib.metadata", None)
        from importlib import metadata

        return metadata.version(package)


with standing_in(
    {name: Nothing(name) for name in _UNUSED}
    | as_nacl()
    | {"invoke.vendor.yaml": yaml, "importlib.metadata": _Metadata("importlib.metadata")}
):
    import fabric  # noqa: F401
    import paramiko  # noqa: F401
