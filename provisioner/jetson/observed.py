"""The facts of a host as an observable, and the variables that a playbook gets of them."""

from __future__ import annotations

from dataclasses import field
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Self

from provisioner.jetson.facts import FACTS_BODY, FIELDS, VOLATILE, HostFacts, as_variables, facts_from, parse_facts
from provisioner.model import Observable, State, attached, observable
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

FACTS_VARIABLE = "jetson_facts"
"""The variable that holds the HostFacts for tasks of our own."""

STEADY = tuple(name for name in FIELDS if name not in VOLATILE)
"""Fields that are the same in two looks."""

FACTS_TEXT = Script("facts_text", FACTS_BODY)

PROBE_FACTS = Script(
    "probe_facts",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  facts_attached=. facts_text
  shift
done
""",
    (FACTS_TEXT,),
)


@dataclass(frozen=True, kw_only=True)
class FactsState(State):
    """The fields of `jetson.facts` as the device printed them; its clock, in seconds since 1970, is never compared."""

    raw: Mapping[str, str] = field(default_factory=dict)
    clock: int | None = attached()

    def render(self) -> str:
        """Return a line for each field, empty where it could not be read."""
        return "\n".join(f"{name}={self.raw.get(name, '')}" for name in STEADY)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a look told."""
        told = parse_facts("\n".join(line.removeprefix(".") for line in text.split("\n")))
        clock = told.get("clock", "")
        raw = {name: told.get(name, "") for name in STEADY}
        return cls(raw=raw, clock=int(clock) if clock.isascii() and clock.isdigit() else None)

    def open_fields(self) -> tuple[str, ...]:
        """Return none: a look tells all of them."""
        return ()

    def known_fields(self) -> tuple[str, ...]:
        """Return the fields that are compared."""
        return STEADY

    @property
    def facts(self) -> HostFacts:
        """Return what the fields mean."""
        return facts_from(self.raw)


@observable
@dataclass(frozen=True)
class Facts(Observable[FactsState]):
    """What a host is: hardware, release, system and login user."""

    kind: ClassVar[str] = "facts"
    state: ClassVar[type[State]] = FactsState
    probe: ClassVar[Script] = PROBE_FACTS
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("all",)


def derive(state: State) -> Mapping[str, Any]:
    """Return the variables that a playbook sees, and the facts themselves for our own tasks."""
    if not isinstance(state, FactsState):
        return {}
    facts = state.facts
    return {**as_variables(facts), FACTS_VARIABLE: facts}


@cache
def fact_names() -> frozenset[str]:
    """Return the names of the variables that facts define."""
    return frozenset(derive(FactsState()))
