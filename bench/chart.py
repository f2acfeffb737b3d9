"""A line chart as SVG, by hand: two logarithmic axes, a line for each series, readable on light and on dark."""

from __future__ import annotations

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 120, 40, 48
_GAP = 16
_STYLES = {
    "Ansible": "stroke:#d1495b",
    "Mitogen": "stroke:#d98324",
    "pyinfra": "stroke:#8a63d2",
    "provision": "stroke:#2a7de1;stroke-width:3",
    "floor": "stroke:#8b949e;stroke-dasharray:5 4",
}
_OTHERS = ("stroke:#2f9e6e", "stroke:#b0559c", "stroke:#6b8e23", "stroke:#c2743b")
_CSS = """\
text { font: 12px system-ui, sans-serif; fill: #57606a }
.title { font-size: 14px; font-weight: 600 }
.grid { stroke: #8b949e; stroke-opacity: .25 }
.line { fill: none; stroke-width: 2; stroke-linejoin: round }
@media (prefers-color-scheme: dark) { text { fill: #c9d1d9 } }
"""


class Axis:
    """A logarithmic axis between two places."""

    def __init__(self, values: Sequence[float], start: float, end: float, *, whole: bool) -> None:
        self._start, self._end = start, end
        low, high = log10(min(values)), log10(max(values))
        if whole:
            low, high = floor(low), max(ceil(high), floor(low) + 1)
        self._low, self._high = low, max(high, low + 0.1)

    def at(self, value: float) -> float:
        """Return where a value is."""
        part = (log10(value) - self._low) / (self._high - self._low)
        return round(self._start + part * (self._end - self._start), 1)

    def decades(self) -> list[float]:
        """Return the powers of ten on the axis."""
        return [10.0**n for n in range(ceil(self._low), floor(self._high) + 1)]


def draw(title: str, across: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Return a chart of named series; each name stands at the end of its line."""
    points = [point for line in series.values() for point in line]
    x = Axis([point[0] for point in points], _LEFT, _WIDTH - _RIGHT, whole=False)
    y = Axis([point[1] for point in points], _HEIGHT - _BOTTOM, _TOP, whole=True)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">',
        f"<title>{escape(title)}</title>",
        f"<style>{_CSS}</style>",
        f'<text class="title" x="{_LEFT}" y="20">{escape(title)}</text>',
        *_grid(x, y, sorted({point[0] for point in points})),
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) // 2}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>',
    ]
    others = iter(_OTHERS)
    labels = []
    for name, line in series.items():
        style = _STYLES.get(name) or next(others)
        path = " ".join(f"{x.at(one)},{y.at(other)}" for one, other in line)
        parts.append(f'<polyline class="line" style="{style}" points="{path}"/>')
        colour = style.partition(";")[0].replace("stroke", "fill")
        parts += [f'<circle r="3.5" cx="{x.at(a)}" cy="{y.at(b)}" style="{colour}"/>' for a, b in line]
        labels.append((y.at(line[-1][1]), x.at(line[-1][0]), name))
    parts += [f'<text x="{at + 8}" y="{height + 4:.1f}">{escape(name)}</text>' for height, at, name in _apart(labels)]
    return "\n".join([*parts, "</svg>", ""])


def _grid(x: Axis, y: Axis, places: Sequence[float]) -> list[str]:
    lines = []
    for value in y.decades():
        height = y.at(value)
        lines.append(f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height}" y2="{height}"/>')
        lines.append(f'<text x="{_LEFT - 8}" y="{height + 4}" text-anchor="end">{value:g} s</text>')
    for value in places:
        lines.append(f'<line class="grid" x1="{x.at(value)}" x2="{x.at(value)}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}"/>')
        lines.append(f'<text x="{x.at(value)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:g}</text>')
    return lines


def _apart(labels: list[tuple[float, float, str]]) -> list[tuple[float, float, str]]:
    """Return the labels with room between those whose lines end close together."""
    placed: list[tuple[float, float, str]] = []
    for height, at, name in sorted(labels):
        near = [other for other, there, _ in placed if there == at]
        placed.append((max([height, *(other + _GAP for other in near)]), at, name))
    return placed
