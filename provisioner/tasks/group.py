"""group: a group of the device's own."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.model import Context, Effect, Line, Observable, Pattern, Plan, TaskType, Unknown, known, task
from provisioner.observables.user import Group, GroupState
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import View

ACCOUNT_FILES = tuple(
    Pattern("file", f"/etc/{name}*") for name in ("passwd", "group", "shadow", "gshadow", "subuid", "subgid")
)
"""What every change of an account rewrites, with its backups and locks."""

ACCOUNT_COMMAND = Script(
    "account_command",
    r"""
# command arg ...: one of shadow's, whose own message says what is wrong.
command -v "$1" >/dev/null 2>&1 || { printf 'this device has no %s (package passwd)\n' "$1" >&2; return 1; }
timeout 300 "$@" </dev/null
""",
)


@task
@dataclass(frozen=True, kw_only=True)
class GroupTask(TaskType):
    """Makes, changes or removes a group."""

    name: ClassVar[str] = "group"
    example: ClassVar[str] = "group: { name: docker, system: yes }"

    group: str = field(metadata={"key": "name"})
    gid: int | None = None
    state: Literal["present", "absent"] = "present"
    system: bool = False
    non_unique: bool = False
    force: bool = False

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the group."""
        del ctx
        yield Group(self.group)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan one call of groupadd, groupmod or groupdel."""
        del ctx
        now = view.get(Group(self.group))
        result = {"name": self.group, "state": self.state, "system": self.system}
        if self.state == "absent":
            return Plan(effects=(self._remove(),) if now.present else (), result=result)
        if not now.present:
            return Plan(effects=(self._add(),), result=result)
        if self.gid is None or known(now.gid) == self.gid:
            return Plan(result={**result, "gid": now.gid})
        return Plan(effects=(self._change(now),), result={**result, "gid": self.gid})

    @property
    def _number(self) -> list[str]:
        return [] if self.gid is None else ["-g", str(self.gid), *["-o"] * self.non_unique]

    def _effect(self, line: str, leaves: GroupState, *command: str, disturbs: tuple[Pattern, ...] = ()) -> Effect:
        return Effect(
            script=ACCOUNT_COMMAND,
            values=(*command, "--", self.group),
            shows=(Line(f"group {self.group}: {line}"),),
            leaves={Group(self.group): leaves},
            disturbs=(*ACCOUNT_FILES, *disturbs),
        )

    def _add(self) -> Effect:
        gid = Unknown("known once the group is made") if self.gid is None else self.gid
        line = "add" if self.gid is None else f"add with gid {self.gid}"
        switches = [*self._number, *["-r"] * self.system]
        return self._effect(line, GroupState(present=True, gid=gid, members=()), "groupadd", *switches)

    def _change(self, now: GroupState) -> Effect:
        # Files keep the number, and with it lose the name.
        line, leaves = f"gid {now.gid} -> {self.gid}", replace(now, gid=self.gid)
        return self._effect(line, leaves, "groupmod", *self._number, disturbs=(Pattern("file"), Pattern("user")))

    def _remove(self) -> Effect:
        switches = ["-f"] * self.force
        disturbs = (Pattern("file"), Pattern("user"))
        return self._effect("remove", GroupState(present=False), "groupdel", *switches, disturbs=disturbs)
