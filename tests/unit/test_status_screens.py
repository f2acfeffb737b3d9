"""Laws of the screens that show a watched fleet: what they draw follows what was told, and nothing stays behind."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from provisioner.report.seen import Drift
from provisioner.report.text import to_plain
from provisioner.report.watching import Lines, LiveTable, Sheet, Watched

TOLD = {"module": "Jetson Nano", "temperature_celsius": 27.0, "temperature_zone": "AO", "throttling": "unknown"}


class Clock:
    """A clock that stands until it is set."""

    now = 100.0

    def __call__(self) -> float:
        """Return its time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock of the test's own."""
    return Clock()


@pytest.fixture
def watched(clock: Clock) -> Watched:
    """Two hosts, of which one has answered."""
    fleet = Watched(["nano", "orin"], clock)
    fleet.asks("nano")
    fleet.told("nano", TOLD)
    fleet.drifted("nano", Drift(state="order"))
    return fleet


def test_a_host_is_lost_since_its_last_answer(watched: Watched, clock: Clock) -> None:
    """However often it is tried again, what counts is since when nothing is known; an answer ends it."""
    clock.now = 130.0
    watched.loses("nano", "no route", again=5)
    clock.now = 135.0
    watched.asks("nano")
    assert "tried again now" in written(watched)
    watched.loses("nano", "no route", again=10)
    assert "nano  lost 35 s ago: no route; tried again in 10 s" in written(watched)
    watched.told("nano", TOLD)
    assert "lost" not in written(watched)
    assert "in order" in written(watched), "drift is kept until it is looked for again"


def written(watched: Watched, *, moving: bool = False) -> str:
    stream = io.StringIO()
    Sheet(watched, stream, drift=True, patience=15.0, title="SIMULATION", moving=moving).show()
    return stream.getvalue()


def test_a_pipe_gets_plain_blocks(watched: Watched) -> None:
    """Without a terminal there is no colour, nothing is cut, and each block has a headline and an empty line."""
    lines = written(watched, moving=True).split("\n")
    assert lines[0].startswith("SIMULATION  ")
    assert lines[0].endswith("2 hosts")
    assert lines[1].startswith("HOST")
    assert lines[-2:] == ["", ""]
    assert "\x1b" not in "".join(lines)


def test_a_program_gets_a_line_each_time(watched: Watched) -> None:
    """One look is one document by host; a watched fleet is one line with the time, each time."""
    once, moving = io.StringIO(), io.StringIO()
    Lines(watched, once, drift=True).show()
    lines = Lines(watched, moving, drift=True, moving=True)
    lines.show()
    lines.show()
    assert set(json.loads(once.getvalue())) == {"nano", "orin"}
    documents = [json.loads(line) for line in moving.getvalue().splitlines()]
    assert [set(one) for one in documents] == [{"at", "hosts"}] * 2
    assert documents[0]["hosts"]["orin"] == {
        "reached": False, "error": None, "seconds_since_answer": None, "drift": None,
    }  # fmt: skip


def test_a_terminal_gets_a_region_that_fits_and_is_left_in_order(watched: Watched) -> None:
    """Rows fit width and height; when it is closed the cursor is shown again, below the last table."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, color_system=None)
    live = LiveTable(watched, console, drift=True, patience=15.0, title="SIMULATION")
    live.show()
    rows = [to_plain(row) for row in live.rows(80, 24)]
    few = [to_plain(row) for row in live.rows(20, 5)]
    live.close()
    assert len(rows) == 4
    assert len(few) == 4
    assert "and 1 more host" in few[-1]
    assert all(len(line) <= 80 for line in rows)
    assert all(len(line) <= 20 for line in few)
    assert "27 °C" in stream.getvalue()
    assert stream.getvalue().endswith("\x1b[?25h")
