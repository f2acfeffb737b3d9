"""How a host does now: what `provision status` asks every few seconds, in shell, and what the answers mean.

Throttling by heat is the state of the cooling devices that are called cpu-throttle-alert and the like. Throttling by
power is counted since boot in oc1_event_cnt (voltage too low), oc2_event_cnt and oc3_event_cnt (current too high on
average, at one moment) of the hwmon called soctherm_oc, which Orin and Thor have. Other hosts tell neither.
Sources: github.com/rbonghi/jetson_stats pull requests 597 and 905; NVIDIA's driver tegra234-oc-event; "Platform Power
and Performance" in the developer guide of Jetson Linux.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from provisioner.records import dataclass
from provisioner.shell import Script

from .readings import Readings
from .sensors import DETAILS_FREE, DETAILS_READINGS
from .software import details_from

if TYPE_CHECKING:
    from collections.abc import Mapping

VITALS_TEXT = Script(
    "vitals_text",
    r"""
vitals_memory() {
  [ -r /proc/meminfo ] || return 0
  while read -r vitals_key vitals_read _; do
    case $vitals_key in
    MemTotal:) printf 'memory_kb=%s\n' "$vitals_read" ;;
    SwapTotal:) printf 'swap_kb=%s\n' "$vitals_read" ;;
    SwapFree:) printf 'swap_free_kb=%s\n' "$vitals_read"; return 0 ;;
    esac
  done </proc/meminfo
}
vitals_cores() {
  vitals_count=0
  [ -r /proc/stat ] || return 0
  while read -r vitals_key _; do
    case $vitals_key in cpu[0-9]*) vitals_count=$((vitals_count + 1)) ;; cpu) ;; *) break ;; esac
  done </proc/stat
  printf 'cores=%s\n' "$vitals_count"
}
vitals_throttling() {
  vitals_told=
  for vitals_place in /sys/class/thermal/cooling_device*; do
    details_line "$vitals_place/type"
    case $details_read in *' '*) continue ;; *throttle-alert) vitals_key=$details_read ;; *) continue ;; esac
    details_line "$vitals_place/cur_state"
    [ -z "$details_read" ] || vitals_told="$vitals_told${vitals_told:+ }$vitals_key:$details_read"
  done
  printf 'throttle_alerts=%s\n' "$vitals_told"
  vitals_told=
  for vitals_place in /sys/class/hwmon/hwmon*; do
    details_line "$vitals_place/name"
    [ "$details_read" = soctherm_oc ] || continue
    for vitals_file in "$vitals_place"/oc*_event_cnt; do
      details_line "$vitals_file"
      vitals_key=${vitals_file##*/}
      [ -z "$details_read" ] || vitals_told="$vitals_told${vitals_told:+ }${vitals_key%_event_cnt}:$details_read"
    done
    break
  done
  printf 'over_current=%s\n' "$vitals_told"
}
vitals_disk() {
  vitals_root=/var/lib/docker
  if [ -r /etc/docker/daemon.json ]; then
    vitals_read=$(sed -n 's/^.*"data-root"[[:space:]]*:[[:space:]]*"\([^"\\]*\)".*$/\1/p' /etc/docker/daemon.json) ||
      vitals_read=
    case $vitals_read in /*) vitals_root=$vitals_read ;; esac
  fi
  printf 'data_root=%s\n' "$vitals_root"
  details_free "$vitals_root"
}
vitals_all() {
  vitals_memory
  vitals_cores
  vitals_throttling
  vitals_disk
  details_readings
}
if command -v tr >/dev/null 2>&1; then
  vitals_all 2>/dev/null | tr -d '\000-\011\013-\037\177'
else
  vitals_all 2>/dev/null
fi
""",
    (DETAILS_READINGS, DETAILS_FREE),
)
"""Prints one `field=value` line for each thing that could be told; nothing is written, Docker is not asked."""

WATCHED = (
    "memory_kb", "swap_kb", "swap_free_kb", "cores", "throttle_alerts", "over_current", "data_root", "root_free_kb",
    "root_size_kb", "data_root_free_kb", "data_root_size_kb", "tegrastats", "zones", "gpu_load", "nvidia_smi",
    "load_average", "memory_available_kb",
)  # fmt: skip
"""Every field that the body may print."""

_INPUTS = ("VDD_IN", "POM_5V_IN")  # these feed the whole module; where there is none, the rails do not overlap
_JUNCTION = ("tj", "tj-thermal")
_DIGITS = 19
_PAIR = re.compile(r"([A-Za-z0-9_-]{1,40}):(\d{1,18})")


@dataclass(frozen=True)
class Vitals:
    """How a host does now: MiB, bytes, per cent and mW; None where it does not tell."""

    readings: Readings = field(default_factory=Readings)
    cores: int | None = None
    load_average: float | None = None
    memory_used_mb: int | None = None
    memory_total_mb: int | None = None
    swap_used_mb: int | None = None
    swap_total_mb: int | None = None
    disk: str | None = None
    disk_free_bytes: int | None = None
    disk_size_bytes: int | None = None
    alerts: Mapping[str, int] = field(default_factory=dict)
    over_current: Mapping[str, int] = field(default_factory=dict)

    @property
    def hottest(self) -> tuple[str, float] | None:
        """Return the hottest zone and its temperature; the junction is named only where no part is as hot."""
        zones = [(value, name.lower() not in _JUNCTION, name) for name, value in self.readings.temperatures.items()]
        if not zones:
            return None
        value, _, name = max(zones, key=lambda one: one[:2])
        return name, value

    @property
    def power(self) -> tuple[str, int] | None:
        """Return what is drawn in all, and from which it is known: the rail that feeds the module, or their sum."""
        rails = self.readings.power
        if fed := next((name for name in _INPUTS if name in rails), None):
            return fed, rails[fed]
        return ("sum of rails", sum(rails.values())) if rails else None

    @property
    def hot(self) -> tuple[str, ...]:
        """Return the parts that are slowed down now since they are too hot."""
        return tuple(name.removesuffix("-throttle-alert") for name, state in self.alerts.items() if state)

    def events_since(self, before: Vitals | None) -> int | None:
        """Return how often power made the device slow down since an earlier look; None where that cannot be told."""
        if before is None or not (self.over_current and before.over_current):
            return None
        moved = sum(self.over_current.values()) - sum(before.over_current.values())
        return moved if moved >= 0 else None  # it was booted in between

    @property
    def tells_throttling(self) -> bool:
        """Tell whether the host says anything of throttling."""
        return bool(self.alerts or self.over_current)


def vitals_from(raw: Mapping[str, str]) -> Vitals:
    """Return what the raw fields mean; a field that is missing counts as one that could not be read."""
    more = details_from(raw)
    total, swap = _number(raw.get("memory_kb", "")), _number(raw.get("swap_kb", ""))
    readings = more.readings
    on_root = more.data_root_free_bytes is None
    return Vitals(
        readings=readings,
        cores=_number(raw.get("cores", "")) or None,
        load_average=more.load_average,
        memory_used_mb=_used(total, more.memory_available_kb, readings.memory_used_mb),
        memory_total_mb=total // 1024 if total is not None else readings.memory_total_mb,
        swap_used_mb=_used(swap, _number(raw.get("swap_free_kb", "")), None),
        swap_total_mb=swap // 1024 if swap is not None else readings.swap_total_mb,
        disk="/" if on_root else raw.get("data_root") or None,
        disk_free_bytes=more.root_free_bytes if on_root else more.data_root_free_bytes,
        disk_size_bytes=more.root_size_bytes if on_root else more.data_root_size_bytes,
        alerts=_pairs(raw.get("throttle_alerts", "")),
        over_current=_pairs(raw.get("over_current", "")),
    )


def _used(total: int | None, free: int | None, otherwise: int | None) -> int | None:
    return otherwise if total is None or free is None else max(total - free, 0) // 1024


def _pairs(text: str) -> dict[str, int]:
    return {match[1]: int(match[2]) for word in text.split() if (match := _PAIR.fullmatch(word))}


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else None


def told_of(now: Vitals, before: Vitals | None = None) -> dict[str, object]:
    """Return all that is known of how a host does, as plain data; `before` is an earlier look at it."""
    hottest, power = now.hottest, now.power
    return {
        "readings_source": now.readings.source,
        "temperature_celsius": hottest[1] if hottest else None,
        "temperature_zone": hottest[0] if hottest else None,
        "temperatures_celsius": dict(now.readings.temperatures),
        "cpu_load_percent": now.readings.cpu_load,
        "load_average": now.load_average,
        "cores": now.cores,
        "gpu_load_percent": now.readings.gpu_load,
        "power_total_milliwatts": power[1] if power else None,
        "power_from": power[0] if power else None,
        "power_milliwatts": dict(now.readings.power),
        **_throttling(now, before),
        "memory_used_mb": now.memory_used_mb,
        "memory_total_mb": now.memory_total_mb,
        "swap_used_mb": now.swap_used_mb,
        "swap_total_mb": now.swap_total_mb,
        "disk": now.disk,
        "disk_free_bytes": now.disk_free_bytes,
        "disk_size_bytes": now.disk_size_bytes,
    }


def _throttling(now: Vitals, before: Vitals | None) -> dict[str, object]:
    lately = now.events_since(before)
    state = "yes" if now.hot or lately else "no" if now.tells_throttling else "unknown"
    return {
        "throttling": state,
        "throttled_by_heat": list(now.hot),
        "over_current_events": dict(now.over_current),
        "over_current_events_lately": lately,
    }
