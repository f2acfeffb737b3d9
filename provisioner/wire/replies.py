"""What a device answers to a batch, in the order in which it comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.records import dataclass

if TYPE_CHECKING:
    from provisioner.model import Observable, State


@dataclass(frozen=True)
class Probed:
    """A look at one observable; `again` tells that it belongs to the looks after the steps."""

    observable: Observable[Any]
    state: State
    again: bool = False


@dataclass(frozen=True)
class Started:
    """A step's guards held, and its effects run now."""

    step: int


@dataclass(frozen=True)
class Progress:
    """A running effect told how far it is; the text is the device's."""

    step: int
    text: str


@dataclass(frozen=True)
class Stale:
    """A step's guard failed: the ground moved since the look. Nothing of the step was done; fresh looks follow."""

    step: int
    observable: Observable[Any]
    text: str


@dataclass(frozen=True)
class Finished:
    """A step ran: the last effect's rc, its output, and the checks that did not come out as predicted."""

    step: int
    rc: int
    stdout: str = ""
    stderr: str = ""
    differs: tuple[tuple[Observable[Any], str], ...] = ()
    unmoved: bool = False


@dataclass(frozen=True)
class Stopped:
    """The batch was asked to stop before a step."""

    step: int


@dataclass(frozen=True)
class Waiting:
    """Another batch holds the device; this one waits."""

    owner: str


@dataclass(frozen=True)
class Busy:
    """Another batch held the device for too long; nothing was done."""

    owner: str


@dataclass(frozen=True)
class Ended:
    """The batch is over. Status: done, stale, failed, stopped, busy, or for an attached one lost (no journal)."""

    status: str


Reply = Probed | Started | Progress | Stale | Finished | Stopped | Waiting | Busy | Ended
