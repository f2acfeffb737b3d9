"""The handlers that an earlier run owes to a device: written down before the change that owes them."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, observable
from provisioner.records import dataclass
from provisioner.shell import ESCAPE, Script

PROBE_OWED = Script(
    "probe_owed",
    r"""
while [ $# -gt 0 ]; do
  next
  if [ "$uid" -eq 0 ]; then owed=/var/lib/provision/owed
  else owed=${XDG_STATE_HOME:-$HOME/.local/state}/provision/owed
  fi
  if [ -s "$owed" ]; then
    sed -e 's/%/%25/g' -e 's/ /%20/g' -- "$owed" 2>/dev/null | { printf 'handlers='; tr '\n' ' ' | sed -e 's/ $//'; }
    printf '\n'
  fi
  shift
done
""",
    (ESCAPE,),
)


@dataclass(frozen=True, kw_only=True)
class OwedState(State):
    """Names of handlers, in the order in which they came to be owed."""

    handlers: tuple[str, ...] | None = None


@observable
@dataclass(frozen=True)
class Owed(Observable[OwedState]):
    """What is owed to the owner of the shell."""

    name: str = "handlers"

    kind: ClassVar[str] = "owed"
    state: ClassVar[type[State]] = OwedState
    probe: ClassVar[Script] = PROBE_OWED
    guarded: ClassVar[bool] = False
