"""fail: ends a play on a host."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Context, Plan, TaskType, View, task
from provisioner.records import dataclass


@task
@dataclass(frozen=True, kw_only=True)
class Fail(TaskType):
    """Fails with a message, most often under a condition."""

    msg: str = "Failed as requested from task"

    name: ClassVar[str] = "fail"
    example: ClassVar[str] = "fail: {msg: this release has no image}"

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return the failure."""
        del view, ctx
        return Plan(failed=self.msg)
