"""group_vars and host_vars: NAME, NAME.yml, NAME.yaml, NAME.json, or a folder NAME of such files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.document import Caution, MapNode, ScalarNode, load, lossy
from provisioner.errors import InputError, Source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

_SUFFIXES = ("", ".yml", ".yaml", ".json")


class VarFiles:
    """The var files beside an inventory (level 0) and beside playbooks (level 1); each folder is listed once."""

    def __init__(self, levels: Sequence[Sequence[Path]], errors: list[InputError], warnings: list[Caution]) -> None:
        self.levels = tuple(tuple(dict.fromkeys(level)) for level in levels)
        self.errors = errors
        self.warnings = warnings
        self.listed: dict[Path, dict[str, Path]] = {}
        self.loaded: dict[Path, MapNode | None] = {}

    def group(self, name: str, level: tuple[Path, ...]) -> Iterator[MapNode]:
        """Yield what group_vars says about a group, lowest precedence first."""
        for folder in level:
            yield from self._found(folder / "group_vars", name)

    def host(self, name: str) -> Iterator[MapNode]:
        """Yield what host_vars says about a host, lowest precedence first."""
        for level in self.levels:
            for folder in level:
                yield from self._found(folder / "host_vars", name)

    def read(self, groups: Iterable[str], hosts: Iterable[str]) -> None:
        """Read every file, for the mistakes in them."""
        for name in groups:
            for level in self.levels:
                list(self.group(name, level))
        for name in hosts:
            list(self.host(name))

    def _found(self, folder: Path, name: str) -> Iterator[MapNode]:
        if folder not in self.listed:
            self.listed[folder] = {item.name: item for item in self._listed(folder)} if folder.is_dir() else {}
        present = [self.listed[folder][name + suffix] for suffix in _SUFFIXES if name + suffix in self.listed[folder]]
        if not present:
            return
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
