"""The inside of a simulated device of the namespace backend: its first process.

Run as `python -m provisioner.lab.inside SPEC FD`. Two steps, one inside the other, because a mount that is made
read-only can be made writable again by whoever owns the namespace it was made in:

    outer   owns the mounts: the machine's /usr read-only, the device's own disk, /proc, /sys, /dev
    inner   a child of it, where the mounts are inherited and therefore locked; here the device lives

The outer one maps a range of ids that never holds the machine's root (as a plain user also the user itself, who has to
hand its disk over); the inner one maps that range alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from provisioner.lab import syscalls as sc
from provisioner.lab.agent import serve

if TYPE_CHECKING:
    from collections.abc import Callable

IDS = 65536
OWNER = IDS  # what the machine's plain user is called in the outer namespace

_OUTER = sc.NEWUSER | sc.NEWNS | sc.NEWPID
_INNER = sc.NEWUSER | sc.NEWNS | sc.NEWIPC | sc.NEWUTS | sc.NEWCGROUP
OWN = ("etc", "var", "opt", "home", "root", "srv", "mnt")
_MOUNTED = ("usr", "proc", "sys", "dev", "run", "tmp")
_NODES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2", "ptmx": "pts/ptmx"}
_TREES = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


def main() -> int:
    """Become a device, and stay until the supervisor hangs up or the device reboots."""
    spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    link = socket.socket(fileno=int(sys.argv[2]))
    link.set_inheritable(False)
    try:
        _outer(spec, link)
    except OSError as error:
        _say(link, {"failed": str(error)})
        return 1
    return 0


def erase() -> int:
    """Delete a disk that belongs to the ids of devices, in a namespace that maps them (python -c, see namespace.py)."""
    import shutil

    link = socket.socket(fileno=int(sys.argv[2]))
    sc.unshare(sc.NEWUSER)
    _say(link, {"mapme": True})
    link.recv(64)
    shutil.rmtree(sys.argv[1])
    return 0


def _say(link: socket.socket, message: dict[str, Any]) -> None:
    with suppress(OSError):
        link.send(json.dumps(message).encode())


def _outer(spec: dict[str, Any], link: socket.socket) -> None:
    sc.unshare(_OUTER)
    _say(link, {"mapme": True})
    if link.recv(64) != b"mapped":
        return
    asks, answers = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        answers.close()
        _first_process(spec, link, asks)
    asks.close()
    link.close()
    if answers.recv(1):
        for kind in ("uid_map", "gid_map"):
            Path(f"/proc/1/{kind}").write_bytes(f"0 0 {IDS}\n".encode())
        answers.send(b"m")
    answers.close()
    os.waitpid(pid, 0)


def _first_process(spec: dict[str, Any], link: socket.socket, asks: socket.socket) -> NoReturn:
    try:
        _build_root(spec)
        sc.enter_root()
        _become_root()  # before the inner one, as an id that is not mapped may make no namespace of users
        sc.be_dumpable()  # so that the process above may write our map
        _inner(asks)
        _become_root()
        first_boot(spec)
        sc.set_hostname(spec["hostname"])
        serve(spec, link)
    except OSError as error:
        _say(link, {"failed": str(error)})
    os._exit(0)


def _inner(asks: socket.socket) -> None:
    sc.unshare(_INNER)
    asks.send(b"u")
    if asks.recv(1) != b"m":
        raise OSError("the inner map of ids could not be written")
    asks.close()


def _become_root() -> None:
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def _as_root(work: Callable[[], None]) -> None:
    """Do work in a child that is the device's root: a tmpfs takes no file from an id that it cannot name."""
    pid = os.fork()
    if pid == 0:
        status = 1
        with suppress(OSError):
            _become_root()
            os.umask(0o022)
            work()
            status = 0
        os._exit(status)
    if os.waitpid(pid, 0)[1]:
        raise OSError(f"could not fill the device's root ({work.__name__})")


def _build_root(spec: dict[str, Any]) -> None:
    disk = spec["disk"]
    sc.mount("", "/", flags=sc.REC | sc.PRIVATE)
    _hand_over(disk)
    sc.bind(disk, disk)
    os.chdir(disk)  # from here on by relative paths: the device's ids may not come through the folders above it
    disk = "."
    _as_root(lambda: _skeleton(disk))
    _machine(spec, disk)
    _tmpfs(disk)
    _devices(disk)
    firmware(spec, disk)
    _proc(spec, disk)


def _hand_over(disk: str) -> None:
    """Give an empty disk to the device's root; as the machine's root the supervisor has done it."""
    if Path(disk).stat().st_uid == os.getuid() == OWNER:
        os.chown(disk, 0, 0)


def _skeleton(disk: str) -> None:
    for name in (*OWN, *_MOUNTED):
        Path(disk, name).mkdir(exist_ok=True, mode=0o700 if name == "root" else 0o755)
    for name in _TREES:
        here, there = Path("/", name), Path(disk, name)
        if here.is_symlink() and not there.is_symlink():
            there.symlink_to(here.readlink())
        elif here.is_dir() and not here.is_symlink():
            there.mkdir(exist_ok=True)


def _machine(spec: dict[str, Any], disk: str) -> None:
    """Show the machine's programs read-only, with the stand-ins over /usr/local."""
    trees = [name for name in _TREES if Path("/", name).is_dir() and not Path("/", name).is_symlink()]
    for name in ("usr", *trees):
        sc.bind(f"/{name}", f"{disk}/{name}", readonly=True)
    local = f"{disk}/usr/local"
    sc.bind(spec["standins"], local, readonly=True)
    sc.bind(spec["python"], f"{local}/python", readonly=True)
    hide(spec, disk)


def hide(spec: dict[str, Any], disk: str) -> None:
    """Empty the programs that a device has only once it was given them."""
    for hidden in spec["hidden"]:
        if Path(disk, hidden.lstrip("/")).exists():
            sc.bind("/dev/null", disk + os.path.realpath(hidden))


def _tmpfs(disk: str) -> None:
    for name, mode in (("run", "755"), ("tmp", "1777"), ("dev", "755"), ("sys", "755")):
        sc.mount("tmpfs", f"{disk}/{name}", "tmpfs", sc.NODEV, f"mode={mode},uid=0,gid=0,size=1g")


def _devices(disk: str) -> None:
    dev = f"{disk}/dev"

    def fill() -> None:
        for name in _NODES:
            Path(dev, name).touch()
        for name, target in _LINKS.items():
            Path(dev, name).symlink_to(target)
        for name in ("shm", "pts"):
            Path(dev, name).mkdir()

    _as_root(fill)
    for name in _NODES:
        sc.bind(f"/dev/{name}", f"{dev}/{name}")
    sc.mount("tmpfs", f"{dev}/shm", "tmpfs", sc.NOSUID | sc.NODEV, "mode=1777,uid=0,gid=0,size=256m")
    sc.mount("devpts", f"{dev}/pts", "devpts", sc.NOSUID | sc.NOEXEC, "newinstance,ptmxmode=0666,mode=0620")


def firmware(spec: dict[str, Any], disk: str) -> None:
    """Fill /sys, a tmpfs, with the device tree of the device, its disks and its thermal zones."""
    base, root = Path(disk, "sys/firmware/devicetree/base"), Path(disk).stat().st_dev

    def fill() -> None:
        if spec["model"] or spec["compatible"]:
            base.mkdir(parents=True)
            (base / "model").write_bytes(spec["model"].encode() + b"\0")
            (base / "compatible").write_bytes(b"".join(word.encode() + b"\0" for word in spec["compatible"]))
        for path, text in spec["sys"].items():
            _parent(f"{disk}/sys/{path}")
            Path(disk, "sys", path).write_bytes(text.encode())
        for path, target in spec["sys_links"].items():
            link = Path(disk, "sys", path.replace("ROOT", f"{os.major(root)}:{os.minor(root)}"))
            _parent(str(link))
            link.symlink_to(target)

    _as_root(fill)
    sc.make_readonly(f"{disk}/sys")


def _proc(spec: dict[str, Any], disk: str) -> None:
    proc = f"{disk}/proc"
    sc.mount("proc", proc, "proc", sc.NOSUID | sc.NODEV | sc.NOEXEC)
    sc.bind(f"{proc}/sys", f"{proc}/sys")
    boot_id(spec, disk)
    sc.make_readonly(f"{proc}/sys")
    memory(spec, disk)


def boot_id(spec: dict[str, Any], disk: str) -> None:
    """Show this boot's own id where the kernel shows the machine's."""
    sc.bind(spec["boot_id"], f"{disk}/proc/sys/kernel/random/boot_id")


def memory(spec: dict[str, Any], disk: str) -> None:
    """Show the device's memory where the kernel shows the machine's."""
    sc.bind(spec["meminfo"], f"{disk}/proc/meminfo", readonly=True)


def first_boot(spec: dict[str, Any]) -> None:
    """Write the files of a freshly flashed device; what is already on the disk stays as it is."""
    os.umask(0o022)
    if Path("/var/lib/simulation/device.json").exists():
        return
    for path, target in spec["links"].items():
        _parent(path)
        with suppress(FileExistsError):
            Path(path).symlink_to(target)
    for path, entry in spec["files"].items():
        _parent(path)
        Path(path).write_text(entry["content"], encoding="utf-8")
        Path(path).chmod(entry.get("mode", 0o644))
    for path, entry in spec["folders"].items():
        Path(path).mkdir(parents=True, exist_ok=True)
        Path(path).chmod(entry["mode"])
    for path, owner in spec["owners"].items():
        os.chown(path, *owner)


def _parent(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main())
