"""What Jetson's own tasks share: the facts of the host, and the images of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import NotYetKnown
from provisioner.jetson.facts import HostFacts
from provisioner.jetson.images import ImageCatalogue, familiar
from provisioner.jetson.observed import FACTS_VARIABLE
from provisioner.jetson.routes import CUDA_KINDS
from provisioner.model import Plan

if TYPE_CHECKING:
    from provisioner.jetson.pins import Choice
    from provisioner.model import Context

GIGABYTE = 10**9

RECORD = "/var/lib/provision/image.json"
"""What is ours on the device: the image of each family, and superseded ones that are still in use."""


def facts_of(ctx: Context) -> HostFacts:
    """Return the facts of the host; NotYetKnown where they were not gathered."""
    facts = ctx.facts.get(FACTS_VARIABLE)
    if not isinstance(facts, HostFacts):
        raise NotYetKnown("known once the facts of the host were gathered")
    return facts


def has_gpu(facts: HostFacts) -> bool:
    """Tell whether containers of a host are to have an NVIDIA GPU."""
    return facts.kind == "jetson" or facts.kind in CUDA_KINDS


def images_of(ctx: Context) -> ImageCatalogue:
    """Return the images of the run."""
    images = ctx.services.get("images")
    if not isinstance(images, ImageCatalogue):
        raise TypeError("the run was started without services['images']")
    return images


def other_than_asked(wanted: str | None, choice: Choice) -> Plan | None:
    """Return the refusal of an image that is not the one that was asked for by name, None where it is."""
    if wanted is None or familiar(wanted) == familiar(choice.pin.reference):
        return None
    name, pin = familiar(wanted), choice.pin
    notes = "; ".join(note for note in choice.notes if note.startswith("passed over"))
    if notes:
        hint = "does the tag exist, and is it built for arm64? Without `image` one that fits is chosen"
        return Plan(failed=f"{name} was asked for by name, and cannot be had ({notes})", hint=hint)
    return Plan(
        failed=f"{name} was asked for by name, and the band {pin.band} is pinned to {familiar(pin.reference)}",
        hint=f"name that image or none, or take the pin of {pin.band} out of the lock file beside the inventory",
    )


def size(amount: int) -> str:
    """Return bytes for people, in units of 10^9 or 10^6."""
    return f"{amount / GIGABYTE:.1f} GB" if amount >= GIGABYTE // 10 else f"{max(amount // 10**6, 1)} MB"
