"""Events as rows, the same for pipes and terminals: one block per event, whole or not at all."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from provisioner.events import HostLost, Noted, PlayStarted, RunStarted, TaskFinished
from provisioner.report.diff import show_rows
from provisioner.report.recap import withheld
from provisioner.report.text import Row, Span, count, duration, indented, listed, one_line, paragraph, row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.events import Event, TaskResult

STATUS_WIDTH = 12
HOST_WIDTH = 24
_OUTPUT = 20  # lines of a command's output at -v


class Narrator:
    """Tells events as rows; a change that an earlier host showed already is only referred to."""

    def __init__(self, verbosity: int = 0, *, diff: bool = False, width: Callable[[], int] = lambda: 0) -> None:
        self.verbosity = verbosity
        self.diff = diff
        self.width = width
        self.check = False
        self.host_width = 4
        self._shown: dict[bytes, str] = {}

    def rows(self, event: Event) -> list[Row]:
        """Return the rows that tell of an event, none where it is not worth one."""
        match event:
            case TaskFinished():
                return self._result(withheld(event.result))
            case RunStarted():
                return self._run(event)
            case PlayStarted():
                tasks = count(event.tasks, "task")
                name = (f"PLAY [{one_line(event.play)}]", "strong")
                return [row(), row(name, (f" {count(len(event.hosts), 'host')}, {tasks}", "dim"))]
            case HostLost():
                word = "unreachable" if event.unreachable else "refused"
                return [*self._beside(event.host, word, "failed", event.message), *indented(self._hint(event.hint))]
            case Noted():
                return self._note(event)
            case _:
                return []

    def lead(self, host: str, word: str, style: str) -> tuple[str | tuple[str, str], ...]:
        """Return the columns that a row about a host begins with."""
        return (f"{one_line(host):<{self.host_width}}  ", (f"{word:<{STATUS_WIDTH}}", style), "  ")

    def _run(self, event: RunStarted) -> list[Row]:
        self.check = event.check
        self.host_width = min(max((len(one_line(host)) for host in event.hosts), default=4), HOST_WIDTH)
        self._shown.clear()
        rows = [row((f"Dry run on {count(len(event.hosts), 'host')}: nothing is touched", "strong"))] * event.check
        if event.simulated:
            rows.append(row(("SIMULATION", "simulation"), f" ({event.simulated}): no real device takes part"))
        return rows

    def _note(self, event: Noted) -> list[Row]:
        """Return at once what is info or of the whole run; a host's warning can wait for the recap, but for -v."""
        if event.level == "warning" and event.host is not None and not self.verbosity:
            return []
        style = "warning" if event.level == "warning" else "dim"
        word = "warning" if event.level == "warning" else "note"
        return self._beside(event.host or "", word, style, event.message)

    def _beside(self, host: str, word: str, style: str, text: str) -> list[Row]:
        """Return text beside the columns that a row begins with, folded there on a terminal."""
        start = max(len(one_line(host)), self.host_width) + STATUS_WIDTH + 4
        width = max(self.width() - start, 20) if self.width() else 0
        first, *more = paragraph(text, width=width)
        return [row(*self.lead(host, word, style), *first), *indented(more, start)]

    def _result(self, result: TaskResult) -> list[Row]:
        if not self._worth_a_row(result):
            return []
        head, details = self._head(result), list(self._details(result))
        first = self._first(result, details)
        if first != result.host:
            return [(*head, Span(f"  (as on {one_line(first)})", "dim"))]
        return [head, *indented(details)]

    def _first(self, result: TaskResult, details: list[Row]) -> str:
        """Return the host that showed the same change first; short ones are sooner read again than looked up."""
        if len(details) < 2 or result.status not in ("changed", "unknown"):  # noqa: PLR2004
            return result.host
        key = (result.play, result.task, result.item, result.status, tuple(details))
        # the digest: what every host shows otherwise is not to be kept until the end
        return self._shown.setdefault(hashlib.sha256(repr(key).encode()).digest(), result.host)

    def _worth_a_row(self, result: TaskResult) -> bool:
        if result.status in ("changed", "failed", "unknown") or self.verbosity:
            return True
        return result.status == "ok" and result.message is not None  # a debug task was written to be read

    def _head(self, result: TaskResult) -> Row:
        ignored = result.status == "failed" and result.ignored
        word = "ignored" if ignored else self._word(result.status)
        pieces = [*self.lead(result.host, word, "skipped" if ignored else result.status), title(result)]
        if result.status == "skipped" and result.message:
            pieces.append((f"  {one_line(result.message)}", "dim"))
        if self.verbosity and result.seconds >= 0.05:  # noqa: PLR2004 - less is shown as 0.0 s
            pieces.append((f"  {duration(result.seconds)}", "dim"))
        if self.verbosity > 1 and result.source:
            pieces.append((f"  {result.module}, {result.source}", "dim"))
        return row(*pieces)

    def _word(self, status: str) -> str:
        return "would change" if self.check and status == "changed" else status

    def _details(self, result: TaskResult) -> Iterator[Row]:
        if result.message and result.status != "skipped":
            yield from paragraph(result.message, "failed" if self._fatal(result) else "", width=self._room())
        yield from self._hint(result.hint)
        if self.check and result.assumed_after:
            names = listed(f"'{name}'" for name in result.assumed_after)
            yield from paragraph(f"assuming that nothing else is changed by {names}", "dim", width=self._room())
        if self.diff:
            yield from show_rows(result.shows, whole=self.verbosity > 1)
        if self.verbosity:
            yield from self._output("stdout", result.stdout)
            yield from self._output("stderr", result.stderr)

    def _fatal(self, result: TaskResult) -> bool:
        return result.status == "failed" and not result.ignored

    def _output(self, name: str, text: str) -> list[Row]:
        lines = paragraph(text, "dim", lead=f"{name}: ") if text.strip() else []
        if len(lines) > _OUTPUT and self.verbosity == 1:
            more = count(len(lines) - _OUTPUT, "more line")
            return [*lines[:_OUTPUT], row((f"... {more}; -vv shows all", "dim"))]
        return lines

    def _hint(self, hint: str | None) -> list[Row]:
        return paragraph(hint, lead="hint: ", width=self._room()) if hint else []

    def _room(self) -> int:
        width = self.width()
        return max(width - 4, 20) if width else 0


def title(result: TaskResult) -> str:
    """Return a task's name with what it is and the item it ran for."""
    item = f" (item={one_line(result.item)})" if result.item is not None else ""
    return f"{'handler: ' if result.handler else ''}{one_line(result.task)}{item}"
