"""The bytes that a file is to have, wherever they are."""

from __future__ import annotations

import hashlib
import posixpath
import re
import threading
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.observables.file import CONTENT_LIMIT, FileState
from provisioner.records import dataclass
from provisioner.shell import Part, Upload, Value

if TYPE_CHECKING:
    import os

_PLAIN = re.compile(rb"[\t\n -~]*").fullmatch

TEXT = "text"
"""What stands in place of a hash where a content travels as it is."""

INLINE_LIMIT = 256 * 1024
"""Bytes of content that travel in the script; more travels beside it."""


@dataclass(frozen=True)
class Content:
    """Bytes that a file is to have: in memory up to 4 MiB, above that on the controller's disk or on the device."""

    sha256: str
    size: int
    data: bytes | None = None
    path: str | None = None
    remote: str | None = None

    @classmethod
    def of(cls, data: bytes, path: str | None = None) -> Content:
        """Return bytes as content."""
        return cls(hashlib.sha256(data).hexdigest(), len(data), data, path)

    @cached_property
    def sha1(self) -> str | None:
        """Return the checksum that Ansible registers, where the bytes are at hand."""
        return None if self.data is None else hashlib.sha1(self.data, usedforsecurity=False).hexdigest()

    @classmethod
    def of_file(cls, path: str, facts: os.stat_result | None = None) -> Content:
        """Return a file of the controller as content; it is read once for all hosts."""
        return _SHELF.content(path, facts or Path(path).stat())

    def values(self, dest: str) -> tuple[Value, Value]:
        """Return the last two arguments of write_file."""
        if self.remote is not None:
            return self.sha256, self.remote
        if self.data is not None and self.size <= INLINE_LIMIT:
            # Plain text is spared a process on the device, and a third of its length.
            return (TEXT, self.data.decode("ascii")) if _PLAIN(self.data) else ("", self.data)
        return self.sha256, Upload(self.sha256, (self.part,), near=posixpath.dirname(dest))

    @property
    def part(self) -> Part | bytes:
        """Return the bytes, or where on the controller they are."""
        return Part(self.path, 0, self.size) if self.path is not None else self.data or b""

    def state(self, state: FileState) -> FileState:
        """Return a state as that of a file of this content."""
        return state.but(**self.fields())

    def fields(self) -> dict[str, Any]:
        """Return the fields of the state of a file of this content."""
        large = True if self.data is None else None
        content = {"sha256": self.sha256, "content": self.data, "large": large}
        return {"type": "file", "target": None, "facts": None, **content}


class _Shelf:
    """Files of the controller that were read, as long as they stay as they are and there is room."""

    ROOM = 64 * 1024 * 1024
    FILES = 100_000

    def __init__(self) -> None:
        self._kept: dict[str, tuple[int, int, Content]] = {}
        self._size = 0
        self._reading = threading.Lock()

    def content(self, path: str, facts: os.stat_result) -> Content:
        """Return a file's content; who asks for the same at the same time waits, and does not read it too."""
        content = self._known(path, facts)  # without the lock: it would hold up the many that find what they look for
        if content is not None:
            return content
        with self._reading:
            content = self._known(path, facts)
            if content is None:
                content = _read(path, facts.st_size)
                self._keep(path, (facts.st_mtime_ns, facts.st_size, content))
            return content

    def _known(self, path: str, facts: os.stat_result) -> Content | None:
        kept = self._kept.get(path)
        fits = kept is not None and kept[0] == facts.st_mtime_ns and kept[1] == facts.st_size
        return kept[2] if kept is not None and fits else None

    def _keep(self, path: str, entry: tuple[int, int, Content]) -> None:
        size = len(entry[2].data or b"")
        if self._size + size > self.ROOM or len(self._kept) >= self.FILES:
            self._kept.clear()
            self._size = 0
        self._kept[path] = entry
        self._size += size


def _read(path: str, size: int) -> Content:
    if size <= CONTENT_LIMIT:
        with open(path, "rb") as file:  # noqa: PTH123 - a Path for each of thousands takes as long as to read it
            return Content.of(file.read(), path)
    with Path(path).open("rb") as file:
        return Content(hashlib.file_digest(file, "sha256").hexdigest(), size, path=path)


_SHELF = _Shelf()
