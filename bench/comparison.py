"""The comparison's section of docs/performance.md: wall time and CPU by hosts, by tasks, and what is on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import chart
from bench.goals import AGAIN, FIRST, find
from bench.tools import FLOOR, OURS, PEERS, TITLES, USUAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from bench.part import Part, Row

_SOME, _FAR = 10, 50  # hosts and milliseconds at which a host's bytes are told
TOOLS = (*PEERS, OURS, FLOOR)
_TITLES = {**TITLES, OURS: f"**{TITLES[OURS]}**"}
_HOW = """\
The work is a playbook of 20 tasks (folders, copied files, templates, lines, blocks, links, a command with `creates`,
a look whose answer a later task waits for, and a handler), which Ansible, Mitogen and provision run unchanged; pyinfra
has the same written for it (`bench/work/`). After each run the hosts' trees are compared with what should be there, and
after a run with nothing to change, that nothing was touched.

Ansible and Mitogen have pipelining, forks for all hosts, no fact gathering, no search for the hosts' Python, and a
fresh control path in each run; pyinfra runs on all hosts at once. All check host keys. provision runs as it comes, at
most 50 hosts at once, and the floor has 50 threads. The hosts' login shell reads no start-up file. A round-trip time is
added by a proxy, whose CPU is not counted; without one there is no proxy.
"""


def section(part: Part, docs: Path) -> str:
    """Return the section, and write its charts beside the page."""
    rows = part.rows
    texts = [_HOW, *_charts(rows, docs)]
    for phase, told in ((AGAIN, "Nothing left to change"), (FIRST, "First run")):
        texts.append(f"### {told}: wall time\n\n{_by_hosts(rows, phase, 'wall_s', 's')}")
        texts.append(f"### {told}: CPU of the controller\n\n{_by_hosts(rows, phase, 'cpu_s', 's')}")
    texts.append(f"### More tasks, nothing left to change\n\n{_by_tasks(rows)}")
    texts.append(f"### Memory and the wire\n\n{_by_tool(rows)}")
    return "\n".join(texts)


def _by_hosts(rows: Sequence[Row], phase: str, column: str, unit: str) -> str:
    """Return a table of the usual number of tasks; behind each figure, how many times ours it is."""
    lines = [_head(("round trip", "hosts"), ("provision / floor",) if phase == AGAIN else ())]
    for rtt, hosts in sorted({(_int(row, "rtt_ms"), _int(row, "hosts")) for row in rows if row["tasks"] == USUAL}):
        case = {"phase": phase, "rtt_ms": rtt, "hosts": hosts, "tasks": USUAL}
        lines.append(_line((f"{rtt} ms", str(hosts)), rows, case, column, unit))
    return "\n".join(lines) + "\n"


def _by_tasks(rows: Sequence[Row]) -> str:
    lines = [_head(("round trip", "hosts", "tasks", "figure"), ("provision / floor",))]
    cases = {(_int(row, "rtt_ms"), _int(row, "hosts"), _int(row, "tasks")) for row in rows}
    several = {case for case in cases if sum(case[:2] == other[:2] for other in cases) > 1 or case[2] != USUAL}
    for rtt, hosts, tasks in sorted(several):
        case = {"phase": AGAIN, "rtt_ms": rtt, "hosts": hosts, "tasks": tasks}
        for column, name in (("wall_s", "wall"), ("cpu_s", "CPU")):
            lines.append(_line((f"{rtt} ms", str(hosts), str(tasks), name), rows, case, column, "s"))
    return "\n".join(lines) + "\n"


def _head(left: Sequence[str], right: Sequence[str]) -> str:
    names = [*left, *(_TITLES[tool] for tool in TOOLS), *right]
    return f"| {' | '.join(names)} |\n|{'|'.join(['--:'] * len(names))}|"


def _line(left: Sequence[str], rows: Sequence[Row], case: dict[str, object], column: str, unit: str) -> str:
    found = {tool: row for tool in TOOLS if (row := find(rows, **case, tool=tool))}
    ours = _float(found[OURS], column) if OURS in found else 0.0
    cells = [_figure(found.get(tool), column, unit, ours if tool in PEERS else 0.0) for tool in TOOLS]
    if case["phase"] == AGAIN:
        cells.append(f"{ours / _float(found[FLOOR], column):.2f}" if OURS in found and FLOOR in found else "")
    return f"| {' | '.join([*left, *cells])} |"


def _figure(row: Row | None, column: str, unit: str, ours: float) -> str:
    if row is None:
        return ""
    value = _float(row, column)
    times = f" ({value / ours:.3g}x)" if ours else ""
    return f"{value:.3g} {unit}{times}"


def _by_tool(rows: Sequence[Row]) -> str:
    """Return a table of memory by hosts, and of bytes and round trips of one host, as far as it was measured."""
    sizes = sorted({_int(row, "hosts") for row in rows})
    counted = [row for row in rows if row["trips"] is not None and row["tasks"] == USUAL and row["rtt_ms"] == _FAR]
    peers = sorted({_int(row, "hosts") for row in counted if row["tool"] in PEERS})
    hosts = _SOME if _SOME in peers or not peers else peers[-1]
    names = [*(f"memory, {size} host{'s' * (size > 1)}" for size in sizes)]
    for phase in (FIRST, AGAIN):
        names += [f"{phase}: {name}" for name in ("kB up", "kB down", "round trips", "CPU there")]
    lines = [f"| | {' | '.join(names)} |", f"|---|{'|'.join(['--:'] * len(names))}|"]
    for tool in TOOLS:
        cells = []
        for size in sizes:
            row = find(rows, phase=AGAIN, tasks=USUAL, rtt_ms=0, hosts=size, tool=tool)
            cells.append(f"{_float(row, 'memory_mb'):.0f} MB" if row else "")
        for phase in (FIRST, AGAIN):
            row = find(counted, phase=phase, hosts=hosts, tool=tool)
            cells += [f"{_float(row, name):.3g}" if row else "" for name in ("up_kb", "down_kb", "trips")]
            cells.append(f"{_float(row, 'host_cpu_s'):.2f} s" if row else "")
        lines.append(f"| {_TITLES[tool]} | {' | '.join(cells)} |")
    how = f"Of one host of {hosts}, 20 tasks, 50 ms: bytes, round trips after TCP's handshake, CPU on the host.\n\n"
    return how + "\n".join(lines) + "\n"


def _charts(rows: Sequence[Row], docs: Path) -> Iterator[str]:
    """Write the charts, and yield where they are, as Markdown."""
    (docs / "performance").mkdir(exist_ok=True)
    plans = (
        (
            "hosts-wall",
            "Wall time of a run with nothing to change, 20 tasks, 0 ms",
            "wall_s",
            "hosts",
            {"tasks": USUAL},
        ),
        (
            "hosts-cpu",
            "Controller CPU of a run with nothing to change, 20 tasks, 0 ms",
            "cpu_s",
            "hosts",
            {"tasks": USUAL},
        ),
        ("tasks-wall", "Wall time of a run with nothing to change, 1 host, 0 ms", "wall_s", "tasks", {"hosts": 1}),
        ("tasks-cpu", "Controller CPU of a run with nothing to change, 1 host, 0 ms", "cpu_s", "tasks", {"hosts": 1}),
    )
    for name, title, column, across, fixed in plans:
        series = {}
        for tool in TOOLS:
            fitting = {"phase": AGAIN, "rtt_ms": 0, "tool": tool, **fixed}
            chosen = [row for row in rows if all(row[key] == value for key, value in fitting.items())]
            if len(chosen) > 1:
                series[TITLES[tool]] = sorted((float(_int(row, across)), _float(row, column)) for row in chosen)
        if series:
            (docs / "performance" / f"{name}.svg").write_text(chart.draw(title, across, series), "utf-8")
            yield f"![{title}](performance/{name}.svg)\n"


def _int(row: Row, column: str) -> int:
    return int(row[column] or 0)


def _float(row: Row, column: str) -> float:
    return float(row[column] or 0)
