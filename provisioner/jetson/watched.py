"""How a host does now, as an observable: looked at again and again, and never compared."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, ClassVar, Self

from provisioner.jetson.facts import parse_facts
from provisioner.jetson.facts.vitals import VITALS_TEXT, Vitals, vitals_from
from provisioner.model import ATTACHED, Observable, State, observable
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBE_VITALS = Script(
    "probe_vitals",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  vitals_text | sed -e 's/^/.now_/'
  shift
done
""",
    (VITALS_TEXT,),
)
_NOW = "now_"


@dataclass(frozen=True, kw_only=True)
class VitalsState(State):
    """The fields of `jetson.facts.vitals` as the device printed them; they are different at every look."""

    now: Mapping[str, str] = field(default_factory=dict, compare=False, repr=False, metadata=ATTACHED)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a look told."""
        told = parse_facts("\n".join(line.removeprefix(f".{_NOW}") for line in text.split("\n")))
        return cls(now=told)

    @property
    def vitals(self) -> Vitals:
        """Return what the fields mean."""
        return vitals_from(self.now)


@observable
@dataclass(frozen=True)
class HostVitals(Observable[VitalsState]):
    """Temperature, load, power, throttling, memory and disk of a host, at this moment."""

    kind: ClassVar[str] = "vitals"
    state: ClassVar[type[State]] = VitalsState
    probe: ClassVar[Script] = PROBE_VITALS
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("all",)
