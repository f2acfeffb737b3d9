"""The name of a device: the one that it has now, and the one that it has after a boot."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, observable
from provisioner.records import dataclass
from provisioner.shell import ESCAPE, Script

PROBE_HOSTNAME = Script(
    "probe_hostname",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  name=
  [ ! -r /etc/hostname ] || while IFS= read -r name || [ -n "$name" ]; do
    case $name in '' | '#'*) name='' ;; *) break ;; esac
  done </etc/hostname
  [ -z "$name" ] || printf 'static=%s\n' "$(escape "$name")"
  printf 'running=%s\n' "$(escape "$(uname -n)")"
  shift
done
""",
    (ESCAPE,),
)


@dataclass(frozen=True, kw_only=True)
class HostNameState(State):
    """The name in /etc/hostname, and the kernel's."""

    static: str | None = None
    running: str | None = None


@observable
@dataclass(frozen=True)
class HostName(Observable[HostNameState]):
    """What a device calls itself."""

    kind: ClassVar[str] = "hostname"
    state: ClassVar[type[State]] = HostNameState
    probe: ClassVar[Script] = PROBE_HOSTNAME

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("name",)
