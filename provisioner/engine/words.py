"""What a failure on a device is told as."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import State
    from provisioner.wire import Check, Finished

LAST_LINES = 6


def why_failed(checks: Iterable[Check], reply: Finished) -> str:
    """Return one message: what did not take, or the last lines of what the device said."""
    if reply.differs:
        wanted = {check.observable: check.expected for check in checks}
        parts = [f"{one}: {_difference(wanted.get(one), got)}" for one, got in reply.differs]
        return "did not take: " + "; ".join(parts)
    if reply.unmoved:
        return "it ran, and nothing came of it: the device is as it was before"
    said = (reply.stderr.strip() or reply.stdout.strip()).splitlines()[-LAST_LINES:]
    return "\n".join([f"non-zero return code {reply.rc}", *said]) if said else f"non-zero return code {reply.rc}"


def _difference(wanted: State | None, got: str) -> str:
    if wanted is None:
        return f"got {got!r}"
    want = dict(line.split("=", 1) for line in wanted.render().split("\n") if "=" in line)
    have = dict(line.split("=", 1) for line in got.split("\n") if "=" in line)
    names = [name for name in {**want, **have} if want.get(name) != have.get(name)]
    return ", ".join(f"{name} wanted {want.get(name, 'none')}, got {have.get(name, 'none')}" for name in names)
