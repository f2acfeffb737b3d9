"""What a host's run has learnt: for certain, and as planned."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING

from provisioner.records import dataclass
from provisioner.templating import Verbatim

from .outcome import gathered

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.compiler import Memory

    from .outcome import Cursor, Outcome


@dataclass
class Ledger:
    """A memory, the items of the loop that is under way, and what rests on what other tasks may have changed.

    `rests` are the names of values that do, `called` the handlers that are called for only by tasks that do.
    """

    memory: Memory
    part: list[Outcome] = field(default_factory=list)
    rests: dict[str, tuple[str, ...]] = field(default_factory=dict)
    called: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def enter(self, outcome: Outcome, handlers: list[str]) -> None:
        """Take in what an outcome tells later tasks; `handlers` are those that it calls for."""
        if outcome.at.index == 0:
            self.part = []
        self.part.append(outcome)
        for name, value in outcome.plan.sets.items():
            self.memory.values[name] = Verbatim(value)
            self._rest(name, outcome.assumed)
        if handlers:
            self._call(outcome, handlers)
        item = outcome.item
        if item.handler and outcome.last:
            self.memory.notified.pop(item.task.name, None)
        if item.task.register and outcome.last:
            looped = item.item is not None
            self.memory.values[item.task.register] = gathered(self.part) if looped else outcome.registered
            self._rest(item.task.register, _labels(one.assumed for one in self.part))

    def _rest(self, name: str, labels: tuple[str, ...]) -> None:
        self.rests.pop(name, None)
        if labels:
            self.rests[name] = labels

    def _call(self, outcome: Outcome, handlers: list[str]) -> None:
        for name in handlers:
            if name not in self.memory.notified or not outcome.assumed:
                self.called[name] = outcome.assumed
        self.memory.notified.update(dict.fromkeys(handlers))

    def resting(self, names: Iterable[str]) -> tuple[str, ...]:
        """Return the tasks on which the values of these names rest."""
        return _labels(self.rests.get(name, ()) for name in names)

    def copy(self) -> Ledger:
        """Return a copy that can be changed on its own."""
        return Ledger(self.memory.copy(), list(self.part), dict(self.rests), dict(self.called))

    def up_to(self, at: Cursor) -> Ledger:
        """Return a copy whose loop under way is that of a place."""
        copy = self.copy()
        copy.part = [one for one in copy.part if one.at.position == at.position and one.at < at]
        return copy


def _labels(groups: Iterable[Iterable[str]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(label for group in groups for label in group))
