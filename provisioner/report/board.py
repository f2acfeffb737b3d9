"""The live region as rows: one line per host, drawn for a terminal of a given size; no I/O, no clock of its own."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from heapq import nsmallest
from typing import TYPE_CHECKING, Literal, NamedTuple

from provisioner.events import (
    Doing,
    HostFinished,
    HostLost,
    PlayStarted,
    Progressed,
    RunStarted,
    TaskFinished,
)
from provisioner.records import dataclass
from provisioner.report.errors import cells
from provisioner.report.recap import COUNTED, Recap
from provisioner.report.text import Row, Span, count, duration, listed, one_line, row, size

if TYPE_CHECKING:
    from provisioner.events import Event

_State = Literal["running", "failed", "waiting", "done"]
_ORDER: tuple[_State, ...] = ("running", "failed", "waiting", "done")
_STYLE = {"running": "skipped", "failed": "failed", "waiting": "dim", "done": "ok"}

_WIDE = 100  # columns from which there is a bar and room for names
_BAR = 16
_AMOUNT = 16


class Marks(NamedTuple):
    """The signs that a terminal can show."""

    spinner: str
    done: str
    failed: str
    waiting: str
    full: str
    empty: str
    cut: str


UNICODE = Marks("⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏", "✓", "✗", "·", "━", "─", "…")
ASCII = Marks("|/-\\", "+", "x", ".", "#", "-", "~")


@dataclass(frozen=True)
class _Host:
    """Where one host is."""

    name: str
    state: _State = "waiting"
    what: str = "waiting"
    step: int = 0
    steps: int = 0
    since: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    text: str = ""
    done: int | None = None
    total: int | None = None


class Board:
    """Where every host is; events come from any thread, rows are asked for by another."""

    def __init__(self) -> None:
        self.recap = Recap()
        self._hosts: dict[str, _Host] = {}
        self._order: dict[str, int] = {}
        self._by_state: dict[_State, dict[str, None]] = {state: {} for state in _ORDER}
        self._failing: dict[str, str] = {}
        self._play = ""
        self._began = 0.0
        self._lock = threading.Lock()

    def note(self, event: Event, now: float) -> None:
        """Take note of an event that came at a time of the caller's clock."""
        with self._lock:
            self.recap(event)
            match event:
                case RunStarted():
                    self._begin(event.hosts)
                    self._failing, self._play, self._began = {}, "", now
                case PlayStarted():
                    self._play = one_line(event.play)
                case Doing() | Progressed() | HostLost() | HostFinished():
                    host = self._hosts.get(event.host, _Host(event.host))
                    self._put(self._moved(host, event, now))
                case TaskFinished():
                    self._result(event)
                case _:
                    pass

    def rows(self, width: int, height: int, now: float, marks: Marks = UNICODE) -> list[Row]:
        """Return the region for a terminal: a headline, and a line per host, or as many as there is room for."""
        with self._lock:
            kept = self._fitting(max(height - 3, 1))
            names = _name_width(kept, width)
            lines = [self._line(host, names, width, now, marks) for host in kept]
            if len(kept) < len(self._hosts):
                left = Counter({state: len(there) for state, there in self._by_state.items()})
                left.subtract(host.state for host in kept)
                lines.append(_summary(left, width, marks))
            return [self._headline(width, now, marks), *lines]

    def _begin(self, names: tuple[str, ...]) -> None:
        self._hosts, self._order = {}, {}
        self._by_state = {state: {} for state in _ORDER}
        for name in names:
            self._put(_Host(name))

    def _put(self, host: _Host) -> None:
        """Take a host in as it is now; who is where is counted as it changes, not each time that it is drawn."""
        before = self._hosts.get(host.name)
        if before is not None and before.state != host.state:
            del self._by_state[before.state][host.name]
        self._by_state[host.state][host.name] = None
        self._order.setdefault(host.name, len(self._order))
        self._hosts[host.name] = host

    def _fitting(self, lines: int) -> list[_Host]:
        """Return the hosts that get a line, those at work first, but in their order."""
        if len(self._hosts) <= lines:
            return list(self._hosts.values())
        chosen: list[str] = []
        for state in _ORDER:
            chosen += nsmallest(lines - 1 - len(chosen), self._by_state[state], key=self._order.__getitem__)
        return [self._hosts[name] for name in sorted(chosen, key=self._order.__getitem__)]

    def _moved(self, host: _Host, event: Event, now: float) -> _Host:
        match event:
            case Doing():
                began = now if host.state == "waiting" else host.began
                moved = replace(host, state="running", what=one_line(event.what), since=now, began=began)
                return replace(moved, step=event.step, steps=event.steps, text="", done=None, total=None)
            case Progressed():
                return replace(host, text=one_line(event.text), done=event.done, total=event.total)
            case HostLost():
                word = "unreachable" if event.unreachable else "refused"
                return replace(host, state="failed", what=f"{word}: {one_line(event.message)}", ended=now)
            case _ if host.state == "failed":
                return host
            case _:
                failed = self._failing.get(host.name)
                state: _State = "failed" if failed else "done"
                return replace(host, state=state, what=f"failed: {failed}" if failed else "done", ended=now)

    def _result(self, event: TaskFinished) -> None:
        result = event.result
        if result.status == "failed" and not result.ignored:
            self._failing.setdefault(result.host, one_line(result.task))
        host = self._hosts.get(result.host)
        if host:
            self._hosts[result.host] = replace(host, text="", done=None, total=None)

    def _headline(self, width: int, now: float, marks: Marks) -> Row:
        over = len(self._by_state["done"]) + len(self._by_state["failed"])
        kinds = [f"SIMULATION ({self.recap.simulated})"] * bool(self.recap.simulated) + ["dry run"] * self.recap.check
        right = f"{over}/{count(len(self._hosts), 'host')}  {duration(now - self._began):>7}"
        left = "  ".join([*kinds, self._play])
        return row((fit(left, width - len(right) - 1, marks), "strong"), " ", (right, "dim"))

    def _line(self, host: _Host, names: int, width: int, now: float, marks: Marks) -> Row:
        """Return a host's line: mark, name, step, what it does (the rest of the width), bytes, counts, time."""
        name = Span(fit(one_line(host.name), names, marks), "strong" if host.state == "running" else "")
        left = [Span(_mark(host, now, marks) + " ", _STYLE[host.state]), name, Span(" ")]
        step = f"{host.step}/{host.steps}" if host.steps and host.state == "running" else ""
        if width >= 50 and step:  # noqa: PLR2004
            left.append(Span(f"{step:>5} ", "dim"))
        right = [*self._right(host, width, marks), Span(f" {_took(host, now):>7}", "dim")]
        room = width - sum(_width(span.text) for span in (*left, *right))
        return (
            *left,
            Span(fit(_what(host), room, marks), _STYLE[host.state] if host.state != "running" else ""),
            *right,
        )

    def _right(self, host: _Host, width: int, marks: Marks) -> list[Span]:
        """Return bytes and counts: both on a wide terminal, else the bytes; a failure needs the room."""
        amount = _amount(host)
        spans = []
        if width >= _WIDE:
            spans += _bar(host, marks) if amount else []
            spans += [Span(f" {amount:>{_AMOUNT}}")] if amount else []
            return [*spans, Span(" "), *self._counts(host.name, 34)]
        if host.state == "failed":
            return []
        if amount:
            return [Span(f" {amount:>{_AMOUNT}}")]
        return [Span(" "), *self._counts(host.name, 22)] if width >= 60 else []  # noqa: PLR2004

    def _counts(self, name: str, room: int) -> list[Span]:
        """Return the counts that are not zero and find room, with spaces up to it."""
        kept: dict[str, str] = {}
        counts = self.recap.host(name).counts
        for status in ("failed", "changed", "unknown", "ok", "ignored", "skipped"):
            text = self._counted(status, counts[status])
            if counts[status] and len(text) <= room:
                kept[status] = text
                room -= len(text)
        shown = [Span(kept[s], "skipped" if s == "ignored" else s) for s in COUNTED if s in kept]
        return [Span(" " * room), *shown]

    def _counted(self, status: str, number: int) -> str:
        word = "would change" if status == "changed" and self.recap.check else status
        return f" {word} {number}"


def fit(text: str, width: int, marks: Marks = UNICODE) -> str:
    """Return text in exactly as many columns, cut with a mark where it is longer."""
    if width <= 0:
        return ""
    if _width(text) <= width:
        return text + " " * (width - _width(text))
    kept = ""
    for char in text:
        if _width(kept) + cells(char) > width - 1:
            break
        kept += char
    return kept + marks.cut + " " * (width - 1 - _width(kept))


def _width(text: str) -> int:
    return len(text) if text.isascii() else sum(cells(char) for char in text)


def _summary(left: Counter[_State], width: int, marks: Marks) -> Row:
    parts = [f"{left[state]} {state}" for state in _ORDER if left[state]]
    return row((fit(f"  and {count(left.total(), 'more host')}: {listed(parts)}", width, marks), "dim"))


def _name_width(hosts: list[_Host], width: int) -> int:
    longest = max((_width(one_line(host.name)) for host in hosts), default=0)
    return min(longest, 32 if width >= _WIDE else max(width // 5, 8))


def _mark(host: _Host, now: float, marks: Marks) -> str:
    if host.state == "running":
        return marks.spinner[int(now * 8) % len(marks.spinner)]
    return {"done": marks.done, "failed": marks.failed}.get(host.state, marks.waiting)


def _took(host: _Host, now: float) -> str:
    if host.state == "waiting":
        return ""
    return duration(now - host.since if host.state == "running" else host.ended - (host.began or host.ended))


def _what(host: _Host) -> str:
    return f"{host.what}: {host.text}" if host.text and host.state == "running" else host.what


def _amount(host: _Host) -> str:
    if host.done is None or host.state != "running":
        return ""
    return f"{size(host.done)} / {size(host.total)}" if host.total else size(host.done)


def _bar(host: _Host, marks: Marks) -> list[Span]:
    if not host.total:
        return []
    full = min(max(round(_BAR * (host.done or 0) / host.total), 0), _BAR)
    return [Span(" "), Span(marks.full * full, "ok"), Span(marks.empty * (_BAR - full), "dim")]
