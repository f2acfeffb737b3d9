"""The peers' own environment: ansible-core, Mitogen and pyinfra, installed by pip beside this program's cache."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# Mitogen follows ansible-core at a distance; 2.19 is the last one that runs on Python 3.11 as well.
PACKAGES = ("ansible-core~=2.19.0", "mitogen>=0.3.44,<0.4", "pyinfra~=3.5")
NAMES = ("ansible-core", "mitogen", "pyinfra")


def folder() -> Path:
    """Return where the benchmark keeps what it installs."""
    cache_home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache_home) / "provision" / "bench"


def python() -> Path:
    """Return the interpreter of the peers' environment."""
    return folder() / "venv" / "bin" / "python"


@cache
def install() -> str | None:
    """Install what is not there yet; return why that could not be done, or None."""
    return None if versions() else environment(python(), PACKAGES)


def environment(interpreter: Path, packages: Sequence[str]) -> str | None:
    """Make the environment of an interpreter, and install packages; return why that could not be done, or None."""
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
    for step in ([sys.executable, "-m", "venv", str(interpreter.parent.parent)], pip):
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            return (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return None


def imports(interpreter: Path, modules: str) -> bool:
    """Tell whether an environment is there and has these modules."""
    command = [str(interpreter), "-c", f"import {modules}"]
    return interpreter.is_file() and not subprocess.run(command, capture_output=True, check=False).returncode


def versions() -> dict[str, str]:
    """Return the versions of the peers that are installed; none unless all are there."""
    script = f"from importlib.metadata import version\nfor name in {NAMES}: print(version(name))"
    if not python().is_file():
        return {}
    told = subprocess.run([str(python()), "-c", script], capture_output=True, text=True, check=False)
    return {} if told.returncode else dict(zip(NAMES, told.stdout.split(), strict=True))
