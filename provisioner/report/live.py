"""A run on a terminal: what happened scrolls by, what happens now moves below it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from rich.live import Live
from rich.text import Text

from provisioner.events import RunFinished, RunStarted
from provisioner.report.blocks import Narrator
from provisioner.report.board import ASCII, UNICODE, Board
from provisioner.report.closing import closing
from provisioner.report.text import rich_style, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rich.console import Console, ConsoleOptions, RenderResult

    from provisioner.events import Event
    from provisioner.report.recap import Recap
    from provisioner.report.text import Row


class LiveReport:
    """Shows a run on a rich console; between two runs the terminal is free for a question."""

    def __init__(
        self,
        console: Console,
        verbosity: int = 0,
        *,
        diff: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._narrator = Narrator(verbosity, diff=diff, width=lambda: console.width)
        self._board = Board()
        self._clock = clock
        self._live: Live | None = None
        self._telling = threading.Lock()

    @property
    def recap(self) -> Recap:
        """Return what the run came to so far."""
        return self._board.recap

    def __call__(self, event: Event) -> None:
        """Show an event; the board's lock is free while the console prints, so the two cannot wait on each other."""
        self._board.note(event, self._clock())
        with self._telling:
            self._print(self._narrator.rows(event))
            if isinstance(event, RunStarted):
                self._start()
            elif isinstance(event, RunFinished):
                self._stop()
                self._print(closing(self.recap, self._console.width))

    def close(self) -> None:
        """Take the live region down and leave the cursor below what was told."""
        with self._telling:
            self._stop()

    def _start(self) -> None:
        self._stop()
        self._live = Live(
            _Region(self._board, self._clock), console=self._console, refresh_per_second=8, transient=True
        )
        self._live.start()

    def _stop(self) -> None:
        live, self._live = self._live, None
        if live:
            live.stop()

    def _print(self, rows: list[Row]) -> None:
        if rows:
            # soft_wrap: the terminal folds what is long, so that it is copied as one line
            self._console.print(to_text(rows), soft_wrap=True)


class _Region:
    """Draws the board anew each time that rich asks, spinner and clock included."""

    def __init__(self, board: Board, clock: Callable[[], float]) -> None:
        self._board = board
        self._clock = clock

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        marks = ASCII if options.ascii_only else UNICODE
        text = to_text(self._board.rows(options.max_width, console.size.height, self._clock(), marks))
        text.no_wrap, text.overflow = True, "crop"
        yield text


def to_text(rows: Iterable[Row]) -> Text:
    """Return rows as rich's text; it is never read as markup."""
    return Text("\n").join(Text.assemble(*((shown(span), rich_style(span.style)) for span in line)) for line in rows)
