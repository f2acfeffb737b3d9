"""The machine that was measured on, in words."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

_GIB = 1 << 30


def describe() -> str:
    """Return a line about cores, memory, system and versions; nothing that names the machine."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB
    parts = (
        f"{len(os.sched_getaffinity(0))} cores ({platform.machine()}{_processor()}), {memory:.0f} GiB of memory",
        f"{_system()}, Linux {'.'.join(platform.release().split('.')[:2])}",
        f"Python {platform.python_version()}, paramiko {version('paramiko')}, cryptography {version('cryptography')}",
        _openssh(),
    )
    return "; ".join(part for part in parts if part) + "."


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f", {found[1]}" if found and found[1] != "unknown" else ""


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _openssh() -> str:
    told = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=False).stderr
    return told.partition(",")[0].strip().replace("_", " ")
