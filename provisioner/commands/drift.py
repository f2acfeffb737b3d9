"""What the last playbook would change on a host now: a dry run of it over a shell that is open already."""

from __future__ import annotations

import argparse
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError, ProvisionError, Refused, Unreachable
from provisioner.events import HostLost, TaskFinished
from provisioner.records import dataclass
from provisioner.report.seen import Drift

from .applied import Applied, recall
from .apply import image_service, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from provisioner.events import Event, TaskResult
    from provisioner.inventory import Host
    from provisioner.playbook import Play, Playbook, Task
    from provisioner.runner import Runner
    from provisioner.transport.link import Transport
    from provisioner.wire import Batch, Reply

    from .fleet import Fleet

ALWAYS_RUN = ("command", "shell", "reboot")
"""Modules of which a dry run says that they would change, whatever the state of the device is."""

_DECIDED = ("creates", "removes")


class Drifts:
    """Plans what the last playbooks of a fleet's hosts would change; `given` are the variables of the command line."""

    def __init__(self, fleet: Fleet, given: Mapping[str, Any]) -> None:
        self.fleet = fleet
        self.given = given
        self._images: Any = None
        self._stamp: object = None
        self._lock = threading.Lock()

    def images(self) -> Any:
        """Return the image catalogue, the same one for all hosts as long as the pins are the same."""
        with self._lock:
            path = self.fleet.lock_path
            stamp = path.stat().st_mtime_ns if path.is_file() else None
            if self._images is None or stamp != self._stamp:
                self._images, self._stamp = image_service(self.fleet), stamp
            return self._images

    def of(self, host: Host) -> HostDrift:
        """Return what plans the drift of one host, by what was last applied to it."""
        return HostDrift(self, host)


class HostDrift:
    """Plans what the last playbook of one host would change; playbooks and pins are read anew each time."""

    def __init__(self, drifts: Drifts, host: Host) -> None:
        self._drifts = drifts
        self._host = host
        self._runner: Runner | None = None

    def needs_root(self) -> bool:
        """Tell whether the last playbook was run by a shell of root's; what cannot be read needs none."""
        from provisioner.connection import wants_root

        try:
            applied = recall(self._drifts.fleet.inventory, self._host.name)
            plays = [play for book in self._books(applied) for play in book.plays] if applied else []
            mine = [play for play in plays if self._host in self._drifts.fleet.inventory.select(play.hosts)]
        except InputError:
            return False
        asked = bool(applied and applied.become) or wants_root(self._host)
        return asked or any(play.become or any(task.become for task in play.everything()) for play in mine)

    def look(self, transport: Transport) -> Drift:
        """Return what the last playbook would change; raises HostError where the host is lost meanwhile."""
        fleet = self._drifts.fleet
        try:
            applied = recall(fleet.inventory, self._host.name)
            if applied is None:
                return Drift(state="never")
            missing = [name for name in applied.given if name not in self._drifts.given]
            if missing:
                found = Drift(state="unknown", reason=f"give -e {' '.join(missing)} again")
            else:
                found = self._planned(applied, transport)
            return replace(found, playbooks=applied.playbooks, applied=applied.when)
        except InputError as error:
            return Drift(state="unknown", reason=str(error).partition("\n")[0])

    def stop(self) -> None:
        """End the dry run that is under way, if one is; from any thread."""
        if self._runner is not None:
            self._runner.stopping.set()

    def _books(self, applied: Applied) -> list[Playbook]:
        from provisioner.playbook import load_playbook

        return [harmless(load_playbook(Path(path), self._drifts.fleet.modules)) for path in applied.playbooks]

    def _planned(self, applied: Applied, transport: Transport) -> Drift:
        from provisioner.runner import Runner

        fleet, books = self._drifts.fleet, self._books(applied)
        options = argparse.Namespace(
            check=True,
            forks=1,
            tags=list(applied.tags),
            skip_tags=list(applied.skip_tags),
            become=applied.become,
            become_user=applied.become_user,
            allow_restart=applied.allow_restart,
            verbose=0,
        )
        extra = applied.variables(self._drifts.given)
        heard = _Heard(self._host.name)
        settings = settings_of(fleet, options, extra, self._drifts.images())
        others = {name: fleet.inventory.hosts[name] for name in applied.hosts if name in fleet.inventory.hosts}
        hosts = {**others, self._host.name: self._host}
        runner = Runner(fleet.inventory, fleet.modules, _only(self._host, transport), heard, settings)
        self._runner = runner
        try:
            runner.run(books, list(hosts.values()))
        finally:
            self._runner = None
        if heard.lost is not None:
            raise (Unreachable if heard.lost.unreachable else Refused)(heard.lost.message, hint=heard.lost.hint)
        return judged(heard.results, {task.source: task for book in books for task in _tasks(book)})


def _only(host: Host, transport: Transport) -> Any:
    """Return how a runner connects: the one host by its open shell, the others not at all."""

    def connect(other: Host, _become: bool) -> Transport:
        if other is not host:
            raise Unreachable("not looked at here")
        return Borrowed(transport)

    return connect


@dataclass
class Borrowed:
    """A transport that stays open for its owner, and that carries looks only."""

    transport: Transport

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Hand a look on."""
        if batch.steps or batch.reconnect is not None:
            raise ProvisionError("a dry run was about to change something")
        return self.transport.exchange(batch)

    def stop(self, *, now: bool = False) -> None:
        """Do nothing: looks are short."""

    def close(self) -> None:
        """Leave it open."""


class _Heard:
    """Keeps what a run tells of one host."""

    def __init__(self, host: str) -> None:
        self._host = host
        self.results: list[TaskResult] = []
        self.lost: HostLost | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, TaskFinished) and event.result.host == self._host:
            self.results.append(event.result)
        elif isinstance(event, HostLost) and event.host == self._host:
            self.lost = event


def harmless(book: Playbook) -> Playbook:
    """Return a playbook of which a dry run runs nothing at all, and in which no other host holds one back."""

    def planned_only(task: Task) -> Task:
        return replace(task, check_mode=None)

    def alone(play: Play) -> Play:
        tasks, handlers = tuple(map(planned_only, play.tasks)), tuple(map(planned_only, play.handlers))
        free = replace(play, serial=(), any_errors_fatal=False, max_fail_percentage=None)
        return replace(free, tasks=tasks, handlers=handlers)

    return replace(book, plays=tuple(alone(play) for play in book.plays))


def _tasks(book: Playbook) -> Iterator[Task]:
    for play in book.plays:
        yield from play.everything()


def judged(results: Sequence[TaskResult], tasks: Mapping[Any, Task]) -> Drift:
    """Return what the results of a dry run come to; what runs every time is no drift, nor are handlers that it calls.

    The items of one loop count as one task.
    """
    always = {id(one) for one in results if one.status == "changed" and _runs_always(one, tasks)}
    counted = [one for one in results if id(one) not in always and not (always and one.handler)]
    failed = next((one for one in counted if one.status == "failed" and not one.ignored), None)
    changed = _named(one for one in counted if one.status == "changed")
    unknown = _named(one for one in counted if one.status == "unknown")
    if failed is not None:
        why = f"{failed.task}: {failed.message}" if failed.message else failed.task
        return Drift(state="fails", changes=len(changed), unknown=len(unknown), tasks=changed, reason=why)
    return Drift(state="changes" if changed else "order", changes=len(changed), unknown=len(unknown), tasks=changed)


def _runs_always(result: TaskResult, tasks: Mapping[Any, Task]) -> bool:
    task = tasks.get(result.source)
    decided = task is not None and (task.changed_when is not None or any(name in task.args for name in _DECIDED))
    return result.module in ALWAYS_RUN and not decided


def _named(results: Iterator[TaskResult]) -> tuple[str, ...]:
    """Return the names of tasks, each once for each place where it stands."""
    found = {(one.play, one.task, one.source, one.handler): one.task for one in results}
    return tuple(found.values())
