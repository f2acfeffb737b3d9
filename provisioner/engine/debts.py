"""What handlers a play owes to a device, and the names under which they are written down there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.wire.owed import OwedState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from provisioner.model import State
    from provisioner.playbook import Task


class Debts:
    """The handlers of one play: which are called for, and how they are known to the device."""

    def __init__(self, play: str, handlers: Sequence[Task]) -> None:
        self._handlers = tuple(handlers)
        self._prefix = f"{play}: "

    def called(self, notified: Iterable[str]) -> list[str]:
        """Return the names of the handlers that are called for, by name or topic, in the order they are written."""
        wanted = set(notified)
        if not wanted:
            return []
        return [task.name for task in self._handlers if task.name in wanted or set(task.listen) & wanted]

    def noted(self, notified: Iterable[str]) -> tuple[str, ...]:
        """Return the same as they are written down on the device: behind the play's name, on one line."""
        return tuple(f"{self._prefix}{name}".replace("\n", " ") for name in self.called(notified))

    def own(self, owed: State | None) -> list[str]:
        """Return what an earlier run left owed that this play can pay."""
        names = (owed.handlers or ()) if isinstance(owed, OwedState) else ()
        return [name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix)]
