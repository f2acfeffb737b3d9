"""The check in a container, as far as a model can answer it: what the namespaces' stand-in for torch would print."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from provisioner.jetson.verify import SCRIPT
from provisioner.lab import catalogue
from provisioner.observables.image import ContainerImage
from provisioner.observables.package import Package

from .device import CannotBe

if TYPE_CHECKING:
    from provisioner.model import Effect

    from .device import Device

SAID = "simulated: nothing was calculated; this is what is recorded of the image and the module\n"
NO_RUNTIME, NO_PROGRAM = 125, 127


def is_check(effect: Effect) -> bool:
    """Tell whether an effect runs our own check, which is the one program whose output is on record."""
    return effect.script.name == "verify_image" and SCRIPT.encode() in effect.values


def checked(device: Device, effect: Effect) -> str:
    """Return what the check prints: image, runtime and its program have to be there, as on a device."""
    image = _image_of(device, [str(value) for value in effect.values])
    live = device.disk.docker
    if live is None:
        raise CannotBe("Cannot connect to the Docker daemon. Is the docker daemon running?")
    runtime = live["config"].get("runtimes", {}).get("nvidia")
    if runtime is None:
        raise CannotBe("docker: Error response from daemon: unknown or invalid runtime name: nvidia.", NO_RUNTIME)
    program = str(runtime.get("path", "")).rpartition("/")[2]
    if program not in _commands(device):
        raise CannotBe(f'docker: Error response from daemon: exec: "{program}": executable file not found', NO_PROGRAM)
    told = {"jetson_verify": 1, "stage": "done", "torch": image["torch"], "cuda": image["cuda"], **_gpu(device)}
    return f"\n{json.dumps({**told, 'error_matmul': 0.0, 'error_conv2d': 0.0, 'ok': True})}\n"


def _image_of(device: Device, words: list[str]) -> dict[str, str]:
    """Return what the catalogue has of the image that a command names by id."""
    for name in device.names(ContainerImage.kind):
        state = device.held(ContainerImage(name))
        if state is None or str(state.id) not in words:
            continue
        for known, entry in catalogue.everything()["images"].items():
            if name.endswith((f"/{known}", known)) and entry.get("torch"):
                return {"torch": str(entry["torch"]), "cuda": str(entry["cuda"])}
    raise CannotBe("the check: not simulated: there is no record of what this image prints", 96)


def _commands(device: Device) -> set[str]:
    there = {name for name in device.packages if (held := device.held(Package(name))) and held.installed}
    return {command for name in there for command in device.packages[name].get("commands", ())}


def _gpu(device: Device) -> dict[str, str]:
    gpu = device.found.data["gpu"]
    return {"device": str(gpu["name"]), "capability": ".".join(str(part) for part in gpu["capability"])}
