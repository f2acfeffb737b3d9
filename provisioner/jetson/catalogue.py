"""The tables about Jetson (releases.yaml, modules.yaml, images.yaml) as typed rows, read once and strictly."""

from __future__ import annotations

import re
import types
import typing
from dataclasses import MISSING, dataclass, field, fields
from functools import cache, cached_property
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from provisioner.errors import InputError, Source

Version = tuple[int, ...]
Row = TypeVar("Row")

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_BOUND = re.compile(r"(>=|<=|==|>|<)(\d+(?:\.\d+)*)")
_PLACES = 4


def version(text: str) -> Version:
    """Return the dotted number that a text starts with, so that 36.10 comes after 36.4."""
    found = _NUMBERS.match(text)
    if not found:
        raise ValueError(f"no version number: {text!r}")
    return tuple(int(part) for part in found.group().split("."))


def padded(number: Version) -> Version:
    """Return a version with trailing zeros, because 32.5 and 32.5.0 are the same release."""
    return number + (0,) * (_PLACES - len(number))


@dataclass(frozen=True)
class Range:
    """Bounds on a version, written as ">=36.2,<36.4"; the text is what people read."""

    text: str

    @cached_property
    def bounds(self) -> tuple[tuple[str, Version], ...]:
        """The bounds as (operator, version), all of which must hold."""
        found = [_BOUND.fullmatch(part.strip()) for part in self.text.split(",")]
        if not all(found):
            raise ValueError(f"no version range: {self.text!r}")
        return tuple((match[1], padded(version(match[2]))) for match in found if match)

    def __contains__(self, number: Version) -> bool:
        return all(_holds(padded(number), operator, bound) for operator, bound in self.bounds)


def _holds(number: Version, operator: str, bound: Version) -> bool:
    return {
        ">=": number >= bound,
        "<=": number <= bound,
        "==": number == bound,
        ">": number > bound,
        "<": number < bound,
    }[operator]


@dataclass(frozen=True)
class Band:
    """Releases whose images are interchangeable: lower <= release < upper, or exactly lower where upper is None."""

    id: str
    lower: str
    upper: str | None
    why: str
    source: tuple[str, ...]

    def __contains__(self, l4t: str) -> bool:
        number = padded(version(l4t))
        if self.upper is None:
            return number == padded(version(self.lower))
        return padded(version(self.lower)) <= number < padded(version(self.upper))


@dataclass(frozen=True)
class ContainerPackages:
    """What apt must install for containers with a GPU on some releases, and what to hold afterwards."""

    hosts: Range
    engine: str
    runtime: tuple[str, ...]
    parts: tuple[str, ...]
    hold: tuple[str, ...]
    why: str
    source: tuple[str, ...]


@dataclass(frozen=True)
class DockerProblem:
    """Versions of Docker that fail on some releases, why, and the daemon's environment that cures it (if any does)."""

    id: str
    hosts: Range
    docker: Range
    symptom: str
    cause: str
    advice: str
    environment: dict[str, str]
    source: tuple[str, ...]


@dataclass(frozen=True)
class Stack:
    """The versions of software that one JetPack brings."""

    id: str
    ubuntu: str
    python: str
    cuda: str
    cudnn: str
    tensorrt: str
    source: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """One release of Jetson Linux; kernel without "-tegra", core as dpkg shows nvidia-l4t-core, apt is the suite."""

    l4t: str
    jetpack: str | None
    stage: Literal["ga", "preview", "listed"]
    stack: str
    kernel: str
    modules: tuple[str, ...]
    source: tuple[str, ...]
    core: tuple[str, ...] = ()
    apt: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Soc:
    """A Tegra chip: its compute capability, the major releases that exist for it, its folder at NVIDIA's apt."""

    id: str
    compute_capability: str
    majors: tuple[int, ...]
    apt_folder: str
    source: tuple[str, ...]
    torch_name: str | None = None


@dataclass(frozen=True)
class Module:
    """A Jetson module and the words of a device tree that name it."""

    id: str
    name: str
    soc: str
    source: tuple[str, ...]
    parts: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    note: str | None = None


@dataclass(frozen=True)
class Image:
    """A container image and the one band whose hosts may run it; size in bytes, compressed."""

    repository: str
    tag: str
    families: tuple[str, ...]
    band: str
    architectures: tuple[str, ...]
    source: tuple[str, ...]
    built_for: str | None = None
    pytorch: str | None = None
    digest: str | None = None
    compressed_bytes: int | None = None
    pushed: str | None = None
    exists: bool = True
    note: str | None = None

    @property
    def reference(self) -> str:
        """The image's full name with its tag."""
        return f"{self.repository}:{self.tag}"


@dataclass(frozen=True)
class Preference:
    """The order of images for some hosts, where the general rule is not the best one."""

    hosts: Range
    images: tuple[str, ...]
    why: str
    source: tuple[str, ...]


@dataclass(frozen=True)
class _ReleasesFile:
    sources: dict[str, str]
    bands: tuple[Band, ...]
    packages: tuple[ContainerPackages, ...]
    docker: tuple[DockerProblem, ...]
    stacks: tuple[Stack, ...]
    releases: tuple[Release, ...]


@dataclass(frozen=True)
class _ModulesFile:
    sources: dict[str, str]
    socs: tuple[Soc, ...]
    modules: tuple[Module, ...]


@dataclass(frozen=True)
class _ImagesFile:
    sources: dict[str, str]
    preferred: tuple[Preference, ...]
    images: tuple[Image, ...]


@dataclass(frozen=True)
class Catalogue:
    """All tables, with look-ups by name."""

    releases_file: _ReleasesFile = field(repr=False)
    modules_file: _ModulesFile = field(repr=False)
    images_file: _ImagesFile = field(repr=False)

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands of several releases, lowest first."""
        return self.releases_file.bands

    @property
    def packages(self) -> tuple[ContainerPackages, ...]:
        """What apt must bring, by range of releases."""
        return self.releases_file.packages

    @property
    def docker_problems(self) -> tuple[DockerProblem, ...]:
        """Versions of Docker that are known to fail."""
        return self.releases_file.docker

    @property
    def modules(self) -> tuple[Module, ...]:
        """Every module."""
        return self.modules_file.modules

    @property
    def images(self) -> tuple[Image, ...]:
        """Every image, the ones that do not exist too."""
        return self.images_file.images

    @property
    def preferred(self) -> tuple[Preference, ...]:
        """Explicit orders of images."""
        return self.images_file.preferred

    @cached_property
    def releases(self) -> dict[Version, Release]:
        """Releases by padded version."""
        return {padded(version(row.l4t)): row for row in self.releases_file.releases}

    @cached_property
    def stacks(self) -> dict[str, Stack]:
        """Stacks by id."""
        return {row.id: row for row in self.releases_file.stacks}

    @cached_property
    def socs(self) -> dict[str, Soc]:
        """SoCs by id, as the device tree writes them."""
        return {row.id: row for row in self.modules_file.socs}

    def release(self, l4t: str) -> Release | None:
        """Return the row of a release, if it has one."""
        return self.releases.get(padded(version(l4t)))


def decode(kind: type[Row], raw: object, where: Source) -> Row:
    """Return one row as its dataclass; unknown and missing keys and wrong types are errors that name the place."""
    if not isinstance(raw, dict):
        raise InputError(f"expected a mapping, got {raw!r}", source=where)
    hints = get_type_hints(kind)
    rows = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    _same_keys(raw, rows, where)
    return kind(**{key: _value(hints[key], value, _below(where, key)) for key, value in raw.items()})


def _same_keys(raw: dict[str, Any], rows: dict[str, Any], where: Source) -> None:
    if unknown := [str(key) for key in raw if key not in rows]:
        raise InputError(f"unknown key: {', '.join(unknown)}", source=where, hint=f"known: {', '.join(rows)}")
    needed = [key for key, row in rows.items() if row.default is MISSING and row.default_factory is MISSING]
    if missing := [key for key in needed if key not in raw]:
        raise InputError(f"missing key: {', '.join(missing)}", source=where)


def _below(where: Source, key: object) -> Source:
    return Source(f"{where.path}: {key}")


def _value(hint: Any, raw: object, where: Source) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if raw is None else _value(arguments[0], raw, where)
    if origin is Literal:
        return _checked(raw in arguments, raw, f"one of {', '.join(arguments)}", where)
    if origin is tuple:
        _checked(isinstance(raw, list), raw, "a list", where)
        return tuple(
            _value(arguments[0], item, _below(where, n)) for n, item in enumerate(typing.cast("list[Any]", raw))
        )
    if origin is dict:
        _checked(isinstance(raw, dict), raw, "a mapping", where)
        items = typing.cast("dict[str, Any]", raw).items()
        return {_value(str, key, where): _value(arguments[1], item, _below(where, key)) for key, item in items}
    return _plain(hint, raw, where)


def _plain(hint: Any, raw: object, where: Source) -> Any:
    if hint is Range:
        bounds = Range(_checked(isinstance(raw, str), raw, "a version range", where))
        _checked(bool(bounds.bounds), raw, "a version range", where)
        return bounds
    if hint in (str, int, bool):
        # bool is an int in Python and 36.10 is a float in YAML: only the very type will do
        return _checked(type(raw) is hint, raw, f"a {hint.__name__}", where)
    return decode(hint, raw, where)


def _checked(good: bool, raw: Any, wanted: str, where: Source) -> Any:
    if not good:
        raise InputError(f"expected {wanted}, got {raw!r}", source=where)
    return raw


def _load(kind: type[Row], name: str) -> Row:
    from importlib.resources import files

    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("provisioner.jetson").joinpath(name).read_text("utf-8")
    return decode(kind, yaml.load(text, Loader=loader), Source(name))  # noqa: S506 - one of the safe ones


@cache
def catalogue() -> Catalogue:
    """Return the tables that ship with the package, read and checked once per process."""
    tables = Catalogue(
        _load(_ReleasesFile, "releases.yaml"),
        _load(_ModulesFile, "modules.yaml"),
        _load(_ImagesFile, "images.yaml"),
    )
    check(tables)
    return tables


def check(tables: Catalogue) -> None:
    """Raise for a row that names something which no other row defines."""
    _check_sources(tables)
    stacks, socs = set(tables.stacks), set(tables.socs)
    modules = {row.id for row in tables.modules}
    for release in tables.releases_file.releases:
        _known({release.stack}, stacks, "stack", release.l4t)
        _known(set(release.modules), modules, "module", release.l4t)
    for module in tables.modules:
        _known({module.soc}, socs, "soc", module.id)
    references = {row.reference for row in tables.images}
    for preference in tables.preferred:
        _known(set(preference.images), references, "image", preference.hosts.text)


def _check_sources(tables: Catalogue) -> None:
    for table in (tables.releases_file, tables.modules_file, tables.images_file):
        rows = [row for item in fields(table) if item.name != "sources" for row in getattr(table, item.name)]
        for row in rows:
            if not row.source:
                raise InputError(f"a row without a source: {row}")
            _known(set(row.source), set(table.sources), "source", repr(row))


def _known(used: set[str], defined: set[str], what: str, where: str) -> None:
    if unknown := used - defined:
        raise InputError(f"{where}: unknown {what}: {', '.join(sorted(unknown))}")
