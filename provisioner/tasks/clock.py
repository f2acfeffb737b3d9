"""clock: a device without a battery for its clock wakes up years ago."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.model import Context, Effect, Line, Observable, Plan, TaskType, task
from provisioner.observables.preflight import Clock as ClockLook
from provisioner.observables.preflight import ClockState
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import View

SET_CLOCK = Script(
    "set_clock",
    r"""
# seconds: the time since 1970; the battery-backed clock is set too, where there is one.
date -u -s "@$1" >/dev/null || return 1
! command -v hwclock >/dev/null 2>&1 || timeout 10 hwclock --systohc </dev/null >/dev/null 2>&1
return 0
""",
)


@task
@dataclass(frozen=True, kw_only=True)
class Clock(TaskType):
    """Sets the device's clock from the controller's, where it is further off than `max_skew` seconds."""

    max_skew: int = 60

    name: ClassVar[str] = "clock"
    example: ClassVar[str] = "clock: { max_skew: 60 }"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the clock."""
        del ctx
        yield ClockLook()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan the time, which is the controller's at the moment of planning."""
        there, now = view.peek(ClockLook()).epoch, ctx.services.get("now")
        if now is None or there is None:
            return Plan(warnings=("it cannot be told whether the clock is right",))
        here = int(now())
        skew = there - here
        if abs(skew) <= self.max_skew:
            return Plan(result={"skew": skew})
        way = "ahead" if skew > 0 else "behind"
        effect = Effect(
            script=SET_CLOCK,
            values=(str(here),),
            shows=(Line(f"clock: {_duration(abs(skew))} {way}, set from this machine's"),),
            leaves={ClockLook(): ClockState(epoch=here)},
            timeout=60,
        )
        return Plan(effects=(effect,), result={"skew": skew})


def _duration(seconds: int) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"
