"""What only `provision facts` asks of a device: its packages, its daemon, and what its recording says of the rest."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.observables.package import Package

if TYPE_CHECKING:
    from provisioner.model import State
    from provisioner.observables.docker import DockerState

    from .device import Device


def details(device: Device, docker: DockerState) -> dict[str, str]:
    """Return the raw details of a device, as its body would print them."""
    data, disk = device.found.data, shutil.disk_usage(Path(device.lock).parent)
    modes, told = data.get("power", ()), data.get("nvidia_smi")
    kb = {"free_kb": disk.free // 1024, "size_kb": disk.total // 1024}
    return {
        **_packages(device),
        **{f"docker_{name}": value for name, _, value in _lines(docker)},
        **{f"{place}_{name}": str(value) for place in ("root", "data_root") for name, value in kb.items()},
        "power": f"NV Power Mode: {modes[0]}|0|" if modes else "",
        "power_modes": " ".join(f"{number}:{name}" for number, name in enumerate(modes)),
        "tegrastats": str(data.get("tegrastats", "")),
        "zones": str(data.get("zones", "")),
        "nvidia_smi": f"{told['temperature']}, {told['load']}" if told else "",
        "memory_available_kb": str(int(data["memory_kb"]) * 4 // 5),
        "root_disk": next((one["name"] for one in data.get("storage", ()) if one["root"]), ""),
        "disks": " ".join(f"{one['name']}:{one['kind']}:{one['sectors']}" for one in data.get("storage", ())),
        "reboot_required": "yes" if device.standing("/var/run/reboot-required").exists else "no",
        "clock": str(int(time.time())),
    }


def _packages(device: Device) -> dict[str, str]:
    there = {name: device.held(Package(name)) for name in sorted(device.names(Package.kind))}
    installed = {name: state for name, state in there.items() if state is not None and state.installed}
    return {
        "packages": " ".join(f"{name}={state.version}" for name, state in installed.items()),
        "held": " ".join(name for name, state in installed.items() if state.held),
    }


def _lines(state: State) -> list[tuple[str, str, str]]:
    return [line.partition("=") for line in state.render().splitlines()]
