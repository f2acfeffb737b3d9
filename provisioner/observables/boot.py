"""The boot that a device is in."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, observable
from provisioner.records import dataclass
from provisioner.shell import Script

PROBE_BOOT = Script(
    "probe_boot",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  boot=
  [ ! -r /proc/sys/kernel/random/boot_id ] || read -r boot </proc/sys/kernel/random/boot_id
  [ -z "$boot" ] || printf 'boot=%s\n' "$boot"
  shift
done
""",
)


@dataclass(frozen=True, kw_only=True)
class BootState(State):
    """The kernel's name for this boot."""

    boot: str | None = None


@observable
@dataclass(frozen=True)
class BootId(Observable[BootState]):
    """The witness of a reboot: a name that the kernel takes anew at each boot."""

    kind: ClassVar[str] = "boot"
    state: ClassVar[type[State]] = BootState
    probe: ClassVar[Script] = PROBE_BOOT
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("boot",)
