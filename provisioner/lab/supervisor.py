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
from typing import TYPE_CHECKING, Any

from provisioner.lab import catalogue, container, keys, standins_folder
from provisioner.lab.namespace import Device
from provisioner.lab.places import private, read_json, write_json
from provisioner.lab.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 30 * 60.0
_TICK = 5.0


class Supervisor:
    """A lab while it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.request = read_json(folder / "request.json")
        self.before = read_json(folder / "ports.json")
        self.servers: list[Any] = []
        self._last = time.monotonic()
        self._end = threading.Event()

    def run(self) -> None:
        """Start everything, say so in lab.json, and stay."""
        registry = Registry(catalogue.everything()["images"], self.before.get("registry", 0)).start()
        if self.request["backend"] != "model":
            self._start_devices(registry.url)
        ports = {server.device.host: server.port for server in self.servers}
        write_json(self.folder / "ports.json", {"registry": registry.port, "devices": ports})
        write_json(self.folder / "lab.json", self._facts(registry.url))
        self._stay()
        self._stop()

    def end(self, *_signal: object) -> None:
        """Ask for the end."""
        self._end.set()

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

            self.servers = [job.result() for job in work]

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
        self._known_hosts(folder, server.port)
        return server

    def _known_hosts(self, folder: Path, port: int) -> None:
        kind, key, *_comment = (folder / "host_key.pub").read_text(encoding="ascii").split()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n", encoding="ascii")

    def _facts(self, registry: str) -> dict[str, Any]:
        ports = {server.device.host: server.port for server in self.servers}
        return {**self.request, "pid": os.getpid(), "registry": registry, "ports": ports}

    def _seen(self) -> None:
        self._last = time.monotonic()

    def _stay(self) -> None:
        while not self._end.wait(_TICK):
            if any([server.busy() for server in self.servers]):  # noqa: C419 - each one forgets its dead connections
                self._seen()
            if time.monotonic() - self._last > IDLE or not self.folder.exists():
                return

    def _stop(self) -> None:
        (self.folder / "lab.json").unlink(missing_ok=True)
        for server in self.servers:
            server.stop()
        for server in self.servers:
            with contextlib.suppress(Exception):
                server.device.halt()


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
