"""What is known of one host of a fleet that is looked at: how it does, what drifted, and whether it is lost."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, Literal

from provisioner.records import dataclass
from provisioner.report.text import clean

if TYPE_CHECKING:
    from collections.abc import Mapping

DriftState = Literal["never", "order", "changes", "fails", "unknown"]

_STATES: dict[DriftState, str] = {
    "never": "never applied",
    "order": "in order",
    "changes": "would change",
    "fails": "would fail",
    "unknown": "unknown",
}


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What the last playbook would change on a host: how many tasks, which, and how many cannot be told."""

    state: DriftState
    changes: int = 0
    unknown: int = 0
    tasks: tuple[str, ...] = ()
    reason: str | None = None
    playbooks: tuple[str, ...] = ()
    applied: str | None = None

    @property
    def words(self) -> str:
        """Return what people read of it."""
        open_too = f", {self.unknown} unknown" if self.unknown else ""
        match self.state:
            case "never":
                return "never applied"
            case "order":
                return f"in order{open_too}"
            case "changes":
                return f"{self.changes} would change{open_too}"
            case "fails":
                return f"would fail: {self.reason}"
            case _:
                return f"unknown: {self.reason}" if self.reason else "unknown"

    @property
    def style(self) -> str:
        """Return the style of the words."""
        if self.state == "order":
            return "unknown" if self.unknown else "ok"
        return {"changes": "changed", "fails": "failed", "unknown": "unknown"}.get(self.state, "dim")


@dataclass(frozen=True, kw_only=True)
class Lost:
    """Why a host cannot be looked at, since when, and when it is tried again."""

    why: str
    since: float
    again: float | None = None
    hint: str | None = None


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What is known of one host: how it did at `at`, what drifted, and whether it is lost; times are monotonic."""

    name: str
    told: Mapping[str, Any] = field(default_factory=dict)
    at: float | None = None
    drift: Drift | None = None
    busy: bool = False
    lost: Lost | None = None
    asked: float | None = None

    def silent(self, now: float, patience: float) -> float | None:
        """Return for how long a host has owed its answer, once that is longer than it may be."""
        if self.lost or self.busy or self.asked is None or now - self.asked <= patience:
            return None
        return now - self.asked


def record(seen: Seen, now: float, *, drift: bool = True) -> dict[str, Any]:
    """Return a host for programs: stable names, and units in them."""
    found = seen.drift
    told: dict[str, Any] = {
        "reached": seen.lost is None and seen.at is not None,
        "error": clean(seen.lost.why) if seen.lost else None,
        "seconds_since_answer": round(now - seen.at, 1) if seen.at is not None else None,
        **seen.told,
    }
    if not drift:
        return told
    if found is None:
        return {**told, "drift": None}
    return {
        **told,
        "drift": {
            "state": _STATES[found.state],
            "changes": found.changes,
            "unknown": found.unknown,
            "tasks": list(found.tasks),
            "reason": found.reason,
            "playbooks": list(found.playbooks),
            "applied": found.applied,
        },
    }
