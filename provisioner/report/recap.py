"""The recap: what a run came to, counted as Ansible counts it, with `unknown` added."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Literal

from provisioner.events import Doing, HostFinished, HostLost, Noted, RunFinished, RunStarted, TaskFinished, TaskResult
from provisioner.records import dataclass

if TYPE_CHECKING:
    from provisioner.errors import Source
    from provisioner.events import Event

COUNTED = ("ok", "changed", "unreachable", "failed", "skipped", "rescued", "ignored", "unknown")

HostState = Literal["done", "failed", "refused", "unreachable", "unfinished", "idle"]

_HIDDEN = "(hidden by no_log)"
_TaskKey = tuple[str, str, "Source | None", bool]


def withheld(result: TaskResult) -> TaskResult:
    """Return a result as it may be shown: with no_log nothing of it but that it was, and how it ended."""
    if not result.no_log:
        return result
    return replace(
        result,
        item=_HIDDEN if result.item is not None else None,
        message=_HIDDEN if result.message is not None or result.status == "failed" else None,
        shows=(),
        hint=None,
        stdout="",
        stderr="",
        warnings=(),
        value={},
    )


@dataclass
class HostRecap:
    """What a run came to on one host."""

    name: str
    begun: bool = False
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTED, 0))
    failures: list[TaskResult] = field(default_factory=list)
    lost: HostLost | None = None
    finished: HostFinished | None = None
    _open: _TaskKey | None = None
    _endings: set[str] = field(default_factory=set)
    _counted: tuple[str, ...] = ()

    @property
    def state(self) -> HostState:
        """Tell how the host ended; unfinished is one that began and was not through, idle one that had no part."""
        if self.lost is not None:
            return "unreachable" if self.lost.unreachable else "refused"
        if self.counts["failed"]:
            return "failed"
        if self.finished is not None:
            return "unfinished" if self.finished.not_done else "done"
        return "unfinished" if self.begun else "idle"

    def add(self, result: TaskResult) -> None:
        """Count a result; the items of one loop count as one task, as in Ansible."""
        self.begun = True
        if result.status == "failed" and not result.ignored:
            self.failures.append(result)
        key = None if result.item is None else (result.play, result.task, result.source, result.handler)
        if key is None or key != self._open:
            self._endings, self._counted = set(), ()
        self._open = key
        self._endings.add("ignored" if result.ignored and result.status == "failed" else result.status)
        self._recount()

    def lose(self, event: HostLost) -> None:
        """Count the host as unreachable, or as failed where it was reached and refused."""
        if self.lost is None:
            self.lost = event
            self.counts["unreachable" if event.unreachable else "failed"] += 1

    def _recount(self) -> None:
        for name in self._counted:
            self.counts[name] -= 1
        self._counted = _counted(self._endings)
        for name in self._counted:
            self.counts[name] += 1


def _counted(endings: set[str]) -> tuple[str, ...]:
    """Return what a task adds one to, given how its items ended: what changed or was ignored is also ok."""
    if "failed" in endings:
        return ("failed",)
    if "unknown" in endings:
        return ("unknown",)
    also = tuple(name for name in ("ignored", "changed") if name in endings)
    if also or "ok" in endings:
        return ("ok", *also)
    return ("skipped",)


@dataclass
class Recap:
    """What a run came to so far: a pure accumulator of events; a new RunStarted begins anew."""

    hosts: dict[str, HostRecap] = field(default_factory=dict)
    check: bool = False
    simulated: str | None = None
    interrupted: bool = False
    warnings: dict[str, dict[str, None]] = field(default_factory=dict)
    start_with: dict[str, str] = field(default_factory=dict)
    began: float | None = None
    ended: float | None = None

    def __call__(self, event: Event) -> None:
        """Count an event."""
        match event:
            case TaskFinished():
                self._add(withheld(event.result))
            case RunStarted():
                vars(self).update(vars(Recap(check=event.check, simulated=event.simulated, began=event.at)))
                self.hosts = {name: HostRecap(name) for name in event.hosts}
            case Doing():
                self.host(event.host).begun = True
            case HostLost():
                self.host(event.host).lose(event)
            case HostFinished():
                self.host(event.host).finished = event
            case Noted(level="warning"):
                self._warn(event.message, event.host)
            case RunFinished():
                self.start_with, self.interrupted, self.ended = dict(event.start_with), event.interrupted, event.at
            case _:
                pass

    def host(self, name: str) -> HostRecap:
        """Return a host's recap, an empty one for a new host."""
        if name not in self.hosts:
            self.hosts[name] = HostRecap(name)
        return self.hosts[name]

    def close(self) -> None:
        """Do nothing: it has nothing to finish."""

    @property
    def seconds(self) -> float:
        """Return how long the run took."""
        return max((self.ended or 0.0) - (self.began or 0.0), 0.0)

    @property
    def trips(self) -> int:
        """Return how many batches were sent, to all hosts together."""
        return sum(host.finished.trips for host in self.hosts.values() if host.finished)

    def in_state(self, *states: HostState) -> list[HostRecap]:
        """Return the hosts that ended in one of some states."""
        return [host for host in self.hosts.values() if host.state in states]

    def desired(self) -> list[HostRecap]:
        """Return the hosts that are in the desired state: in a dry run, those that have nothing left to change."""
        done = [host for host in self.in_state("done") if not host.counts["unknown"]]
        return [host for host in done if not (self.check and host.counts["changed"])]

    def total(self, name: str) -> int:
        """Return a count over all hosts."""
        return sum(host.counts[name] for host in self.hosts.values())

    def _add(self, result: TaskResult) -> None:
        self.host(result.host).add(result)
        for warning in result.warnings:
            self._warn(warning, result.host)

    def _warn(self, message: str, host: str | None) -> None:
        hosts = self.warnings.setdefault(message, {})
        if host is not None:
            hosts[host] = None


def exit_code(recap: Recap, *, interrupted: bool = False, check_exit_code: bool = False) -> int:
    """Return what the command ends with: 0, 2 a host failed, 4 unreachable, 6 both, 3 would change, 130 interrupted."""
    if interrupted or recap.interrupted:
        return 130
    broken = 2 * bool(recap.in_state("failed", "refused", "unfinished")) + 4 * bool(recap.in_state("unreachable"))
    if broken:
        return broken
    if check_exit_code and recap.check and (recap.total("changed") or recap.total("unknown")):
        return 3
    return 0
