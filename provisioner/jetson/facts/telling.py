"""What `provision facts` tells of a host, as plain data: stable names, and units in them."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from provisioner.jetson.catalogue import catalogue

if TYPE_CHECKING:
    from .host import HostFacts
    from .readings import Readings
    from .software import HostDetails

IN_STEP = 2
"""Seconds that a clock may be off before anybody is told: it was read in whole seconds, some time ago."""

_APT = {
    "placeholder": "NVIDIA's apt list has <SOC> in it: this image was flashed without its first boot",
    "commented": "the lines of NVIDIA's apt list are commented out: apt finds no package of NVIDIA's",
    "missing": "NVIDIA's apt list is missing: apt finds no package of NVIDIA's",
}


def told_of(facts: HostFacts, details: HostDetails, offset: int | None = None) -> dict[str, Any]:
    """Return all that is known of a host; `offset` are the seconds by which its clock is ahead of ours."""
    return {
        **_hardware(facts, details),
        **_release(facts, details),
        **_containers(details),
        **_now(details.readings, details),
        "clock_offset_seconds": offset,
        "login_user": facts.login_user,
        "gpus": list(facts.gpus),
        "warnings": warnings(facts, details, offset),
    }


def _hardware(facts: HostFacts, details: HostDetails) -> dict[str, Any]:
    return {
        "hostname": facts.hostname,
        "kind": facts.kind,
        "architecture": facts.architecture,
        "kernel_architecture": facts.kernel_arch,
        "userland_architecture": facts.userland_arch,
        "model": facts.model or None,
        "module": facts.module_name or facts.model or None,
        "module_id": facts.module,
        "part_numbers": list(facts.part_numbers),
        "carrier": facts.carrier,
        "super_mode": facts.super_mode,
        "soc": facts.soc,
        "compute_capability": facts.compute_capability,
        "memory_mb": _mb(facts.memory_kb),
        "memory_available_mb": _mb(details.memory_available_kb),
        "page_size_bytes": facts.page_size,
        "storage": [asdict(disk) for disk in details.disks],
        "root_free_bytes": details.root_free_bytes,
        "root_size_bytes": details.root_size_bytes,
    }


def _release(facts: HostFacts, details: HostDetails) -> dict[str, Any]:
    return {
        "l4t": facts.l4t,
        "L4T": facts.l4t,  # its first name; scripts may ask by it
        "l4t_source": facts.l4t_source,
        "jetpack": facts.jetpack,
        "jetpack_package": details.jetpack_package,
        "band": facts.band,
        "ubuntu": facts.ubuntu,
        "system": " ".join(part for part in (facts.os_id, facts.os_version) if part) or None,
        "kernel": facts.kernel or None,
        "cuda": details.cuda,
        "cudnn": details.cudnn,
        "tensorrt": details.tensorrt,
        "first_boot_pending": facts.first_boot_pending,
        "reboot_required": details.reboot_required,
        "apt_sources": facts.apt_sources if facts.kind == "jetson" else None,
        "held_packages": list(details.held),
    }


def _containers(details: HostDetails) -> dict[str, Any]:
    docker = details.docker
    return {
        "container_toolkit": details.toolkit,
        "docker_installed": docker.installed,
        "docker_answers": docker.answers,
        "docker_denied": docker.denied,
        "docker_version": docker.version,
        "docker_storage_driver": docker.storage_driver,
        "docker_data_root": docker.data_root,
        "docker_data_root_free_bytes": details.data_root_free_bytes if docker.installed else None,
        "docker_data_root_size_bytes": details.data_root_size_bytes if docker.installed else None,
        "docker_default_runtime": docker.default_runtime,
        "docker_runtimes": list(docker.runtimes),
    }


def _now(readings: Readings, details: HostDetails) -> dict[str, Any]:
    mode = details.power_mode
    return {
        "power_mode": mode.name,
        "power_mode_id": mode.id,
        "power_modes": {str(number): name for number, name in mode.modes.items()},
        "readings_source": readings.source,
        "temperature_celsius": readings.temperature,
        "temperatures_celsius": dict(readings.temperatures),
        "gpu_load_percent": readings.gpu_load,
        "cpu_load_percent": readings.cpu_load,
        "load_average": details.load_average,
        "power_milliwatts": dict(readings.power),
    }


def _without_apt(l4t: str | None) -> bool:
    """Tell whether a release is known to have had no suite at NVIDIA's repository."""
    release = catalogue().release(l4t) if l4t else None
    return release is not None and release.apt is None


def _mb(kb: int | None) -> int | None:
    return kb // 1024 if kb is not None else None


def warnings(facts: HostFacts, details: HostDetails, offset: int | None) -> list[str]:
    """Return what a person should know before working on the host, one sentence each."""
    said = list(facts.l4t_warnings)
    if details.reboot_required and not any("reboot" in text for text in said):
        said.append("an upgrade asks for a reboot")
    if facts.first_boot_pending:
        said.append("its first boot is not finished: accounts and apt lists may still change")
    if facts.kind == "jetson" and facts.apt_sources in _APT and not _without_apt(facts.l4t):
        said.append(_APT[facts.apt_sources])
    if details.docker.storage_driver == "vfs":
        said.append("Docker's storage driver is vfs: every image is stored once for each of its layers")
    if offset is not None and abs(offset) > IN_STEP:
        said.append(f"its clock is {abs(offset)} s {'ahead of' if offset > 0 else 'behind'} this machine's")
    return said
