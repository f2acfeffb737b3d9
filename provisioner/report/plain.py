"""Lines for a pipe: no colour, no cursor, nothing that a log would not want to hold."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, TextIO

from provisioner.errors import InputError
from provisioner.events import Doing, Progressed, RunFinished, RunStarted, TaskFinished
from provisioner.report.blocks import Narrator
from provisioner.report.closing import closing
from provisioner.report.recap import Recap
from provisioner.report.text import encodable, one_line, row, size, to_plain

if TYPE_CHECKING:
    from provisioner.events import Event
    from provisioner.report.text import Row

_FULL = "make room where the output goes; what was done on the devices is done, and another run tells of the rest"
EVERY = 10.0  # seconds between two lines that only tell how far a host is


class PlainReport:
    """Writes a run as lines to a stream."""

    def __init__(self, stream: TextIO, verbosity: int = 0, *, diff: bool = False) -> None:
        self.recap = Recap()
        self._stream = stream
        self._narrator = Narrator(verbosity, diff=diff)
        self._lock = threading.Lock()
        self._failure: OSError | None = None
        self._last: dict[str, float] = {}
        self._doing: dict[str, Doing] = {}

    def __call__(self, event: Event) -> None:
        """Write what an event is worth; a block is never torn by another thread's."""
        with self._lock:
            self.recap(event)
            rows = self._narrator.rows(event)
            match event:
                case TaskFinished():
                    if rows:
                        self._last[event.result.host] = event.at
                case Doing() | Progressed():
                    rows = self._sparse(event)
                case RunStarted():
                    self._last.clear()
                case RunFinished():
                    rows = closing(self.recap)
                case _:
                    pass
            self._write(rows)

    def close(self) -> None:
        """Finish; every block was flushed when it was written. Raises InputError where that was not possible."""
        if self._failure is not None and not isinstance(self._failure, BrokenPipeError):
            cause = self._failure.strerror or self._failure
            raise InputError(f"not all that there was to tell could be written: {cause}", hint=_FULL)

    def _sparse(self, event: Doing | Progressed) -> list[Row]:
        """Return a row for a host of which nothing was written for a while."""
        if isinstance(event, Doing):
            self._doing[event.host] = event
        if event.at - self._last.setdefault(event.host, event.at) < EVERY:
            return []
        self._last[event.host] = event.at
        return [row(*self._narrator.lead(event.host, "...", ""), self._how_far(event))]

    def _how_far(self, event: Doing | Progressed) -> str:
        doing = self._doing.get(event.host)
        step = f"{doing.step}/{doing.steps} " if doing and doing.steps else ""
        what = step + one_line(doing.what) if doing else ""
        if isinstance(event, Doing):
            return what
        return ": ".join(part for part in (what, amount(event.done, event.total), one_line(event.text)) if part)

    def _write(self, rows: list[Row]) -> None:
        """Write rows; a reader that has gone (`| head`), or a full disk, must not stop the work on the hosts."""
        if rows and self._failure is None:
            try:
                self._stream.write(encodable("".join(f"{to_plain(line)}\n" for line in rows), self._stream))
                self._stream.flush()
            except OSError as error:
                self._failure = error


def amount(done: int | None, total: int | None) -> str:
    """Return how many bytes are done, of how many where that is known."""
    if done is None:
        return ""
    return f"{size(done)} / {size(total)}" if total else size(done)
