"""Whether the work was really done: what is in a host's tree, and whether anything in it was touched."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from bench.work import playbook

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bench.hosts import Host


def verify(hosts: Sequence[Host], tasks: int, who: str) -> None:
    """Raise if a tree is not exactly what the playbook of so many tasks makes."""
    for host in hosts:
        found = {str(path.relative_to(host.tree)): _content(path) for path in sorted(host.tree.rglob("*"))}
        wanted = playbook.expected(tasks, host.name)
        wrong = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
        if wrong:
            name = wrong[0]
            raise RuntimeError(f"{who} on {host.name}: {name} is {found.get(name)}, not {wanted.get(name)}")


def snapshot(hosts: Sequence[Host]) -> dict[str, tuple[int, int]]:
    """Return inode and time of the last change of everything in the trees: equal if nothing was touched."""
    found = {}
    for host in hosts:
        for path in host.tree.rglob("*"):
            status = path.lstat()
            found[str(path)] = (status.st_ino, status.st_ctime_ns)
    return found


def _content(path: Path) -> tuple[str, str]:
    if path.is_symlink():
        return "link", path.readlink().name
    mode = f"{stat.S_IMODE(path.lstat().st_mode):04o}"
    return mode, "folder" if path.is_dir() else path.read_text("utf-8", "replace")
