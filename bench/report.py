"""From the results to docs/performance.md: what was compared, the goals, tables with ratios, and charts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bench import comparison, machine
from bench.part import PARTS, RESULTS, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.part import Goal, Part, Value

DOCS = Path(__file__).parent.parent / "docs"
MACHINE = RESULTS / "machine.txt"
_INTRO = """\
# Performance

What a run costs, next to what people use today and next to the *floor*: a Python process that imports paramiko,
logs in to every host, runs one shell script that reads the same state, and leaves. `make bench` measures all of this
and writes this page; the figures behind it are in `bench/results/`.

Every figure is a median of alternating runs on one machine, which also plays the hosts: what the hosts' sshd and the
tools' work there use of its cores is in every wall time, and in no CPU time. Ratios hold better than seconds.

"""
_AGAIN = """\
## How to repeat it

    make bench                                       # all of it: about an hour
    .venv/bin/python -m bench compare --runs 3       # one part: {parts}
    .venv/bin/python -m bench compare --quick        # less of everything, to try it
    .venv/bin/python -m bench compare --no-peers     # ours and the floor; nothing is written
    .venv/bin/python -m bench compare --minutes 40   # the goals first, the rest as far as the time goes
    .venv/bin/python -m bench compare --resume       # what the time was too short for
    .venv/bin/python -m bench report                 # this page again, from bench/results/

It needs OpenSSH's sshd, rsync and, for the peers, a package index that pip can reach; they go into
`~/.cache/provision/bench`. Under root each host's sshd has a mount namespace of its own. Nothing else should run then.
"""


def tell(part: Part) -> None:
    """Print a part's goals and notes."""
    print(f"{part.title}:")
    for goal in part.goals:
        print(f"  {'reached' if goal.met else 'MISSED '}  {goal.text}: {_figure(goal)} (goal: {_limit(goal)})")
    for note in part.notes:
        print(f"  {note}")


def note_machine() -> None:
    """Write down which machine it is that measures."""
    MACHINE.parent.mkdir(parents=True, exist_ok=True)
    MACHINE.write_text(machine.describe() + "\n", "utf-8")


def write() -> None:
    """Write docs/performance.md and its charts from the results that are there."""
    parts = [load(path) for name in PARTS if (path := RESULTS / f"{name}.json").is_file()]
    DOCS.mkdir(exist_ok=True)
    text = [_INTRO]
    if MACHINE.is_file():
        text.append(f"The machine: {MACHINE.read_text('utf-8')}\n")
    text.append("## Goals\n\n" + _goals(parts))
    for part in parts:
        body = comparison.section(part, DOCS) if part.name == "compare" else table(part.rows)
        notes = "".join(f"- {note}\n" for note in part.notes)
        text.append("\n".join(one for one in (f"## {part.title}\n", _paragraph(part.about), body, notes) if one))
    text.append(_AGAIN.format(parts=", ".join(PARTS)))
    (DOCS / "performance.md").write_text("\n".join(text).replace("\n\n\n", "\n\n"), "utf-8")


def table(rows: Sequence[dict[str, Value]]) -> str:
    """Return rows as a Markdown table, a column for each name; numbers to the right."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    numbers = {name for name in names if any(_is_number(row.get(name)) for row in rows)}
    lines = [
        f"| {' | '.join(name.replace('_', ' ') for name in names)} |",
        f"|{'|'.join('--:' if name in numbers else '---' for name in names)}|",
        *(f"| {' | '.join(cell(row.get(name)) for name in names)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def cell(value: Value) -> str:
    """Return a value as it stands in a table."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.3g}" if isinstance(value, float) and abs(value) < 1000 else str(value)  # noqa: PLR2004


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _goals(parts: Sequence[Part]) -> str:
    rows: list[dict[str, Value]] = [
        {"goal": goal.text, "measured": _figure(goal), "limit": _limit(goal), "reached": goal.met}
        for part in parts
        for goal in part.goals
    ]
    reached = sum(bool(row["reached"]) for row in rows)
    return f"{reached} of {len(rows)} are reached.\n\n{table(rows)}"


def _figure(goal: Goal) -> str:
    return f"{goal.value:.3g} {goal.unit}".strip()


def _limit(goal: Goal) -> str:
    return f"{'at least' if goal.at_least else 'at most'} {goal.limit:g} {goal.unit}".strip()


def _paragraph(text: str) -> str:
    return f"{text}\n" if text else ""
