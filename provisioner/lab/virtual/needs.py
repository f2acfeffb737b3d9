"""What a machine must have to build and to run virtual Jetsons."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Sequence

TO_RUN = {
    "qemu-system-aarch64": "qemu-system-arm",
    "qemu-img": "qemu-utils",
    "docker-registry": "docker-registry",
    "dpkg-deb": "dpkg",
    "apt-ftparchive": "apt-utils",
    "gpg": "gnupg",
}
"""Programs that running takes, and the Debian package of each."""

TO_BUILD = {
    "mmdebstrap": "mmdebstrap",
    "arch-test": "arch-test",  # mmdebstrap asks it whether programs for arm64 start, and only recommends it
    "mkfs.ext4": "e2fsprogs",
    "depmod": "kmod",
    "fdtput": "device-tree-compiler",
    "tar": "tar",
}
"""Programs that building takes besides."""

_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_RULE = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
_SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")


def program(name: str) -> str | None:
    """Return where a program is, in PATH or where administrators' programs are."""
    return shutil.which(name) or shutil.which(name, path=os.pathsep.join(_SBIN))


def missing(*, build: bool) -> str | None:
    """Return what is missing here, in one line with the command that installs it, or None."""
    wanted = {**TO_RUN, **(TO_BUILD if build else {})}
    packages = {package: name for name, package in wanted.items() if program(name) is None}
    emulation = build and not _foreign_programs_run()
    if emulation and not _RULE.exists():
        packages["qemu-user-static"] = "programs for arm64"
    if packages:
        return f"missing: {', '.join(packages.values())}; install: sudo apt-get install {' '.join(packages)}"
    if emulation:
        return f"programs for arm64 do not start here; let them: {_enable()}"
    return None


def require(*, build: bool) -> None:
    """Raise ProvisionError where something is missing."""
    why = missing(build=build)
    if why:
        told, _, command = why.partition("; ")
        raise ProvisionError(f"virtual Jetsons cannot be had here: {told}", hint=command)


def run(words: Sequence[str], cwd: Path | None = None) -> bytes:
    """Run a program of the machine and return what it printed; raise ProvisionError with its last words if it fails."""
    ended = subprocess.run(words, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if ended.returncode != 0:
        said = ended.stderr.decode(errors="replace").strip()
        raise ProvisionError(f"{words[0]} failed (status {ended.returncode}): {said[-300:]}")
    return ended.stdout


def _foreign_programs_run() -> bool:
    return os.uname().machine == "aarch64" or (_BINFMT / "qemu-aarch64").exists()


def _enable() -> str:
    if (_BINFMT / "register").exists():
        return f"cat {_RULE} | sudo tee {_BINFMT}/register"
    return f"sudo mount -t binfmt_misc none {_BINFMT} && cat {_RULE} | sudo tee {_BINFMT}/register"
