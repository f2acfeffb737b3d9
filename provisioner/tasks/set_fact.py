"""set_fact: names that the rest of the run knows."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import Context, Plan, TaskType, View, task
from provisioner.records import dataclass


@task
@dataclass(frozen=True, kw_only=True)
class SetFact(TaskType):
    """Sets variables of a host from here on."""

    free: dict[str, Any] = field(default_factory=dict)

    name: ClassVar[str] = "set_fact"
    any_argument: ClassVar[bool] = True
    example: ClassVar[str] = 'set_fact: {image: "{{ jetson.image }}"}'

    def __post_init__(self) -> None:
        """Check that every name can be one of a variable."""
        if not self._facts:
            raise InputError("No key/value pairs provided, at least one is required for this action to succeed")
        for name in self._facts:
            if not name.isidentifier():
                raise InputError(f"the variable name {name!r} is not valid: letters, digits and underscores only")

    @property
    def _facts(self) -> dict[str, Any]:
        """Return the pairs; facts are kept for a run only, so that `cacheable` makes no difference."""
        return {name: value for name, value in self.free.items() if name != "cacheable"}

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return the facts."""
        del view, ctx
        return Plan(sets=self._facts, result={"ansible_facts": self._facts})
