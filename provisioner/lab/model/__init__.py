"""The lab's backend for machines without namespaces: devices as data, with neither a shell nor SSH.

    transport   batches in, replies out: guards, effects and checks in the order in which a device's shell takes them
    device      what stands where on one device, kept as JSON beside the lab
    birth       what a freshly flashed device has
    looks       what a probe would print
    effects     what an effect leaves, and what is refused, since nothing here can run it
    fill        what a plan leaves open, and only a device can tell
    pulls       what the lab's registry says of an image
    verdict     the check in a container, answered from what is on record
    rules       what follows from it on a device: a package brings its units, a restarted daemon reads its file

Effects carry the states that they leave, so there is little to imitate.
What only a shell could tell is "not simulated".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.lab import places

from .device import Device
from .transport import ModelTransport

if TYPE_CHECKING:
    from provisioner.lab import Lab

__all__ = ["Device", "ModelTransport", "model_transport"]


def model_transport(lab_name: str, host: str, simulate: str, lab: Lab, *, become: bool = True) -> ModelTransport:
    """Return the transport to a simulated device, whose state lies in the lab's folder until `lab reset`."""
    folder = places.private(places.home(lab_name) / "devices" / host)
    return ModelTransport(Device(folder, host, simulate, lab.registry), privileged=become)
