"""Laws of the fleet's table: it fits, it says who is lost, and what it leaves out is what matters least."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from provisioner.commands.eye import pause_after
from provisioner.report.errors import cells
from provisioner.report.seen import Drift, Lost, Seen, record
from provisioner.report.status import headline, shortened, table
from provisioner.report.text import to_plain

NOW = 100.0
TOLD: dict[str, Any] = {
    "module": "Jetson Orin Nano",
    "temperature_celsius": 48.562,
    "temperature_zone": "cpu",
    "cpu_load_percent": 14.2,
    "gpu_load_percent": 0.0,
    "power_total_milliwatts": 5251,
    "throttling": "no",
    "throttled_by_heat": [],
    "over_current_events": {"oc3": 37},
    "over_current_events_lately": None,
    "memory_used_mb": 1343,
    "memory_total_mb": 7620,
    "swap_used_mb": 0,
    "swap_total_mb": 3810,
    "disk_free_bytes": 80_000_000_000,
    "disk_size_bytes": 250_000_000_000,
}


def seen(name: str = "orin", **changes: Any) -> Seen:
    told = {**TOLD, **changes.pop("told", {})}
    return Seen(**{"name": name, "told": told, "at": NOW, "drift": Drift(state="order"), **changes})


def shown(fleet: list[Seen], width: int, **options: Any) -> list[str]:
    return [to_plain(line) for line in table(fleet, NOW, width, **options)]


def test_a_wide_terminal_shows_all() -> None:
    """At 140 columns every reading stands under its name, with its unit."""
    head, line = shown([seen()], 140)
    names = [
        "HOST",
        "MODULE",
        "TEMPERATURE",
        "CPU",
        "GPU",
        "POWER",
        "THROTTLED",
        "MEMORY",
        "SWAP",
        "DISK FREE",
        "DRIFT",
    ]
    places = [head.index(name) for name in names]
    assert places == sorted(places)
    values = [line[start:end].strip() for start, end in zip(places, [*places[1:], None], strict=True)]
    assert values == [
        "orin", "Jetson Orin Nano", "48.6 °C cpu", "14 %", "0 %", "5.3 W", "no (37 since boot)",
        "1.3/7.4 GiB", "0.0/3.7 GiB", "80 GB of 250 GB", "in order",
    ]  # fmt: skip


def test_a_narrow_terminal_keeps_what_matters() -> None:
    """At 80 columns module and swap are gone, units are short, and drift is there."""
    head, line = shown([seen(drift=Drift(state="changes", changes=3))], 80)
    assert "MODULE" not in head
    assert "SWAP" not in head
    assert line.split("  ")[0] == "orin"
    assert all(word in line for word in ("49 °C", "14 %", "5.3 W", "1.3/7.4G", "80 GB", "3 would change"))


@given(
    st.integers(20, 200),
    st.lists(st.text(max_size=40), min_size=1, max_size=4),
    st.sampled_from(["x" * 90, "no route", "\x1b[2J漢字" * 9]),
)
@example(20, ["0" * 18], "x" * 90)
def test_no_row_is_wider_than_the_terminal(width: int, names: list[str], why: str) -> None:
    """Whatever names and reasons there are, a row has at most the columns that it was given."""
    fleet = [seen(name, drift=Drift(state="fails", reason=why)) for name in names]
    fleet += [seen(name, lost=Lost(why=why, since=NOW - 5, again=NOW + 5)) for name in names]
    rows = table(fleet, NOW, width)
    assert len(rows) == 1 + len(fleet)
    for line in shown(fleet, width):
        assert "\x1b" not in line
        assert "\n" not in line
        assert sum(map(cells, line)) <= width


@pytest.mark.parametrize(
    ("drift", "words"),
    [
        (Drift(state="never"), "never applied"),
        (Drift(state="order"), "in order"),
        (Drift(state="order", unknown=2), "in order, 2 unknown"),
        (Drift(state="changes", changes=3), "3 would change"),
        (Drift(state="changes", changes=1, unknown=1), "1 would change, 1 unknown"),
        (Drift(state="fails", reason="disk: too small"), "would fail: disk: too small"),
        (Drift(state="unknown", reason="give -e a again"), "unknown: give -e a again"),
    ],
)
def test_drift_in_words(drift: Drift, words: str) -> None:
    """Each outcome has words of its own, and they stand in the last column."""
    assert drift.words == words
    assert shown([seen(drift=drift)], 200)[1].endswith(words)


def test_drift_that_is_not_wanted_has_no_column() -> None:
    """With --no-drift neither the table nor the JSON names it."""
    assert "DRIFT" not in shown([seen()], 140, drift=False)[0]
    assert "drift" not in record(seen(), NOW, drift=False)


def test_a_lost_host_is_told_with_since_when_and_until_when() -> None:
    """In place of readings that are old it says since when there are none, why, and when it is tried again."""
    gone = seen(lost=Lost(why="no route to host", since=NOW - 32, again=NOW + 8))
    assert shown([gone, seen("other")], 100)[1] == "orin   lost 32 s ago: no route to host; tried again in 8.0 s"
    assert record(gone, NOW)["reached"] is False
    assert record(gone, NOW)["error"] == "no route to host"


def test_a_host_that_owes_an_answer_is_told() -> None:
    """Silence counts from the question, once it is longer than it may be, and not while drift is looked for."""
    assert "no answer for 20 s" in shown([seen(asked=NOW - 20)], 100, patience=15.0)[1]
    assert "no answer" not in shown([seen(asked=NOW - 14)], 100, patience=15.0)[1]
    assert "no answer" not in shown([seen(asked=NOW - 20, busy=True)], 100, patience=15.0)[1]


def test_throttling_names_its_cause() -> None:
    """Heat names its parts, power how often; what nothing tells is unknown."""
    heat = {"throttling": "yes", "throttled_by_heat": ["cpu", "gpu"]}
    power = {"throttling": "yes", "over_current_events_lately": 3}
    assert "heat: cpu, gpu" in shown([seen(told=heat)], 200)[1]
    assert "power: 3 times" in shown([seen(told=power)], 200)[1]
    assert "unknown" in shown([seen(told={"throttling": "unknown"}, drift=Drift(state="order"))], 200)[1]


def test_the_headline_counts_what_needs_a_person() -> None:
    """Lost, throttled and drifted hosts are counted; a lost one is not counted by its old readings."""
    slow = {"throttling": "yes", "throttled_by_heat": ["cpu"]}
    fleet = [
        seen("a"),
        seen("b", told=slow),
        seen("c", told=slow, lost=Lost(why="", since=0)),
        seen("d", drift=Drift(state="changes", changes=1)),
    ]
    assert headline(fleet, NOW, 15.0) == "4 hosts, 1 lost, 1 throttled, 1 drifted"
    assert headline([seen()], NOW, 15.0) == "1 host"


def test_hosts_in_trouble_stay_on_a_small_screen() -> None:
    """Where there is no room for all, those that are lost are shown before those that are well, in their order."""
    fleet = [seen(f"h{n}") for n in range(9)]
    fleet[7] = seen("h7", lost=Lost(why="gone", since=0))
    kept, rest = shortened(fleet, 4, NOW, 15.0)
    assert [one.name for one in kept] == ["h0", "h1", "h7"]
    assert rest == "and 6 more hosts"
    assert shortened(fleet, 9, NOW, 15.0) == (fleet, "")


def test_json_has_stable_names() -> None:
    """A program reads readings with their units, the drift in words that do not change, and how old all that is."""
    drift = Drift(state="changes", changes=2, unknown=1, tasks=("a", "b"), playbooks=("/p.yaml",), applied="then")
    told = json.loads(json.dumps(record(seen(drift=drift, at=NOW - 2), NOW)))
    assert told["seconds_since_answer"] == 2.0
    assert told["temperature_celsius"] == 48.562
    assert told["drift"] == {
        "state": "would change", "changes": 2, "unknown": 1, "tasks": ["a", "b"], "reason": None,
        "playbooks": ["/p.yaml"], "applied": "then",
    }  # fmt: skip


def test_a_lost_host_is_tried_less_and_less_often() -> None:
    """Each pause is twice the one before, from the interval on, and none is longer than a minute."""
    assert [pause_after(n, 5) for n in range(6)] == [5, 10, 20, 40, 60, 60]
    assert pause_after(10_000, 0.1) == 60
