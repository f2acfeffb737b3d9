"""Hosts put into an inventory file and taken out of it; every byte elsewhere stays, or nothing is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner import files
from provisioner.document import near, raise_all, read_text
from provisioner.errors import InputError, InputErrors, Source
from provisioner.inventory.change import NOWHERE, Entry, add, best, remove
from provisioner.inventory.model import STATE
from provisioner.inventory.occurrences import groups_in, hosts_in
from provisioner.inventory.read import inventory_files, inventory_of
from provisioner.inventory.splice import Document
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

__all__ = [
    "Edit",
    "Entry",
    "add",
    "check_writable",
    "file_for",
    "files_of",
    "planned_add",
    "planned_remove",
    "remove",
    "write",
]


@dataclass(frozen=True)
class Edit:
    """What an inventory file holds, and what it would hold."""

    before: str
    after: str
    path: Path


def planned_add(path: Path, entries: Sequence[Entry]) -> Edit:
    """Return an inventory with these hosts in it; of a folder, the file that has their group."""
    file = file_for(path, entries)
    before = _read(file)
    return Edit(before, _at(file, lambda: add(before, entries)), file)


def planned_remove(path: Path, names: Sequence[str]) -> Edit:
    """Return an inventory file without these hosts; of a folder, the file that has them all."""
    found = files_of(path, names)
    if len(found) > 1:
        told = "; ".join(f"{', '.join(some)} in {file}" for file, some in found.items())
        raise InputError(f"the hosts are in several files: {told}", hint="take them out file by file")
    file = next(iter(found))
    before = _read(file)
    return Edit(before, _at(file, lambda: remove(before, names)), file)


def write(path: Path, change: Callable[[str], str]) -> Edit:
    """Change an inventory file as it is now, under a lock and in one step, if the result is a sound inventory."""
    if path.is_dir():
        raise InputError(f"{path} is a folder", hint="name a file in it")
    real = path.resolve()
    with files.locked(lock_of(path)):
        before = _read(path)
        after = _at(path, lambda: change(before))
        inventory_of(after, path)
        if after != before or not real.exists():
            files.replace(path, after.encode())
    return Edit(before, after, path)


def check_writable(path: Path) -> None:
    """Raise InputError where an inventory file could not be written now; the file is not touched."""
    with files.locked(lock_of(path)):
        files.check_replaceable(path)


def lock_of(path: Path) -> Path:
    """Return the lock file of an inventory file; it is the same one under every name of that file."""
    real = path.resolve()
    return real.parent / STATE / f".{real.name}.lock"


# Files.


def file_for(path: Path, entries: Sequence[Entry]) -> Path:
    """Return the file of an inventory that these hosts belong into."""
    found = list(dict.fromkeys(_file_for(path, entry) for entry in entries)) or [path]
    if len(found) > 1:
        names = ", ".join(map(str, found))
        raise InputError(f"the hosts belong into several files: {names}", hint="add them file by file")
    return found[0]


def _file_for(path: Path, entry: Entry) -> Path:
    candidates = _inventory_files(path)
    if len(candidates) == 1:
        return candidates[0]
    documents = {file: Document(_read(file), file) for file in candidates}
    for file, document in documents.items():
        if any(entry.name in at.names for at in hosts_in(document)):
            return file
    group = entry.group or "ungrouped"
    places = {file: found for file, document in documents.items() if (found := best(list(groups_in(document)), group))}
    most = max((found.substance for found in places.values()), default=-1)
    chosen = [file for file, found in places.items() if found.substance == most]
    if len(chosen) == 1:
        return chosen[0]
    why = f"has the group {group}" if not chosen else f"alone has the group {group}"
    there = ", ".join(map(str, chosen or candidates))
    raise InputError(f"no file in {path} {why}; there are {there}", hint="name the file instead of the folder")


def files_of(path: Path, names: Iterable[str]) -> dict[Path, list[str]]:
    """Return in which files of an inventory these hosts are written."""
    known: dict[str, None] = {}
    found: dict[Path, list[str]] = {}
    wanted = list(dict.fromkeys(names))
    for file in _inventory_files(path):
        hosts = inventory_of(read_text(file), file).hosts
        known |= dict.fromkeys(hosts)
        if here := [name for name in wanted if name in hosts]:
            found[file] = here
    missing = [
        InputError(f"there is no host {name!r} in {path}{near(name, known)}") for name in wanted if name not in known
    ]
    raise_all(missing)
    return found


def _inventory_files(path: Path) -> list[Path]:
    if "," in str(path) and not path.exists():
        hint = "name a file; `provision init DIR` makes one"
        raise InputError(f"{str(path)!r} is a list of names, which cannot be written to", hint=hint)
    if not path.exists() and path.parent.is_dir():
        return [path]
    found = list(inventory_files(path))
    if not found:
        raise InputError(f"there is no inventory file in {path}", hint="name the file to be made")
    return found


def _read(path: Path) -> str:
    return read_text(path) if path.exists() or path.is_symlink() else ""


def _at(path: Path, change: Callable[[], str]) -> str:
    """Return what a change makes of a text; its errors tell this path."""
    try:
        return change()
    except RecursionError as error:
        raise InputError("is nested too deeply", source=Source(str(path))) from error
    except InputError as error:
        for one in error.errors if isinstance(error, InputErrors) else (error,):
            if one.source and one.source.path == str(NOWHERE):
                one.source = replace(one.source, path=str(path))
            elif one.source is None:
                one.source = Source(str(path))
        raise
