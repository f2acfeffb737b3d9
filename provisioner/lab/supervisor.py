"""The process that holds a running lab: every device's SSH server, and the registry.

Run as `python -m provisioner.lab.supervisor FOLDER`, detached. It ends when told to (SIGTERM), or by itself after
half an hour in which nobody was connected.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from provisioner.lab import catalogue, container, keys, standins_folder
from provisioner.lab.namespace import Device
from provisioner.lab.places import private, read_json, write_json
from provisioner.lab.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

    from provisioner.lab.virtual.household import Household

IDLE = 30 * 60.0
_TICK = 5.0


class Home(Protocol):
    """A device that runs, and the port that leads to it."""

    port: int

    @property
    def host(self) -> str:
        """Return its name in the inventory."""
        ...

    def busy(self) -> bool:
        """Tell whether anybody is connected."""
        ...

    def stop(self) -> None:
        """Let nobody in any more."""
        ...

    def halt(self) -> None:
        """End its processes."""
        ...


class Supervisor:
    """A lab while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = read_json(folder / "request.json")
        self.before = read_json(folder / "ports.json")
        self.homes: list[Home] = []
        self._household: Household | None = None
        self._last = time.monotonic()
        self._end = threading.Event()

    def run(self) -> None:
        """Start everything, say so in lab.json, and stay."""
        try:
            facts = self._start_virtual() if self.request["backend"] == "virtual" else self._start_simulated()
            write_json(self.folder / "lab.json", facts)
            self._stay()
        finally:
            self._stop()

    def end(self, *_signal: object) -> None:
        """Ask for the end."""
        self._end.set()

    def _start_simulated(self) -> dict[str, Any]:
        registry = Registry(catalogue.everything()["images"], self.before.get("registry", 0)).start()
        if self.request["backend"] != "model":
            self._start_devices(registry.url)
        return self._facts(registry.port, registry.url)

    def _start_virtual(self) -> dict[str, Any]:
        from provisioner.lab.virtual.household import Household

        self._household = house = Household(self.folder, self.request["devices"], self.before)
        self.homes = [*house.units]
        house.start()
        return {**self._facts(house.registry.port, house.registry.url, packages=house.packages), "machines": house.pids}

    def _start_devices(self, registry: str) -> None:
        tools = standins_folder.build(self.folder / "standins")
        kind = Device if self.request["backend"] == "namespace" else container.kind(self.request["engine"])
        public = keys.pair(self.folder / "id_ed25519", "simulation")
        with ThreadPoolExecutor() as pool:
            work = [
                pool.submit(self._start_device, kind, host, simulate, public + "\n", registry, tools)
                for host, simulate in self.request["devices"].items()
            ]
            from provisioner.lab import sshd  # noqa: F401 - paramiko is imported while the devices come up

            self.homes = [job.result() for job in work]

    def _start_device(  # noqa: PLR0917 - what a device consists of
        self, kind: Callable[..., Device], host: str, simulate: str, key: str, registry: str, tools: Path
    ) -> Any:
        folder = private(self.folder / "devices" / host)
        device = kind(folder, host, catalogue.model(simulate), key, registry, tools)
        device.boot()
        keys.pair(folder / "host_key", host)
        from provisioner.lab.sshd import Server

        port = self.before.get("devices", {}).get(host, 0)
        server = Server(device, folder / "host_key", port, self._seen)
        server.start()
        keys.remember(folder, server.port)
        return server

    def _facts(self, port: int, registry: str, **services: int) -> dict[str, Any]:
        ports = {home.host: home.port for home in self.homes}
        write_json(self.folder / "ports.json", {"registry": port, "devices": ports, **services})
        return {**self.request, "pid": os.getpid(), "registry": registry, "ports": ports}

    def _seen(self) -> None:
        self._last = time.monotonic()

    def _stay(self) -> None:
        while not self._end.wait(_TICK):
            if any([home.busy() for home in self.homes]):  # noqa: C419 - each one forgets its dead connections
                self._seen()
            if time.monotonic() - self._last > IDLE or not self.folder.exists():
                return

    def _stop(self) -> None:
        (self.folder / "lab.json").unlink(missing_ok=True)
        with ThreadPoolExecutor() as pool:
            for home in self.homes:
                pool.submit(home.stop)
        for home in self.homes:
            with contextlib.suppress(Exception):
                home.halt()
        if self._household:
            self._household.registry.stop()


def main() -> int:
    """Hold the lab in the folder that was named."""
    os.umask(0o022)
    folder = Path(sys.argv[1])
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(name)s %(message)s")
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)
    alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
    supervisor = Supervisor(folder)
    signal.signal(signal.SIGTERM, supervisor.end)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.run()
    os._exit(0)  # paramiko's threads have nothing left to say


if __name__ == "__main__":
    sys.exit(main())
