"""reboot: takes the device down, and waits until it is back."""

from __future__ import annotations

from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import ANYTHING, Context, Effect, Line, Observable, Plan, TaskType, task
from provisioner.observables.boot import BootId
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import View

REBOOT = Script(
    "reboot_device",
    r"""
# delay message: announces the reboot, waits, and starts it a moment after this shell could answer.
if command -v wall >/dev/null 2>&1; then printf '%s\n' "$2" | timeout 5 wall >/dev/null 2>&1; fi
if [ "$1" -gt 0 ]; then
  say "waiting for $1 seconds before the reboot"
  sleep "$1"
fi
command -v systemctl >/dev/null 2>&1 || command -v reboot >/dev/null 2>&1 || {
  printf 'this device has neither systemctl nor reboot\n' >&2
  return 1
}
sync
(
  exec </dev/null >/dev/null 2>&1 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
  trap '' HUP TERM
  sleep 2
  timeout 60 systemctl reboot || reboot
) &
""",
)


@task
@dataclass(frozen=True, kw_only=True)
class Reboot(TaskType):
    """Reboots the device and waits until it is back in another boot.

    `reboot_timeout` bounds the wait. Only defaults are taken of `connect_timeout`, `post_reboot_delay` and
    `test_command`: the connection has a timeout of its own, and the device is back once it answers in another boot.
    """

    name: ClassVar[str] = "reboot"
    example: ClassVar[str] = "reboot: { reboot_timeout: 600 }"

    reboot_timeout: int = field(default=600, metadata={"aliases": ("reboot_timeout_sec",)})
    msg: str = "Reboot initiated by provision"
    pre_reboot_delay: int = field(default=0, metadata={"aliases": ("pre_reboot_delay_sec",)})
    post_reboot_delay: int = field(default=0, metadata={"aliases": ("post_reboot_delay_sec",)})
    connect_timeout: int | None = field(default=None, metadata={"aliases": ("connect_timeout_sec",)})
    test_command: str = "whoami"

    def __post_init__(self) -> None:
        if self.post_reboot_delay > 0:
            raise InputError("post_reboot_delay is not supported", hint="a `command: sleep` after the reboot waits too")
        if self.connect_timeout is not None:
            raise InputError("connect_timeout is not supported", hint="the connection's own timeout is used")
        if self.test_command != "whoami":
            raise InputError("test_command is not supported", hint="write it as a `command` after the reboot")

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the boot that it is in."""
        del ctx
        yield BootId()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan a reboot, always."""
        del ctx
        view.peek(BootId())
        effect = Effect(
            script=REBOOT,
            values=(str(max(0, self.pre_reboot_delay)), self.msg),
            shows=(Line("reboot"),),
            disturbs=(ANYTHING,),
            witness=BootId(),
            timeout=self.reboot_timeout,
            ends_session=True,
        )
        return Plan(effects=(effect,), result={"rebooted": True})
