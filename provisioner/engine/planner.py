"""From an item and a view to an outcome: its status, its result, and the step that makes it true."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.compiler import verdict
from provisioner.errors import InputError, NotYetKnown
from provisioner.model import NeedLook, Ran
from provisioner.wire import Check, Guard, Step

from .outcome import Cursor, Outcome, base_result
from .words import why_failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from provisioner.compiler import Item
    from provisioner.model import Observable, State, View
    from provisioner.wire import Finished

SKIPPED = {"changed": False, "failed": False, "skipped": True, "skip_reason": "Conditional result was False"}


class Planner:
    """Plans one item after the other; `owed_names` gives the handlers, as they are noted on the device."""

    def __init__(
        self, *, check: bool, privileged: bool, owed_names: Callable[[Iterable[str]], tuple[str, ...]]
    ) -> None:
        self.check = check
        self.privileged = privileged
        self.owed_names = owed_names

    def plan(self, item: Item, at: Cursor, view: View, *, last: bool, rests: tuple[str, ...] = ()) -> Outcome:
        """Return the planned outcome of an item; raises NeedLook, NotYetKnown and InputError.

        `rests` are the tasks that may have changed what its values were made of.
        """
        outcome = Outcome(item, Cursor(at.position, at.index), last, "skipped", assumed=rests)
        if item.action is None:
            outcome.result, outcome.message = dict(SKIPPED), item.skipped
            self._make_step(outcome, view)
            return outcome
        view.begin()
        plan = outcome.plan = item.action.plan(view, item.ctx)
        outcome.assumed = tuple({**dict.fromkeys(rests), **view.assumed}) if view.assumed else rests
        if plan.failed and outcome.assumed:
            raise NotYetKnown(f"known after '{outcome.assumed[0]}'")
        self._weigh(outcome)
        self._make_step(outcome, view)
        return outcome

    def _weigh(self, outcome: Outcome) -> None:
        plan = outcome.plan
        outcome.message, outcome.hint = plan.failed or plan.message or plan.skipped, plan.hint
        if plan.skipped:
            outcome.result = {**plan.result, **SKIPPED, "msg": plan.skipped}
        elif any(effect.opaque for effect in plan.effects):
            self._weigh_opaque(outcome)
        else:
            changes, failed = plan.changes, bool(plan.failed)
            self._conclude(outcome, base_result(plan, changed=changes, failed=failed), changed=changes, failed=failed)

    def _weigh_opaque(self, outcome: Outcome) -> None:
        """Ask changed_when and failed_when, which may well not depend on the output."""
        item, task = outcome.item, outcome.item.task
        outcome.status = "changed"
        try:
            if not verdict(item, task.changed_when, outcome.pending, otherwise=True):
                outcome.status = "ok"
            if verdict(item, task.failed_when, outcome.pending, otherwise=False):
                outcome.undecided = "it fails whatever its output"
        except NotYetKnown:
            outcome.undecided = "its own output decides"
            if self.check and not item.read_only:
                outcome.status, outcome.message = "unknown", outcome.undecided

    @staticmethod
    def _conclude(outcome: Outcome, result: dict[str, Any], *, changed: bool, failed: bool) -> None:
        item, task = outcome.item, outcome.item.task
        if task.failed_when is not None or task.changed_when is not None:
            failed = verdict(item, task.failed_when, result, otherwise=failed)
            changed = verdict(item, task.changed_when, result, otherwise=changed)
            result = {**result, "changed": changed, "failed": failed}
        outcome.status = "failed" if failed else "changed" if changed else "ok"
        outcome.result = result

    def _make_step(self, outcome: Outcome, view: View) -> None:
        """Give an outcome its step: it has effects, or rests on what an earlier step may change, or ends a debt."""
        item, plan = outcome.item, outcome.plan
        settles = self.owed_names([item.task.name]) if item.handler and outcome.last else ()
        rests = item.action is not None and bool(view.assumed) and outcome.status != "failed"
        if not (plan.changes or rests or settles):
            return
        leaves: dict[Observable[Any], State] = {}
        for effect in plan.effects:
            leaves.update({_placed(one, view): state for one, state in effect.leaves.items()})
        reads = {} if self.check or item.action is None else view.reads
        outcome.step = Step(
            number=0,
            guards=tuple(
                Guard(one, state) for one, state in reads.items() if one.guarded and not one.follows_from(state, reads)
            ),
            effects=plan.effects,
            checks=tuple(Check(one, state) for one, state in leaves.items()),
            owes=self.owed_names(item.notify) if outcome.status == "changed" else (),
            settles=settles,
            user=self._other_user(item) if plan.changes else None,
            goes_on=item.ignore_errors or item.task.failed_when is not None,
            secret=item.no_log,
        )

    def _other_user(self, item: Item) -> str | None:
        owner = "root" if self.privileged else item.ctx.login_user
        if item.ctx.user == owner:
            return None
        if not self.privileged:
            raise InputError(f"only root can become {item.ctx.user}", source=item.task.source, hint="add become: true")
        return item.ctx.user


def _placed(observable: Observable[Any], view: View) -> Observable[Any]:
    """Return the one name of a thing, under which it is found whatever becomes of the links that led there."""
    try:
        return observable.located(view)
    except (NeedLook, NotYetKnown):
        return observable


def finish(outcome: Outcome, reply: Finished) -> None:
    """Give an outcome the status and the result that the device's answer makes of it."""
    plan = outcome.plan
    if not plan.changes:
        return
    ran = outcome.ran = Ran(reply.rc, reply.stdout, reply.stderr)
    refused = bool(reply.differs) or reply.unmoved
    result = base_result(plan, changed=True, failed=reply.rc != 0 or refused)
    result.update(plan.finish(ran) if plan.finish else {})
    item, task = outcome.item, outcome.item.task
    try:
        failed = verdict(item, task.failed_when, result, otherwise=reply.rc != 0) or refused
        changed = verdict(item, task.changed_when, result, otherwise=True)
    except (InputError, NotYetKnown) as error:
        failed, changed, outcome.hint = True, True, f"changed_when or failed_when cannot be told: {error}"
    outcome.status = "failed" if failed else "changed" if changed else "ok"
    if failed:
        explained = result.get("msg") if result.get("hint") and not refused else None
        checks = outcome.step.checks if outcome.step else ()
        outcome.message = result["msg"] = str(explained or why_failed(checks, reply))
        outcome.hint = outcome.hint or result.get("hint")
    elif result.get("msg"):
        outcome.message = str(result["msg"])
    outcome.result = {**result, "changed": changed, "failed": failed}
