"""A fleet that is watched: what is known of it now, and the screens that show it again and again."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from provisioner.report.board import ASCII, UNICODE
from provisioner.report.facts import as_data
from provisioner.report.seen import Lost, Seen, record
from provisioner.report.status import headline, shortened, table
from provisioner.report.text import Row, encodable, row, to_ansi, to_plain, wants_colour

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rich.console import Console, ConsoleOptions, RenderResult

    from provisioner.report.seen import Drift

_PLAIN = 1000  # columns where the output is no terminal: nobody cuts there
_TURN = 0.25  # seconds between two drawings of the clocks


class Watched:
    """What is known of a fleet: told by many threads, read by one."""

    def __init__(self, names: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._seen = {name: Seen(name=name) for name in names}
        self._lock = threading.Lock()
        self.clock = clock

    def asks(self, name: str) -> None:
        """Take note that a host is being asked."""
        self._change(name, asked=self.clock())

    def told(self, name: str, told: Mapping[str, Any]) -> None:
        """Take note of how a host does."""
        self._change(name, told=dict(told), at=self.clock(), asked=None, lost=None)

    def plans(self, name: str) -> None:
        """Take note that a host's drift is being looked for, which takes a while."""
        self._change(name, busy=True)

    def drifted(self, name: str, drift: Drift) -> None:
        """Take note of what drifted on a host."""
        self._change(name, drift=drift, busy=False)

    def loses(self, name: str, why: str, *, hint: str | None = None, again: float | None = None) -> None:
        """Take note that a host is lost, and in how many seconds it is tried again."""
        now = self.clock()
        with self._lock:
            before = self._seen[name]
            # what counts is since when nothing is known of it, not when that was last found out
            since = before.lost.since if before.lost else before.at if before.at is not None else now
            lost = Lost(why=why, since=since, hint=hint, again=None if again is None else now + again)
            self._seen[name] = replace(before, lost=lost, busy=False, asked=None)

    def fleet(self) -> list[Seen]:
        """Return what is known now, host by host."""
        with self._lock:
            return list(self._seen.values())

    def _change(self, name: str, **values: Any) -> None:
        with self._lock:
            self._seen[name] = replace(self._seen[name], **values)


class Screen(Protocol):
    """Shows a fleet until it is told to stop."""

    def show(self) -> None:
        """Show what is known now."""
        ...

    def close(self) -> None:
        """Leave the terminal as it was."""
        ...


class Sheet:
    """The table in plain lines, or in colour on a terminal; with `moving`, a headline with the time above each."""

    def __init__(
        self, watched: Watched, stream: TextIO, *, drift: bool, patience: float, title: str = "", moving: bool = False
    ) -> None:
        self._watched, self._stream = watched, stream
        self._drift, self._patience, self._title, self._moving = drift, patience, title, moving

    def show(self) -> None:
        """Write the table."""
        fleet, now = self._watched.fleet(), self._watched.clock()
        colour, terminal = wants_colour(self._stream), self._stream.isatty()
        width = shutil.get_terminal_size((140, 24)).columns if terminal else _PLAIN
        rows = table(fleet, now, width, drift=self._drift, patience=self._patience)
        if self._moving:
            rows = [row((_above(self._title, headline(fleet, now, self._patience)), "strong")), *rows, row()]
        render = to_ansi if colour else to_plain
        self._stream.write(encodable("".join(f"{render(line).rstrip()}\n" for line in rows), self._stream))
        self._stream.flush()

    def close(self) -> None:
        """There is nothing to take down."""


class Lines:
    """JSON for programs: one document, or with `moving` one line for each time."""

    def __init__(self, watched: Watched, stream: TextIO, *, drift: bool, moving: bool = False) -> None:
        self._watched, self._stream, self._drift, self._moving = watched, stream, drift, moving

    def show(self) -> None:
        """Write what is known now."""
        now = self._watched.clock()
        hosts = {seen.name: record(seen, now, drift=self._drift) for seen in self._watched.fleet()}
        data: object = (
            {"at": datetime.now(UTC).isoformat(timespec="seconds"), "hosts": hosts} if self._moving else hosts
        )
        self._stream.write(json.dumps(as_data(data), indent=None if self._moving else 2) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """There is nothing to take down."""


class LiveTable:
    """The table as a region of a terminal, drawn anew several times a second, so that its clocks move."""

    def __init__(self, watched: Watched, console: Console, *, drift: bool, patience: float, title: str = "") -> None:
        from rich.live import Live

        self._watched, self._title = watched, title
        self._drift, self._patience = drift, patience
        self._live = Live(self, console=console, refresh_per_second=1 / _TURN)
        self._live.start()

    def show(self) -> None:
        """Draw it now."""
        self._live.refresh()

    def close(self) -> None:
        """Leave the last table where it is, and the cursor below it."""
        self._live.stop()

    def rows(self, width: int, height: int, *, ascii_only: bool = False) -> list[Row]:
        """Return what a terminal of this size shows."""
        fleet, now = self._watched.fleet(), self._watched.clock()
        marks = ASCII if ascii_only else UNICODE
        kept, rest = shortened(fleet, height - 4, now, self._patience)
        lines = table(kept, now, width, drift=self._drift, patience=self._patience, marks=marks)
        above = _above(self._title, headline(fleet, now, self._patience))
        return [row((above[:width], "strong")), *lines, *([row((rest, "dim"))] if rest else [])]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from provisioner.report.live import to_text

        text = to_text(self.rows(options.max_width, console.size.height, ascii_only=options.ascii_only))
        text.no_wrap, text.overflow = True, "crop"
        yield text


def _above(title: str, words: str) -> str:
    return "  ".join(part for part in (title, datetime.now().astimezone().strftime("%H:%M:%S"), words) if part)
