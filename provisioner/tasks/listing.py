"""What lies below a folder of the controller: read once for a fleet, and only looked at again for each host."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property
from os import scandir, stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from provisioner.observables.file_set import FileNames, combined
from provisioner.records import dataclass
from provisioner.tasks.content import Content

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

_KEPT = 16

CROWD = 64
"""Files that are looked at as one: for fewer, to know what is in each at once is worth more."""

MOST = 10_000
"""Names that one process is given on a device."""


class Source(NamedTuple):
    """A file in a folder that is copied: its name below that, where it is, and what it was like when it was read."""

    name: str
    path: str
    facts: os.stat_result
    content: Content


@dataclass(frozen=True, eq=False)
class Listing:
    """All that is below a folder, a folder before what is in it; `times` are those of each folder that was listed."""

    folders: tuple[str, ...]
    files: tuple[Source, ...]
    times: tuple[tuple[str, int], ...]

    @cached_property
    def is_set(self) -> bool:
        """Tell whether it is worth it, and possible, to look at all files of it as one."""
        enough = CROWD <= len(self.files) <= MOST
        return enough and all(FileNames.can_hold(source.name) for source in self.files)

    @cached_property
    def names(self) -> FileNames:
        """Return the names of the files."""
        return FileNames(tuple(source.name for source in self.files))

    @cached_property
    def within(self) -> tuple[str, ...]:
        """Return the folder that each file is in."""
        return tuple(source.name.rpartition("/")[0] for source in self.files)

    @cached_property
    def hashes(self) -> tuple[str, ...]:
        """Return the SHA-256 of each file."""
        return tuple(source.content.sha256 for source in self.files)

    @cached_property
    def combined(self) -> str:
        """Return one hash for all."""
        return combined(self.hashes)

    def holds(self) -> bool:
        """Tell whether everything is still as it was."""
        try:
            same = all(_facts(path).st_mtime_ns == time for path, time in self.times)
            return same and all(map(_is_same, self.files))
        except OSError:
            return False


def _facts(path: str) -> os.stat_result:
    return stat(path)  # noqa: PTH116 - a Path for each of thousands takes longer than the call


def _is_same(source: Source) -> bool:
    now, then = _facts(source.path), source.facts
    return (now.st_mtime_ns, now.st_size, now.st_mode) == (then.st_mtime_ns, then.st_size, then.st_mode)


_listings: OrderedDict[str, Listing] = OrderedDict()
_listing = threading.Lock()


def listed(folder: str) -> Listing:
    """Return what is below a local folder now; who asks for the same at the same time waits for one answer."""
    known = _listings.get(folder)
    if known is not None and known.holds():
        return known
    with _listing:
        newer = _listings.get(folder)
        if newer is None or newer is known or not newer.holds():
            newer = _listings[folder] = _list(folder)
            if len(_listings) > _KEPT:
                _listings.popitem(last=False)
        return newer


def _list(folder: str) -> Listing:
    folders: list[str] = []
    files: list[Source] = []
    times = [(folder, _facts(folder).st_mtime_ns)]
    for name, entry in _below(folder):
        if entry.is_dir():
            folders.append(name)
            times.append((entry.path, entry.stat().st_mtime_ns))
        else:
            facts = entry.stat()
            files.append(Source(name, entry.path, facts, Content.of_file(entry.path, facts)))
    return Listing(tuple(folders), tuple(files), tuple(times))


def _below(folder: str, within: str = "") -> Iterator[tuple[str, os.DirEntry[str]]]:
    with scandir(folder) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = within + entry.name
        yield name, entry
        outside = not entry.is_symlink() or not _holds(Path(entry.path).resolve(), Path(folder).resolve())
        if entry.is_dir() and outside:
            yield from _below(entry.path, f"{name}/")


def _holds(above: Path, folder: Path) -> bool:
    return above == folder or above in folder.parents
