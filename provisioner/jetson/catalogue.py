"""The tables (releases.yaml, modules.yaml, images.yaml, routes.yaml), read once and strictly, with look-ups."""

from __future__ import annotations

from dataclasses import fields
from functools import cache, cached_property
from typing import TypeVar

from provisioner.errors import InputError, Source
from provisioner.jetson.rows import (
    Band,
    ContainerPackages,
    DockerProblem,
    Image,
    Legacy,
    Module,
    Preference,
    Release,
    Route,
    Soc,
    Stack,
)
from provisioner.jetson.strict import decode
from provisioner.jetson.versions import Version, padded, version
from provisioner.records import dataclass

__all__ = ["Catalogue", "ContainerPackages", "DockerProblem", "Module", "catalogue", "padded", "version"]

Row = TypeVar("Row")


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
class _RoutesFile:
    sources: dict[str, str]
    legacy: tuple[Legacy, ...]
    routes: tuple[Route, ...]
    packages: tuple[ContainerPackages, ...]


class Catalogue:
    """All tables, with look-ups by name; a file is read, and checked in itself, when its first row is asked for."""

    @cached_property
    def releases_file(self) -> _ReleasesFile:
        """Releases, stacks and the packages that they take."""
        return _load(_ReleasesFile, "releases.yaml")

    @cached_property
    def modules_file(self) -> _ModulesFile:
        """Modules and SoCs."""
        return _load(_ModulesFile, "modules.yaml")

    @cached_property
    def images_file(self) -> _ImagesFile:
        """Images, and the order in which they are preferred."""
        return _load(_ImagesFile, "images.yaml")

    @cached_property
    def routes_file(self) -> _RoutesFile:
        """Hosts that are no Jetson."""
        return _load(_RoutesFile, "routes.yaml")

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

    @property
    def routes(self) -> tuple[Route, ...]:
        """The bands of hosts that are no Jetson, the ones that are asked first first."""
        return self.routes_file.routes

    @property
    def legacy(self) -> tuple[Legacy, ...]:
        """GPUs that CUDA 13 has no code for."""
        return self.routes_file.legacy

    @cached_property
    def families(self) -> tuple[str, ...]:
        """Every family that an image belongs to, by name."""
        return tuple(sorted({name for row in self.images for name in row.families}))

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


def _load(kind: type[Row], name: str) -> Row:
    from importlib.resources import files

    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = files("provisioner.jetson").joinpath(name).read_text("utf-8")
    return decode(kind, yaml.load(text, Loader=loader), Source(name))  # noqa: S506 - one of the safe ones


@cache
def catalogue() -> Catalogue:
    """Return the tables that ship with the package, each read once per process."""
    return Catalogue()


def check(tables: Catalogue) -> None:
    """Raise for a row that names something which no other row defines, in whatever file."""
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
    _check_routes(tables)


def _check_routes(tables: Catalogue) -> None:
    kits = {row.id or "" for row in tables.routes_file.packages}
    routes = {row.id for row in tables.routes}
    for route in tables.routes:
        _known({route.packages}, kits, "packages", route.id)
    for image in tables.images:
        _known(set(image.also), routes, "route", image.reference)


def _check_sources(tables: Catalogue) -> None:
    for table in (tables.releases_file, tables.modules_file, tables.images_file, tables.routes_file):
        rows = [row for item in fields(table) if item.name != "sources" for row in getattr(table, item.name)]
        for row in rows:
            if not row.source:
                raise InputError(f"a row without a source: {row}")
            _known(set(row.source), set(table.sources), "source", repr(row))


def _known(used: set[str], defined: set[str], what: str, where: str) -> None:
    if unknown := used - defined:
        raise InputError(f"{where}: unknown {what}: {', '.join(sorted(unknown))}")
