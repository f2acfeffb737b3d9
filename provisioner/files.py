"""Files of the controller's own: one run at a time, and replaced in one step or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import InputError, Source

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATIENCE = 30.0
"""Seconds to wait for another run: an edit takes milliseconds, so whoever holds the lock for longer hangs."""
_PAUSE = 0.02


@contextmanager
def locked(lock: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold a lock file, which is made where there is none; the kernel frees it when the process ends."""
    with _told(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        _take(handle, lock, patience)
        yield
    finally:
        os.close(handle)


def _take(handle: int, lock: Path, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                hint = f"`fuser -v {lock}` tells which"
                raise InputError(f"another process holds {lock} for over {patience:g} seconds", hint=hint) from None
            time.sleep(_PAUSE)
        else:
            return


def replace(path: Path, data: bytes) -> None:
    """Put a file's new content in place in one step; mode, owner and extended attributes stay, links are followed."""
    real = path.resolve()
    with _told(path):
        aside = _aside(real, data)
        try:
            aside.replace(real)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
    # The new content is in place: a file system that cannot sync a folder takes nothing from that.
    with contextlib.suppress(OSError):
        _sync(real.parent)


def check_replaceable(path: Path) -> None:
    """Raise InputError where `replace` would fail now; nothing is changed."""
    real = path.resolve()
    with _told(path):
        if real.is_dir():
            raise IsADirectoryError(0, "is a folder")
        _aside(real, b"").unlink()


def _aside(real: Path, data: bytes) -> Path:
    """Return a file beside another one, with its access and this content, on the disk."""
    aside = real.with_name(f".{real.name}.{os.getpid()}.{time.monotonic_ns()}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            _keep_access(real, aside)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    return aside


def _keep_access(real: Path, aside: Path) -> None:
    try:
        there = real.stat()
    except FileNotFoundError:
        aside.chmod(0o666 & ~_umask())
        return
    if not os.access(real, os.W_OK):
        raise PermissionError(0, "is write-protected")
    mine = aside.stat()
    if (there.st_uid, there.st_gid) != (mine.st_uid, mine.st_gid):
        try:
            os.chown(aside, there.st_uid, there.st_gid)
        except PermissionError:
            raise PermissionError(0, "it is another user's, and would be ours when replaced") from None
    import shutil

    shutil.copystat(real, aside)
    os.utime(aside)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        told = f"cannot be written: {error.strerror or error}; it is as it was"
        raise InputError(told, source=Source(str(path)), hint="who owns the file and its folder?") from error
