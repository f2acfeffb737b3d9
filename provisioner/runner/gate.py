"""The question before anything is changed: asked once, when all the hosts have planned."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from provisioner.engine import Outcome

Ask = Callable[[Mapping[str, Sequence[Outcome]]], bool]


class Gate:
    """Holds the hosts back until all have planned; the main thread then asks once for all of them."""

    def __init__(self, ask: Ask | None, hosts: Iterable[str]) -> None:
        self._ask = ask
        self._active = set(hosts)
        self._waiting: dict[str, Sequence[Outcome]] = {}
        self._answers: dict[str, bool] = {}
        self._changed = threading.Condition()

    def ask(self, host: str, outcomes: Sequence[Outcome]) -> bool:
        """Return the answer for one host, once every other one is planned, or through."""
        with self._changed:
            self._waiting[host] = outcomes
            self._changed.wait_for(lambda: host in self._answers)
            return self._answers.pop(host)

    def leave(self, host: str) -> None:
        """Take note that a host is through."""
        with self._changed:
            self._active.discard(host)

    def put_question(self) -> bool:
        """Ask, if all hosts wait for it; tell whether the answer was no."""
        with self._changed:
            all_wait = len(self._active) <= len(self._waiting) and self._active <= self._waiting.keys()
            planned = dict(self._waiting) if all_wait else {}
        if not planned or self._ask is None:
            return False
        yes = self._ask(planned)
        self.answer(yes=yes)
        return not yes

    def answer(self, *, yes: bool) -> None:
        """Give all that wait their answer."""
        with self._changed:
            self._answers.update(dict.fromkeys(self._waiting, yes))
            self._waiting.clear()
            self._changed.notify_all()
