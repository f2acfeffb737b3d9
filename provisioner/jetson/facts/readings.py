"""What tegrastats, nvpmodel and /sys say: lines of every release from R32 to R39, on one set of fields."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Literal

from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Source = Literal["tegrastats", "sysfs", "nvidia-smi"]

# RAM 330/3964MB; from R35 on a time stands before it
_RAM = re.compile(r"\bRAM (\d{1,9})/(\d{1,9})([MG])B\b")
_SWAP = re.compile(r"\bSWAP (\d{1,9})/(\d{1,9})([MG])B\b")
_CPU = re.compile(r"\bCPU \[([^]]*)\]")
# GR3D_FREQ 0%, 0%@[114], 0%@[0,0]; on Thor @[0,0,0], which tells a clock and no load
_GPU = re.compile(r"\bGR3D(?:_FREQ)? (\d{1,3})%")
# GPU@22.5C, and from R39 on gpu@35.906C/35.906C
_ZONE = re.compile(r"\b([A-Za-z][\w-]*)@(-?\d{1,3}(?:\.\d{1,6})?)C\b")
# VDD_IN 2763mW/2846mW; POM_5V_IN 933/933 and GPU 1155/1155 before R34; three numbers from R39 on
_POWER = re.compile(r"(?<![\w@/])([A-Za-z][A-Za-z0-9_]*) (\d{1,9})(?:mW)?(?:/\d+(?:mW)?){1,2}(?=\s|$)")

_MODE = re.compile(r"NV Power Mode:\s*(\S+)")
_JUNCTION = ("tj", "tj-thermal")
_FALSE = ("pmic",)  # PMIC@100C is a constant, not a measurement
_LOWEST, _HIGHEST = -40.0, 150.0  # an engine that sleeps says -256


@dataclass(frozen=True)
class Readings:
    """What a device measures of itself now: per cent, degrees Celsius, MiB and mW; None where it does not tell."""

    source: Source | None = None
    memory_used_mb: int | None = None
    memory_total_mb: int | None = None
    swap_total_mb: int | None = None
    cpu_load: float | None = None
    gpu_load: float | None = None
    temperatures: Mapping[str, float] = field(default_factory=dict)
    power: Mapping[str, int] = field(default_factory=dict)

    @property
    def temperature(self) -> float | None:
        """Return the junction's temperature, or that of the hottest zone."""
        named = {name.lower(): value for name, value in self.temperatures.items()}
        junction = next((named[name] for name in _JUNCTION if name in named), None)
        return junction if junction is not None else max(named.values(), default=None)


@dataclass(frozen=True)
class PowerMode:
    """The power mode that is set, and all that the board has, by number."""

    name: str | None = None
    id: int | None = None
    modes: Mapping[int, str] = field(default_factory=dict)


def read_tegrastats(line: str) -> Readings | None:
    """Return what a line of tegrastats says, None where it is none."""
    ram = _RAM.search(line)
    if ram is None:
        return None
    swap, cpu, gpu = _SWAP.search(line), _CPU.search(line), _GPU.search(line)
    return Readings(
        source="tegrastats",
        memory_used_mb=_mb(ram[1], ram[3]),
        memory_total_mb=_mb(ram[2], ram[3]),
        swap_total_mb=_mb(swap[2], swap[3]) if swap else None,
        cpu_load=_mean(cpu[1]) if cpu else None,
        gpu_load=float(gpu[1]) if gpu else None,
        temperatures=_plausible((match[1], float(match[2])) for match in _ZONE.finditer(line)),
        power={match[1]: int(match[2]) for match in _POWER.finditer(line)},
    )


def _mb(text: str, unit: str) -> int:
    return int(text) * (1024 if unit == "G" else 1)


def _mean(cores: str) -> float | None:
    """Return the mean load of the cores that are on: 14%@2188,off,5%@2112."""
    loads = [int(match[1]) for core in cores.split(",") if (match := re.match(r"\s*(\d{1,3})%", core))]
    return round(sum(loads) / len(loads), 1) if loads else None


def _plausible(zones: Iterable[tuple[str, float]]) -> dict[str, float]:
    return {
        name: value for name, value in zones if _LOWEST <= value <= _HIGHEST and not name.lower().startswith(_FALSE)
    }


def read_sysfs(zones: str, gpu_load: str) -> Readings | None:
    """Return what thermal zones (name:millidegrees ...) and the GPU's load (per mille) say, None if nothing."""
    pairs = (zone.rpartition(":") for zone in zones.split())
    found = _plausible((name, int(text) / 1000) for name, _, text in pairs if re.fullmatch(r"-?\d{1,9}", text))
    load = int(gpu_load) / 10 if re.fullmatch(r"\d{1,4}", gpu_load) else None
    if not found and load is None:
        return None
    return Readings(source="sysfs", temperatures=found, gpu_load=load)


def read_nvidia_smi(row: str) -> Readings | None:
    """Return what `temperature.gpu, utilization.gpu` of nvidia-smi's first GPU say, None if nothing."""
    match = re.match(r"\s*(\d{1,3}|\S+)\s*,\s*(\d{1,3}|\S+)", row)
    if match is None or not (match[1].isdigit() or match[2].isdigit()):
        return None
    temperatures = {"gpu": float(match[1])} if match[1].isdigit() else {}
    load = float(match[2]) if match[2].isdigit() else None
    return Readings(source="nvidia-smi", temperatures=temperatures, gpu_load=load)


def read_power_mode(said: str, modes: str) -> PowerMode:
    """Return what `nvpmodel -q` says, its lines joined by `|`, and the modes (0:MAXN 1:5W) of nvpmodel.conf."""
    pairs = (mode.partition(":") for mode in modes.split())
    known = {int(number): name for number, _, name in pairs if re.fullmatch(r"\d{1,4}", number)}
    lines = [line.strip() for line in said.split("|")]
    name = next((match[1] for line in lines if (match := _MODE.search(line))), None)
    number = next((int(line) for line in reversed(lines) if re.fullmatch(r"\d{1,4}", line)), None)
    if name is None and number is not None:
        name = known.get(number)
    return PowerMode(name, number, known)
