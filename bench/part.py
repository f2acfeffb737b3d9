"""What every part of the benchmark hands back: rows of figures, and goals that were reached or not, as plain data."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

Value = str | int | float | bool | None
PARTS = ("compare", "startup", "handshake", "scale", "files")
Row = dict[str, Value]
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, kw_only=True)
class Options:
    """How much is measured: runs for a median, less of everything when quick, and whether the peers are, too.

    After `minutes` no further comparison is begun; what was left out is noted, and measured when one says `resume`.
    """

    runs: int = 5
    minutes: float | None = None
    resume: bool = False
    quick: bool = False
    peers: bool = True


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure that has a limit: at most, or at least."""

    text: str
    value: float
    limit: float
    unit: str = ""
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Return whether the figure is within its limit."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(kw_only=True)
class Part:
    """What one part measured. Rows of the same columns, in units that the columns' names tell (wall_s, cpu_s)."""

    name: str
    title: str
    about: str = ""
    rows: list[Row] = field(default_factory=list)
    goals: list[Goal] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def save(self, folder: Path = RESULTS) -> None:
        """Write the part as JSON, a line for each row and goal."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = [round_off(row) for row in self.rows]
        goals = [round_off(asdict(goal)) for goal in self.goals]
        fields = {"name": self.name, "title": self.title, "about": self.about, "rows": rows, "goals": goals}
        lines = [f" {json.dumps(name)}: {_lines(value)}" for name, value in {**fields, "notes": self.notes}.items()]
        (folder / f"{self.name}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def load(path: Path) -> Part:
    """Return a part that was saved."""
    told = json.loads(path.read_text("utf-8"))
    return Part(**{**told, "goals": [Goal(**goal) for goal in told["goals"]]})


def round_off(row: Row) -> Row:
    """Return a row with four significant digits: more is noise."""
    return {name: float(f"{value:.4g}") if isinstance(value, float) else value for name, value in row.items()}


def _lines(value: object) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value, ensure_ascii=False)
    return "[\n" + ",\n".join(f"  {json.dumps(one, ensure_ascii=False)}" for one in value) + "\n ]"
