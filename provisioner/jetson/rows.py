"""The rows of the tables: what releases.yaml, modules.yaml, images.yaml and routes.yaml consist of."""

from __future__ import annotations

from typing import Literal

from provisioner.jetson.versions import Range, padded, version
from provisioner.records import dataclass


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
    """What apt must install for containers on some releases, or on hosts whose route names it, and what to hold."""

    engine: str
    runtime: tuple[str, ...]
    parts: tuple[str, ...]
    hold: tuple[str, ...]
    why: str
    source: tuple[str, ...]
    hosts: Range | None = None
    id: str | None = None


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
    """A container image and the band whose hosts may run it; size in bytes, compressed.

    `also` names further bands, of hosts that are no Jetson, which an image of several architectures serves.
    """

    repository: str
    tag: str
    families: tuple[str, ...]
    band: str
    architectures: tuple[str, ...]
    source: tuple[str, ...]
    also: tuple[str, ...] = ()
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

    @property
    def bands(self) -> tuple[str, ...]:
        """Every band whose hosts may run it."""
        return (self.band, *self.also)


@dataclass(frozen=True)
class Preference:
    """The order of images for some hosts, where the general rule is not the best one."""

    hosts: Range
    images: tuple[str, ...]
    why: str
    source: tuple[str, ...]


@dataclass(frozen=True)
class Legacy:
    """A generation of GPUs that CUDA 13 has no code for, by the names that nvidia-smi gives them."""

    generation: str
    names: tuple[str, ...]
    source: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """Hosts that are no Jetson and share images: their kinds, the drivers, and what the images have code for."""

    id: str
    kinds: tuple[str, ...]
    architecture: Literal["amd64", "arm64"]
    driver: Range | None
    capability: Range | None
    legacy: bool
    packages: str
    hosts: str
    why: str
    source: tuple[str, ...]
