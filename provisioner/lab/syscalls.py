"""The few system calls that Python 3.11 has no name for: namespaces and mounts."""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False  # the image that a container runs may have a small Python
if TYPE_CHECKING:
    from collections.abc import Iterable

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x00020000, 0x02000000, 0x04000000, 0x08000000
NEWUSER, NEWPID = 0x10000000, 0x20000000

RDONLY, NOSUID, NODEV, NOEXEC, REMOUNT, BIND, REC, PRIVATE = 1, 2, 4, 8, 32, 4096, 16384, 1 << 18
_DETACH = 2
_KEPT = RDONLY | NOSUID | NODEV | NOEXEC  # statvfs and mount give these flags the same numbers

_MOUNT_SETATTR = 442  # one number on every architecture: calls younger than 2019 share a table
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "armv7l": 218, "i686": 217, "ppc64le": 203, "s390x": 217}
SETPCAP, SYS_ADMIN = 8, 21
_CAPABILITY_VERSION_3, _PR_CAPBSET_DROP = 0x20080522, 24
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000

_libc = ctypes.CDLL(None, use_errno=True)


class _MountAttr(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint64) for name in ("attr_set", "attr_clr", "propagation", "userns_fd"))


def _done(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    """Leave the namespaces named by flags for new ones."""
    _done(_libc.unshare(flags), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """Mount source on target."""
    args = [word.encode() or None for word in (source, target, kind)]
    _done(_libc.mount(*args, ctypes.c_ulong(flags), data.encode() or None), f"mount {source or kind} on {target}")


def bind(source: str, target: str, *, readonly: bool = False) -> None:
    """Show source, with all that is mounted below it, at target."""
    mount(source, target, flags=BIND | REC)
    if readonly:
        make_readonly(target)


def make_readonly(target: str) -> None:
    """Make the mounts at and below target read-only."""
    attributes = _MountAttr(attr_set=RDONLY)
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    if not _libc.syscall(_MOUNT_SETATTR, _AT_FDCWD, target.encode(), _AT_RECURSIVE, ctypes.byref(attributes), size):
        return
    kept = os.statvfs(target).f_flag & _KEPT  # a kernel before 5.12: the mount itself, without those below
    mount("", target, flags=BIND | REMOUNT | RDONLY | kept)


def unmount(target: str) -> None:
    """Take away what is mounted on target."""
    _done(_libc.umount2(target.encode(), _DETACH), f"umount {target}")


def enter_root() -> None:
    """Make the working directory the root of this mount namespace and let go of the old one."""
    _done(_libc.syscall(_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    unmount(".")
    os.chdir("/")


def give_up(capabilities: Iterable[int]) -> None:
    """Lose these rights of root for good: this process has them no more, and nothing that it starts can get them."""
    head = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; then the same for capabilities above 31
    _done(_libc.capget(head, sets), "capget")
    for number in capabilities:
        _done(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl")
        for place in range(3):
            sets[number // 32 * 3 + place] &= ~(1 << number % 32)
    _done(_libc.capset(head, sets), "capset")


def set_hostname(name: str) -> None:
    """Name the machine of this UTS namespace."""
    _done(_libc.sethostname(name.encode(), len(name.encode())), "sethostname")


def be_dumpable() -> None:
    """Let /proc/self belong to who we are now, which a change of ids takes away."""
    _done(_libc.prctl(4, 1, 0, 0, 0), "prctl")
