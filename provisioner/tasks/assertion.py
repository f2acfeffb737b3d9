"""assert: what has to be true before a play goes on."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import Context, Plan, TaskType, View, task
from provisioner.records import dataclass


@task
@dataclass(frozen=True, kw_only=True)
class Assert(TaskType):
    """Fails unless every expression is true."""

    that: Any
    fail_msg: Any = field(default=None, metadata={"aliases": ("msg",)})
    success_msg: Any = None
    quiet: bool = False

    name: ClassVar[str] = "assert"
    expressions: ClassVar[tuple[str, ...]] = ("that",)
    example: ClassVar[str] = "assert: {that: [jetson.release is defined], fail_msg: this is no Jetson}"

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return a failure that names the first expression that is false."""
        del view
        for expression in self.that if isinstance(self.that, list) else [self.that]:
            if not evaluate(ctx, expression):
                result = {"assertion": expression, "evaluated_to": False}
                return Plan(failed=message(self.fail_msg, "Assertion failed"), result=result)
        text = message(self.success_msg, "All assertions passed")
        return Plan(result={"msg": text}, message=text if self.success_msg is not None and not self.quiet else None)


def evaluate(ctx: Context, expression: object) -> object:
    """Return the value of an expression; what is no text is its own value."""
    if not isinstance(expression, str):
        return expression
    if ctx.render is None:
        raise InputError(f"there is nothing to evaluate {expression!r} with")
    value: object = ctx.render("expression", expression)
    return value


def message(given: object, default: str) -> str:
    """Return a message that may be a list of lines."""
    if given is None:
        return default
    return "\n".join(str(line) for line in given) if isinstance(given, list) else str(given)
