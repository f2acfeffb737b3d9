"""The goals of the comparison, each a ratio in one run or a limit, from its rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.part import Goal
from bench.tools import FLOOR, OURS, TITLES, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bench.part import Row

FIRST, AGAIN = "first run", "no change"
_FASTER = (("ansible", AGAIN, 20), ("mitogen", AGAIN, 8), ("pyinfra", AGAIN, 8), ("ansible", FIRST, 10))


def of(rows: Sequence[Row]) -> list[Goal]:
    """Return the goals that these rows tell of."""
    return [*_near_the_floor(rows), *_faster(rows), *_by_tasks(rows)]


def find(rows: Sequence[Row], **wanted: object) -> Row | None:
    """Return the row with these values, or None."""
    return next((row for row in rows if all(row[name] == value for name, value in wanted.items())), None)


def ratio(rows: Sequence[Row], column: str, one: dict[str, object], other: dict[str, object]) -> float | None:
    """Return a figure of one row over that of another, where there are both."""
    first, second = find(rows, **one), find(rows, **other)
    if first is None or second is None:
        return None
    return float(first[column] or 0) / float(second[column] or 1)


def _near_the_floor(rows: Sequence[Row]) -> Iterator[Goal]:
    for rtt in (0, 50):
        for hosts in (10, 50, 200):
            case = {"phase": AGAIN, "hosts": hosts, "tasks": USUAL, "rtt_ms": rtt}
            for column, name, limit in (("wall_s", "wall time", 1.5), ("cpu_s", "CPU", 2.0)):
                value = ratio(rows, column, {**case, "tool": OURS}, {**case, "tool": FLOOR})
                if value is not None:
                    yield Goal(
                        text=f"no change, {hosts} hosts, {rtt} ms: {name} over the floor", value=value, limit=limit
                    )


def _faster(rows: Sequence[Row]) -> Iterator[Goal]:
    for peer, phase, limit in _FASTER:
        for rtt in (0, 50):
            for hosts in (1, 10, 25):
                case = {"phase": phase, "hosts": hosts, "tasks": USUAL, "rtt_ms": rtt}
                value = ratio(rows, "wall_s", {**case, "tool": peer}, {**case, "tool": OURS})
                if value is not None:
                    text = f"{phase}, {_counted(hosts)}, {rtt} ms: times faster than {TITLES[peer]}"
                    yield Goal(text=text, value=value, limit=limit, at_least=True)


def _counted(hosts: int) -> str:
    return "1 host" if hosts == 1 else f"{hosts} hosts"


def _by_tasks(rows: Sequence[Row]) -> Iterator[Goal]:
    ours = {"phase": AGAIN, "tool": OURS}
    for column, name in (("wall_s", "wall time"), ("cpu_s", "CPU")):
        for hosts in (1, 10):
            at = {**ours, "hosts": hosts, "rtt_ms": 0}
            value = ratio(rows, column, {**at, "tasks": 60}, {**at, "tasks": 20})
            if value is not None:
                yield Goal(text=f"no change, {_counted(hosts)}: {name} of 60 tasks over 20", value=value, limit=1.5)
    few, many = (find(rows, **ours, hosts=10, rtt_ms=0, tasks=tasks) for tasks in (20, 100))
    if few and many:
        slope = (float(many["cpu_s"] or 0) - float(few["cpu_s"] or 0)) / (80 * 10)
        yield Goal(
            text="no change: CPU for each task and host, from 20 to 100 tasks", value=slope * 1000, limit=1.5, unit="ms"
        )
    if far := find(rows, **ours, hosts=1, rtt_ms=100, tasks=100):
        yield Goal(
            text="no change, 100 tasks over 100 ms: wall time", value=float(far["wall_s"] or 0), limit=1.5, unit="s"
        )
    for tasks in (15, 100):
        if row := find(rows, **ours, hosts=1, rtt_ms=50, tasks=tasks):
            yield Goal(text=f"no change, {tasks} tasks: round trips", value=float(row["trips"] or 0), limit=8)
