"""onboard_check: whether a unit can join the fleet, told before anything is written to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.jetson.compatibility import FAMILY, candidates
from provisioner.model import Context, Observable, Plan, TaskType, View, task
from provisioner.observables.identity import Identity, Reach, Writable
from provisioner.observables.preflight import DiskSpace
from provisioner.records import dataclass
from provisioner.tasks.jetson_checks import DATA_ROOT, UNPACKED, Problem
from provisioner.tasks.jetson_common import facts_of, size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.jetson.compatibility import Candidates
    from provisioner.jetson.facts import HostFacts

LEAST_ROOM = 20 * 10**6
"""Bytes: a few small files, and what sshd, sudo and the journal write meanwhile."""

JETPACK_WITH_OOBE = 7

_KINDS = {
    "x86": "an x86_64 host",
    "x86-nvidia": "an x86_64 host with an NVIDIA GPU",
    "sbsa-nvidia": "an Arm server with an NVIDIA GPU",
    "raspberry-pi": "a Raspberry Pi",
    "arm64-other": "another arm64 host",
}


@task
@dataclass(frozen=True, kw_only=True)
class OnboardCheck(TaskType):
    """Checks that a unit is a Jetson that we support, that its first boot is finished, and that it can be written to.

    What keeps only the image from it (too small a disk, no way to the registry) is a warning. Registers which unit it
    is: `serial` and `machine`.
    """

    family: str = FAMILY

    name: ClassVar[str] = "onboard_check"
    example: ClassVar[str] = "onboard_check: { family: l4t-pytorch }"
    services: ClassVar[tuple[str, ...]] = ("facts",)

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name what the checks read."""
        facts = facts_of(ctx)
        yield from (Identity(), Writable("/etc"), Writable(_home(facts)), DiskSpace("/etc"), DiskSpace(_home(facts)))
        yield DiskSpace(DATA_ROOT)
        if registry := _registry(candidates(facts, self.family)):
            yield Reach(registry)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return what is wrong, a line for each; there is nothing to do."""
        facts = facts_of(ctx)
        found = candidates(facts, self.family)
        unit = view.peek(Identity())
        result = {"serial": unit.serial, "machine": unit.machine}
        warnings = tuple(dict.fromkeys((*facts.l4t_warnings, *found.warnings, *_warnings(view, found))))
        problems = tuple(_problems(view, facts, found))
        if not problems:
            return Plan(result=result, warnings=warnings)
        if len(problems) == 1:
            return Plan(failed=problems[0].cause, hint=problems[0].fix, result=result, warnings=warnings)
        return Plan(failed="\n".join(map(str, problems)), result=result, warnings=warnings)


def _home(facts: HostFacts) -> str:
    return facts.login_home if facts.login_home.startswith("/") else "/root"


def _problems(view: View, facts: HostFacts, found: Candidates) -> Iterator[Problem]:
    if found.host_refused:
        yield Problem("supported", found.refusal or "it is no Jetson", found.hint or "`provision images` has the table")
    elif facts.kind != "jetson":
        yield Problem(
            "jetson",
            f"it is no Jetson, but {_KINDS.get(facts.kind, facts.kind)}",
            "write it into the inventory by hand: `provision apply` gives it what runs on it",
        )
    if facts.first_boot_pending:
        tool = "nv-oobe" if (facts.jetpack_major or 0) >= JETPACK_WITH_OOBE else "nv-oem-config"
        yield Problem(
            "first_boot",
            "the first boot's setup is not finished (/etc/nv/nvfirstboot is there)",
            f"finish {tool} on a screen, or on the serial port that its USB device port offers (115200 baud)",
        )
    for path in dict.fromkeys(("/etc", _home(facts))):
        if view.peek(Writable(path)).writable is False:
            yield Problem(
                "writable",
                f"{path} is mounted read-only",
                "look at `dmesg` for errors of the disk, and at `mount`; after a repair, boot it again",
            )
        free = view.peek(DiskSpace(path)).free
        if free is not None and free < LEAST_ROOM:
            told = f"the disk is full: {size(free)} left at {path}"
            yield Problem("room", told, "make room (`sudo apt-get clean`, `df -h`)")


def _warnings(view: View, found: Candidates) -> Iterator[str]:
    wanted = found.images[0] if found.images else None
    if wanted is None:
        return
    free, compressed = view.peek(DiskSpace(DATA_ROOT)).free, wanted.compressed_bytes
    if free is not None and compressed is not None and free < compressed * UNPACKED:
        yield (
            f"{size(free)} are free, and {wanted.reference} needs {size(int(compressed * UNPACKED))} while it is "
            "unpacked: put Docker's data-root on a larger disk, or `apply` will stop at it"
        )
    registry = _registry(found)
    if registry and (why := view.peek(Reach(registry)).reach) not in (None, "yes"):
        yield f"the unit has no way to {registry} ({why}): `apply` cannot bring an image before it has"


def _registry(found: Candidates) -> str | None:
    return found.images[0].reference.partition("/")[0] if found.images else None
