"""What a host's run has learnt: for certain, and as planned."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from provisioner.templating import Verbatim

from .outcome import gathered

if TYPE_CHECKING:
    from provisioner.compiler import Memory

    from .outcome import Cursor, Outcome


@dataclass
class Ledger:
    """A memory, and the items of the loop that is under way."""

    memory: Memory
    part: list[Outcome] = field(default_factory=list)

    def enter(self, outcome: Outcome, handlers: list[str]) -> None:
        """Take in what an outcome tells later tasks; `handlers` are those that it calls for."""
        if outcome.at.index == 0:
            self.part = []
        self.part.append(outcome)
        self.memory.values.update({name: Verbatim(value) for name, value in outcome.plan.sets.items()})
        self.memory.notified.update(dict.fromkeys(handlers))
        item = outcome.item
        if item.handler and outcome.last:
            self.memory.notified.pop(item.task.name, None)
        if item.task.register and outcome.last:
            looped = item.item is not None
            self.memory.values[item.task.register] = gathered(self.part) if looped else outcome.registered

    def copy(self) -> Ledger:
        """Return a copy that can be changed on its own."""
        return Ledger(self.memory.copy(), list(self.part))

    def up_to(self, at: Cursor) -> Ledger:
        """Return a copy whose loop under way is that of a place."""
        copy = self.copy()
        copy.part = [one for one in copy.part if one.at.position == at.position and one.at < at]
        return copy
