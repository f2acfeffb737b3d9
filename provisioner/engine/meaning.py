"""What is known of a failure, beside what the device said of it; who knows it is asked, the engine knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from provisioner.errors import HostError, Unreachable
from provisioner.events import Explanation, HostLost, TaskResult

Explain = Callable[[str], Explanation | None]


def with_meaning(result: TaskResult, explain: Explain) -> TaskResult:
    """Return a result with what its failure is known to mean; a task with a hint knew what of its output counts."""
    if result.status != "failed":
        return result
    parts = (result.message,) if result.hint else (result.message, result.stderr, result.stdout)
    known = explain("\n".join(part for part in parts if part))
    return replace(result, hint=_hint(result.hint, known), explained=known)


def lost(host: str, error: HostError, explain: Explain) -> HostLost:
    """Return the event of a host that cannot be worked on, with what that is known to mean."""
    known = explain(error.message)
    hint, unreachable = _hint(error.hint, known), isinstance(error, Unreachable)
    return HostLost(host=host, message=error.message, hint=hint, explained=known, unreachable=unreachable)


def _hint(own: str | None, known: Explanation | None) -> str | None:
    """Return a hint with the cause and the fix that are known, unless it has them already."""
    if known is None or (own and known.fix in own):
        return own
    told = f"{known.cause}: {known.fix}"
    return f"{own}\n{told}" if own else told
