"""What nvidia-smi and the kernel of a recorded device say of its GPU or NPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.observables.accelerator import GpusState, NpuState, NvidiaGpus, RockchipNpu

if TYPE_CHECKING:
    from .device import Device

CUDA = "13.0"


def gpus(device: Device, _asked: NvidiaGpus) -> GpusState:
    """Return what the lab's stand-in of nvidia-smi tells."""
    if not device.found.data.get("nvidia_smi"):
        return GpusState()
    capability = device.found.data.get("gpu", {}).get("capability", ())
    return GpusState(cuda=CUDA, capabilities=(".".join(map(str, capability)),) if capability else None)


def npu(device: Device, _asked: RockchipNpu) -> NpuState:
    """Return the versions that the recording has."""
    return NpuState(**device.found.data.get("npu", {}))
