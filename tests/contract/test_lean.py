"""The laws of the lean import of paramiko and fabric: what is left out is missed by nobody."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

LOOK = """
import sys
import provisioner.transport.connect
unused = ("unittest.mock", "asyncio", "email", "invoke.program", "fabric.group")
print(*(name for name in unused if name in sys.modules))
"""
USE = """
import provisioner.transport.connect
import importlib.metadata, invoke.program, fabric, paramiko
config = paramiko.SSHConfig.from_text('Match exec "true"\\n  User found\\nMatch exec "false"\\n  Port 1\\n')
print(config.lookup("device").get("user"), config.lookup("device").get("port"))
print(paramiko.__version__, importlib.metadata.version("fabric"), invoke.program.Program.__name__)
print(fabric.Connection("somebody@device:2222").user)
"""


def printed(program: str) -> list[str]:
    """Return the words that a new Python prints."""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.split()


def test_what_nothing_here_uses_is_not_imported() -> None:
    """Connecting brings neither asyncio nor an e-mail parser, nor the command line of invoke, into a start."""
    assert printed(LOOK) == []


def test_what_was_left_out_can_still_be_had() -> None:
    """ssh_config's Match exec runs its command, versions are true, and the real modules can be imported afterwards."""
    assert printed(USE) == ["found", "None", version("paramiko"), version("fabric"), "Program", "somebody"]
