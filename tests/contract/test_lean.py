"""The laws of the lean imports of libraries: what is left out is missed by nobody."""

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
READ = """
import sys
from provisioner.document import parse
from provisioner.templating import Templar, used_names
parse("a: 1", "text")
print(*used_names("{{ a | default(b) }}"))
print(*(name for name in ("pickle", "tempfile", "bz2") if name in sys.modules))
"""
READ_SLOWLY = """
import re, yaml, provisioner.templating.library
from provisioner.document import parse
parse("a: 1", "text")
print(*yaml.load("[1, 2.5, yes, 2026-01-02]", yaml.SafeLoader))
try:
    yaml.load("\\x00", yaml.SafeLoader)
except yaml.reader.ReaderError:
    print("refused")
import jinja2.bccache
shown = jinja2.Environment().from_string("{{ text | urlize }}{{ 0x10 + 1.5 }}").render(text="see http://device ")
print(shown.count("href"), shown.split(">")[-1], jinja2.bccache.FileSystemBytecodeCache.__name__, re.__name__)
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


def test_reading_leaves_out_what_templates_never_ask_for() -> None:
    """YAML and templates bring no archives, and nothing for caches on disk, into a start."""
    assert sorted(printed(READ)) == ["a", "b"]


def test_yaml_and_jinja_are_whole() -> None:
    """What is written for other uses of them works: PyYAML's slow reader, Jinja's filters, its cache on disk."""
    words = ["1", "2.5", "True", "2026-01-02", "refused", "1", "17.5", "FileSystemBytecodeCache", "re"]
    assert printed(READ_SLOWLY) == words
