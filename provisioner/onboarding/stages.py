"""The plays of onboard.yaml, each over the connection that is right for it, told to the reports as one run."""

from __future__ import annotations

import threading
import time
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError, Refused, Source, Unreachable
from provisioner.events import Event, HostFinished, HostLost, Listener, Noted, RunFinished, RunStarted, TaskFinished
from provisioner.inventory import Host, Inventory
from provisioner.records import dataclass
from provisioner.runner import Runner, Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from provisioner.events import TaskResult
    from provisioner.model import TaskType
    from provisioner.onboarding.units import Unit
    from provisioner.playbook import Playbook
    from provisioner.transport import Target
    from provisioner.transport.link import Transport
    from provisioner.wire.batch import Batch

STAGES = ("check", "key", "settings", "password", "undo")
VARIABLE = "onboard"


def stage_of(book: Playbook, stage: str) -> Playbook:
    """Return the plays of a playbook that are tagged as a stage."""
    return replace(book, plays=tuple(play for play in book.plays if stage in play.tags))


def check_stages(book: Playbook) -> None:
    """Raise InputError where a play of onboard.yaml belongs to no stage, or a stage that must be there is missing."""
    for play in book.plays:
        if not set(play.tags) & set(STAGES):
            hint = f"tags: [settings], or another of {', '.join(STAGES)}"
            raise InputError(f"the play {play.name!r} belongs to no stage", source=play.source, hint=hint)
    if not stage_of(book, "key").plays:
        raise InputError("no play has the tag 'key': nothing would let a key log in", source=Source(str(book.path)))


@dataclass
class OneRun:
    """Hands the events of several runs on as if they were one: one beginning, one end, one end for each host."""

    listener: Listener
    open: bool = False
    trips: dict[str, int] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self, event: RunStarted) -> None:
        """Begin the run, once."""
        if not self.open:
            self.open = True
            self.listener(event)

    def stage(self, hosts: Sequence[str]) -> _Stage:
        """Return the listener of one stage."""
        return _Stage(self, set(hosts))

    def finish(self, hosts: Sequence[str], *, interrupted: bool = False) -> None:
        """Tell that the hosts are through, and that the run is over."""
        now = time.monotonic()
        if self.open:
            for host in hosts:
                self.listener(HostFinished(at=now, host=host, trips=self.trips.get(host, 0)))
            self.listener(RunFinished(at=now, interrupted=interrupted))
            self.open = False


@dataclass
class _Stage:
    """What became of each host in one stage."""

    run: OneRun
    hosts: set[str]
    failures: dict[str, TaskResult] = field(default_factory=dict)
    lost: dict[str, HostLost] = field(default_factory=dict)
    values: dict[str, dict[str, Any]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    not_done: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __call__(self, event: Event) -> None:
        """Take in an event, and hand on what is not the stage's own beginning or end."""
        match event:
            case RunStarted() | RunFinished():
                return
            case HostFinished():
                self.run.trips[event.host] = self.run.trips.get(event.host, 0) + event.trips
                self.not_done[event.host] = event.not_done
                if event.host not in self.failures:
                    return
            case HostLost():
                self.lost[event.host] = event
            case TaskFinished():
                self._note(event.result)
            case _:
                pass
        self.run.listener(event)

    def _note(self, result: TaskResult) -> None:
        if result.status == "failed" and not result.ignored:
            self.failures[result.host] = result
        if result.status == "changed":
            self.changed.add(result.host)
        self.values.setdefault(result.host, {}).update(result.value)
        self.warnings.setdefault(result.host, []).extend(result.warnings)

    def verdict(self, host: str) -> Refused | Unreachable | None:
        """Return why a host did not get through the stage."""
        if host in self.lost:
            lost = self.lost[host]
            return (Unreachable if lost.unreachable else Refused)(lost.message, hint=lost.hint)
        if host in self.failures:
            failed = self.failures[host]
            last = failed.stderr.strip().splitlines()[-1:] or [f"rc {failed.rc}"]
            return Refused(f"{failed.task}: {failed.message or last[0]}", hint=failed.hint)
        return Refused("it was stopped on the way", hint="run again") if self.not_done.get(host) else None


class Held:
    """A transport that stays open from one run to the next; `release` closes it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def exchange(self, batch: Batch) -> Iterator[Any]:
        """Hand a batch on."""
        yield from self._transport.exchange(batch)

    def stop(self, *, now: bool = False) -> None:
        """Hand a stop on."""
        self._transport.stop(now=now)

    def close(self) -> None:
        """Stay open."""

    def release(self) -> None:
        """Hang up."""
        self._transport.close()


@dataclass
class Stages:
    """Runs the stages of a playbook on units; `scratch` is a folder for what a run remembers meanwhile."""

    book: Playbook
    modules: Mapping[str, type[TaskType]]
    scratch: Path
    run: OneRun
    services: Mapping[str, Any]
    public_key: str
    sudo: str
    forks: int = 50
    stopped: bool = False

    def apply(
        self,
        stages: Sequence[str],
        units: Sequence[Unit],
        target: Callable[[Unit, bool], Target],
        *,
        check: bool = False,
        held: dict[str, Held] | None = None,
    ) -> _Stage:
        """Run some stages on units side by side, and note with each unit what ended it."""
        from provisioner.jetson.observed import Facts, FactsState, derive, fact_names

        inventory = self._inventory(units)
        by_name = {_name(unit): unit for unit in units}
        listener = self.run.stage(tuple(by_name))
        settings = Settings(
            check=check,
            forks=self.forks,
            services=self.services,
            facts=Facts(),
            derive=derive,
            fact_names=fact_names(),
        )
        runner = Runner(inventory, self.modules, _connector(by_name, target, held), listener, settings)
        plays = tuple(play for stage in stages for play in stage_of(self.book, stage).plays)
        runner.run([replace(self.book, plays=plays)], tuple(inventory.hosts.values()))
        self.stopped = self.stopped or runner.stopping.is_set()
        for name, state in runner.facts().items():
            if isinstance(state, FactsState):
                by_name[name].facts = state
        for name, unit in by_name.items():
            if (
                error := listener.verdict(name)
                or (self.stopped and Refused("it was stopped", hint="run again"))
                or None
            ):
                unit.fail(error, told=name in listener.failures or name in listener.lost)
        return listener

    def note(self, host: str, message: str) -> None:
        """Tell the reports something of a host."""
        self.run.listener(Noted(host=host, message=message, level="info"))

    def _inventory(self, units: Sequence[Unit]) -> Inventory:
        here = Source("onboard")
        hosts = {_name(unit): Host(_name(unit), self._variables(unit), ("all", "ungrouped"), here) for unit in units}
        names = tuple(hosts)
        return Inventory(path=self.scratch / "onboard.yaml", hosts=hosts, groups={"all": names, "ungrouped": names})

    def _variables(self, unit: Unit) -> dict[str, object]:
        told = {
            "name": unit.hostname or unit.name or unit.label,
            "user": unit.user,
            "public_key": self.public_key,
            "sudo": self.sudo,
        }
        return {VARIABLE: told, "ansible_user": unit.user}


def _name(unit: Unit) -> str:
    return unit.name or unit.label


def _connector(
    units: Mapping[str, Unit], target: Callable[[Unit, bool], Target], held: dict[str, Held] | None
) -> Callable[[Host, bool], Transport]:
    from provisioner.transport import SshSession
    from provisioner.transport.link import SshTransport

    def connect(host: Host, become: bool) -> Transport:
        if held is not None and host.name in held:
            return held[host.name]
        transport = SshTransport(SshSession(target(units[host.name], become)))
        if held is None:
            return transport
        held[host.name] = Held(transport)
        return held[host.name]

    return connect
