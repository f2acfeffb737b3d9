"""Laws of the facts that people are shown: what is known stands there in few words, and what is not is left out."""

from __future__ import annotations

import io
from typing import Any

import pytest

from provisioner.jetson.facts import facts_from
from provisioner.jetson.facts.software import details_from
from provisioner.jetson.facts.telling import told_of
from provisioner.report.factlines import lines_of, size, title_of
from provisioner.report.facts import print_facts
from provisioner.report.text import clean

NANO: dict[str, Any] = {
    "hostname": "nano", "kind": "jetson", "module": "Jetson Nano", "l4t": "32.7.4", "jetpack": "4.6.4",
    "l4t_source": "dpkg", "soc": "tegra210", "compute_capability": "5.3", "memory_mb": 3964, "docker_installed": True,
    "docker_answers": True, "docker_version": "20.10.21", "docker_storage_driver": "overlay2",
    "docker_default_runtime": "runc", "docker_data_root": "/var/lib/docker",
    "docker_data_root_free_bytes": 21 * 1024**3, "temperature_celsius": 27.4, "gpu_load_percent": 0.0,
    "cpu_load_percent": 1.8, "clock_offset_seconds": 1, "apt_sources": "sane", "held_packages": ["a", "b"],
    "storage": [
        {"name": "sda", "kind": "usb", "size_bytes": 4 * 10**12, "root": False},
        {"name": "mmcblk0", "kind": "emmc", "size_bytes": 16 * 10**9, "root": True},
    ],
}  # fmt: skip


class Terminal(io.StringIO):
    """A terminal of no known width."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def shown(table: dict[str, dict[str, Any]], stream: io.StringIO | None = None) -> list[str]:
    out = stream or io.StringIO()
    print_facts(table, out)
    return [clean(line) for line in out.getvalue().splitlines()]


def lines(**changes: Any) -> dict[str, str]:
    return dict(lines_of({**NANO, **changes}))


def test_a_block_for_each_host() -> None:
    """Hosts stand one below the other where nobody looks at a terminal, with the module beside the name."""
    told = shown({"nano": NANO, "thor": {"kind": "jetson", "module": "Jetson AGX Thor", "l4t": "39.2.1"}})
    heads = [line.split() for line in told if line and not line.startswith(" ")]
    assert heads == [["nano", "Jetson", "Nano"], ["thor", "Jetson", "AGX", "Thor"]]
    assert "" in told
    assert not [line for line in told if line != line.rstrip()]


@pytest.mark.parametrize("columns", [80, 140])
def test_no_line_is_wider_than_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the width, blocks are folded into it, and a wide terminal has them side by side."""
    monkeypatch.setenv("COLUMNS", str(columns))
    table = {f"host{n}": {**NANO, "warnings": ["word " * 40]} for n in range(3)}
    told = shown(table, Terminal())
    assert max(map(len, told)) <= columns
    assert sum("host0" in line and "host1" in line for line in told) == (columns == 140)
    assert sum("(JetPack 4.6.4)" in line for line in told) == (2 if columns == 140 else 3)


def test_what_is_known_is_said_in_few_words() -> None:
    """Each line answers one question of people's."""
    told = lines()
    assert told["L4T"] == "32.7.4, from dpkg (JetPack 4.6.4)"
    assert told["SoC"] == "tegra210, compute capability 5.3"
    assert told["storage"] == "eMMC mmcblk0 16 GB root, USB sda 4.0 TB"
    assert told["Docker"] == "20.10.21, overlay2, default runtime runc"
    assert told["data root"] == "/var/lib/docker, 21 GiB free"
    assert told["now"] == "27 °C, GPU 0 %, CPU 2 %"
    assert told["clock"] == "in step"
    assert told["apt"] == "lists sane, 2 held: a, b"


@pytest.mark.parametrize(
    ("changes", "label", "words"),
    [
        ({"docker_installed": False}, "Docker", "not installed"),
        ({"docker_answers": False}, "Docker", "20.10.21, its daemon does not answer"),
        ({"docker_answers": False, "docker_denied": True}, "Docker", "20.10.21, answers root only: ask with -b"),
        ({"clock_offset_seconds": -90}, "clock", "-90 s"),
        ({"held_packages": list("abcdef")}, "apt", "lists sane, 6 held: a, b, c, d, ..."),
        ({"part_numbers": ["p1", "p2"], "carrier": "p3", "super_mode": True}, "part", "p1 or p2 on p3, Super"),
        ({"cuda": "12.6.68"}, "software", "CUDA 12.6.68, cuDNN not installed, TensorRT not installed"),
        ({}, "software", "CUDA, cuDNN and TensorRT are not installed"),
        ({"reboot_required": True}, "boot", "first boot done, reboot due"),
        ({"first_boot_pending": True}, "boot", "first boot not finished"),
        ({"kernel_architecture": "aarch64", "userland_architecture": "armhf"}, "architecture",
         "kernel aarch64, userland armhf"),
        ({"power_mode": "15W", "power_modes": {"0": "MAXN", "1": "15W"}}, "power mode", "15W (others: MAXN)"),
        ({"temperature_celsius": None, "gpu_load_percent": None, "cpu_load_percent": None, "load_average": 0.5}, "now",
         "load 0.5"),
    ],
)  # fmt: skip
def test_words_follow_the_facts(changes: dict[str, Any], label: str, words: str) -> None:
    """What differs is said differently."""
    assert lines(**changes)[label] == words


def test_what_is_not_known_is_left_out() -> None:
    """A host that told nothing has no empty lines."""
    nothing = told_of(facts_from({}), details_from({}))
    assert dict(lines_of(nothing)) == {"Docker": "not installed"}
    assert title_of(nothing) == "other machine"


def test_a_device_is_shown_and_not_obeyed() -> None:
    """Control sequences and markup of a device are neither obeyed nor read as markup."""
    stream = io.StringIO()
    print_facts({"x": {"module": "AGX \x1b[31mThor [bold]", "model": "a\nb"}}, stream)
    told = stream.getvalue()
    assert "AGX Thor [bold]" in told
    assert "a b" in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("count", "step", "words"),
    [(0, 1024, "0 B"), (1023, 1024, "1023 B"), (1536, 1024, "1.5 KiB"), (40 * 1024**3, 1024, "40 GiB"),
     (64 * 10**9, 1000, "64 GB"), (2 * 10**15, 1000, "2000.0 TB")],
)  # fmt: skip
def test_sizes_are_as_people_read_them(count: int, step: int, words: str) -> None:
    """Two digits are enough."""
    assert size(count, step) == words
