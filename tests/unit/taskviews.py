"""Views made by hand, and plans chained over them, for the tests of task types."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from provisioner.model import Context, Diff, Line, Plan, TaskType, View
from provisioner.observables.file import File, FileState

if TYPE_CHECKING:
    from pathlib import Path


def sha(content: bytes) -> str:
    """Return the hash that a probe tells of a content."""
    return hashlib.sha256(content).hexdigest()


def file(path: str, content: bytes = b"", **more: Any) -> FileState:
    """Return a file of root's with mode 0644, where nothing else is said."""
    given = {"owner": "root", "group": "root", "mode": "0644", "real": path, **more}
    return FileState(type="file", sha256=sha(content), content=content, **given)


def folder(path: str, **more: Any) -> FileState:
    """Return a folder of root's with mode 0755, where nothing else is said."""
    return FileState(type="directory", **{"owner": "root", "group": "root", "mode": "0755", "real": path, **more})


def link(path: str, target: str) -> FileState:
    """Return a symbolic link of root's."""
    return FileState(type="link", owner="root", group="root", real=path, target=target)


def absent(path: str) -> FileState:
    """Return that nothing stands at a path."""
    return FileState(real=path)


def view(*states: FileState) -> View:
    """Return a view in which each state was probed under the path that it has; / and /etc are there."""
    there = {File(state.real): state for state in (folder("/"), folder("/etc"), *states)}
    return View(probed=dict(there))


def context(**more: Any) -> Context:
    """Return the context of a task that runs as root."""
    return Context(**{"host": "here", "label": "it", **more})


def finder(root: Path) -> Any:
    """Return what finds the controller's files in one folder."""
    return lambda _, name: root / name


def plan(task: TaskType, at: View, **more: Any) -> Plan:
    """Plan a task, and lay what it does over the view."""
    ctx = context(**more)
    at.begin()
    result = task.plan(at, ctx)
    for effect in result.effects:
        at.lay(effect, ctx.label)
    return result


def shown(planned: Plan) -> list[str]:
    """Return the lines that a plan shows, a diff as what is before and after."""
    items = [item for effect in planned.effects for item in effect.shows]
    return [item.text if isinstance(item, Line) else _diff(item) for item in items]


def _diff(item: Diff) -> str:
    return f"{item.path}: {'secret' if item.secret else f'{item.before!r} -> {item.after!r}'}"
