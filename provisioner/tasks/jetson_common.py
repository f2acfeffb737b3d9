"""What Jetson's own tasks share: the facts of the host, and the images of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import NotYetKnown
from provisioner.jetson.facts import HostFacts
from provisioner.jetson.images import ImageCatalogue
from provisioner.jetson.observed import FACTS_VARIABLE

if TYPE_CHECKING:
    from provisioner.model import Context

GIGABYTE = 10**9


def facts_of(ctx: Context) -> HostFacts:
    """Return the facts of the host; NotYetKnown where they were not gathered."""
    facts = ctx.facts.get(FACTS_VARIABLE)
    if not isinstance(facts, HostFacts):
        raise NotYetKnown("known once the facts of the host were gathered")
    return facts


def images_of(ctx: Context) -> ImageCatalogue:
    """Return the images of the run."""
    images = ctx.services.get("images")
    if not isinstance(images, ImageCatalogue):
        raise TypeError("the run was started without services['images']")
    return images


def size(amount: int) -> str:
    """Return bytes for people, in units of 10^9 or 10^6."""
    return f"{amount / GIGABYTE:.1f} GB" if amount >= GIGABYTE // 10 else f"{max(amount // 10**6, 1)} MB"
