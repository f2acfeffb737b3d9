"""A lab's virtual devices and the services that they reach: packages, and images."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from provisioner.lab import keys
from provisioner.lab.places import free_port, private
from provisioner.lab.virtual.images import DockerRegistry
from provisioner.lab.virtual.machine import Ports
from provisioner.lab.virtual.packages import PackageServer
from provisioner.lab.virtual.units import Unit, stock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Household:
    """All of a virtual lab; `before` holds the ports of the last time, which are taken again where they are free."""

    def __init__(self, folder: Path, devices: Mapping[str, str], before: Mapping[str, Any]) -> None:
        self.folder, self._before = folder, before
        self._goods = stock(devices.values(), lambda _text: None)
        self.registry = DockerRegistry(folder / "registry", before.get("registry", 0))
        self.packages = 0
        self.units = [
            Unit(private(folder / "devices" / host), host, kind, self._goods) for host, kind in devices.items()
        ]

    @property
    def pids(self) -> dict[str, int]:
        """Return the processes of the machines that run: ending one pulls its plug."""
        return {unit.host: unit.pid for unit in self.units if unit.pid is not None}

    def start(self) -> None:
        """Start everything, and return when every device lets people in; raise ProvisionError where one does not."""
        self.registry.start()
        self.registry.fill(self._goods.layers)
        self.packages = PackageServer(self._goods.packages, self._before.get("packages", 0)).start().port
        key = keys.pair(self.folder / "id_ed25519", "virtual") + "\n"
        with ThreadPoolExecutor() as pool:
            work = [
                pool.submit(unit.start, Ports(port, self.packages, self.registry.port), key)
                for unit, port in zip(self.units, self._ssh_ports(), strict=True)
            ]
        for job in work:
            job.result()

    def _ssh_ports(self) -> list[int]:
        found: list[int] = []
        for unit in self.units:
            port = free_port(self._before.get("devices", {}).get(unit.host, 0))
            while port in found:
                port = free_port(0)
            found.append(port)
        return found
