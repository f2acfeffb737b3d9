"""What the preflight says of hosts that are no Jetson: their GPUs and driver, or their NPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.jetson.routes import CUDA_KINDS, Refused, gpus_of, route_of, uncoded
from provisioner.observables.accelerator import NvidiaGpus, RockchipNpu

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.jetson.facts import HostFacts
    from provisioner.model import Observable, View

ROCKCHIP = "rk3588"


def accelerators(facts: HostFacts) -> Iterator[Observable[Any]]:
    """Name what is looked at besides the facts: nothing on a Jetson."""
    if facts.kind in CUDA_KINDS:
        yield NvidiaGpus()
    elif facts.kind == ROCKCHIP:
        yield RockchipNpu()


def accelerator_result(view: View, facts: HostFacts) -> dict[str, Any]:
    """Return what is registered of the accelerators of a host, empty on a Jetson and without any."""
    if facts.kind == ROCKCHIP:
        npu = view.peek(RockchipNpu())
        return {"npu_driver": npu.driver, "npu_runtime": npu.runtime}
    if facts.kind not in CUDA_KINDS:
        return {}
    told = view.peek(NvidiaGpus())
    gpus = gpus_of(facts)
    return {
        "gpus": [gpu.name for gpu in gpus],
        "driver": next((gpu.driver for gpu in gpus if gpu.driver), None),
        "cuda": told.cuda,
        "capabilities": list(told.capabilities or ()),
    }


def accelerator_problem(view: View, facts: HostFacts) -> Refused | None:
    """Return why the images of a host's route have no code for its GPU, where nvidia-smi tells its capability."""
    if facts.kind not in CUDA_KINDS:
        return None
    route = route_of(facts)
    return None if isinstance(route, Refused) else uncoded(route, view.peek(NvidiaGpus()).capabilities or ())


def npu_told(view: View, facts: HostFacts) -> str | None:
    """Return in words what of the NPU's software is there, None on a host that has no NPU of Rockchip's."""
    if facts.kind != ROCKCHIP:
        return None
    npu = view.peek(RockchipNpu())
    driver = f"the NPU's driver in the kernel is {npu.driver}"
    if npu.driver == "rocket":
        driver = "the kernel has mainline's NPU driver (rocket), which the vendor's runtime does not know"
    elif npu.driver is None:
        driver = "the kernel has no NPU driver, or does not tell its version"
    return f"{driver}; librknnrt.so is {npu.runtime or 'not there'}"
