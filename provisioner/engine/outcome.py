"""How one item of one task is planned to end, and how it ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from functools import partial
from typing import TYPE_CHECKING, Any

from provisioner.events import Status, TaskResult
from provisioner.model import Plan, Ran, Shown, Shows, Unknown
from provisioner.records import dataclass
from provisioner.templating import Pending, Verbatim

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from provisioner.compiler import Item
    from provisioner.model import Effect
    from provisioner.wire import Step

_SIMPLE = frozenset({str, int, bool, float, type(None)})

_NO_PLAN = Plan()

NO_LOG = "the output is hidden, as no_log is set"


@dataclass(order=True)
class Cursor:
    """Where a plan is: an entry of the agenda, and an item of its loop."""

    position: int = 0
    index: int = 0


@dataclass(eq=False)
class Outcome:
    """One item: what was planned for it, and what became of that.

    `result` is what is registered, None as long as only the device can tell. `undecided` says why its own output has
    to be seen before anything is planned on it.
    """

    item: Item
    at: Cursor
    last: bool
    status: Status
    plan: Plan = _NO_PLAN
    step: Step | None = None
    message: str | None = None
    hint: str | None = None
    assumed: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None
    ran: Ran | None = None
    undecided: str | None = None
    _registered: tuple[Mapping[str, Any], Verbatim] | None = field(default=None, init=False, repr=False)

    @property
    def notifies(self) -> tuple[str, ...]:
        """Return the handlers that it calls for."""
        return self.item.notify if self.status == "changed" else ()

    @property
    def ignored(self) -> bool:
        """Tell whether it failed and the host goes on."""
        return self.status == "failed" and self.item.ignore_errors

    @property
    def ends_host(self) -> bool:
        """Tell whether the host's run is over with it."""
        return self.status == "failed" and not self.item.ignore_errors

    @property
    def is_open(self) -> bool:
        """Tell whether some of its result is still to come."""
        return _has_unknown(self.result)

    @property
    def registered(self) -> object:
        """Return what later tasks see under the registered name; what a device said is never rendered."""
        if self.result is None:
            return self.pending
        if self._registered is None or self._registered[0] is not self.result:
            self._registered = self.result, Verbatim(_opened(self.result))
        return self._registered[1]

    @property
    def pending(self) -> Pending:
        """Return what stands for its result until that is there."""
        return Pending(f"known after '{self.item.label}'", self.item.task.register or "")


def _opened(value: Any) -> Any:
    """Return a value in which what is Unknown is pending, so that whoever asks for it waits."""
    if type(value) in _SIMPLE:
        return value
    if isinstance(value, Unknown):
        return Pending(value.reason, "")
    if isinstance(value, Mapping):
        return {name: one if type(one) in _SIMPLE else _opened(one) for name, one in value.items()}
    return [_opened(one) for one in value] if isinstance(value, list) else value


def _has_unknown(value: Any) -> bool:
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return isinstance(value, Unknown) or any(_has_unknown(one) for one in parts)


def gathered(part: Sequence[Outcome]) -> object:
    """Return what a loop registers: the results of its items, and whether any changed, failed, or all were skipped."""
    still_open = next((one for one in part if one.result is None), None)
    if still_open is not None:
        return still_open.pending
    results = [{**_opened(one.result or {}), "item": one.item.value} for one in part]
    return Verbatim(
        {
            "results": results,
            "changed": any(one.get("changed") for one in results),
            "failed": any(one.get("failed") for one in results),
            "skipped": all(one.get("skipped") for one in results),
        }
    )


def _shown(effects: Iterable[Effect]) -> Iterator[Shown]:
    return (shown for effect in effects for shown in effect.shows)


def task_result(outcome: Outcome, host: str, play: str) -> TaskResult:
    """Return the record of an outcome for the reports; nothing of a no_log task is in it."""
    item, ran, secret = outcome.item, outcome.ran, outcome.item.no_log
    message = outcome.message
    effects = outcome.plan.effects if outcome.status != "failed" else ()  # nobody knows how much of it was done
    late = any(isinstance(effect.shows, Shows) for effect in effects)
    shows = Shows(partial(_shown, effects)) if late else tuple(_shown(effects))
    return TaskResult(
        host=host,
        play=play,
        task=item.label,
        module=item.task.module,
        status=outcome.status,
        source=item.task.source,
        item="(hidden)" if secret and item.item is not None else item.item,
        shows=shows,
        message=NO_LOG if secret and message else message,
        hint=outcome.hint,
        rc=ran.rc if ran else None,
        stdout=ran.stdout if ran and not secret else "",
        stderr=ran.stderr if ran and not secret else "",
        assumed_after=outcome.assumed,
        warnings=outcome.plan.warnings,
        ignored=outcome.ignored,
        handler=item.handler,
        no_log=secret,
        value=dict(outcome.result) if outcome.result and not secret else {},
    )


def base_result(plan: Plan, *, changed: bool, failed: bool = False) -> dict[str, Any]:
    """Return what a task registers: the module's values, and whether it changed or failed."""
    result: dict[str, Any] = {**plan.result, "changed": changed, "failed": failed}
    message = plan.failed or plan.message
    if message is not None:
        result.setdefault("msg", message)
    return result
