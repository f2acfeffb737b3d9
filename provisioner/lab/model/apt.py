"""What apt offers a simulated device, and what it would do: the catalogue's packages, by their versions and needs."""

from __future__ import annotations

from dataclasses import field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from provisioner.lab.standins import dpkg
from provisioner.observables.package import AptTransaction, AptTransactionState, Package, PackageState
from provisioner.records import dataclass

if TYPE_CHECKING:
    from .device import Device

NVIDIA = "nvidia.com/jetson/common"


class NoWay(Exception):  # noqa: N818 - what apt says instead of a transaction
    """Why apt does nothing."""


@dataclass
class Market:
    """What is installed on a device, and what its sources offer."""

    device: Device
    gains: dict[str, str] = field(default_factory=dict)
    losses: dict[str, str] = field(default_factory=dict)

    def entry(self, name: str) -> dict[str, Any]:
        """Return what the catalogue says of a package; NoWay where no source has ever had it."""
        found = self.device.packages.get(name)
        if found is None:
            raise NoWay(f"E: Unable to locate package {name}")
        return dict(found)

    def state(self, name: str) -> PackageState:
        """Return what dpkg has of a package."""
        return self.device.held(Package(name)) or PackageState()

    def version(self, name: str) -> str | None:
        """Return the version that is installed."""
        state = self.state(name)
        return str(state.version) if state.installed else None

    def candidate(self, name: str) -> str | None:
        """Return what apt would install; NVIDIA's packages need NVIDIA's line among the sources."""
        entry = self.entry(name)
        offered = entry.get("candidate") or entry.get("installed")
        if entry.get("from") == "nvidia" and not self._nvidia_listed():
            offered = None
        versions = [str(version) for version in (offered, self.version(name)) if version]
        return max(versions, key=dpkg.key) if versions else None

    def _nvidia_listed(self) -> bool:
        folder = "/etc/apt/sources.list.d"
        lists = ["/etc/apt/sources.list", *(file.path for file in self.device.below(folder))]
        lines = (line for path in lists for line in self.device.text(path).splitlines())
        return any(line.startswith("deb ") and NVIDIA in line for line in lines)

    def offers(self, name: str) -> list[str]:
        """Return the versions that can be asked for, newest first."""
        found = {self.candidate(name), self.version(name), self.entry(name).get("installed")} - {None}
        return sorted((str(version) for version in found), key=dpkg.key, reverse=True)

    # Transactions.

    def install(self, spec: str, *, only_upgrade: bool = False) -> None:
        """Take in a package, and what it needs."""
        name, _, pin = spec.partition("=")
        name = base(name)
        offered = self.candidate(name)
        if offered is None:
            raise NoWay(f"E: Package '{name}' has no installation candidate")
        fitting = [version for version in self.offers(name) if fnmatchcase(version, pin)] if pin else [offered]
        if not fitting:
            raise NoWay(f"E: Version '{pin}' for '{name}' was not found")
        have = self.version(name)
        if fitting[0] == have or (only_upgrade and have is None):
            return
        self._need(name)
        self.gains[name] = fitting[0]

    def _need(self, name: str) -> None:
        for other in self.entry(name).get("depends", ()):
            if self.version(other) is None and other not in self.gains:
                self.install(other)

    def remove(self, name: str) -> None:
        """Take out a package, and what needs it."""
        version = self.version(name) if self.entry(name) is not None else None
        if version is None or name in self.losses:
            return
        for other, entry in self.device.packages.items():
            if name in entry.get("depends", ()):
                self.remove(other)
        self.losses[name] = version

    def upgrade(self) -> None:
        """Take in what is newer of what is installed and not held."""
        for name in self.device.packages:
            if self.version(name) is not None and not self.state(name).held:
                self.install(name)

    def settled(self) -> AptTransactionState:
        """Return the transaction as a look tells it."""
        sorts: dict[str, list[str]] = {"installs": [], "upgrades": [], "downgrades": []}
        for name, new in self.gains.items():
            old = self.version(name)
            kind = "installs" if old is None else "upgrades" if dpkg.key(new) > dpkg.key(old) else "downgrades"
            sorts[kind].append(f"{name}={f'{old}>' if old else ''}{new}")
        sorts["removes"] = [f"{name}={version}" for name, version in self.losses.items()]
        sorts["held"] = [name for name in (*self.gains, *self.losses) if self.state(name).held]
        found = {kind: tuple(sorted(items)) for kind, items in sorts.items() if items}
        return AptTransactionState(**found, nothing=None if found else True)  # type: ignore[arg-type]


def base(name: str) -> str:
    """Return a package's name without its architecture."""
    return name.partition(":")[0]


def transaction(device: Device, asked: AptTransaction) -> AptTransactionState:
    """Return what apt-get would do now."""
    market = Market(device)
    try:
        if asked.action in ("upgrade", "dist-upgrade"):
            market.upgrade()
        for spec in asked.specs:
            if asked.action in ("remove", "purge"):
                market.remove(base(spec))
            else:
                _install(market, asked, spec)
    except NoWay as no:
        return AptTransactionState(error=str(no))
    return market.settled()


def _install(market: Market, asked: AptTransaction, spec: str) -> None:
    """Where what is installed fits, apt is not asked for more, unless for the latest."""
    name, _, pin = spec.partition("=")
    have = market.state(base(name))
    if asked.action == "install" and have.installed and fnmatchcase(str(have.version), pin or "*"):
        return
    market.install(spec, only_upgrade="--only-upgrade" in asked.options)


def sources(device: Device) -> list[int]:
    """Return when each file of apt's sources was changed."""
    folder = "/etc/apt/sources.list.d"
    paths = ["/etc/apt/sources.list", folder, *(file.path for file in device.below(folder))]
    return [device.standing(path).stat().get("mtime", 0) for path in paths]
