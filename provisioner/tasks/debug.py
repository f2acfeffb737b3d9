"""debug: prints a message or a value."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import Context, Plan, TaskType, View, task
from provisioner.records import dataclass
from provisioner.tasks.assertion import evaluate


@task
@dataclass(frozen=True, kw_only=True)
class Debug(TaskType):
    """Prints a message, or the value of an expression."""

    msg: Any = None
    var: Any = None
    verbosity: int = 0

    name: ClassVar[str] = "debug"
    expressions: ClassVar[tuple[str, ...]] = ("var",)
    example: ClassVar[str] = "debug: {var: jetson.release}"

    def __post_init__(self) -> None:
        """Check that one thing is printed."""
        if self.msg is not None and self.var is not None:
            raise InputError("msg and var are mutually exclusive")

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return what is printed, and register it."""
        del view
        if int(ctx.options.get("verbosity", 0)) < self.verbosity:
            return Plan(skipped="Verbosity threshold not met.")
        if self.var is None:
            value = "Hello world!" if self.msg is None else self.msg
            return Plan(result={"msg": value}, message=as_text(value))
        value = evaluate(ctx, self.var)
        key = self.var if isinstance(self.var, str) else "var"
        return Plan(result={key: value}, message=f"{key}: {as_text(value)}")


def as_text(value: object) -> str:
    """Return a value as people read it: text as it is, anything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, indent=4, default=str, ensure_ascii=False)
