"""A host as the rest of the program sees it, made of the fields that the body printed."""

from __future__ import annotations

import re
from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from provisioner.jetson.versions import padded, version
from provisioner.records import dataclass

from .body import FIELDS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.jetson.catalogue import Catalogue, Module

Kind = Literal["jetson", "x86-nvidia", "x86", "sbsa-nvidia", "raspberry-pi", "rk3588", "arm64-other", "other"]
Architecture = Literal["arm64", "amd64", "armhf", "other"]

_LINE = re.compile(r"([a-z][a-z0-9_]*)=(.*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RELEASE = re.compile(r"\bR(\d{1,4})\s*\(release\),\s*REVISION:\s*(\d{1,4}(?:\.\d{1,4})*)")
_TEGRA = re.compile(r"nvidia,(tegra\d{3})")
_INTEGRATED = re.compile(r"\(nvgpu\)|NVIDIA Thor")
_DIGITS = 19  # what is longer is no number of bytes, seconds or users
_BOARD = re.compile(r"nvidia,(?:(p\d{4}-\d{4})[^+]*\+)?(p\d{4}-\d{4})\b.*")

_MACHINES: dict[str, Architecture] = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "amd64", "amd64": "amd64"}
_MACHINES_32: dict[str, Architecture] = {"aarch64": "armhf", "armv7l": "armhf"}
_PACKAGED: dict[str, Architecture] = {"arm64": "arm64", "amd64": "amd64", "armhf": "armhf"}
_JETPACK_MAJORS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}


@dataclass(frozen=True)
class HostFacts:
    """A host as the rest of the program sees it; memory in KiB, page size in bytes, architecture as images call it."""

    hostname: str
    kind: Kind
    architecture: Architecture
    kernel_arch: str
    userland_arch: str
    kernel: str
    os_id: str
    os_version: str
    os_codename: str
    model: str
    l4t: str | None
    l4t_source: Literal["/etc/nv_tegra_release", "dpkg"] | None
    l4t_warnings: tuple[str, ...]
    jetpack: str | None
    jetpack_major: int | None
    band: str | None
    soc: str | None
    module: str | None
    module_name: str | None
    part_numbers: tuple[str, ...]
    carrier: str | None
    super_mode: bool
    compute_capability: str | None
    ubuntu: str | None
    gpus: tuple[str, ...]
    memory_kb: int | None
    page_size: int | None
    first_boot_pending: bool
    apt_sources: str
    machine_id: str
    init: str
    login_user: str
    login_uid: int | None
    login_home: str
    raw: Mapping[str, str] = field(repr=False, compare=False)


def parse_facts(text: str) -> dict[str, str]:
    """Return the fields that the body printed, without control characters; other lines are passed over."""
    found = (_LINE.fullmatch(_CONTROL.sub("", line)) for line in text.split("\n"))
    return {match[1]: match[2].strip() for match in found if match}


def facts_from(raw: Mapping[str, str]) -> HostFacts:
    """Return what the raw fields mean; a field that is missing counts as one that could not be read."""
    known = dict.fromkeys(FIELDS, "") | dict(raw)
    l4t, l4t_source = _l4t(known["release_line"], known["l4t_core"])
    tokens = tuple(known["compatible"].split("|"))
    kind = _kind(known, tokens, l4t)
    if kind != "jetson":
        l4t, l4t_source = None, None
    release = _tables().release(l4t) if l4t else None
    band = _band(l4t) if l4t else None
    soc = _soc(tokens) if kind == "jetson" else None
    module = _module(tokens) if kind == "jetson" else None
    chip = _tables().socs.get(soc) if soc else None
    return HostFacts(
        hostname=known["hostname"],
        kind=kind,
        architecture=_architecture(known["kernel_arch"], known["userland_arch"]),
        kernel_arch=known["kernel_arch"],
        userland_arch=known["userland_arch"],
        kernel=known["kernel"],
        os_id=known["os_id"],
        os_version=known["os_version"],
        os_codename=known["os_codename"],
        model=known["model"],
        l4t=l4t,
        l4t_source=l4t_source,
        l4t_warnings=_warnings(known, l4t),
        jetpack=release.jetpack if release else None,
        jetpack_major=_JETPACK_MAJORS.get(version(l4t)[0]) if l4t else None,
        band=band,
        soc=soc,
        module=module.id if module else None,
        module_name=(module.name if module else known["model"] or None) if kind == "jetson" else None,
        part_numbers=_parts(tokens),
        carrier=_carrier(tokens),
        super_mode=known["model"].endswith(" Super") or any(token.endswith("-super") for token in tokens),
        compute_capability=chip.compute_capability if chip else None,
        ubuntu=known["os_version"] or None if known["os_id"] == "ubuntu" else None,
        gpus=tuple(filter(None, known["nvidia_smi"].split("|"))),
        memory_kb=_number(known["memory_kb"]),
        page_size=_number(known["page_size"]),
        first_boot_pending=known["first_boot_pending"] == "yes",
        apt_sources=known["apt_sources"] or "missing",
        machine_id=known["machine_id"],
        init=known["init"] or "other",
        login_user=known["login_user"],
        login_uid=_number(known["login_uid"]),
        login_home=known["login_home"],
        raw=MappingProxyType(dict(raw)),
    )


def _tables() -> Catalogue:
    # Imported late: they are many rows, and no host but a Jetson has use for them.
    from provisioner.jetson.catalogue import catalogue

    return catalogue()


def _band(l4t: str) -> str | None:
    from provisioner.jetson.compatibility import band_of

    band = band_of(l4t)
    return band.id if band else None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def _l4t(release_line: str, core: str) -> tuple[str | None, Literal["/etc/nv_tegra_release", "dpkg"] | None]:
    """Return the release and where it was read: the file's first line, then dpkg."""
    if from_file := l4t_of_release_line(release_line):
        return from_file, "/etc/nv_tegra_release"
    if from_dpkg := l4t_of_package(core):
        return from_dpkg, "dpkg"
    return None, None


def l4t_of_release_line(line: str) -> str | None:
    """Return "36.4.3" for the first line of /etc/nv_tegra_release; its BOARD and DATE are known to lie."""
    match = _RELEASE.search(line)
    return f"{match[1]}.{match[2]}" if match else None


def l4t_of_package(core: str) -> str | None:
    """Return "36.4.3" for a version of nvidia-l4t-core like 36.4.3-20250107174145."""
    match = re.fullmatch(r"(\d+(?:\.\d+)+)(?:-.*)?", core)
    return match[1] if match else None


def _architecture(machine: str, userland: str) -> Architecture:
    """Return what images must be: the userland's architecture, which may be 32 bits under a 64-bit kernel."""
    if userland in _PACKAGED:
        return _PACKAGED[userland]
    if userland == "32":
        return _MACHINES_32.get(machine, "other")
    if userland in ("", "64"):
        return _MACHINES.get(machine, "armhf" if machine == "armv7l" else "other")
    return "other"


def _kind(raw: Mapping[str, str], tokens: tuple[str, ...], l4t: str | None) -> Kind:
    machine = raw["kernel_arch"]
    gpu = bool(raw["nvidia_smi"])
    if machine in ("x86_64", "amd64"):
        return "x86-nvidia" if gpu else "x86"
    # before the servers: from R36 on a Jetson has nvidia-smi too
    if l4t or _soc(tokens) or raw["soc_family"].lower().startswith("tegra") or _INTEGRATED.search(raw["nvidia_smi"]):
        return "jetson"
    if any(token.startswith("raspberrypi,") for token in tokens) or raw["model"].startswith("Raspberry Pi"):
        return "raspberry-pi"
    if any(token.startswith("rockchip,rk3588") for token in tokens):
        return "rk3588"
    if machine in ("aarch64", "arm64"):
        return "sbsa-nvidia" if gpu else "arm64-other"
    return "other"


def _soc(tokens: tuple[str, ...]) -> str | None:
    found = [match[1] for token in tokens if (match := _TEGRA.fullmatch(token))]
    return found[0] if found else None


def _module(tokens: tuple[str, ...]) -> Module | None:
    parts = [part for token in tokens for part in token.removeprefix("nvidia,").split("+")]
    for module in _tables().modules:
        if any(part == known or part.startswith(f"{known}-") for part in parts for known in module.parts):
            return module
    return next((module for module in _tables().modules if set(tokens) & set(module.words)), None)


def _parts(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the module's numbers; a token without a carrier's names the module, or on a Nano A02 the whole kit."""
    boards = [match for token in tokens if (match := _BOARD.fullmatch(token))]
    return tuple(dict.fromkeys(match[2] for match in boards))


def _carrier(tokens: tuple[str, ...]) -> str | None:
    boards = (match for token in tokens if (match := _BOARD.fullmatch(token)))
    return next((match[1] for match in boards if match[1]), None)


def _warnings(raw: Mapping[str, str], l4t: str | None) -> tuple[str, ...]:
    told = [_two_releases(raw, l4t), _stale_kernel(raw), _foreign_kernel(raw["kernel"], l4t)] if l4t else []
    return tuple(text for text in (*told, _bits(raw)) if text)


def _two_releases(raw: Mapping[str, str], l4t: str) -> str | None:
    core = l4t_of_package(raw["l4t_core"])
    if core is None or padded(version(core)) == padded(version(l4t)):
        return None
    return f"/etc/nv_tegra_release says L4T {l4t}, the package nvidia-l4t-core {core}: an upgrade may be half done"


def _stale_kernel(raw: Mapping[str, str]) -> str | None:
    """Compare the running kernel with the packaged one, 5.15.148-tegra-36.4.4-20250616085344."""
    packaged, running = raw["l4t_kernel"], raw["kernel"]
    match = re.match(r"(\d+(?:\.\d+)+)\S*-tegra", packaged)
    if not match or not running or running == match.group() or running.startswith(f"{match[1]}-"):
        return None
    return f"the kernel {running} runs, {match.group()} is installed: a reboot is needed"


def _foreign_kernel(running: str, l4t: str) -> str | None:
    release = _tables().release(l4t)
    if not release or not re.match(r"\d+\.\d+", running):
        return None
    if version(running)[:2] == version(release.kernel)[:2]:
        return None
    return f"the kernel {running} is not one of L4T {l4t}, which has {release.kernel}"


def _bits(raw: Mapping[str, str]) -> str | None:
    machine, userland = raw["kernel_arch"], raw["userland_arch"]
    if machine == "aarch64" and userland in ("armhf", "armel", "32"):
        return f"the kernel is {machine}, but the userland is {userland}"
    return None
