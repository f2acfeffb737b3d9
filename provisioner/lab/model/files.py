"""Files of a simulated device: what a look tells of them, and how they get their numbers and times."""

from __future__ import annotations

import posixpath
import secrets
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.observables.file import CONTENT, HASHED, METADATA, UNREADABLE, File, FileState
from provisioner.observables.user import Group, User

if TYPE_CHECKING:
    from .device import Device

DEVICE_NUMBER = 45825
FOLDER_SIZE = 4096
OWNER, MEMBER, OTHER = 0o100, 0o10, 0o1
READ, WRITE = 4, 2


def shown(state: FileState, want: str, *, readable: bool = True) -> FileState:
    """Return as much of a file as a look asks for."""
    if state.type != "file":
        return state
    if want == METADATA:
        return replace(state, sha256=None, content=None, large=None)
    if not readable:
        return replace(state, sha256=UNREADABLE, content=None, large=None)
    brought = want == CONTENT or want not in (HASHED, state.sha256)
    return state if brought else replace(state, content=None, large=None)


def may(device: Device, user: str, state: FileState, right: int) -> bool:
    """Tell whether a user may read (4) or write (2) what stands somewhere."""
    if user == "root":
        return True
    mode = int(str(state.mode or "0777"), 8)
    if state.owner == user:
        return bool(mode & right * OWNER)
    account = device.held(User(user))
    groups = (account.group, *(account.groups if isinstance(account.groups, tuple) else ())) if account else ()
    return bool(mode & right * (MEMBER if state.group in groups else OTHER))


def put(
    device: Device,
    path: str,
    state: FileState,
    *,
    owner: str = "root",
    group: str = "root",
    mode: str | None = None,
    when: int | None = None,
) -> None:
    """Put something new at a path, with the folders above it that are missing."""
    real = device.real(path)
    if real != "/" and not device.standing(posixpath.dirname(real)).exists:
        put(device, posixpath.dirname(real), FileState(type="directory"), mode="0755", when=when)
    mode = mode or {"file": "0644", "directory": "0755"}.get(state.type)
    made = replace(state, real=real, owner=owner, group=group, mode=mode)
    device.keep(File(real), stamped(device, made, FileState(), when))


def put_missing(device: Device, path: str, text: str) -> None:
    """Put a file of root's at a path where there is none."""
    if not device.standing(path).exists:
        put(device, path, FileState().with_content(text.encode()))


def remove(device: Device, real: str) -> None:
    """Take away what is below a path, and then the path."""
    for file in (*device.below(real), File(real)):
        device.drop(file)


def stamped(
    device: Device, state: FileState, before: FileState, when: int | None = None, *, touched: bool = False
) -> FileState:
    """Return a state with uid, gid, size, times, inode and device, as stat would tell them."""
    now = int(time.time()) if when is None else when
    old = before.stat()
    same = before.type == state.type and before.sha256 == state.sha256 and bool(old)
    changed = old["mtime"] if same and not touched else now
    accessed = old["atime"] if same and not touched else now
    inode = old["inode"] if same else secrets.randbelow(1 << 31)
    size = _size(state)
    if size is None:
        return replace(state, facts=None)
    numbers = (*_ids(device, state), size, changed, accessed, now, inode, 1, DEVICE_NUMBER)
    return replace(state, facts="|".join(str(number) for number in numbers))


def _size(state: FileState) -> int | None:
    """Return the size in bytes; of content that is too large to be kept nobody knows it here."""
    if state.type == "directory":
        return FOLDER_SIZE
    if state.type == "link":
        return len(state.target or "")
    return None if state.content is None else len(state.content)


def _ids(device: Device, state: FileState) -> tuple[str, str]:
    owner, group = str(state.owner), str(state.group)
    user, members = device.held(User(owner)), device.held(Group(group))
    return str(user.uid if user else owner), str(members.gid if members else group)
