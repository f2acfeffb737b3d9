"""What a batch that is under way tells of itself, as events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.errors import Refused
from provisioner.events import Doing, Event, Progressed
from provisioner.wire import Busy, Progress, Reply, Started, Waiting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .outcome import Outcome

AMOUNTS = 3


def told(host: str, reply: Reply, outcomes: Mapping[int, Outcome], tasks: int) -> Event | None:
    """Return the event that a reply makes, if it makes one; a device that stays busy is refused."""
    if isinstance(reply, Started) and reply.step in outcomes:
        outcome = outcomes[reply.step]
        return Doing(host=host, what=outcome.item.label, step=min(outcome.at.position + 1, tasks), steps=tasks)
    if isinstance(reply, Progress):
        return progressed(host, reply.text)
    if isinstance(reply, Waiting):
        return Doing(host=host, what=f"waiting for another run on the device ({reply.owner})")
    if isinstance(reply, Busy):
        raise Refused(
            f"another run is at work on this device: {reply.owner}",
            hint="wait for it to end, or end that process on the device",
        )
    return None


def progressed(host: str, text: str) -> Progressed:
    """Return what an effect said by `say`: WHAT DONE TOTAL REST with amounts in bytes, or any text."""
    words = text.split(" ", AMOUNTS)
    if len(words) < AMOUNTS or not (words[1].isdecimal() and words[2].isdecimal()):
        return Progressed(host=host, text=text)
    rest = " ".join([words[0], *words[AMOUNTS:]])
    return Progressed(host=host, text=rest, done=int(words[1]), total=int(words[2]))
