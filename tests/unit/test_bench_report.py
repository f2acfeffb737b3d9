"""The benchmark's own arithmetic: what a playbook has, when a goal is met, and what is written down of it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
import yaml

from bench import chart, goals
from bench.part import Goal, Part, load
from bench.report import table
from bench.work import playbook

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("tasks", [1, 10, 15, 20, 100])
def test_the_playbook_has_as_many_tasks_as_were_asked_for(tasks: int) -> None:
    """Each number of tasks is a playbook of that many, each with a name of its own."""
    play = yaml.safe_load(playbook.text(tasks))[0]
    assert len({task["name"] for task in play["tasks"]}) == tasks


def test_more_tasks_leave_all_that_fewer_leave() -> None:
    """The trees of 20 and of 100 tasks are whole sections of the same."""
    few, many = (playbook.expected(tasks, "host1") for tasks in (20, 100))
    assert few.items() <= many.items()
    assert len(many) - 1 == 5 * (len(few) - 1)


def test_a_limit_is_met_on_either_side_of_it() -> None:
    """At most and at least hold at the limit itself."""
    assert Goal(text="", value=1.5, limit=1.5).met
    assert not Goal(text="", value=1.6, limit=1.5).met
    assert Goal(text="", value=20, limit=20, at_least=True).met
    assert not Goal(text="", value=19, limit=20, at_least=True).met


def test_a_part_is_read_as_it_was_saved(tmp_path: Path) -> None:
    """Rows, goals and notes come back, with four digits of each figure."""
    part = Part(
        name="one", title="One", rows=[{"tool": "x", "wall_s": 1.23456}], goals=[Goal(text="g", value=1, limit=2)]
    )
    part.save(tmp_path)
    again = load(tmp_path / "one.json")
    assert again.rows == [{"tool": "x", "wall_s": 1.235}]
    assert (again.goals, again.title, again.notes) == (part.goals, "One", [])


def test_a_ratio_needs_both_of_its_rows() -> None:
    """What was not measured is no goal, met or not."""
    row = {"phase": "no change", "hosts": 10, "tasks": 20, "rtt_ms": 0, "wall_s": 3.0, "cpu_s": 2.0, "trips": None}
    assert goals.of([{**row, "tool": "provision"}]) == []
    both = goals.of([{**row, "tool": "provision"}, {**row, "tool": "floor", "wall_s": 2.0}])
    assert [(goal.value, goal.met) for goal in both] == [(1.5, True), (1.0, True)]


def test_a_chart_is_well_formed_and_names_every_series() -> None:
    """Whatever a series is called, its name stands in the chart, and no two names in one place."""
    text = chart.draw("a < b", "hosts", {"floor": [(1, 0.5), (10, 1)], "a & b": [(1, 0.4), (10, 1.001)]})
    labels = [one for one in ET.fromstring(text).iter() if one.text in ("floor", "a & b")]
    assert {one.text for one in labels} == {"floor", "a & b"}
    assert abs(float(labels[0].get("y", 0)) - float(labels[1].get("y", 0))) >= 12


def test_a_table_has_a_cell_for_each_column() -> None:
    """Rows with different columns share one table; what a row lacks is empty."""
    lines = table([{"a": 1, "met": True}, {"b_s": 0.5}]).splitlines()
    assert lines == ["| a | met | b s |", "|--:|---|--:|", "| 1 | yes |  |", "|  |  | 0.5 |"]
