"""group_vars and host_vars: NAME, NAME.yml, NAME.yaml, NAME.json, or a folder NAME of such files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.document import Caution, MapNode, ScalarNode, load, lossy
from provisioner.errors import InputError, Source
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_SUFFIXES = ("", ".yml", ".yaml", ".json")


@dataclass(slots=True)
class _Place:
    """A folder that may hold group_vars and host_vars, and which names those are about, once that is known."""

    path: Path
    of_groups: dict[str, list[Path]] | None = None
    of_hosts: dict[str, list[Path]] | None = None


class VarFiles:
    """The var files beside an inventory (level 0) and beside playbooks (level 1); each folder is listed once."""

    def __init__(self, levels: Sequence[Sequence[Path]], errors: list[InputError], warnings: list[Caution]) -> None:
        self.levels = tuple(tuple(_Place(path) for path in dict.fromkeys(level)) for level in levels)
        self.errors = errors
        self.warnings = warnings
        self.loaded: dict[Path, MapNode | None] = {}

    def group(self, name: str, level: tuple[_Place, ...]) -> Iterator[MapNode]:
        """Yield what group_vars says about a group, lowest precedence first."""
        for place in level:
            if place.of_groups is None:
                place.of_groups = self._names(place.path / "group_vars")
            if files := place.of_groups.get(name):
                yield from self._found(files)

    def host(self, name: str) -> Iterator[MapNode]:
        """Yield what host_vars says about a host, lowest precedence first."""
        for level in self.levels:
            for place in level:
                if place.of_hosts is None:
                    place.of_hosts = self._names(place.path / "host_vars")
                if files := place.of_hosts.get(name):
                    yield from self._found(files)

    def read(self, groups: Iterable[str], hosts: Iterable[str]) -> None:
        """Read every file, for the mistakes in them."""
        for name in groups:
            for level in self.levels:
                list(self.group(name, level))
        for name in hosts:
            list(self.host(name))

    def _names(self, folder: Path) -> dict[str, list[Path]]:
        """Return the names that a folder says something about, each with its files, the one that counts first."""
        names: dict[str, list[Path]] = {}
        here = self._listed(folder) if folder.is_dir() else []
        for suffix in _SUFFIXES:
            for item in here:
                if item.name.endswith(suffix):
                    names.setdefault(item.name.removesuffix(suffix), []).append(item)
        return names

    def _found(self, present: Sequence[Path]) -> Iterator[MapNode]:
        for other in present[1:]:
            note = Caution(Source(str(other)), f"is not read: {present[0].name} comes before it")
            if note not in self.warnings:
                self.warnings.append(note)
        for file in self._files(present[0]):
            node = self._load(file)
            if node is not None:
                yield node

    def _load(self, file: Path) -> MapNode | None:
        if file not in self.loaded:
            self.loaded[file] = self._read(file)
        return self.loaded[file]

    def _read(self, file: Path) -> MapNode | None:
        try:
            node = load(file, errors=self.errors, empty=True)
        except InputError as error:
            self.errors.append(error)
            return None
        if isinstance(node, MapNode):
            self.warnings.extend(lossy(node))
            return node
        if not (isinstance(node, ScalarNode) and node.value is None):
            self.errors.append(InputError("a file of variables has to be a mapping", source=node.source))
        return None

    def _files(self, path: Path) -> Iterator[Path]:
        if not path.is_dir():
            yield path
            return
        for item in sorted(self._listed(path)):
            if item.name.startswith(".") or item.name.endswith("~"):
                continue
            if item.is_dir() or item.suffix in _SUFFIXES:
                yield from self._files(item)

    def _listed(self, folder: Path) -> list[Path]:
        try:
            return listed(folder)
        except InputError as error:
            self.errors.append(error)
            return []


def listed(folder: Path) -> list[Path]:
    """Return what is in a folder, or say why that cannot be had."""
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}", source=Source(str(folder))) from error
