"""One play on one host: plan against a view, send what is planned, go on from what came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from provisioner.compiler import Compiler, HostScope, Memory
from provisioner.errors import InputError, NotYetKnown, Refused
from provisioner.events import Doing, Event, Noted, TaskFinished
from provisioner.model import ANYTHING, Effect, NeedLook, Observable, State, View
from provisioner.playbook import selected
from provisioner.records import dataclass
from provisioner.templating import Pending
from provisioner.wire import Batch, Ended, Finished, Probed, Reply, Stale, Step
from provisioner.wire.owed import Owed

from .agenda import Agenda, Entry
from .debts import Debts
from .ledger import Ledger
from .outcome import Cursor, Outcome, task_result
from .planner import Planner, finish
from .telling import told

if TYPE_CHECKING:
    from provisioner.playbook import Task

Requests = Generator[Batch, Iterable[Reply], None]

STALE_LIMIT = 3
LOOK_LIMIT = 25
RETURN_LIMIT = 150
RELOOK_LIMIT = 300
"""Looks that go along with steps in case of a surprise: to send more takes longer than to ask anew when one comes."""

NO_SUCH_HANDLER = "owed by an earlier run, and still owed, as this play has no handler of that name"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a play is run on a host.

    `facts` is looked at first and `derive` makes variables of its state; `assumed` is what it was in the last run, and
    will do for the same login where nobody asks to `gather`. `gate` is asked before a batch with changes is sent, and
    may say no. `privileged` tells that the shell is root's.
    """

    check: bool = False
    force_handlers: bool = False
    privileged: bool = True
    facts: Observable[Any] | None = None
    derive: Callable[[State], Mapping[str, Any]] = lambda _state: {}
    assumed: State | None = None
    gather: bool = True
    tags: frozenset[str] = frozenset()
    skip_tags: frozenset[str] = frozenset()
    gate: Callable[[Sequence[Outcome]], bool] | None = None


@dataclass
class Summary:
    """How a play ended on a host; `trips` counts its batches, `not_done` names what was planned and not run."""

    failed: bool = False
    interrupted: bool = False
    declined: bool = False
    not_done: tuple[str, ...] = ()
    owed: tuple[str, ...] = ()
    facts: State | None = None
    trips: int = 0


class HostRun:
    """Runs one play on one host; `converge` yields batches, is sent their replies, and tells `emit` what happened."""

    def __init__(self, scope: HostScope, options: Options, emit: Callable[[Event], None], memory: Memory) -> None:
        self.host = scope.host
        self.play = scope.play
        self.options = options
        self.emit = emit
        self.summary = Summary()
        self.compiler = Compiler(scope)
        self.debts = Debts(scope.play.name, scope.play.handlers)
        self.planner = Planner(check=options.check, privileged=options.privileged, owed_names=self.debts.noted)
        tasks = [one for one in scope.play.tasks if selected(one, options.tags, options.skip_tags)]
        self.agenda = Agenda(tasks, scope.play.handlers)
        self.total = len(tasks)
        self.confirmed = Ledger(memory)
        self.tentative = self.confirmed.copy()
        self.view = View()
        self.cursor = Cursor()
        self.pending: list[Outcome] = []
        self.ended = False
        self._forgiven: tuple[str, ...] = ()
        self._recalled: set[str] = set()
        self._unmade: dict[str, None] = {}
        self._stale_at, self._stale_count = Cursor(-1), 0
        self._look_at, self._look_count = Cursor(-1), 0

    def converge(self) -> Requests:
        """Bring the host to the state that the play declares, or tell what that would take."""
        yield from self._first_look()
        yield from self._work_off()
        if self.summary.failed:
            self._count_what_is_left()
            if self.options.force_handlers:
                yield from self._force_handlers()
            self.summary.owed = tuple(self.confirmed.memory.notified)

    def _work_off(self) -> Requests:
        while True:
            while not self.ended and self.cursor.position < len(self.agenda):
                yield from self._consider()
            if not self.pending and not self._forgiven:
                return
            yield from self._apply(more=False)

    def _force_handlers(self) -> Requests:
        self.agenda = Agenda((), self.play.handlers)
        self.tentative, self.view, self.cursor, self.ended = self.confirmed.copy(), View(), Cursor(), False
        yield from self._work_off()

    # Looking.

    def _first_look(self) -> Requests:
        facts, assumed = self.options.facts, self.options.assumed
        if assumed is not None and not self._learn_facts(assumed) and not self.options.gather:
            facts = None
        self.emit(Doing(host=self.host, what="looking"))
        yield from self._look([Owed(), *([facts] if facts else []), *self._foreseen(0)])
        if facts and facts in self.view.probed:
            self._take_facts(self.view.probed[facts])
        self._tell_of_debts()

    def _tell_of_debts(self) -> None:
        owed = self.debts.own(self.view.probed.get(Owed()))
        payable = self.debts.called(owed)
        unknown = [name for name in owed if name not in payable]
        will = "would be run" if self.options.check else "run now"
        for names, text in ((payable, f"owed by an earlier run, and {will}"), (unknown, NO_SUCH_HANDLER)):
            if names:
                self.emit(Noted(host=self.host, message=f"{text}: {', '.join(names)}", level="info"))

    def _take_facts(self, state: State) -> None:
        assumed = self.options.assumed
        if assumed is None or assumed.render() != state.render():
            self.compiler.thaw()
        self._learn_facts(state)
        self.summary.facts = state

    def _learn_facts(self, state: State) -> bool:
        """Take in facts; tell whether they are of another login than was known."""
        facts = self.options.derive(state)
        self.confirmed.memory.facts = self.tentative.memory.facts = facts
        return self.compiler.log_in(facts.get("ansible_user_id"))

    def _look(self, wanted: Iterable[Observable[Any]], reconnect: float | None = None) -> Requests:
        known = self.view.probed
        missing = tuple(one for one in wanted if not self.view.has(one)) if known else tuple(wanted)
        self.summary.trips += 1
        replies = yield Batch(looks=missing, reconnect=reconnect)
        for reply in replies:
            if isinstance(reply, Probed):
                self.view.learn(reply.observable, reply.state)

    def _look_again(self, observable: Observable[Any], *others: Observable[Any]) -> Requests:
        self._look_count = self._look_count + 1 if self._look_at == self.cursor else 1
        self._look_at = replace(self.cursor)
        if self._look_count > LOOK_LIMIT:
            raise RuntimeError(f"{observable} is asked for again and again")
        yield from self._look([observable, *others, *self._foreseen(self.cursor.position)])
        with suppress(NeedLook):
            if observable.located(self.view) in self.view.planned:
                self._plan_again(observable)

    def _plan_again(self, observable: Observable[Any]) -> None:
        """What was planned on a thing before all of it was looked at is planned again."""
        if self.options.check:
            raise NotYetKnown(f"{observable} was not looked at as a whole")
        probed = View(probed=self.view.probed)
        self._rewind(self.pending[0], probed)

    def _foreseen(self, position: int) -> list[Observable[Any]]:
        """Return what the entries from here on will look at, as far as that is known."""
        memory = self.tentative.memory.copy()
        tasks = [entry.task for entry in self.agenda.entries[position:] if entry.task and not entry.handler]
        for task in tasks:
            if task.register and task.register not in memory.values:
                memory.values[task.register] = Pending(f"known after '{task.name}'", task.register)
        found: list[Observable[Any]] = []
        for task in (*tasks, *self.agenda.handlers):
            self._foresee(task, memory, found)
        return found

    def _foresee(self, task: Task, memory: Memory, found: list[Observable[Any]]) -> None:
        """Add what a task will look at, up to what cannot be told yet."""
        items = self.compiler.prefetch(task, memory)
        for item in items:
            if item.action is not None:
                try:
                    found.extend(item.action.looks_at(item.ctx))
                except (NotYetKnown, InputError):
                    continue
        if not items and (partly := self.compiler.partly(task, memory)):
            cls, arguments, ctx = partly
            with suppress(NotYetKnown, InputError):
                found.extend(cls.foresees(arguments, ctx))

    # Planning.

    def _consider(self) -> Requests:
        entry = self.agenda.entries[self.cursor.position]
        if entry.task is None:
            self._flush_handlers()
            return
        last, rests = True, self._rests_of(entry)
        try:
            items = self.compiler.resolve(entry.task, self.tentative.memory, handler=entry.handler)
            if not items:
                self._accept(self._told(entry, "skipped", "the loop has no items", assumed=rests))
                return
            last = self.cursor.index + 1 == len(items)
            if self.options.check and items[self.cursor.index].read_only:
                rests = tuple(dict.fromkeys((*rests, *self._unmade)))
            outcome = self.planner.plan(items[self.cursor.index], self.cursor, self.view, last=last, rests=rests)
        except NeedLook as need:
            try:
                yield from self._look_again(need.observable, *need.others)
            except NotYetKnown as unknown:
                yield from self._barrier(entry, unknown.reason, last=last)
        except NotYetKnown as unknown:
            yield from self._barrier(entry, unknown.reason, last=last)
        except InputError as error:
            if rests:
                yield from self._barrier(entry, f"known after '{rests[0]}'", last=last)
            else:
                self._accept(self._told(entry, "failed", str(error), error.hint))
        else:
            self._accept(outcome)
            yield from self._send_if_fenced(outcome)

    def _rests_of(self, entry: Entry) -> tuple[str, ...]:
        """Return the tasks that may have changed what a task's values, or the call for a handler, come from."""
        assert entry.task is not None
        ledger = self.tentative
        values = ledger.resting(self.compiler.uses(entry.task, ledger.rests)) if ledger.rests else ()
        calls = ledger.called.get(entry.task.name, ()) if entry.handler else ()
        return tuple(dict.fromkeys((*values, *calls))) if values or calls else ()

    def _told(
        self,
        entry: Entry,
        status: Any,
        message: str,
        hint: str | None = None,
        *,
        last: bool = True,
        assumed: tuple[str, ...] = (),
    ) -> Outcome:
        """Return an outcome of a task without a plan."""
        assert entry.task is not None
        item = self.compiler.bare(entry.task, handler=entry.handler)
        outcome = Outcome(item, replace(self.cursor), last, status, message=message, hint=hint, assumed=assumed)
        if status != "unknown":
            failed, skipped = status == "failed", status == "skipped"
            outcome.result = {"changed": False, "failed": failed, "skipped": skipped, "msg": message, "results": []}
        return outcome

    def _barrier(self, entry: Entry, reason: str, *, last: bool) -> Requests:
        """Something is known only after what is planned so far was done: do it, or in a dry run say so."""
        if self.options.check:
            outcome = self._told(entry, "unknown", reason, last=last)
            self._accept(outcome)
            self.view.disturbances.append((ANYTHING, outcome.item.label))
        elif (opened := self._first_open()) is not None:
            self._take_back(opened)
            yield from self._apply(more=True)
        elif any(outcome.step for outcome in self.pending):
            yield from self._apply(more=True)
        else:
            self._accept(self._told(entry, "failed", f"this cannot be told: {reason}"))

    def _first_open(self) -> Outcome | None:
        """Return the first of what is planned that only told, of something which what is planned before will change."""
        acting = False
        for outcome in self.pending:
            if acting and outcome.step is None and outcome.item.task.register and outcome.is_open:
                return outcome
            acting = acting or outcome.step is not None
        return None

    def _take_back(self, outcome: Outcome) -> None:
        """Leave what was planned from here on to be planned again, once what is before it was done."""
        self.pending = self.pending[: self.pending.index(outcome)]
        self.ended = False
        self.cursor = replace(outcome.at)
        self.agenda.rewind(self.cursor.position)

    def _accept(self, outcome: Outcome) -> None:
        """Take a planned outcome as done, for the plan of what follows."""
        for effect in outcome.plan.effects:
            calm = _calmed(effect) if outcome.item.read_only else effect
            self.view.lay(calm, outcome.item.label, outcome.assumed)
        if (outcome.plan.changes and not outcome.item.read_only) or outcome.status == "unknown":
            self._unmade[outcome.item.label] = None
        self.pending.append(outcome)
        self.tentative.enter(outcome, self.debts.called(outcome.notifies))
        self.ended = self.ended or outcome.ends_host
        at = outcome.at
        self.cursor = Cursor(at.position + 1) if outcome.last else Cursor(at.position, at.index + 1)
        if not any(self._to_send(one) for one in self.pending):
            self._emit_through(None)

    def _to_send(self, outcome: Outcome) -> bool:
        return outcome.step is not None and (not self.options.check or outcome.item.read_only)

    # Handlers.

    def _flush_handlers(self) -> None:
        recalled = [name for name in self.debts.own(self.view.probed.get(Owed())) if name not in self._recalled]
        self._recalled.update(recalled)
        self.agenda.flush(self.cursor.position, [*self.tentative.memory.notified, *recalled])
        self.cursor = Cursor(self.cursor.position + 1)

    # Applying.

    def _send_if_fenced(self, outcome: Outcome) -> Requests:
        """Send at once what decides by its output how to go on, ends the session, or runs in a dry run too."""
        if not self._to_send(outcome) or outcome.step is None:
            return
        if self.options.check or outcome.undecided or outcome.step.ends_session:
            yield from self._apply(more=not (self.options.check or outcome.step.ends_session))

    def _apply(self, *, more: bool) -> Requests:
        outcomes = [one for one in self.pending if self._to_send(one)]
        if not outcomes and not self._forgiven:
            self._emit_through(None)
            return
        if self.options.gate and outcomes and not self.options.gate(outcomes):
            self.summary.declined = True
            self._stop_before(outcomes[0])
            return
        batch, numbered = self._batch(outcomes, more=more)
        witnesses = dict(self.view.probed)
        self.summary.trips += 1
        replies = yield batch
        yield from self._hear(batch, replies, numbered, witnesses)

    def _batch(self, outcomes: Sequence[Outcome], *, more: bool) -> tuple[Batch, dict[int, Outcome]]:
        numbered = dict(enumerate(outcomes))
        steps = [replace(one.step, number=n) for n, one in numbered.items() if one.step]
        for outcome, step in zip(outcomes, steps, strict=True):
            outcome.step = step
        relook: list[Observable[Any]] = []
        if not self.options.check:
            start = outcomes[0].at.position if outcomes else self.cursor.position
            relook = [Owed(), *(guard.observable for step in steps for guard in step.guards), *self._foreseen(start)]
            if not more and len(relook) > RELOOK_LIMIT:
                relook = [Owed()]
        if self._forgiven:
            steps.append(Step(number=len(steps), settles=self._forgiven))
            self._forgiven = ()
        return Batch(steps=tuple(steps), relook=tuple(relook), more=more), numbered

    def _hear(
        self,
        batch: Batch,
        replies: Iterable[Reply],
        outcomes: Mapping[int, Outcome],
        before: Mapping[Observable[Any], State],
    ) -> Requests:
        fresh = View()
        stale: Outcome | None = None
        status = "lost"
        for reply in replies:
            if isinstance(reply, Probed):
                fresh.learn(reply.observable, reply.state)
            elif isinstance(reply, Stale):
                stale = outcomes[reply.step]
            elif isinstance(reply, Finished) and reply.step in outcomes:
                self._finished(outcomes[reply.step], reply)
            elif isinstance(reply, Ended):
                status = reply.status
            else:
                self._tell(told(self.host, reply, outcomes, self.total))
        yield from self._go_on(batch, status, fresh, stale, before)

    def _finished(self, outcome: Outcome, reply: Finished) -> None:
        owed = outcome.step.owes if outcome.step else ()
        finish(outcome, reply)
        if owed and outcome.status == "ok":
            due = self.debts.noted(self.confirmed.memory.notified)
            self._forgiven += tuple(one for one in owed if one not in due)
        self._emit_through(outcome)

    def _go_on(
        self,
        batch: Batch,
        status: str,
        fresh: View,
        stale: Outcome | None,
        before: Mapping[Observable[Any], State],
    ) -> Requests:
        if status in ("unwritable", "busy"):
            raise Refused(
                "the device does not take the run's own files (/run/provision and /var/lib/provision)",
                hint="is its file system read-only, or full?",
            )
        unfinished = next((one for one in self.pending if self._to_send(one)), None)
        if status == "stale" and stale is not None:
            self._count_stale(stale)
            self._rewind(stale, fresh)
        elif status in ("stopped", "failed"):
            self.summary.interrupted = status == "stopped"
            self._stop_before(unfinished)
        elif status != "done" and unfinished is not None:
            self._rewind(unfinished, View())
        else:
            self._emit_through(None)
            self._begin_again(fresh if batch.more else View())
            leaving = next((effect for step in batch.steps for effect in step.effects if effect.ends_session), None)
            if leaving is not None:
                yield from self._come_back(leaving, before)

    def _begin_again(self, fresh: View) -> None:
        """Plan on from what the device told last; a dry run keeps what it has laid over."""
        self.tentative = self.confirmed.up_to(self.cursor)
        if self.options.check:
            return
        facts, owed = self.options.facts, Owed()
        kept = {one: self.view.probed[one] for one in (facts, owed) if one and one in self.view.probed}
        self.view = fresh
        for one, state in kept.items():
            self.view.probed.setdefault(one, state)

    def _count_stale(self, outcome: Outcome) -> None:
        self._stale_count = self._stale_count + 1 if outcome.at == self._stale_at else 1
        self._stale_at = outcome.at
        if self._stale_count >= STALE_LIMIT:
            raise Refused(
                f"'{outcome.item.label}': what it rests on changed under it {STALE_LIMIT} times in a row",
                hint="is something else managing this device?",
            )

    def _rewind(self, outcome: Outcome, fresh: View) -> None:
        """What was planned from here on is planned again."""
        self._emit_before(outcome)
        self.pending, self.ended = [], False
        self.cursor = replace(outcome.at)
        self.agenda.rewind(self.cursor.position)
        self._recalled = set()
        self._begin_again(fresh)

    def _come_back(self, leaving: Effect, before: Mapping[Observable[Any], State]) -> Requests:
        """Wait until the device is back from a reboot, by the witness that has to differ."""
        facts, witness = self.options.facts, leaving.witness
        looks = [one for one in (Owed(), witness, facts) if one]
        for _ in range(RETURN_LIMIT):
            self.emit(Doing(host=self.host, what="waiting for the device to come back"))
            self.view = View()
            yield from self._look(looks, reconnect=float(leaving.timeout))
            if witness is None or self.view.probed.get(witness) != before.get(witness):
                if facts and facts in self.view.probed:
                    self._take_facts(self.view.probed[facts])
                return
        raise Refused("the device was to reboot, and did not", hint="look at its console")

    # Telling.

    def _tell(self, event: Event | None) -> None:
        if event is not None:
            self.emit(event)

    def _emit_before(self, outcome: Outcome | None) -> None:
        while self.pending and self.pending[0] is not outcome:
            self._emit(self.pending.pop(0))

    def _emit_through(self, outcome: Outcome | None) -> None:
        """Tell of what is settled: all up to an outcome, or all there is."""
        self._emit_before(outcome)
        if self.pending:
            self._emit(self.pending.pop(0))

    def _emit(self, outcome: Outcome) -> None:
        if not self.options.check:
            outcome.assumed = ()
        self.confirmed.enter(outcome, self.debts.called(outcome.notifies))
        self.emit(TaskFinished(result=task_result(outcome, self.host, self.play.name)))
        if outcome.ends_host:
            self.summary.failed = True
            self.ended = True

    def _stop_before(self, outcome: Outcome | None) -> None:
        """End here: of what was planned, the part before an outcome is told of, and nothing after a failure."""
        self.ended = True
        if not self.summary.failed:
            self._emit_before(outcome)
        if self.pending:
            self.cursor = replace(self.pending[0].at)
        self.pending = []
        self._count_what_is_left()

    def _count_what_is_left(self) -> None:
        if not self.summary.not_done:
            rest = self.agenda.entries[self.cursor.position :]
            tasks = (entry.task for entry in rest if entry.task)
            self.summary.not_done = tuple(task.name for task in tasks if not self._is_for_others(task))

    def _is_for_others(self, task: Task) -> bool:
        """Tell whether it is known that a task would have been skipped."""
        with suppress(NotYetKnown, InputError):
            return all(item.skipped for item in self.compiler.resolve(task, self.tentative.memory))
        return False


def _calmed(effect: Effect) -> Effect:
    """Return the effect of a task that was declared to be read-only."""
    return replace(effect, disturbs=())
