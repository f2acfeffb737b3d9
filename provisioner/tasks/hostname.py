"""hostname: what a device calls itself."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import Context, Effect, Line, Observable, Pattern, Plan, TaskType, task
from provisioner.observables.hostname import HostName, HostNameState
from provisioner.records import dataclass
from provisioner.shell import NEW_TEMP, SETTLE, Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import View

LONGEST = 64
LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"

SET_HOSTNAME = Script(
    "set_hostname",
    r"""
# name: by hostnamectl where it works, else the file and the kernel one after the other.
if command -v hostnamectl >/dev/null 2>&1 && timeout 60 hostnamectl set-hostname "$1" </dev/null 2>/dev/null; then
  # systemd changes the kernel's name a moment later.
  left=20
  while [ "$(uname -n)" != "$1" ] && [ "$left" -gt 0 ]; do sleep 0.1; left=$((left - 1)); done
  return 0
fi
new_temp /etc || return 1
if printf '%s\n' "$1" >"$temp" && chmod 0644 "$temp" && mv -f -- "$temp" /etc/hostname; then
  settle_file /etc/
else
  rm -f -- "$temp"
  return 1
fi
hostname "$1"
""",
    (NEW_TEMP, SETTLE),
)


@task
@dataclass(frozen=True, kw_only=True)
class Hostname(TaskType):
    """Sets the name of the device, now and for the next boot; /etc/hosts is left as it is."""

    wanted: str = field(metadata={"key": "name"})
    use: str | None = None

    name: ClassVar[str] = "hostname"
    example: ClassVar[str] = "hostname: { name: kitchen }"

    def __post_init__(self) -> None:
        """Check that it can be a name."""
        labels = self.wanted.split(".")
        if len(self.wanted) > LONGEST or not all(re.fullmatch(LABEL, label) for label in labels):
            hint = "letters, digits and hyphens, at most 64 of them"
            raise InputError(f"{self.wanted!r} cannot be the name of a host", hint=hint)

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the device's names."""
        del ctx
        yield HostName()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan one change of both names."""
        del ctx
        now = view.get(HostName())
        wanted = HostNameState(static=self.wanted, running=self.wanted)
        result = {"name": self.wanted}
        if now == wanted:
            return Plan(result=result)
        effect = Effect(
            script=SET_HOSTNAME,
            values=(self.wanted,),
            shows=(Line(f"host name: {now.static or now.running} -> {self.wanted}"),),
            leaves={HostName(): wanted},
            disturbs=(Pattern("file", "/etc/hostname"),),
            timeout=120,
        )
        return Plan(effects=(effect,), result=result)
