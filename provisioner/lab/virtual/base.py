"""The parts that all virtual Jetsons share: a disk with Debian on it, its kernel, and what the kernel starts first.

Built once, from Debian's packages, and kept under `$XDG_CACHE_HOME`; the folder's name is the digest of the recipe.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import ProvisionError
from provisioner.lab.places import alone
from provisioner.lab.virtual import initrd, needs
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    Say = Callable[[str], None]

SUITE = "bookworm"
PACKAGES = (
    "systemd-sysv", "udev", "dbus", "kmod", "netbase", "iproute2", "iptables", "openssh-server", "openssh-sftp-server",
    "sudo", "ca-certificates", "e2fsprogs", "busybox-static", "docker.io", "qemu-guest-agent",
)  # fmt: skip
UNWANTED = (
    "gpu", "media", "staging", "infiniband", "iio", "sound", "usb", "scsi", "mmc", "mtd", "hwmon", "input", "hid",
    "isdn", "bluetooth", "wireless", "ethernet", "platform", "power", "thermal", "video", "md", "nvme", "ata", "target",
)  # fmt: skip
"""Folders of kernel modules for hardware that a virtual machine has not."""

DISK = "6G"
_HERE = Path(__file__).parent
_ROOTLESS = ("unshare", "--map-root-user", "--map-auto")


@dataclass(frozen=True)
class Base:
    """A finished base: its folder in the cache."""

    folder: Path

    @property
    def disk(self) -> Path:
        """Return the disk, which is never written to: machines write to layers of their own."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """Return the kernel."""
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """Return what the kernel starts first."""
        return self.folder / "initrd.gz"


def cache() -> Path:
    """Return where what was built is kept."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home, "provision", "virtual")


def digest(*parts: object) -> str:
    """Return a short digest of what something is made from; of a folder or file, its content counts."""
    mixed = hashlib.sha256()
    for part in parts:
        for piece in _pieces(part):
            mixed.update(hashlib.sha256(piece).digest())
    return mixed.hexdigest()[:16]


def _pieces(part: object) -> Iterator[bytes]:
    if not isinstance(part, Path):
        yield repr(part).encode()
    elif part.is_dir():
        for path in sorted(part.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield str(path.relative_to(part)).encode()
                yield path.read_bytes()
    else:
        yield part.read_bytes()


@contextmanager
def made_once(folder: Path) -> Iterator[Path | None]:
    """Yield a draft of the folder to fill, or None where the folder is there; two at once do not build it twice."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder.with_name(folder.name + ".lock")):
        if folder.exists():
            yield None
            return
        draft = folder.with_name(folder.name + ".draft")
        _remove(draft)
        draft.mkdir()
        yield draft
        draft.rename(folder)


def base_key() -> str:
    """Return the digest of what the base is made from."""
    return digest(_root_key(), DISK, _HERE / "guest", _HERE / "initrd.py")


def _root_key() -> str:
    return digest(SUITE, PACKAGES, UNWANTED, _HERE / "kernel.sh")


def base(say: Say) -> Base:
    """Return the base, building it where it is not yet there; `say` is told how far it is."""
    found = Base(cache() / f"base-{base_key()}")
    if not found.folder.exists():
        needs.require(build=True)
        archive = _root(say)
        with made_once(found.folder) as draft:
            if draft is not None:
                say("kernel, first file system and disk")
                _boot_files(archive, draft)
                _disk(archive, draft)
    return found


def _root(say: Say) -> Path:
    """Return the archive of a root file system with Debian's packages and kernel, and nothing of the lab's."""
    folder = cache() / f"root-{_root_key()}"
    if not folder.exists():
        with made_once(folder) as draft:
            if draft is not None:
                say("building the base system from Debian's packages, for arm64 (once; 5 to 10 minutes)")
                _bootstrap(draft / "root.tar", say)
    return folder / "root.tar"


def _bootstrap(archive: Path, say: Say) -> None:
    left_out = ("man", "doc", "locale", "info", "lintian", "bug")
    command = [
        *("mmdebstrap", "--architectures=arm64", "--variant=minbase", f"--include={','.join(PACKAGES)}"),
        "--aptopt=APT::Install-Recommends false",
        *(f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in left_out),
        f"--customize-hook='{_HERE / 'kernel.sh'}' \"$1\" {' '.join(UNWANTED)}",
        "--format=tar",
        *(SUITE, str(archive)),
    ]
    _run(command, say, archive.parents[1] / "build.log")


def _boot_files(archive: Path, draft: Path) -> None:
    with tarfile.open(archive) as tar:
        members = {member.name.removeprefix("./"): member for member in tar.getmembers()}

        def read(path: str) -> bytes:
            stream = tar.extractfile(members[path])
            assert stream is not None
            return stream.read()

        kernel = next(name for name in members if name.startswith("boot/vmlinuz-"))
        (draft / "vmlinuz").write_bytes(read(kernel))
        (draft / "initrd.gz").write_bytes(initrd.build(read, kernel.removeprefix("boot/vmlinuz-")))


def _run(command: Sequence[str], say: Say, log: Path) -> None:
    """Run a long command, telling its own headings."""
    started = time.monotonic()
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            file.write(line)
            file.flush()
            if line.startswith(b"I: ") and line.rstrip().endswith(b"..."):
                say(f"  {line[3:].decode().strip().rstrip('.')} ({time.monotonic() - started:.0f} s)")
        code = process.wait()
    if code != 0:
        last = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("E:")]
        raise ProvisionError(
            f"the base system could not be built: {last[-1] if last else f'status {code}'}", hint=f"its log: {log}"
        )


def _disk(archive: Path, draft: Path) -> None:
    """Make a file system of both archives, without a mount: owners are kept, as root or as its own root."""
    own = draft / "guest.tar"
    own.write_bytes(tree(_HERE / "guest"))
    script = (
        'set -e; root=$1 disk=$2 mkfs=$3 size=$4; shift 4; mkdir "$root"\n'
        'for one do tar -C "$root" --numeric-owner --keep-directory-symlink --exclude="./dev/*" -xf "$one"; done\n'
        '"$mkfs" -q -L root -d "$root" "$disk" "$size"; rm -rf "$root"'
    )
    mkfs = needs.program("mkfs.ext4") or "mkfs.ext4"
    words = ["sh", "-c", script, "disk", *map(str, (draft / "root", draft / "disk.img")), mkfs, DISK]
    words = [*(() if os.geteuid() == 0 else _ROOTLESS), *words, str(archive), str(own)]
    needs.run(words)
    own.unlink()


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder, ignore_errors=True)
    if folder.exists():  # files of another root's
        subprocess.run([*_ROOTLESS, "rm", "-rf", str(folder)], check=True)


def tree(folder: Path) -> bytes:
    """Return a folder as a tar archive of root's files; what begins with #! can be run."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                content = path.read_bytes()
                info = tarfile.TarInfo(f"./{path.relative_to(folder)}")
                info.size, info.mode = len(content), 0o755 if content.startswith(b"#!") else 0o644
                tar.addfile(info, io.BytesIO(content))
    return stream.getvalue()
