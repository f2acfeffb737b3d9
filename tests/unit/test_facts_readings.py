"""Laws of tegrastats, nvpmodel and /sys: lines that real devices have printed, and whatever else may come."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.jetson.facts.readings import read_nvidia_smi, read_power_mode, read_sysfs, read_tegrastats

LINES = {
    "R32": (
        (
            "RAM 534/3964MB (lfb 98x4MB) SWAP 5/1982MB IRAM 0/252kB(lfb 252kB) CPU [16%@204,9%@204,0%@204,off]"
            " EMC_FREQ 0%@204 GR3D_FREQ 7%@76 APE 25 CPU@36.5C PMIC@100C GPU@36C POM_5V_IN 1022/1022 POM_5V_GPU 0/0"
        ),
        (534, 3964, 8.3, 7.0, 36.5, {"POM_5V_IN": 1022, "POM_5V_GPU": 0}),
    ),
    "R32 without swap": (
        (
            "RAM 1179/3983MB (lfb 120x4MB) CPU [1%@102,4%@102] EMC_FREQ 7%@408 GR3D_FREQ 0%@76 AO@42.5C Tboard@42C "
            "VDD_IN 2532/2698"
        ),
        (1179, 3983, 2.5, 0.0, 42.5, {"VDD_IN": 2532}),
    ),
    "R32 with rails named like parts": (
        (
            "RAM 721/31927MB (lfb 7291x4MB) CPU [2%@1190,off] EMC_FREQ 0%@665 GR3D_FREQ 0%@318 APE 150 MTS fg 0% bg 0% "
            "AO@37.5C GPU@38C GPU 12/10 CPU 311/311"
        ),
        (721, 31927, 2.0, 0.0, 38.0, {"GPU": 12, "CPU": 311}),
    ),
    "R35": (
        (
            "07-09-2024 13:31:31 RAM 3168/6851MB (lfb 2x4MB) SWAP 161/3426MB (cached 0MB) CPU [23%@1397,17%@1192] "
            "EMC_FREQ 2%@204 GR3D_FREQ 9%@[114] VIC_FREQ 115 APE 150 AUX@45C CPU@46.5C PMIC@50C VDD_IN 2763mW/2846mW"
        ),
        (3168, 6851, 20.0, 9.0, 46.5, {"VDD_IN": 2763}),
    ),
    "R36": (
        (
            "05-09-2026 18:42:06 RAM 18207/62841MB (lfb 466x4MB)    SWAP 86/31420MB CPU [14%@2188,5%@2112] "
            "EMC_FREQ 3%@2133 GR3D_FREQ 42%@[0,0] NVENC 79%@166 NVDEC off cpu@52.562C tj@51.5C VDD_CPU_CV 1607mW/1607mW"
        ),
        (18207, 62841, 9.5, 42.0, 51.5, {"VDD_CPU_CV": 1607}),
    ),
    "R36 without root": (
        (
            "10-05-2026 21:03:35 RAM 5137/62841MB (lfb 2x4MB) SWAP 0/31420MB (cached 0MB) CPU [1%@729,25%@729] "
            "GR3D_FREQ 0% cpu@52.875C"
        ),
        (5137, 62841, 13.0, 0.0, 52.875, {}),
    ),
    "R38 on Thor": (
        (
            "05-17-2026 10:00:32 RAM 4208/125773MB (lfb 31x4MB) SWAP 0/2048MB CPU [1%@972,0%@972] EMC_FREQ "
            "0%@665 GR3D_FREQ @[0,0,0] NVENC0_FREQ @0 VIC off cpu@34.468C tj@34.5C VDD_GPU 0mW/0mW"
        ),
        (4208, 125773, 0.5, None, 34.5, {"VDD_GPU": 0}),
    ),
    "R39": (
        (
            "07-23-2026 15:29:27 RAM 9091/125811MB (lfb 19x4MB) SWAP 0/2048MB CPU [40%@972,16%@972] EMC_FREQ "
            "7%@3200 GR3D_FREQ 12%@[314] cpu@34.312C/34.843C tj@35.906C/35.906C VDD_CPU_SOC_MSS 7953mW/8332mW/8710mW"
        ),
        (9091, 125811, 28.0, 12.0, 35.906, {"VDD_CPU_SOC_MSS": 7953}),
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_one_parser_reads_tegrastats_of_every_release(name: str) -> None:
    """Memory, loads, the telling temperature and the rails are found, however the release writes them."""
    line, told = LINES[name]
    found = read_tegrastats(line)
    assert found is not None
    assert told == (
        found.memory_used_mb, found.memory_total_mb, found.cpu_load, found.gpu_load, found.temperature, found.power,
    )  # fmt: skip


def test_constants_and_sleepers_are_no_temperatures() -> None:
    """PMIC@100C is no measurement, and an engine that sleeps at -256 degrees is not cold."""
    found = read_tegrastats("RAM 1/2MB CPU [1%@1] PMIC@100C CV0@-256C GPU@31.5C")
    assert found is not None
    assert found.temperatures == {"GPU": 31.5}


@pytest.mark.parametrize("line", ["", "tegrastats: command not found", "RAM", "GPU@30C"])
def test_what_is_no_line_of_tegrastats_is_none(line: str) -> None:
    """A line without memory is not one of tegrastats."""
    assert read_tegrastats(line) is None


def test_sysfs_stands_in_for_tegrastats() -> None:
    """Zones are millidegrees, the load is per mille, and nothing at all is None."""
    found = read_sysfs("cpu-thermal:52500 pmic:100000 tj-thermal:51000 broken: x:-256000", "345")
    assert found is not None
    assert (found.temperatures, found.temperature) == ({"cpu-thermal": 52.5, "tj-thermal": 51.0}, 51.0)
    assert found.gpu_load == 34.5
    assert read_sysfs("", "") is None
    assert read_sysfs("", "n/a") is None


@pytest.mark.parametrize(
    ("row", "told"), [("41, 3", (41.0, 3.0)), ("[N/A], 3", (None, 3.0)), ("44, [N/A]", (44.0, None))]
)
def test_a_gpu_tells_what_it_can(row: str, told: tuple[float | None, float | None]) -> None:
    """nvidia-smi writes [N/A] for what a GPU cannot tell."""
    found = read_nvidia_smi(row)
    assert found is not None
    assert (found.temperature, found.gpu_load) == told


@pytest.mark.parametrize("row", ["", "[N/A], [N/A]", "No devices were found"])
def test_a_gpu_that_tells_nothing_is_none(row: str) -> None:
    """Errors of nvidia-smi are no readings."""
    assert read_nvidia_smi(row) is None


@pytest.mark.parametrize(
    ("said", "modes", "told"),
    [
        ("NVPM WARN: fan mode is not set!|NV Power Mode: MODE_30W|2|", "0:MAXN 2:MODE_30W", ("MODE_30W", 2)),
        ("NV Fan Mode:quiet|NV Power Mode: MAXN_SUPER|0|", "", ("MAXN_SUPER", 0)),
        ("3|", "0:MAXN 3:25W", ("25W", 3)),
        ("NVPM ERROR: no such file|", "0:MAXN", (None, None)),
        ("", "", (None, None)),
    ],
)
def test_the_power_mode_has_a_name_and_a_number(said: str, modes: str, told: tuple[str | None, int | None]) -> None:
    """Both are told by nvpmodel; a number alone gets its name from the board's own table."""
    found = read_power_mode(said, modes)
    assert (found.name, found.id) == told


@settings(deadline=None)
@given(st.text(), st.text())
def test_any_text_can_be_read(first: str, second: str) -> None:
    """Whatever a program prints, no reader fails."""
    read_tegrastats(first)
    read_tegrastats(f"RAM 1/2MB {first}")
    read_sysfs(first, second)
    read_nvidia_smi(first)
    assert read_power_mode(first, second).modes is not None


@pytest.mark.parametrize("digits", [5000, 20])
def test_endless_numbers_are_refused(digits: int) -> None:
    """A number that no device can mean is passed over, and does not end the program."""
    many = "9" * digits
    assert read_tegrastats(f"RAM {many}/{many}MB CPU [{many}%@1] GR3D_FREQ {many}%") is None
    found = read_tegrastats(f"RAM 1/2MB CPU [{many}%@1] GR3D_FREQ {many}% a@{many}C b {many}/{many}")
    assert found is not None
    assert (found.cpu_load, found.gpu_load, found.temperatures, found.power) == (None, None, {}, {})
