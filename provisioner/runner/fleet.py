"""The fleet: plays in order, hosts side by side, what is remembered between runs, and how a run is stopped."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from provisioner.compiler import ANY, HostScope, Memory, asked_by, used_in
from provisioner.connection import wants_root
from provisioner.engine import HostRun, Options
from provisioner.engine.meaning import Explain, lost, with_meaning
from provisioner.errors import HostError, LinkLost
from provisioner.events import (
    Doing,
    Event,
    HostFinished,
    HostLost,
    Listener,
    Noted,
    PlayStarted,
    RunFinished,
    RunStarted,
    TaskFinished,
)
from provisioner.records import dataclass
from provisioner.templating import Verbatim
from provisioner.wire import Ended

from .batches import batches
from .gate import Ask, Gate

if TYPE_CHECKING:
    from provisioner.engine import Requests, Summary
    from provisioner.inventory import Host, Inventory
    from provisioner.model import Observable, State, TaskType
    from provisioner.playbook import Play, Playbook
    from provisioner.transport.link import Transport

INTERRUPTED = 130
KEPT = 200
"""How many connections are kept for later plays at least; a host beyond these connects anew for its next one.

An idle connection costs a thread that wakes ten times a second, and a file descriptor, of which there are often 1024.
"""
STOPPING = (
    "stopping between tasks; press Ctrl-C again to end the tasks that run",
    "ending the tasks that run; press Ctrl-C again to leave at once",
)

Connect = Callable[["Host", bool], "Transport"]


class Interrupted(Exception):  # noqa: N818 - raised in a host's thread to end it
    """The run was asked to stop."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a run is to go; `become` and `become_user` are the command line's, `extra` its variables.

    `facts` are looked at first; `derive` makes variables of them, which have the `fact_names`. `explain` knows what the
    text of a failure means, of a task as well as of a host that is lost.
    """

    check: bool = False
    forks: int = 50
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    become: bool = False
    become_user: str | None = None
    force_handlers: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)
    facts: Observable[Any] | None = None
    derive: Callable[[State], Mapping[str, Any]] = lambda _state: {}
    fact_names: frozenset[str] = frozenset()
    explain: Explain = lambda _text: None
    ask: Ask | None = None
    simulated: str | None = None


@dataclass
class HostState:
    """What a run knows of one host from play to play."""

    host: Host
    memory: Memory = field(default_factory=Memory)
    transport: Transport | None = None
    kept: bool = False
    privileged: bool = False
    lost: bool = False
    failed: bool = False
    facts: State | None = None
    start_with: str | None = None
    trips: int = 0
    plays: int = 0
    not_done: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()


class Runner:
    """Runs playbooks on the hosts of an inventory; `connect` makes a transport for a host, privileged or not."""

    def __init__(
        self,
        inventory: Inventory,
        modules: Mapping[str, type[TaskType]],
        connect: Connect,
        listener: Listener,
        settings: Settings,
    ) -> None:
        self.inventory = inventory
        self.modules = modules
        self.connect = connect
        self.settings = settings
        self.stopping = threading.Event()
        self.declined = False
        self._interrupts = 0
        self._listener = listener
        self._untold: deque[Event] = deque()
        self._lock = threading.Lock()
        self._counting = threading.Lock()
        self._states: dict[str, HostState] = {}
        self._members: dict[int, list[HostState]] = {}
        self._common: dict[str, Any] = {}
        self._used: dict[str, type[TaskType]] = {}
        self._groups: dict[str, list[str]] = {}
        self._hostvars: dict[str, Mapping[str, Any]] = {}
        self._kept = 0
        self._asked: frozenset[str] = frozenset()
        self._noted: frozenset[str] = frozenset()

    def run(self, playbooks: Sequence[Playbook], hosts: Sequence[Host]) -> None:
        """Run all plays; what happens is told to the listener."""
        chosen = {one.name for book in playbooks for play in book.plays for one in self.inventory.select(play.hosts)}
        self._states = {host.name: HostState(host) for host in hosts if host.name in chosen}
        self._members, self._kept = {}, 0
        self._groups = {name: list(members) for name, members in self.inventory.groups.items()}
        self._hostvars = {name: host.vars for name, host in self.inventory.hosts.items()}
        with suppress(OSError):
            self._noted = frozenset(os.listdir(self.inventory.facts_dir))  # noqa: PTH208 - names are all that is asked
        self.emit(RunStarted(hosts=tuple(self._states), check=self.settings.check, simulated=self.settings.simulated))
        try:
            for playbook in playbooks:
                self._prepare(playbook)
            for playbook in playbooks:
                for play in playbook.plays:
                    self._play(play, playbook)
        finally:
            self._close()
            self._finish()

    def emit(self, event: Event) -> None:
        """Tell the listener of an event, one at a time; what comes while it is told another waits for that thread."""
        # It was made for this call a moment ago: a copy with its time would be most of what telling costs.
        object.__setattr__(event, "at", time.monotonic())
        self._untold.append(event)
        # Hosts never wait for one another here: with a hundred of them that costs more than the telling.
        while self._untold and self._lock.acquire(blocking=False):
            try:
                while self._untold:
                    self._listener(self._untold.popleft())
            finally:
                self._lock.release()

    def facts(self) -> dict[str, State]:
        """Return the facts that this run has looked at, by host."""
        return {name: state.facts for name, state in self._states.items() if state.facts is not None}

    def stop(self, *, now: bool = False) -> None:
        """Ask every host to end before its next task, or to end the task that runs `now`."""
        self.stopping.set()
        transports = [state.transport for state in self._states.values() if state.transport]
        threads = [threading.Thread(target=one.stop, kwargs={"now": now}, daemon=True) for one in transports]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    # Plays.

    def _prepare(self, playbook: Playbook) -> None:
        """Find out which hosts need root at all, since their shells are opened once."""
        for play in playbook.plays:
            wanted = play.become or any(task.become for task in play.everything())
            for state in self._of(play):
                state.plays += 1
                own = wants_root(state.host)
                state.privileged = state.privileged or bool(wanted or self.settings.become or own)

    def _of(self, play: Play) -> list[HostState]:
        if id(play) not in self._members:
            names = {host.name for host in self.inventory.select(play.hosts)}
            self._members[id(play)] = [state for name, state in self._states.items() if name in names]
        return self._members[id(play)]

    def _play(self, play: Play, playbook: Playbook) -> None:
        self._common = self._shared(play, playbook)
        used = dict.fromkeys(task.module for task in play.everything())
        self._used = {name: self.modules[name] for name in used if name in self.modules}
        self._asked = self._names_asked(play)
        going = [state for state in self._of(play) if not state.failed and not state.lost]
        self.emit(PlayStarted(play=play.name, hosts=tuple(one.host.name for one in going), tasks=len(play.tasks)))
        for batch in batches(play, going):
            if self.stopping.is_set():
                return
            self._batch(play, batch)
            if self._too_many_failed(play, batch):
                for state in going:
                    state.failed = True
                return

    def _too_many_failed(self, play: Play, batch: Sequence[HostState]) -> bool:
        failed = sum(state.failed or state.lost for state in batch)
        if not failed:
            return False
        limit = play.max_fail_percentage
        return play.any_errors_fatal or (limit is not None and failed * 100 / len(batch) > limit)

    def _batch(self, play: Play, states: Sequence[HostState]) -> None:
        if not states:
            return
        gate = Gate(self.settings.ask, [state.host.name for state in states]) if self.settings.ask else None
        forks = len(states) if gate else max(1, min(self.settings.forks, len(states)))
        with ThreadPoolExecutor(forks, thread_name_prefix="host") as pool:
            futures = [pool.submit(self._host, play, state, gate) for state in states]
            self._await(futures, gate)

    def _await(self, futures: Sequence[Future[None]], gate: Gate | None) -> None:
        """Wait for all hosts, and ask for a confirmation when they have planned."""
        done: SimpleQueue[Future[None]] = SimpleQueue()
        for future in futures:
            future.add_done_callback(done.put)
        left = set(futures)
        while left:
            try:
                if gate:
                    self.declined = gate.put_question() or self.declined
                over = {done.get(timeout=0.1 if gate else 0.5)}
            except KeyboardInterrupt:
                self._give_in(gate)
                continue
            except Empty:
                over = {one for one in left if one.done()}  # one may have been taken just when Ctrl-C came
            left -= over
            for future in over:
                future.result()

    def _give_in(self, gate: Gate | None) -> None:
        """Stop as often as it is asked for, also while a stop is under way."""
        while True:
            try:
                self._interrupted(gate)
            except KeyboardInterrupt:
                continue
            return

    def _interrupted(self, gate: Gate | None) -> None:
        """A first Ctrl-C ends hosts between tasks, a second one ends the tasks that run, a third one leaves."""
        self._interrupts += 1
        if gate:
            gate.answer(yes=False)
        if self._interrupts > len(STOPPING):
            self._close()
            os._exit(INTERRUPTED)
        self.emit(Noted(host=None, message=STOPPING[self._interrupts - 1], level="info"))
        self.stop(now=self._interrupts > 1)

    # One host.

    def _host(self, play: Play, state: HostState, gate: Gate | None) -> None:
        if self.stopping.is_set():
            return
        host = state.host.name
        try:
            self._converge(play, state, gate)
        except Interrupted:
            pass
        except HostError as error:
            state.lost = True
            self.emit(lost(host, error, self.settings.explain))
        except LinkLost as error:
            state.lost = True
            self.emit(HostLost(host=host, message=error.message, hint="run again: it goes on where it was"))
        finally:
            if gate:
                gate.leave(host)
            self._leave(state)

    def _converge(self, play: Play, state: HostState, gate: Gate | None) -> None:
        host = state.host.name
        if state.transport is None:
            self.emit(Doing(host=host, what="connecting"))
            state.transport = self.connect(state.host, state.privileged)
        elif state.kept:
            self._keep(state, kept=False)
        run = HostRun(self._scope(play, state), self._options(play, state, gate), self._heard(state), state.memory)
        self._drive(run.converge(), state.transport)
        self._take(state, run.summary)

    def _leave(self, state: HostState) -> None:
        """Hang up and forget what was learnt, where a host has no play left; else keep the connection, if few are."""
        over = state.failed or state.lost or not state.plays
        if over:
            state.memory = Memory()
        if not over and (state.transport is None or self._keep(state, kept=True)):
            return
        self._hang_up(state)

    def _keep(self, state: HostState, *, kept: bool) -> bool:
        """Count a connection as kept for a later play, or as in use again; tell whether there was room for it."""
        with self._counting:
            if kept and self._kept >= max(KEPT, self.settings.forks):
                return False
            self._kept += 1 if kept else -1
            state.kept = kept
            return True

    @staticmethod
    def _hang_up(state: HostState) -> None:
        transport, state.transport = state.transport, None
        if transport is not None:
            with suppress(Exception):
                transport.close()

    def _take(self, state: HostState, summary: Summary) -> None:
        """Add a play's end to what is known of a host, and tell when it was its last one."""
        state.failed = state.failed or summary.failed or summary.interrupted or summary.declined
        state.trips += summary.trips
        state.plays -= 1
        state.not_done += summary.not_done
        state.owed += summary.owed
        self._remember(state, summary)
        if state.failed or not state.plays:
            done = HostFinished(host=state.host.name, not_done=state.not_done, owed=state.owed, trips=state.trips)
            self.emit(done)

    def _drive(self, requests: Requests, transport: Transport) -> None:
        with suppress(StopIteration):
            batch = next(requests)
            while True:
                if self.stopping.is_set() and not batch.steps:
                    raise Interrupted
                replies = iter((Ended("stopped"),)) if self.stopping.is_set() else transport.exchange(batch)
                batch = requests.send(replies)

    def _heard(self, state: HostState) -> Callable[[Event], None]:
        def hear(event: Event) -> None:
            if isinstance(event, TaskFinished):
                if event.result.value.get("docker_run"):
                    state.start_with = str(event.result.value["docker_run"])
                result = with_meaning(event.result, self.settings.explain)
                event = event if result is event.result else TaskFinished(result=result)
            self.emit(event)

        return hear

    def _scope(self, play: Play, state: HostState) -> HostScope:
        settings, host = self.settings, state.host
        return HostScope(
            host=host.name,
            play=play,
            modules=self._used,
            variables=host.vars,
            extra=settings.extra,
            magic=self._magic(host),
            become=settings.become or wants_root(host),
            become_user=settings.become_user or _text(host.vars.get("ansible_become_user")),
            login_user=_text(host.vars.get("ansible_user")),
            check=settings.check,
            options=settings.options,
            services=settings.services,
        )

    def _magic(self, host: Host) -> dict[str, Any]:
        return {
            **self._common,
            "inventory_hostname": host.name,
            "inventory_hostname_short": host.name.split(".")[0],
            "group_names": [name for name in host.groups if name != "all"],
        }

    def _shared(self, play: Play, playbook: Playbook) -> dict[str, Any]:
        """Return what Ansible's names mean on all hosts of a play; what grows with the fleet is there only once."""
        path = self.inventory.path
        hosts = Verbatim([state.host.name for state in self._of(play)])
        return {
            "inventory_file": str(path) if path else "",
            "inventory_dir": str(path.parent) if path else "",
            # Verbatim: it holds no templates, and is not searched for any
            "groups": Verbatim(self._groups),
            "hostvars": Verbatim(self._hostvars),
            "play_hosts": hosts,
            "ansible_play_hosts": hosts,
            "ansible_play_name": play.name,
            "ansible_check_mode": self.settings.check,
            "playbook_dir": str(playbook.path.parent.absolute()),
        }

    def _names_asked(self, play: Play) -> frozenset[str]:
        """Return the names that a play asks for; ANY where it is to know the facts whatever it asks for."""
        if play.gather_facts or any("facts" in one.services for one in self._used.values()):
            return frozenset({ANY})
        return asked_by(play, self.modules) | used_in(self.settings.extra)

    def _needs_facts(self, host: Host) -> bool:
        """Tell whether the facts have to be looked at even if those of the last run are there."""
        names = self._asked | used_in(host.vars)
        return ANY in names or not names.isdisjoint(self.settings.fact_names)

    def _options(self, play: Play, state: HostState, gate: Gate | None) -> Options:
        settings, name = self.settings, state.host.name
        return Options(
            check=settings.check,
            force_handlers=settings.force_handlers or play.force_handlers,
            privileged=state.privileged,
            facts=settings.facts,
            derive=settings.derive,
            assumed=state.facts or self._recall(name),
            gather=self._needs_facts(state.host),
            tags=settings.tags,
            skip_tags=settings.skip_tags,
            gate=(lambda outcomes: gate.ask(name, outcomes)) if gate else None,
        )

    # Between runs.

    def _recall(self, name: str) -> State | None:
        path = self.inventory.facts_file(name)
        if self.settings.facts is None or path.name not in self._noted:
            return None
        with suppress(OSError, ValueError):
            return self.settings.facts.state.parse(path.read_bytes().decode())
        return None

    def _remember(self, state: HostState, summary: Summary) -> None:
        if summary.facts is None:
            return
        state.facts = summary.facts
        path, text = self.inventory.facts_file(state.host.name), summary.facts.render()
        with suppress(OSError):
            if path.is_file() and path.read_text("utf-8") == text:
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.new")
            aside.write_text(text, "utf-8")
            aside.replace(path)

    def _close(self) -> None:
        for state in self._states.values():
            self._hang_up(state)

    def _finish(self) -> None:
        fine = {name: state for name, state in self._states.items() if not (state.failed or state.lost)}
        begin = {name: state.start_with for name, state in fine.items() if state.start_with}
        if self.declined:
            self.emit(Noted(host=None, message="you said no: nothing of that was applied", level="info"))
        self.emit(RunFinished(start_with=begin, interrupted=self.stopping.is_set() or self.declined))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
