"""Builds the folder that a device sees as /usr/local: the stand-ins, and a Python to run them with."""

from __future__ import annotations

import compileall
import shutil
import sys
from pathlib import Path

_SOURCE = Path(__file__).with_name("standins")
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_RUN = (
    "#!/bin/sh\n"
    f"LD_LIBRARY_PATH=/usr/local/python/lib exec /usr/local/python/bin/{_PYTHON} -ISB"
    ' /usr/local/lib/simulation/run.py {module} "$0" "$@"\n'
)
_RUN_PY = """\
import importlib, os, sys
os.environ.pop("LD_LIBRARY_PATH", None)
sys.path.insert(0, "/usr/local/lib/simulation")
module, sys.argv = sys.argv[1], sys.argv[2:]
sys.exit(importlib.import_module("standins." + module).main(sys.argv))
"""

# Always there, in /usr/local/bin; each is run by the module of that name.
_ALWAYS = {
    "apt": ("apt", "apt-get", "apt-cache", "apt-mark"),
    "dpkg": ("dpkg", "dpkg-query"),
    "systemd": ("systemctl", "journalctl", "service"),
}
# There once a package brings them: `commands` of devices.yaml, linked from /usr/local/sbin.
_BROUGHT = {
    "docker": ("docker", "dockerd"),
    "nvidia": ("nvidia-ctk", "nvidia-container-runtime", "nvidia-container-cli"),
}

# Shell scripts that only some devices have: `commands` of a device.
_ON_SOME = ("nvpmodel", "tegrastats", "nvidia-smi")


def build(target: Path) -> Path:
    """Write the folder anew and return it."""
    shutil.rmtree(target, ignore_errors=True)
    library = target / "lib/simulation"
    for name in ("bin", "python", "brought"):
        (target / name if name != "brought" else library / name).mkdir(parents=True, mode=0o755)
    shutil.copytree(_SOURCE, library / "standins", ignore=shutil.ignore_patterns("__pycache__", "sh", "container"))
    shutil.copytree(_SOURCE / "container", library / "container", ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(library, quiet=1)
    _write(library / "run.py", _RUN_PY)
    for module in ("boot", "sftp"):
        _write(library / module, _RUN.replace("{module}", module))
    for place, table in ((target / "bin", _ALWAYS), (library / "brought", _BROUGHT)):
        for module, names in table.items():
            for name in names:
                _write(place / name, _RUN.replace("{module}", module))
    for script in (_SOURCE / "sh").iterdir():
        place = library / "brought" if script.name in _ON_SOME else target / "bin"
        _write(place / script.name, script.read_text(encoding="utf-8"))
    (target / "sbin").symlink_to("/var/lib/simulation/commands")
    # There once the device's own disk has it.
    (target / "lib/librknnrt.so").symlink_to("/var/lib/librknnrt.so")
    open_up(target)
    return target


def _write(path: Path, content: str) -> None:
    path.write_text(content, encoding="utf-8")
    path.chmod(0o755)


def open_up(target: Path) -> None:
    """Let everybody read it, whatever the umask and the modes of an installed package were."""
    for path in [target, *target.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
