"""What people and programs are shown of a run.

    text.py      cleaning of device text; rows of styled spans; sizes and times
    diff.py      what an effect shows: unified diffs, and single lines
    blocks.py    events as rows, the same for pipes and terminals
    recap.py     the counts, and what is left to tell: pure
    closing.py   the recap as rows
    plain.py     lines for pipes            live.py     a moving region for terminals (rich)
    machine.py   JSON and JUnit             errors.py   an error with its place and the line itself
    facts.py     a table of facts
    seen.py      what is known of a host that is looked at
    status.py    a fleet as a table                 watching.py   ... and again and again, by threads

Every row is cleaned where it leaves for a stream, so no renderer can forget to. Only live.py, facts.py and watching.py
use rich.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, TextIO

from provisioner.report.recap import Recap, exit_code

if TYPE_CHECKING:
    from provisioner.events import Event

__all__ = ["Closing", "Recap", "Reporter", "exit_code", "report_for"]


class Closing(Protocol):
    """A listener that has something to finish: a file to write, a live region to take down."""

    def __call__(self, event: Event, /) -> None:
        """Take note of an event; may be called from any thread."""
        ...

    def close(self) -> None:
        """Finish; a second call does nothing."""
        ...


class Reporter(Closing, Protocol):
    """Shows a run, and counts what it comes to."""

    @property
    def recap(self) -> Recap:
        """Return what the run came to so far."""
        ...


def report_for(stream: TextIO, *, verbosity: int = 0, diff: bool = False) -> Reporter:
    """Return the report that suits a stream: live on a terminal that can move its cursor, else plain lines."""
    if stream.isatty() and os.environ.get("TERM", "dumb") != "dumb":
        from rich.console import Console

        from provisioner.report.live import LiveReport

        return LiveReport(Console(file=stream, highlight=False, markup=False, emoji=False), verbosity, diff=diff)
    from provisioner.report.plain import PlainReport

    return PlainReport(stream, verbosity, diff=diff)
