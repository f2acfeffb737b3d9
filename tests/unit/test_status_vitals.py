"""Laws of how a host does now: what its raw fields mean, and what is never claimed of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.jetson.facts.vitals import WATCHED, Vitals, told_of, vitals_from
from provisioner.jetson.watched import VitalsState
from provisioner.lab.recordings import Recordings

ORIN = {
    "memory_kb": "7802880",
    "memory_available_kb": "6242304",
    "swap_kb": "3901440",
    "swap_free_kb": "3891440",
    "cores": "6",
    "throttle_alerts": "cpu-throttle-alert:0 gpu-throttle-alert:0",
    "over_current": "oc1:0 oc2:2 oc3:37",
    "data_root": "/mnt/nvme/docker",
    "root_free_kb": "100",
    "root_size_kb": "1000",
    "data_root_free_kb": "50",
    "data_root_size_kb": "500",
    "tegrastats": "RAM 1343/7620MB CPU [2%@729,4%@729] GR3D_FREQ 7%@[305] cpu@50.5C tj@50.5C gpu@49C VDD_IN 5251mW/1mW",
    "load_average": "0.52",
}


def test_a_host_is_told_as_it_is() -> None:
    """Each field has its meaning, memory is what is not available, and the disk is where Docker keeps its data."""
    told = told_of(vitals_from(ORIN))
    assert (told["temperature_celsius"], told["temperature_zone"]) == (50.5, "cpu")
    assert (told["cpu_load_percent"], told["gpu_load_percent"]) == (3.0, 7.0)
    assert (told["power_total_milliwatts"], told["power_from"]) == (5251, "VDD_IN")
    assert (told["memory_used_mb"], told["memory_total_mb"]) == (1524, 7620)
    assert (told["swap_used_mb"], told["swap_total_mb"]) == (9, 3810)
    assert (told["disk"], told["disk_free_bytes"]) == ("/mnt/nvme/docker", 51200)
    assert (told["throttling"], told["over_current_events_lately"]) == ("no", None)
    assert json.dumps(told)


def test_a_host_that_tells_nothing_is_unknown_and_not_well() -> None:
    """Where nothing is told nothing is claimed: throttling is unknown, and there is no number."""
    told = told_of(vitals_from({}))
    assert told["throttling"] == "unknown"
    assert not [name for name, value in told.items() if isinstance(value, int | float)]


@pytest.mark.parametrize(
    ("rails", "total"),
    [
        ("VDD_IN 3000mW/1mW VDD_SOC 900mW/1mW", ("VDD_IN", 3000)),
        ("POM_5V_IN 933/933 POM_5V_GPU 10/10", ("POM_5V_IN", 933)),
        ("VDD_GPU_SOC 2400mW/1mW VDD_CPU_CV 1600mW/1mW VIN_SYS_5V0 4700mW/1mW", ("sum of rails", 8700)),
    ],
)
def test_power_is_what_goes_in_or_else_the_sum(rails: str, total: tuple[str, int]) -> None:
    """A rail that feeds the module is its power; rails that stand beside each other are added."""
    assert vitals_from({"tegrastats": f"RAM 1/2MB {rails}"}).power == total


def test_throttling_is_by_heat_now_and_by_power_since_the_last_look() -> None:
    """An alert that is raised, or a count that has grown, is throttling; a count that stands still is not."""
    before = vitals_from(ORIN)
    hot = vitals_from({**ORIN, "throttle_alerts": "cpu-throttle-alert:1 gpu-throttle-alert:0"})
    more = vitals_from({**ORIN, "over_current": "oc1:0 oc2:2 oc3:40"})
    booted = vitals_from({**ORIN, "over_current": "oc1:0 oc2:0 oc3:0"})
    assert (told_of(hot, before)["throttling"], hot.hot) == ("yes", ("cpu",))
    assert (told_of(more, before)["throttling"], more.events_since(before)) == ("yes", 3)
    assert (told_of(before, before)["throttling"], before.events_since(before)) == ("no", 0)
    assert (told_of(booted, before)["throttling"], booted.events_since(before)) == ("no", None)


@pytest.mark.parametrize("name", list(Recordings()))
def test_every_recorded_line_has_a_temperature_and_memory(name: str) -> None:
    """Whatever release a line of tegrastats is from, it tells the hottest zone, and one that is no junction alone."""
    line = Recordings()[name].get("tegrastats")
    if line:
        found = vitals_from({"tegrastats": str(line)})
        assert found.hottest is not None
        assert found.hottest[1] == max(found.readings.temperatures.values())
        assert (found.memory_total_mb or 0) >= (found.memory_used_mb or 0) > 0


@given(st.dictionaries(st.sampled_from(WATCHED), st.text(max_size=80)))
def test_no_text_of_a_device_breaks_the_table(raw: dict[str, str]) -> None:
    """Whatever stands in the fields, something can be told, and JSON can hold it."""
    now = vitals_from(raw)
    assert json.dumps(told_of(now, now))
    assert isinstance(now, Vitals)


@given(st.text(max_size=200))
def test_two_looks_are_never_compared(text: str) -> None:
    """What changes at every look is no part of a state's text, nor of its equality."""
    assert VitalsState.parse(text) == VitalsState.parse(".now_load_average=1")
    assert VitalsState.parse(text).render() == ""
