"""What a host's details mean: software by its packages, Docker, disks, power mode and readings."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from provisioner.records import dataclass

from .readings import PowerMode, Readings, read_nvidia_smi, read_power_mode, read_sysfs, read_tegrastats

if TYPE_CHECKING:
    from collections.abc import Mapping

DiskKind = Literal["emmc", "sd", "mmc", "nvme", "usb", "disk"]

ENGINES = ("docker.io", "docker-ce", "docker-ee", "moby-engine")
SECTOR = 512
_KINDS: tuple[DiskKind, ...] = ("emmc", "sd", "mmc", "nvme", "usb", "disk")
_DIGITS = 19
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Disk:
    """A disk of a host, and whether the root file system is on it."""

    name: str
    kind: DiskKind
    size_bytes: int
    root: bool


@dataclass(frozen=True)
class Docker:
    """Docker as it is installed and as its daemon answers; `denied` where the login user may not ask it."""

    installed: bool = False
    answers: bool = False
    denied: bool = False
    version: str | None = None
    storage_driver: str | None = None
    data_root: str | None = None
    default_runtime: str | None = None
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostDetails:
    """What is told of a host besides its facts; versions without Debian's revision, clock in seconds since 1970."""

    packages: Mapping[str, str] = field(default_factory=dict)
    held: tuple[str, ...] = ()
    cuda: str | None = None
    cudnn: str | None = None
    tensorrt: str | None = None
    toolkit: str | None = None
    jetpack_package: str | None = None
    docker: Docker = Docker()
    root_free_bytes: int | None = None
    root_size_bytes: int | None = None
    data_root_free_bytes: int | None = None
    data_root_size_bytes: int | None = None
    power_mode: PowerMode = field(default_factory=PowerMode)
    readings: Readings = field(default_factory=Readings)
    load_average: float | None = None
    memory_available_kb: int | None = None
    disks: tuple[Disk, ...] = ()
    reboot_required: bool = False
    clock: int | None = None


def details_from(raw: Mapping[str, str]) -> HostDetails:
    """Return what the raw fields mean; a field that is missing counts as one that could not be read."""
    packages = dict(_pairs(raw.get("packages", "")))
    return HostDetails(
        packages=packages,
        held=tuple(raw.get("held", "").split()),
        cuda=_newest(packages, r"cuda-cudart-\d+-\d+"),
        cudnn=_newest(packages, r"libcudnn\d+(?:-cuda-\d+)?"),
        tensorrt=_newest(packages, r"libnvinfer\d+") or _newest(packages, "tensorrt"),
        toolkit=_newest(packages, "nvidia-container-toolkit"),
        jetpack_package=packages.get("nvidia-jetpack"),
        docker=_docker(raw, packages),
        root_free_bytes=_bytes(raw.get("root_free_kb", "")),
        root_size_bytes=_bytes(raw.get("root_size_kb", "")),
        data_root_free_bytes=_bytes(raw.get("data_root_free_kb", "")),
        data_root_size_bytes=_bytes(raw.get("data_root_size_kb", "")),
        power_mode=read_power_mode(raw.get("power", ""), raw.get("power_modes", "")),
        readings=_readings(raw),
        load_average=_decimal(raw.get("load_average", "")),
        memory_available_kb=_number(raw.get("memory_available_kb", "")),
        disks=_disks(raw.get("disks", ""), raw.get("root_disk", "")),
        reboot_required=raw.get("reboot_required") == "yes",
        clock=_number(raw.get("clock", "")),
    )


def _pairs(text: str) -> list[tuple[str, str]]:
    return [(name, value) for name, equals, value in (word.partition("=") for word in text.split()) if equals]


def _newest(packages: Mapping[str, str], pattern: str) -> str | None:
    """Return the highest version of the packages of a pattern, as their makers write it."""
    found = [upstream(version) for name, version in packages.items() if re.fullmatch(pattern, name)]
    return max(found, key=_order, default=None)


def upstream(version: str) -> str:
    """Return a package's version without Debian's epoch and revision: 8.2.1.32 of 8.2.1.32-1+cuda10.2."""
    return re.sub(r"^\d+:|-[^-]*$", "", version)


def _order(version: str) -> tuple[tuple[int, str], ...]:
    # by length first: text of any length sorts like the number that it is, and none is too long to be one
    numbers = (number.lstrip("0") for number in _NUMBER.findall(version))
    return tuple((len(number), number) for number in numbers)


def _docker(raw: Mapping[str, str], packages: Mapping[str, str]) -> Docker:
    present, answers = raw.get("docker_present") == "yes", raw.get("docker_answers") == "yes"
    packaged = next((upstream(packages[name]) for name in ENGINES if name in packages), None)
    return Docker(
        installed=present or packaged is not None,
        answers=answers,
        denied=raw.get("docker_denied") == "yes",
        version=raw.get("docker_version") or packaged,
        storage_driver=raw.get("docker_driver") or None,
        data_root=raw.get("docker_data_root") or None,
        default_runtime=raw.get("docker_default_runtime") or None,
        runtimes=tuple(raw.get("docker_runtimes", "").split()),
    )


def _readings(raw: Mapping[str, str]) -> Readings:
    """Return what the best of the sources says: tegrastats, then nvidia-smi, then /sys."""
    told = (
        read_tegrastats(raw.get("tegrastats", "")),
        read_nvidia_smi(raw.get("nvidia_smi", "")),
        read_sysfs(raw.get("zones", ""), raw.get("gpu_load", "")),
    )
    return next((one for one in told if one is not None), Readings())


def _disks(text: str, root: str) -> tuple[Disk, ...]:
    rows = (row.split(":") for row in text.split())
    return tuple(
        Disk(name, kind, sectors * SECTOR, root=name == root)
        for name, word, size in (row for row in rows if len(row) == 3)  # noqa: PLR2004 - name, kind and sectors
        for kind in _KINDS
        if kind == word and (sectors := _number(size) or 0)
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def _bytes(kb: str) -> int | None:
    number = _number(kb)
    return number * 1024 if number is not None else None


def _decimal(text: str) -> float | None:
    return float(text) if re.fullmatch(r"\d{1,9}(?:\.\d{1,9})?", text) else None
