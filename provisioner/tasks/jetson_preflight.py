"""jetson_preflight: what would go wrong later is told at once, with cause and fix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import ProvisionError
from provisioner.jetson.compatibility import FAMILY, apt_sources
from provisioner.model import Context, Observable, Plan, TaskType, View, task
from provisioner.observables.docker import DockerDaemon
from provisioner.observables.image import ContainerImage
from provisioner.observables.package import DpkgLock, Package
from provisioner.observables.preflight import Clock, DiskSpace
from provisioner.tasks.jetson_common import facts_of, images_of, size
from provisioner.tasks.jetson_packages import Survey, names_of, packages_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.pins import Pin

DATA_ROOT = "/var/lib/docker"
UNPACKED = 2.5
"""Times its compressed size is what an image needs while it is pulled and unpacked."""


@dataclass(frozen=True)
class Problem:
    """What is wrong, and what mends it."""

    cause: str
    fix: str


@dataclass(frozen=True)
class _Work:
    """What is left to be done on the device."""

    packages: tuple[str, ...]
    image: Pin | None

    @property
    def fetches(self) -> bool:
        """Tell whether something comes over the network."""
        return bool(self.packages or self.image)


@task
@dataclass(frozen=True, kw_only=True)
class JetsonPreflight(TaskType):
    """Checks, before anything is changed, what the rest of the play needs and only that.

    Is it a Jetson whose release has an image; is the first boot finished; is the clock right, if something is fetched;
    is there room for the image, if it is missing; can packages be installed, if some are. Family and image are those
    of jetson_image; `max_clock_skew` is in seconds.
    """

    family: str = FAMILY
    image: str | None = None
    max_clock_skew: int = 600

    name: ClassVar[str] = "jetson_preflight"
    example: ClassVar[str] = "jetson_preflight: { family: l4t-pytorch }"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name what the checks read."""
        yield from (DockerDaemon(), Clock(), DpkgLock(), DiskSpace(DATA_ROOT))
        facts = facts_of(ctx)
        row = packages_of(facts)
        yield from (Package(name) for name in (names_of(row) if row else ()))
        pin = images_of(ctx).known(facts, self.family, wanted=self.image)
        if pin is not None:
            yield ContainerImage(pin.pinned)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return what is wrong, a line for each; there is nothing to do."""
        facts = facts_of(ctx)
        try:
            choice = images_of(ctx).choose(facts, self.family, wanted=self.image, fresh=ctx.check)
        except ProvisionError as error:
            return Plan(failed=error.message, hint=error.hint)
        work = _work(view, facts, choice.pin)
        result = {"image": choice.pin.pinned, "missing": list(work.packages), "image_missing": work.image is not None}
        warnings = tuple(dict.fromkeys((*facts.l4t_warnings, *choice.notes, *_warnings(view, work))))
        problems = tuple(self._problems(view, ctx, facts, work))
        if not problems:
            return Plan(result=result, warnings=warnings)
        if len(problems) == 1:
            return Plan(failed=problems[0].cause, hint=problems[0].fix, warnings=warnings)
        lines = "\n".join(f"{one.cause}: {one.fix}" for one in problems)
        return Plan(failed=lines, warnings=warnings)

    def _problems(self, view: View, ctx: Context, facts: HostFacts, work: _Work) -> Iterator[Problem]:
        if work.fetches:
            yield from _first_boot(facts)
            yield from self._clock(view, ctx)
        if work.packages:
            yield from _packages(view, facts)
        if work.image is not None:
            yield from _room(view, work.image)

    def _clock(self, view: View, ctx: Context) -> Iterator[Problem]:
        now, there = ctx.services.get("now"), view.peek(Clock()).epoch
        if now is None or there is None:
            return
        skew = int(there - now())
        if abs(skew) > self.max_clock_skew:
            which = "ahead" if skew > 0 else "behind"
            yield Problem(
                f"the device's clock is {_duration(abs(skew))} {which}, so certificates and package lists look invalid",
                "`sudo timedatectl set-ntp true` sets it over the network, `sudo date -u -s @$(date +%s)` by hand",
            )


def _work(view: View, facts: HostFacts, pin: Pin) -> _Work:
    row = packages_of(facts)
    ways = Survey.of(view.peek, row).ways if row else ()
    present = view.peek(ContainerImage(pin.pinned)).present
    return _Work(ways[0] if ways else (), None if present else pin)


def _warnings(view: View, work: _Work) -> Iterator[str]:
    if work.image is not None and view.peek(DockerDaemon()).driver == "vfs":
        yield "Docker's storage driver is vfs, which keeps each layer as a full copy: images take many times their size"


def _first_boot(facts: HostFacts) -> Iterator[Problem]:
    if facts.first_boot_pending:
        tool = "nv-oobe" if (facts.jetpack_major or 0) >= 7 else "nv-oem-config"  # noqa: PLR2004 - JetPack 7 has another first boot
        yield Problem(
            "the first boot's setup is not finished (/etc/nv/nvfirstboot is there)",
            f"finish {tool} on a screen, or on the serial port that its USB device port offers (115200 baud)",
        )


def _packages(view: View, facts: HostFacts) -> Iterator[Problem]:
    if facts.apt_sources == "placeholder" and facts.l4t is not None:
        lines = " and ".join(f"'{line}'" for line in apt_sources(facts.l4t, facts.soc or ""))
        yield Problem(
            "nvidia-l4t-apt-source.list still has the placeholder <SOC>",
            f"/etc/apt/sources.list.d/nvidia-l4t-apt-source.list should have {lines}",
        )
    holder = view.peek(DpkgLock()).holder
    if holder:
        fix = "wait until it is through; unattended-upgrades runs after a boot"
        yield Problem(f"{holder} holds the lock of dpkg", fix)


def _room(view: View, pin: Pin) -> Iterator[Problem]:
    root = view.peek(DockerDaemon()).data_root
    path = root if isinstance(root, str) else DATA_ROOT
    free, needed = view.peek(DiskSpace(path)).free, int(pin.size * UNPACKED)
    if free is not None and free < needed:
        yield Problem(
            f"{path} has {size(free)} free, and {pin.reference} needs {size(needed)} while it is unpacked",
            "make room (`docker system df`), or put Docker's data-root on a larger disk",
        )


def _duration(seconds: int) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"
