"""What a terminal gets."""

from __future__ import annotations

import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from provisioner.events import (
    Doing,
    Event,
    HostFinished,
    HostLost,
    PlayStarted,
    Progressed,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskResult,
)
from provisioner.model import Line
from provisioner.report import report_for
from provisioner.report.board import ASCII, Board, fit
from provisioner.report.errors import cells
from provisioner.report.live import LiveReport
from provisioner.report.text import to_plain

HOSTS = ("nano", "xavier", "orin", "thor")


def done(status: Any, host: str = "nano", **more: Any) -> TaskFinished:
    """Return a task that ended."""
    return TaskFinished(result=TaskResult(**{"task": "a task", **more}, host=host, play="p", module="m", status=status))


def board(*events: Event, hosts: tuple[str, ...] = HOSTS, **more: Any) -> Board:
    """Return a board on which everything happened at 0."""
    drawn = Board()
    for event in (RunStarted(hosts=hosts, **more), PlayStarted(play="site", hosts=hosts, tasks=5), *events):
        drawn.note(event, 0.0)
    return drawn


def lines(drawn: Board, width: int = 80, height: int = 24, now: float = 12.0) -> list[str]:
    """Return the region as text."""
    return [to_plain(line) for line in drawn.rows(width, height, now)]


BUSY: tuple[Event, ...] = (
    Doing(host="nano", what="Pull the image", step=4, steps=5),
    Progressed(host="nano", text="9f3c", done=412_000_000, total=1_200_000_000),
    Doing(host="xavier", what="Install Docker", step=2, steps=5),
    done("changed", "xavier"),
    HostLost(host="orin", message="no answer"),
    Doing(host="thor", what="connecting"),
    done("ok", "thor"),
    HostFinished(host="thor"),
)


def test_eighty_columns() -> None:
    """A line per host: what it does, how far, how long; bytes take the place of counts."""
    drawn = lines(board(*BUSY, simulated="model", check=True))
    assert drawn == [
        "SIMULATION (model)  dry run  site                             2/4 hosts     12 s",
        "⠦ nano     4/5 Pull the image: 9f3c                      412 MB / 1.2 GB    12 s",
        "⠦ xavier   2/5 Install Docker                        ok 1 would change 1    12 s",
        "✗ orin   unreachable: no answer                                            0.0 s",
        "✓ thor   done                                                       ok 1   0.0 s",
    ]


def test_wide_terminals_have_bar_and_counts() -> None:
    """At 140 columns a pull has a bar, and the counts stay beside it."""
    nano = lines(board(*BUSY, done("changed", "nano"), BUSY[1]), width=140)[1]
    assert "━━━━━───────────  412 MB / 1.2 GB" in nano
    assert nano.endswith("ok 1 changed 1    12 s")


@settings(max_examples=60, deadline=None)
@given(st.integers(20, 200), st.integers(4, 60), st.integers(0, 80), st.text(max_size=90))
def test_the_region_fits_its_terminal(width: int, height: int, number: int, what: str) -> None:
    """Whatever the size, no row is too wide and the region leaves the terminal a line."""
    hosts = tuple(f"host{n}" for n in range(number))
    doing = [Doing(host=host, what=what, step=1, steps=10) for host in hosts[::2]]
    drawn = lines(board(*doing, hosts=hosts), width, height)
    assert len(drawn) < height
    assert {sum(map(cells, line)) for line in drawn} <= {width}


def test_more_hosts_than_rows_are_summed_up() -> None:
    """Hosts at work keep their line in their order; the rest is a line of numbers."""
    hosts = tuple(f"h{n}" for n in range(30))
    ended = [HostFinished(host=host) for host in hosts[:25]]
    drawn = lines(board(*ended, Doing(host="h29", what="Pull"), hosts=hosts), height=10)
    assert [line.split()[1] for line in drawn[1:-1]] == ["h0", "h25", "h26", "h27", "h28", "h29"]
    assert drawn[-1].strip() == "and 24 more hosts: 24 done"


def test_a_host_tells_how_it_ended() -> None:
    """A failure names the first task that failed; what runs no more shows no bytes and no spinner."""
    failed = board(done("failed", task="Pull"), done("failed", task="Other"), HostFinished(host="nano"))
    assert lines(failed)[1].startswith("✗ nano   failed: Pull ")
    finished = board(*BUSY[:2], HostFinished(host="nano"))
    assert lines(finished)[1].startswith("✓ nano   done ")
    assert "MB" not in lines(finished)[1]
    assert lines(board(done("failed", ignored=True), HostFinished(host="nano")))[1].startswith("✓")


def test_a_poor_terminal_gets_ascii() -> None:
    """Where the encoding lacks the signs, plain ones stand in."""
    drawn = board(*BUSY).rows(60, 24, 12.0, ASCII)
    assert all(to_plain(line).isascii() for line in drawn)


@pytest.mark.parametrize(
    ("text", "width", "fitted"),
    [
        ("abc", 5, "abc  "),
        ("abcdef", 4, "abc…"),
        ("你好吗", 5, "你好…"),
        ("你好吗", 4, "你… "),
        ("a", 0, ""),
        ("ab", 1, "…"),
    ],
)
def test_fit(text: str, width: int, fitted: str) -> None:
    """Text takes exactly its columns, wide letters counted as two."""
    assert fit(text, width) == fitted


def terminal(width: int = 80, **more: Any) -> Console:
    """Return a console that takes a string for a terminal."""
    return Console(file=io.StringIO(), force_terminal=True, width=width, height=24, markup=False, **more)


def shown(console: Console, *events: Event, **more: Any) -> str:
    """Return everything that a run wrote to a terminal."""
    report = LiveReport(console, clock=lambda: 0.0, **more)
    for event in (RunStarted(hosts=("nano",)), *events):
        report(event)
    report.close()
    report.close()
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_results_stay_above_and_the_recap_ends_it() -> None:
    """What happened is printed whole, with its diff, and the recap comes after the region is gone."""
    end = (HostFinished(host="nano"), RunFinished())
    text = shown(terminal(), done("changed", shows=(Line("[bold]x[/bold]"),)), *end, diff=True)
    assert "[bold]x[/bold]" in text
    assert text.index("PLAY RECAP") > text.rindex("a task")
    assert text.rstrip().endswith("1 host: 1 in the desired state, 1 changed on 1 host, in 0.0 s, 0 batches\x1b[0m")


def test_nothing_of_a_device_is_obeyed() -> None:
    """A device's escapes reach neither the region nor what is printed above it."""
    bad = "x\x1b]0;evil\x07\x1b[5m\x08y"
    text = shown(
        terminal(),
        Doing(host="nano", what=bad),
        Progressed(host="nano", text=bad),
        done("failed", task=bad, message=bad, stderr=bad),
        RunFinished(),
    )
    assert not any(sequence in text for sequence in ("\x1b]0", "\x07", "\x1b[5m", "\x08"))


def test_no_color_is_respected(monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR leaves no colour in what is printed."""
    monkeypatch.setenv("NO_COLOR", "1")
    text = shown(terminal(), done("failed"), RunFinished())
    assert not any(f"\x1b[{code}m" in text for code in ("31", "1;31", "32", "33"))


def test_between_two_runs_the_terminal_is_free() -> None:
    """After a dry run the region is down, so that a question can be asked; the next run raises it again."""
    console = terminal()
    report = LiveReport(console)
    for check in (True, False):
        report(RunStarted(hosts=("nano",), check=check))
        assert report._live is not None
        report(RunFinished())
        assert report._live is None


def test_a_terminal_gets_the_live_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that can move its cursor is written to live."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(report_for(stream), LiveReport)
