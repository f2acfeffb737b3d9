"""All that can be told of a host as an observable; a module of its own, since runs of playbooks have no use for it."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Self

from provisioner.jetson.facts import parse_facts
from provisioner.jetson.facts.details import DETAILS_TEXT
from provisioner.jetson.facts.software import HostDetails, details_from
from provisioner.jetson.observed import FACTS_TEXT, Facts, FactsState
from provisioner.model import ATTACHED, State, observable
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBE_FULL_FACTS = Script(
    "probe_full_facts",
    r"""
# One ignored argument for each time that it is asked for. Details are attached: none of them is ever compared.
while [ $# -gt 0 ]; do
  next
  facts_attached=. facts_text
  details_text | sed -e 's/^/.details_/'
  shift
done
""",
    (FACTS_TEXT, DETAILS_TEXT),
)
_DETAIL = "details_"


@dataclass(frozen=True, kw_only=True)
class FullFactsState(FactsState):
    """A host's facts, and beside them the raw details that only `provision facts` asks for."""

    details: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False, metadata=ATTACHED)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a look told; a state of plain facts has no details."""
        plain = FactsState.parse(text)
        told = parse_facts("\n".join(line.removeprefix(".") for line in text.split("\n")))
        details = {name.removeprefix(_DETAIL): value for name, value in told.items() if name.startswith(_DETAIL)}
        return cls(raw=plain.raw, clock=plain.clock, details=details)

    @property
    def more(self) -> HostDetails:
        """Return what the details mean."""
        return details_from(self.details)


@observable
@dataclass(frozen=True)
class FullFacts(Facts):
    """All that can be told of a host: what it is, and how it does now."""

    kind: ClassVar[str] = "full_facts"
    state: ClassVar[type[State]] = FullFactsState
    probe: ClassVar[Script] = PROBE_FULL_FACTS
