"""Every shell body of the project passes shellcheck, and every shell of a device can parse it."""

from __future__ import annotations

import importlib
import pkgutil
import shutil
import subprocess
from pathlib import Path

import pytest

import provisioner
from provisioner.shell import Script, with_needs
from provisioner.wire.runtime import PRELUDE

ACROSS_FUNCTIONS = "SC2154,SC2034,SC2317,SC2329"
"""Variables and functions that one body leaves to another: shellcheck sees one body at a time."""

TEST_OWNER = "SC3067"
"""[ -O file ] is not in POSIX; dash, bash and busybox have it, and a test under each of them uses it."""


def scripts() -> list[Script]:
    """Return every Script that a module of the project defines, and all that those call."""
    found = []
    for info in pkgutil.walk_packages(provisioner.__path__, "provisioner."):
        if not info.name.endswith("__main__"):
            module = importlib.import_module(info.name)
            found += [value for value in vars(module).values() if isinstance(value, Script)]
    return sorted(set(with_needs(found)), key=lambda script: script.name)


def files() -> list[Path]:
    """Return the shell scripts that lie as files in the project."""
    top = Path(provisioner.__file__).parent
    candidates = [path for path in top.rglob("*") if path.is_file() and path.suffix in ("", ".sh")]
    return [path for path in candidates if path.read_bytes().startswith((b"#!/bin/sh", b"#! /bin/sh"))]


def test_names_are_used_once() -> None:
    """Two scripts with one name would overwrite each other in a device's shell."""
    names = [script.name for script in scripts()]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.name)
def test_bodies_pass_shellcheck(script: Script) -> None:
    """shellcheck finds nothing in a body."""
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    command = ["shellcheck", "-s", "sh", "-e", f"{ACROSS_FUNCTIONS},{TEST_OWNER}", "-"]
    found = subprocess.run(command, input=script.definition, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_files_pass_shellcheck(path: Path) -> None:
    """shellcheck finds nothing in a script that lies as a file."""
    if not shutil.which("shellcheck"):
        pytest.skip("shellcheck is not installed")
    command = ["shellcheck", "-s", "sh", "-e", "SC1091", str(path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize("shell", [["dash"], ["bash", "--posix"], ["busybox", "ash"]], ids=" ".join)
def test_bodies_parse_everywhere(shell: list[str]) -> None:
    """Each shell that a device may have reads all bodies without complaint."""
    if not shutil.which(shell[0]):
        pytest.skip(f"{shell[0]} is not installed")
    text = PRELUDE + "".join(script.definition for script in scripts())
    found = subprocess.run([*shell, "-n"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stderr) == (0, "")
