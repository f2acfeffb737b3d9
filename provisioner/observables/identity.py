"""Which unit a device is, and what it could be kept from: a read-only root, a network without a way out."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, attached, observable
from provisioner.records import dataclass
from provisioner.shell import ESCAPE, Script

PROBE_IDENTITY = Script(
    "probe_identity",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  serial=
  for place in /proc/device-tree /sys/firmware/devicetree/base; do
    if [ -z "$serial" ] && [ -r "$place/serial-number" ]; then
      serial=$(tr -d '\000\n' <"$place/serial-number" 2>/dev/null)
    fi
  done
  [ -z "$serial" ] || printf 'serial=%s\n' "$(escape "$serial")"
  machine=
  [ ! -r /etc/machine-id ] || read -r machine </etc/machine-id || :
  [ -z "$machine" ] || printf 'machine=%s\n' "$(escape "$machine")"
  shift
done
""",
    (ESCAPE,),
)


@dataclass(frozen=True, kw_only=True)
class IdentityState(State):
    """What tells a unit from others of its kind: the module's serial number, and the system's machine-id."""

    serial: str | None = None
    machine: str | None = None


@observable
@dataclass(frozen=True)
class Identity(Observable[IdentityState]):
    """Which unit this is."""

    kind: ClassVar[str] = "identity"
    state: ClassVar[type[State]] = IdentityState
    probe: ClassVar[Script] = PROBE_IDENTITY
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("unit",)


PROBE_WRITABLE = Script(
    "probe_writable",
    r"""
# path ...: whether the file system that holds it is mounted for writing; the last mount that matches is the one seen.
while [ $# -gt 0 ]; do
  next
  writable='' longest=0
  [ ! -r /proc/self/mounts ] || while read -r _ place _ options _; do
    case $place in / | "$1") ;; *) case $1 in "$place"/*) ;; *) continue ;; esac ;; esac
    [ "${#place}" -ge "$longest" ] || continue
    longest=${#place}
    case ,$options, in *,ro,*) writable=no ;; *) writable=yes ;; esac
  done </proc/self/mounts
  [ -z "$writable" ] || printf '.writable=%s\n' "$writable"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class WritableState(State):
    """Whether it is mounted for writing; None where the device does not tell."""

    writable: bool | None = attached()


@observable
@dataclass(frozen=True)
class Writable(Observable[WritableState]):
    """Whether something can be written at an absolute path, as far as the mount goes."""

    path: str

    kind: ClassVar[str] = "writable"
    state: ClassVar[type[State]] = WritableState
    probe: ClassVar[Script] = PROBE_WRITABLE
    guarded: ClassVar[bool] = False


PROBE_REACH = Script(
    "probe_reach",
    r"""
# host ...: whether the device can find a host of the internet; nothing is sent there.
while [ $# -gt 0 ]; do
  next
  reach=yes
  if command -v getent >/dev/null 2>&1 && ! timeout 10 getent ahosts "$1" >/dev/null 2>&1; then
    reach='no address'
  fi
  printf '.reach=%s\n' "$reach"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class ReachState(State):
    """`yes`, or what is missing."""

    reach: str | None = attached()


@observable
@dataclass(frozen=True)
class Reach(Observable[ReachState]):
    """Whether a device can find a host of the internet."""

    name: str

    kind: ClassVar[str] = "reach"
    state: ClassVar[type[State]] = ReachState
    probe: ClassVar[Script] = PROBE_REACH
    guarded: ClassVar[bool] = False
