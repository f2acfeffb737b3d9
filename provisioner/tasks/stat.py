"""stat: what stands at a path."""

from __future__ import annotations

import hashlib
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.model import Context, Observable, Plan, TaskType, Unknown, View, known, task
from provisioner.observables.file import CONTENT, HASHED, METADATA, UNREADABLE, File, FileState, follow
from provisioner.records import dataclass
from provisioner.tasks.modes import SETGID, SETUID
from provisioner.tasks.writing import CannotPlan, Draft, absolute, read

if TYPE_CHECKING:
    from collections.abc import Iterable

NUMBERS = ("uid", "gid", "size", "mtime", "atime", "ctime", "inode", "nlink", "dev")
_BITS = ("rusr", 0o400), ("wusr", 0o200), ("xusr", 0o100), ("rgrp", 0o40), ("wgrp", 0o20), ("xgrp", 0o10)
_OTHERS = ("roth", 0o4), ("woth", 0o2), ("xoth", 0o1), ("isuid", SETUID), ("isgid", SETGID)


@task
@dataclass(frozen=True, kw_only=True)
class Stat(TaskType):
    """Tells what stands at a path; it changes nothing."""

    path: str = field(metadata={"aliases": ("dest", "name")})
    follow: bool = False
    get_checksum: bool | None = None
    checksum_algorithm: Literal["md5", "sha1", "sha224", "sha256", "sha384", "sha512"] | None = field(
        default=None, metadata={"aliases": ("checksum", "checksum_algo")}
    )

    name: ClassVar[str] = "stat"
    example: ClassVar[str] = "stat: {path: /etc/nv_tegra_release}"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the path, with as much as its checksum needs."""
        return (self._file(ctx),)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Register what is there, also where an earlier task has yet to make it."""
        draft = Draft(view, ctx)
        try:
            file, state = read(draft, self._file(ctx), links=self.follow)
            facts = described(file.path, state)
            return Plan(result={"stat": {**facts, **self._checksum(state), **self._link(draft, file, state)}})
        except CannotPlan as no:
            return Plan(failed=no.reason)

    @property
    def _algorithm(self) -> str | None:
        """Return the algorithm of the checksum; without being asked for one there is none, as it costs the content."""
        if self.get_checksum is False:
            return None
        return self.checksum_algorithm or ("sha1" if self.get_checksum else None)

    def _file(self, ctx: Context) -> File:
        want = {None: METADATA, "sha256": HASHED}.get(self._algorithm, CONTENT)
        return File(absolute(self.path, ctx), want)

    def _checksum(self, state: FileState) -> dict[str, str]:
        algorithm = self._algorithm
        if algorithm is None or state.type != "file" or state.sha256 == UNREADABLE:
            return {}
        if algorithm == "sha256":
            return {"checksum": known(state.sha256) or ""}
        if state.content is None:
            raise CannotPlan(f"{self.path} has more than 4 MiB: of that there is a sha256 only, not a {algorithm}")
        return {"checksum": hashlib.new(algorithm, state.content, usedforsecurity=False).hexdigest()}

    def _link(self, draft: Draft, file: File, state: FileState) -> dict[str, Any]:
        """Return where a link leads."""
        if state.type != "link":
            return {}
        target, there = follow(draft, file)
        return {"lnk_target": state.target, "lnk_source": there.real or target.path}


def described(path: str, state: FileState) -> dict[str, Any]:
    """Return the facts that Ansible's stat gives, those of the future as Unknown."""
    if not state.exists:
        return {"exists": False}
    facts: dict[str, Any] = {
        "exists": True,
        "path": path,
        "isreg": state.type == "file",
        "isdir": state.type == "directory",
        "islnk": state.type == "link",
        "pw_name": state.owner,
        "gr_name": state.group,
        "mode": state.mode or "0777",
    }
    return facts | _numbers(state) | _bits(facts["mode"])


def _numbers(state: FileState) -> dict[str, Any]:
    """Return ids, size and times; what a planned change will make of them is not known yet."""
    looked_at = state.stat()
    numbers: dict[str, Any] = {name: looked_at.get(name, Unknown(f"{name} is known after apply")) for name in NUMBERS}
    if not looked_at and state.content is not None:
        numbers["size"] = len(state.content)
    return numbers


def _bits(mode: str | Unknown) -> dict[str, Any]:
    """Return each permission by its name."""
    return {name: mode if isinstance(mode, Unknown) else bool(int(mode, 8) & bit) for name, bit in (*_BITS, *_OTHERS)}
