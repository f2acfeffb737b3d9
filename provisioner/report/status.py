"""How a fleet does, as a table; no I/O, no clock of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from provisioner.report.board import UNICODE, Marks, fit
from provisioner.report.errors import cells
from provisioner.report.text import Row, Span, count, duration, listed, one_line, row, size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.report.seen import Seen

_GAP = 2
_NAME = 24  # columns that a host's name may have beside its readings
_DRIFT = 12  # columns that drift keeps, however narrow the terminal is
_HOT = 85.0
_GB = 1024


class _Column(NamedTuple):
    key: str
    wide: str
    narrow: str
    cell: Callable[[Seen, bool], Span]


def table(
    fleet: list[Seen], now: float, width: int, *, drift: bool = True, patience: float = 15.0, marks: Marks = UNICODE
) -> list[Row]:
    """Return the fleet as rows of at most so many columns: what does not find room is shortened, then left out."""
    columns = [one for one in _COLUMNS if drift or one.key != "drift"]
    names = _Column("host", "HOST", "HOST", lambda seen, _wide: Span(one_line(seen.name), "strong"))
    chosen, wide = _chosen(fleet, [names, *columns], width)
    widths = _widths(fleet, chosen, wide=wide)
    widths[0] = min(widths[0], _most(width))
    spare = width - sum(widths) - _GAP * (len(widths) - 1)
    if spare < 0 or chosen[-1].key == "drift":
        widths[-1] = max(widths[-1] + min(spare, 0), 1)
    lines = [_line([Span(one.wide if wide else one.narrow, "dim") for one in chosen], widths, marks)]
    for seen in fleet:
        words = _trouble(seen, now, patience)
        if words is None:
            lines.append(_line([one.cell(seen, wide) for one in chosen], widths, marks))
            continue
        room = max(width - widths[0] - _GAP, 1)
        text = words.text if width >= _UNBOUND else fit(words.text, room, marks).rstrip()
        lines.append(row((fit(one_line(seen.name), widths[0], marks), "strong"), " " * _GAP, (text, words.style)))
    return lines


_UNBOUND = 1000
"""Columns of what is no terminal: nothing is shortened there."""

_DROPPED = ("swap", "module", "gpu", "power", "memory", "cpu", "disk", "temperature", "throttling")
"""What is left out first, where there is no room for it."""


def _chosen(fleet: list[Seen], columns: list[_Column], width: int) -> tuple[list[_Column], bool]:
    left = list(columns)
    if _total(fleet, left, width, wide=True) <= width:
        return left, True
    for key in ("", *_DROPPED):
        left = [one for one in left if one.key != key]
        if _total(fleet, left, width, wide=False) <= width:
            break
    return left, False


def _most(width: int) -> int:
    """Return the columns that names may have: at most half of a narrow terminal, and all where nothing is cut."""
    return width if width >= _UNBOUND else min(_NAME, width // 2)


def _total(fleet: list[Seen], columns: list[_Column], width: int, *, wide: bool) -> int:
    """Return the columns that a table needs; drift may be cut, but not wholly."""
    widths = _widths(fleet, columns, wide=wide)
    widths[0] = min(widths[0], _most(width))
    if columns[-1].key == "drift" and not wide:
        widths[-1] = min(widths[-1], _DRIFT)
    return sum(widths) + _GAP * (len(widths) - 1)


def _widths(fleet: list[Seen], columns: list[_Column], *, wide: bool) -> list[int]:
    well = [seen for seen in fleet if not seen.lost]
    return [
        max(
            len(one.wide if wide else one.narrow),
            *(_cells(one.cell(seen, wide).text) for seen in (fleet if one.key == "host" else well)),
            1,
        )
        for one in columns
    ]


def _cells(text: str) -> int:
    return len(text) if text.isascii() else sum(cells(char) for char in text)


def _line(spans: list[Span], widths: list[int], marks: Marks) -> Row:
    """Return a row of cells; the last one is not filled up."""
    pieces: list[Span] = []
    for span, width in zip(spans, widths, strict=True):
        pieces += [Span(fit(span.text, width, marks), span.style), Span(" " * _GAP)]
    last = pieces[-2]
    return (*pieces[:-2], Span(last.text.rstrip(), last.style))


def _trouble(seen: Seen, now: float, patience: float) -> Span | None:
    """Return what stands in place of readings, where there are none to rely on."""
    if seen.lost:
        again = seen.lost.again
        soon = "" if again is None else f"; tried again in {duration(max(again - now, 0))}"
        soon = "; tried again now" if seen.asked is not None else soon
        since = f" {duration(now - seen.lost.since)} ago" if again is not None else ""
        return Span(f"lost{since}: {one_line(seen.lost.why)}{soon}", "failed")
    if silence := seen.silent(now, patience):
        return Span(f"no answer for {duration(silence)}", "failed")
    return Span("asked for the first time ...", "dim") if seen.at is None else None


# Cells.


def _text(told: Mapping[str, Any], key: str) -> str:
    return one_line(str(told[key])) if told.get(key) is not None else ""


def _module(seen: Seen, _wide: bool) -> Span:
    return Span(_text(seen.told, "module") or "unknown")


def _temperature(seen: Seen, wide: bool) -> Span:
    value = seen.told.get("temperature_celsius")
    if value is None:
        return Span("-", "dim")
    text = f"{value:.1f} °C {_text(seen.told, 'temperature_zone')}" if wide else f"{value:.0f} °C"
    return Span(text, "warning" if value >= _HOT else "")


def _cpu(seen: Seen, _wide: bool) -> Span:
    percent, load, cores = (seen.told.get(key) for key in ("cpu_load_percent", "load_average", "cores"))
    if percent is not None:
        return Span(f"{percent:.0f} %")
    if load is None:
        return Span("-", "dim")
    return Span(f"{load:g}/{cores}" if cores else f"{load:g}")


def _gpu(seen: Seen, _wide: bool) -> Span:
    percent = seen.told.get("gpu_load_percent")
    return Span("-", "dim") if percent is None else Span(f"{percent:.0f} %")


def _power(seen: Seen, _wide: bool) -> Span:
    total = seen.told.get("power_total_milliwatts")
    return Span("-", "dim") if total is None else Span(f"{total / 1000:.1f} W")


def _throttling(seen: Seen, wide: bool) -> Span:
    """Return what slows a device down: heat and power of this moment, and the events of power since it was booted."""
    state, parts = seen.told.get("throttling", "unknown"), seen.told.get("throttled_by_heat") or ()
    lately, ever = seen.told.get("over_current_events_lately"), _events(seen.told)
    if state == "yes":
        heat = [f"heat: {listed(map(str, parts), 3)}" if wide else "heat"] if parts else []
        power = [f"power: {count(lately, 'time')}" if wide else "power"] if lately else []
        return Span(("; " if wide else "+").join([*heat, *power]), "failed")
    if state == "no":
        return Span(f"no ({ever} since boot)" if ever and wide else "no")
    return Span("unknown", "dim")


def _events(told: Mapping[str, Any]) -> int:
    return sum((told.get("over_current_events") or {}).values())


def _of(used: int | None, total: int | None, *, wide: bool) -> Span:
    if total is None:
        return Span("-", "dim")
    if not total:
        return Span("none", "dim")
    said = f"{used / _GB:.1f}/{total / _GB:.1f}" if used is not None else f"{total / _GB:.1f}"
    return Span(f"{said} GiB" if wide else f"{said}G")


def _memory(seen: Seen, wide: bool) -> Span:
    return _of(seen.told.get("memory_used_mb"), seen.told.get("memory_total_mb"), wide=wide)


def _swap(seen: Seen, wide: bool) -> Span:
    return _of(seen.told.get("swap_used_mb"), seen.told.get("swap_total_mb"), wide=wide)


def _disk(seen: Seen, wide: bool) -> Span:
    free, whole = seen.told.get("disk_free_bytes"), seen.told.get("disk_size_bytes")
    if free is None:
        return Span("-", "dim")
    style = "warning" if whole and free * 20 < whole else ""
    return Span(f"{size(free)} of {size(whole)}" if wide and whole else size(free), style)


def _drift(seen: Seen, _wide: bool) -> Span:
    if seen.drift is None:
        return Span("looked for ..." if seen.busy else "-", "dim")
    return Span(one_line(seen.drift.words), seen.drift.style)


_COLUMNS = (
    _Column("module", "MODULE", "MODULE", _module),
    _Column("temperature", "TEMPERATURE", "TEMP", _temperature),
    _Column("cpu", "CPU", "CPU", _cpu),
    _Column("gpu", "GPU", "GPU", _gpu),
    _Column("power", "POWER", "POWER", _power),
    _Column("throttling", "THROTTLED", "THROTTLED", _throttling),
    _Column("memory", "MEMORY", "MEMORY", _memory),
    _Column("swap", "SWAP", "SWAP", _swap),
    _Column("disk", "DISK FREE", "DISK", _disk),
    _Column("drift", "DRIFT", "DRIFT", _drift),
)


def shortened(fleet: list[Seen], lines: int, now: float, patience: float) -> tuple[list[Seen], str]:
    """Return the hosts for which there is room, those in trouble first but in their order, and words on the rest."""
    if len(fleet) <= max(lines, 1):
        return fleet, ""
    kept = {seen.name for seen in sorted(fleet, key=lambda seen: _urgency(seen, now, patience))[: max(lines - 1, 1)]}
    return [seen for seen in fleet if seen.name in kept], f"and {count(len(fleet) - len(kept), 'more host')}"


def _urgency(seen: Seen, now: float, patience: float) -> int:
    if _trouble(seen, now, patience):
        return 0
    if seen.told.get("throttling") == "yes":
        return 1
    return 2 if seen.drift and seen.drift.state not in ("order", "never") else 3


def headline(fleet: list[Seen], now: float, patience: float) -> str:
    """Return what the fleet comes to, in a line."""
    lost = sum(bool(seen.lost or seen.silent(now, patience)) for seen in fleet)
    slow = sum(not seen.lost and seen.told.get("throttling") == "yes" for seen in fleet)
    drifted = sum(seen.drift is not None and seen.drift.state == "changes" for seen in fleet)
    parts = [
        f"{number} {word}" for number, word in ((lost, "lost"), (slow, "throttled"), (drifted, "drifted")) if number
    ]
    return ", ".join([count(len(fleet), "host"), *parts])
