"""What is asked of a device before it is worked on, and never compared: free space, the clock, names."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, attached, observable
from provisioner.records import dataclass
from provisioner.shell import Script

PROBE_SPACE = Script(
    "probe_space",
    r"""
# path ...: bytes that are free there, or where the nearest folder above it is.
while [ $# -gt 0 ]; do
  next
  there=$1
  while [ ! -d "$there" ] && [ -n "$there" ]; do there=${there%/*}; done
  # The values of one row: size, used, available; the device's name may have spaces, so they are counted from %.
  timeout 20 df -Pk "${there:-/}" 2>/dev/null |
    awk 'NR == 2 { for (i = 1; i <= NF; i++) if ($i ~ /%$/) printf ".free=%.0f\n", $(i - 1) * 1024 }'
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class SpaceState(State):
    """Bytes that are free; None where the device does not tell."""

    free: int | None = attached()


@observable
@dataclass(frozen=True)
class DiskSpace(Observable[SpaceState]):
    """The free space of the file system that holds an absolute path, or will hold it."""

    path: str

    kind: ClassVar[str] = "space"
    state: ClassVar[type[State]] = SpaceState
    probe: ClassVar[Script] = PROBE_SPACE
    guarded: ClassVar[bool] = False


PROBE_CLOCK = Script(
    "probe_clock",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  printf '.epoch=%s\n' "$(date +%s)"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class ClockState(State):
    """The device's clock, in seconds since 1970."""

    epoch: int | None = attached()


@observable
@dataclass(frozen=True)
class Clock(Observable[ClockState]):
    """What time a device thinks it is."""

    kind: ClassVar[str] = "clock"
    state: ClassVar[type[State]] = ClockState
    probe: ClassVar[Script] = PROBE_CLOCK
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("now",)


PROBE_NAMES = Script(
    "probe_names",
    r"""
# file names ...: of each list of names, which do not resolve. Nothing is asked where the file is there, so that a
# device that is done never waits for a resolver; nothing is known where getent is missing.
names_wait=
if command -v timeout >/dev/null 2>&1; then names_wait='timeout 3'; fi
while [ $# -gt 1 ]; do
  next
  if { [ -z "$1" ] || [ ! -e "$1" ]; } && command -v getent >/dev/null 2>&1; then
    lost=
    for name in $2; do
      # shellcheck disable=SC2086 # words on purpose
      $names_wait getent hosts "$name" >/dev/null 2>&1 </dev/null || lost="$lost $name"
    done
    printf '.lost=%s\n' "${lost# }"
  fi
  shift 2
done
""",
)


@dataclass(frozen=True, kw_only=True)
class NamesState(State):
    """The names that a device could not look up; None where it was not asked, or cannot be."""

    lost: tuple[str, ...] | None = attached()


@observable
@dataclass(frozen=True)
class Names(Observable[NamesState]):
    """Host names that a device will need, all asked for in one look, unless a file is there that says it has all."""

    names: tuple[str, ...]
    unless: str = ""

    kind: ClassVar[str] = "names"
    state: ClassVar[type[State]] = NamesState
    probe: ClassVar[Script] = PROBE_NAMES
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return the file, and the names as one word, with spaces between."""
        return (self.unless, " ".join(self.names))
