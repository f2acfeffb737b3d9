"""The checks of jetson_preflight, each by its name: what stops a run, and what is only a doubt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.jetson.compatibility import apt_sources
from provisioner.jetson.registry import parse_reference
from provisioner.observables.docker import DockerDaemon
from provisioner.observables.package import DpkgLock, Package
from provisioner.observables.preflight import Clock, DiskSpace, Names
from provisioner.records import dataclass
from provisioner.tasks.jetson_common import RECORD, size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.pins import Pin
    from provisioner.model import Context, View

CHECKS = (
    "accelerator", "first-boot", "clock", "apt-list", "dpkg-state", "dpkg-lock", "space", "docker", "storage-driver",
    "names",
)  # fmt: skip
"""Every check; what stops a run comes first, then the doubts, which are warnings. A list of apt may be either."""

UPGRADES = ("nvidia-l4t-bootloader", "nvidia-l4t-kernel")
"""Packages that an upgrade leaves half configured on boards for which they were not made."""

BROKEN = ("half-installed", "unpacked", "half-configured")
"""Words of dpkg for packages that it will try to configure again, whatever is asked of it."""

DATA_ROOT = "/var/lib/docker"
UNPACKED = 2.5
"""Times its compressed size is what an image needs while it is pulled and unpacked."""

SOURCE_LIST = "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
PACKAGES_HOST = "repo.download.nvidia.com"


@dataclass(frozen=True)
class Problem:
    """What a check found wrong, and what mends it."""

    check: str
    cause: str
    fix: str

    def __str__(self) -> str:
        """Return both in a line."""
        return f"{self.cause}: {self.fix}"


@dataclass(frozen=True)
class Work:
    """What is left to be done on a device, for the image of that name.

    `silent` tells that Docker did not say whether the image is there.
    """

    reference: str
    packages: tuple[str, ...]
    image: Pin | None
    silent: bool = False

    @property
    def fetches(self) -> bool:
        """Tell whether something comes over the network."""
        return bool(self.packages or self.image)


def problems(view: View, ctx: Context, facts: HostFacts, work: Work, max_clock_skew: int) -> Iterator[Problem]:
    """Yield what has to be mended before the rest of the play can do its work."""
    if work.fetches:
        yield from _first_boot(facts)
        yield from _clock(view, ctx, max_clock_skew)
    if work.packages:
        yield from _placeholder(facts)
        yield from _half_configured(view, facts)
        yield from _lock(view)
    if work.image is not None:
        yield from _room(view, work.image)


def doubts(view: View, facts: HostFacts, work: Work) -> Iterator[Problem]:
    """Yield what may well go wrong, and may as well not."""
    if work.silent:
        cause = "Docker does not answer, so nobody knows whether the image is there"
        yield Problem("docker", cause, "its room on the disk is not checked")
    yield from _list_missing(facts, work)
    if work.image is not None and view.peek(DockerDaemon()).driver == "vfs":
        cause = "Docker's storage driver is vfs, which keeps each layer as a full copy"
        yield Problem("storage-driver", cause, "images take many times their size")
    yield from _names(view, facts, work)


def _first_boot(facts: HostFacts) -> Iterator[Problem]:
    if facts.first_boot_pending:
        tool = "nv-oobe" if (facts.jetpack_major or 0) >= 7 else "nv-oem-config"  # noqa: PLR2004 - JetPack 7 has another first boot
        yield Problem(
            "first-boot",
            "the first boot's setup is not finished (/etc/nv/nvfirstboot is there)",
            f"finish {tool} on a screen, or on the serial port that its USB device port offers (115200 baud)",
        )


def _clock(view: View, ctx: Context, tolerance: int) -> Iterator[Problem]:
    now, there = ctx.services.get("now"), view.peek(Clock()).epoch
    if now is None or there is None:
        return
    skew = int(there - now())
    if abs(skew) > tolerance:
        which = "ahead" if skew > 0 else "behind"
        yield Problem(
            "clock",
            f"the device's clock is {_duration(abs(skew))} {which}, so certificates and package lists look invalid",
            "`sudo timedatectl set-ntp true` sets it over the network, `sudo date -u -s @$(date +%s)` by hand",
        )


def _placeholder(facts: HostFacts) -> Iterator[Problem]:
    if facts.apt_sources == "placeholder" and facts.l4t is not None:
        cause = "nvidia-l4t-apt-source.list still has the placeholder <SOC>"
        yield Problem("apt-list", cause, _lines(facts, facts.l4t))


def _list_missing(facts: HostFacts, work: Work) -> Iterator[Problem]:
    wanted = [name for name in work.packages if name.removeprefix("lib").startswith("nvidia-")]
    if wanted and facts.l4t is not None and facts.apt_sources in ("missing", "commented"):
        cause = f"apt may not know {', '.join(wanted)}, as NVIDIA's list is {facts.apt_sources}"
        yield Problem("apt-list", cause, _lines(facts, facts.l4t))


def _lines(facts: HostFacts, l4t: str) -> str:
    lines = " and ".join(f"'{line}'" for line in apt_sources(l4t, facts.soc or ""))
    return f"{SOURCE_LIST} should have {lines}"


def _half_configured(view: View, facts: HostFacts) -> Iterator[Problem]:
    if facts.kind != "jetson":
        return
    for name in UPGRADES:
        status = view.peek(Package(name)).status
        if status in BROKEN:
            cause = f"{name} is {status} since an upgrade, so apt ends in an error whatever it installs"
            yield Problem("dpkg-state", cause, "`sudo dpkg --configure -a` on the device tells what it lacks")


def _lock(view: View) -> Iterator[Problem]:
    holder = view.peek(DpkgLock()).holder
    if holder:
        fix = "wait until it is through; unattended-upgrades runs after a boot"
        yield Problem("dpkg-lock", f"{holder} holds the lock of dpkg", fix)


def _room(view: View, pin: Pin) -> Iterator[Problem]:
    root = view.peek(DockerDaemon()).data_root
    path = root if isinstance(root, str) else DATA_ROOT
    free, needed = view.peek(DiskSpace(path)).free, int(pin.size * UNPACKED)
    if free is not None and free < needed:
        yield Problem(
            "space",
            f"{path} has {size(free)} free, and {pin.reference} needs {size(needed)} while it is unpacked",
            "make room (`docker system df`), or put Docker's data-root on a larger disk",
        )


def names(facts: HostFacts, reference: str | None) -> Names:
    """Return the names that a host has to look up for its packages and an image, none where it has had its image."""
    packages = (PACKAGES_HOST,) if facts.kind == "jetson" else ()
    return Names((*packages, *((_registry(reference),) if reference else ())), unless=RECORD)


def _registry(reference: str) -> str:
    host = parse_reference(reference).host
    return "registry-1.docker.io" if host == "docker.io" else host.partition(":")[0]


def _names(view: View, facts: HostFacts, work: Work) -> Iterator[Problem]:
    if not work.fetches:
        return
    lost = view.peek(names(facts, work.reference)).lost or ()
    needed = {PACKAGES_HOST} if work.packages else set()
    needed |= {_registry(work.reference)} if work.image is not None else set()
    if missed := [name for name in lost if name in needed]:
        cause = f"{', '.join(missed)} cannot be looked up on the device"
        yield Problem("names", cause, "is its network up, and its DNS? Behind a proxy this may be as it should")


def _duration(seconds: int) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds // unit} {name}"
    return f"{seconds} seconds"
