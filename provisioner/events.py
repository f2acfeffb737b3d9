"""What happened, as frozen records: the runner emits them, the reports render them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from provisioner.records import dataclass

if TYPE_CHECKING:
    from .errors import Source
    from .model import Shown

Status = Literal["ok", "changed", "failed", "skipped", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What a text that came with a failure is known to mean: the cause, what mends it, and where that was read."""

    id: str
    cause: str
    fix: str
    sources: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TaskResult:
    """How one task, or one item of its loop, ended on one host, or in a dry run would end.

    `assumed_after` names tasks whose effects could make the claim untrue. `value` is what is registered. `seconds` is
    what the device needed. `ignored` tells that a failure does not end the host. `shows` is what was, or would be done.
    `explained` is what the text of a failure is known to mean; cause and fix are in `hint` too.
    """

    host: str
    play: str
    task: str
    module: str
    status: Status
    source: Source | None = None
    item: str | None = None
    shows: Sequence[Shown] = ()
    message: str | None = None
    hint: str | None = None
    explained: Explanation | None = None
    rc: int | None = None
    stdout: str = ""
    stderr: str = ""
    assumed_after: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ignored: bool = False
    handler: bool = False
    no_log: bool = False
    seconds: float = 0.0
    value: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; `at` is in seconds on the controller's monotonic clock."""

    at: float = 0.0


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """The run begins, with the hosts in order; `simulated` says which backend plays the devices, if any does."""

    hosts: tuple[str, ...]
    check: bool = False
    simulated: str | None = None


@dataclass(frozen=True, kw_only=True)
class PlayStarted(Event):
    """A play begins on some hosts; `tasks` is how many it has."""

    play: str
    hosts: tuple[str, ...]
    tasks: int


@dataclass(frozen=True, kw_only=True)
class Doing(Event):
    """A host turned to something new: 'connecting', 'looking', the name of a task; step counts from 1 of steps."""

    host: str
    what: str
    step: int = 0
    steps: int = 0


@dataclass(frozen=True, kw_only=True)
class Progressed(Event):
    """A running task told how far it is; text is the device's and untrusted, amounts are in bytes where known."""

    host: str
    text: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, kw_only=True)
class Noted(Event):
    """Something that the user should know of a host, or of the run where host is None."""

    host: str | None
    message: str
    level: Literal["info", "warning"] = "warning"


@dataclass(frozen=True, kw_only=True)
class TaskFinished(Event):
    """A task ended on a host."""

    result: TaskResult


@dataclass(frozen=True, kw_only=True)
class HostLost(Event):
    """A host could not be worked on: unreachable, or reached and refused."""

    host: str
    message: str
    hint: str | None = None
    explained: Explanation | None = None
    unreachable: bool = True


@dataclass(frozen=True, kw_only=True)
class HostFinished(Event):
    """A host is through; `not_done` names the tasks that were planned and not run, `owed` the handlers still owed.

    `trips` is how many batches it took.
    """

    host: str
    not_done: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()
    trips: int = 0


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """The run is over; `start_with` maps hosts to the command with which to start working there."""

    start_with: Mapping[str, str] = field(default_factory=dict)
    interrupted: bool = False


Listener = Callable[[Event], None]
