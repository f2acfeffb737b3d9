"""The order of a play's tasks on one host, with the handlers where they are flushed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from provisioner.playbook import Task


@dataclass(frozen=True)
class Entry:
    """A task, a handler that is due, or (without a task) the place where handlers are flushed."""

    task: Task | None
    handler: bool = False


class Agenda:
    """What is to be done, in order; handlers are laid in behind the flush that finds them due."""

    def __init__(self, tasks: Iterable[Task], handlers: Iterable[Task]) -> None:
        self.entries = [Entry(None if task.module == "meta" else task) for task in tasks]
        self.entries.append(Entry(None))
        self.handlers = tuple(handlers)

    def __len__(self) -> int:
        """Return how many entries there are now."""
        return len(self.entries)

    def flush(self, position: int, due: Collection[str]) -> list[Task]:
        """Lay the handlers of these names, in the order in which they are written, behind a position."""
        self.rewind(position)
        found = [task for task in self.handlers if task.name in due or set(task.listen) & set(due)]
        self.entries[position + 1 : position + 1] = [Entry(task, handler=True) for task in found]
        return found

    def rewind(self, position: int) -> None:
        """Take out the handlers that were laid in behind the flushes from a position on."""
        here = self.entries[position] if position < len(self.entries) else None
        keep = position + 1
        if here is not None and here.handler:
            while keep < len(self.entries) and self.entries[keep].handler:
                keep += 1
        self.entries[keep:] = [entry for entry in self.entries[keep:] if not entry.handler]
