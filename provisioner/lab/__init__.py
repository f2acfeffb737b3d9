"""A lab of simulated Jetson devices, so that a playbook can be tried before it meets hardware.

`ensure` starts what is not running and says how to reach it; devices keep their state until `reset`. Three backends:
*namespace* (a real shell behind a real SSH server, in namespaces of the machine), *container* (the same in a local
engine) and *model* (no shell and no SSH: states as data, see model.py; here only its registry runs). A fourth, which is
taken only where it is asked for, is *virtual*: real arm64 machines under QEMU (folder virtual).
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError, ProvisionError
from provisioner.lab import places
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BACKENDS = ("namespace", "container", "model", "virtual")
USER = "nvidia"
_PATIENCE = 60.0
_EMULATED = 60.0  # an emulated core takes seconds for a key exchange
_VIRTUAL_PATIENCE = 900.0  # a machine whose plug was pulled boots
_WHAT = {
    "namespace": "real SSH servers on loopback",
    "container": "containers of the local engine, behind real SSH servers on loopback",
    "model": "states as data, no shell, no SSH",
    "virtual": "arm64 machines under QEMU; NVIDIA's packages, runtime, GPU and images are stand-ins",
}


@dataclass(frozen=True)
class Address:
    """How to log in to a device of the lab; `patience`: seconds that its SSH server may take to answer."""

    host: str
    port: int
    user: str
    key_file: Path
    known_hosts: Path
    patience: float = 0


@dataclass(frozen=True)
class Lab:
    """A running lab."""

    backend: str
    banner: str
    registry: str
    devices: Mapping[str, Address] = field(default_factory=dict)


@dataclass(frozen=True)
class Status:
    """What is known of a lab: its devices, and whether they run."""

    running: bool
    folder: Path
    backend: str | None = None
    devices: Mapping[str, str] = field(default_factory=dict)
    pid: int | None = None
    machines: Mapping[str, int] = field(default_factory=dict)


def ensure(name: str, devices: Mapping[str, str], *, backend: str | None = None) -> Lab:
    """Return the lab called name with these devices (host: simulate-id), starting what is not running."""
    folder = places.home(name)
    facts = places.read_json(folder / "lab.json")
    if not (_fits(facts, devices, backend) and places.running(folder)):
        places.private(folder)
        with places.alone(folder / "starting"):
            facts = places.read_json(folder / "lab.json")
            if not (_fits(facts, devices, backend) and places.running(folder)):
                facts = _start(folder, devices, backend)
    return _lab(folder, facts)


def status(name: str) -> Status:
    """Tell what the lab called name is doing."""
    folder = places.home(name)
    facts = places.read_json(folder / "lab.json")
    if facts and places.running(folder):
        machines = {host: pid for host, pid in facts.get("machines", {}).items() if places.alive(pid)}
        return Status(True, folder, facts["backend"], facts["devices"], facts["pid"], machines)
    known = places.read_json(folder / "request.json")
    return Status(False, folder, known.get("backend"), known.get("devices", {}))


def down(name: str) -> bool:
    """Stop the lab; its devices keep their disks. Return whether it was running."""
    return _stop(places.home(name))


def reset(name: str) -> bool:
    """Stop the lab and give it new devices. Return whether there was one."""
    import shutil

    folder = places.home(name)
    if not folder.exists():
        return False
    _stop(folder)
    from provisioner.lab import container, namespace

    engine = places.read_json(folder / "request.json").get("engine")
    for device in (folder / "devices").glob("*"):
        namespace.erase(device)
        if engine:
            container.erase(engine, device)
    shutil.rmtree(folder)
    return True


def choose_backend(forced: str | None = None) -> tuple[str, tuple[str, ...]]:
    """Return the first backend that works here, and why those before it were not taken."""
    from provisioner.lab import container, namespace

    wanted = forced or os.environ.get("PROVISION_LAB_BACKEND") or ""
    if wanted and wanted not in BACKENDS:
        raise InputError(f"no lab backend is called {wanted!r}", hint=f"one of: {', '.join(BACKENDS)}")
    if wanted in ("model", "virtual"):
        return wanted, ()
    reasons: list[str] = []
    trials: dict[str, Callable[[], str | None]] = {
        "namespace": lambda: namespace.works(places.home(".trial")),
        "container": lambda: container.works(places.home(".trial")),
    }
    for name, works in trials.items():
        if wanted in ("", name):
            why = works()
            if why is None:
                return name, tuple(reasons)
            reasons.append(f"{name}: {why}")
    if wanted:
        raise ProvisionError(f"the lab's backend {reasons[0]}", hint="leave the choice open, or take 'model'")
    return "model", tuple(reasons)


def _fits(facts: Mapping[str, Any], devices: Mapping[str, str], backend: str | None) -> bool:
    wanted = backend or os.environ.get("PROVISION_LAB_BACKEND") or facts.get("backend")
    same = facts.get("devices") == dict(devices) and facts.get("backend") == wanted
    return same and facts.get("code") == _code() and all(map(places.alive, facts.get("machines", {}).values()))


def _code() -> int:
    """Return what changes with the lab's own files: a lab that an older version started is started anew."""
    return sum(entry.stat().st_mtime_ns for entry in _files(Path(__file__).parent)) % (1 << 52)


def _files(folder: Path) -> list[os.DirEntry[str]]:
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir() and entry.name not in ("__pycache__", "model"):
                found += _files(Path(entry.path))
            elif entry.is_file():
                found.append(entry)
    return found


def _start(folder: Path, devices: Mapping[str, str], backend: str | None) -> dict[str, Any]:
    from provisioner.lab import catalogue, container
    from provisioner.lab.virtual import units

    for simulate in devices.values():
        catalogue.model(simulate)
    name, reasons = choose_backend(backend)
    if name == "virtual":
        units.stock(devices.values(), _say)
    _stop(folder)
    request = {"devices": dict(devices), "backend": name, "banner": _banner(name, devices, reasons), "code": _code()}
    before = places.read_json(folder / "request.json").get("engine")  # its disks may be there still
    request["engine"] = container.chosen() if name == "container" else before
    places.write_json(folder / "request.json", request)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "provisioner.lab.supervisor", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
            env=places.python_environment(),
        )
    return _ready(folder, process, _VIRTUAL_PATIENCE if name == "virtual" else _PATIENCE)


def _say(text: str) -> None:
    sys.stderr.write(f"lab: {text}\n")


def _ready(folder: Path, process: subprocess.Popen[bytes], patience: float) -> dict[str, Any]:
    deadline = time.monotonic() + patience
    while process.poll() is None and time.monotonic() < deadline:
        facts = places.read_json(folder / "lab.json")
        if facts.get("pid") == process.pid:
            process.returncode = 0  # it outlives us: no wait, and no warning about it
            return facts
        time.sleep(0.01)
    last = (folder / "log").read_text(encoding="utf-8", errors="replace").splitlines()[-3:]
    raise ProvisionError("the lab did not start: " + " / ".join(last), hint=f"its log: {folder / 'log'}")


def _stop(folder: Path) -> bool:
    if not places.running(folder):
        return False
    pid = places.read_json(folder / "lab.json").get("pid")
    if pid:
        os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + 2 * _PATIENCE
    while places.running(folder):
        if time.monotonic() > deadline:
            raise ProvisionError(f"the lab in {folder} does not stop", hint=f"its process is {pid}")
        time.sleep(0.01)
    return True


def _banner(backend: str, devices: Mapping[str, str], reasons: tuple[str, ...]) -> str:
    kind, what = ("virtual", "lab") if backend == "virtual" else ("simulated", "simulation")
    line = f"{what}: {len(devices)} {kind} device{'' if len(devices) == 1 else 's'}"
    line += f", backend {backend} ({_WHAT.get(backend, backend)})"
    return "\n".join([line, *(f"{what}: not taken: {reason}" for reason in reasons)])


def _lab(folder: Path, facts: Mapping[str, Any]) -> Lab:
    key, patience = folder / "id_ed25519", _EMULATED if facts["backend"] == "virtual" else 0
    addresses = {
        host: Address("127.0.0.1", port, USER, key, folder / "devices" / host / "known_hosts", patience)
        for host, port in facts["ports"].items()
    }
    return Lab(facts["backend"], facts["banner"], facts["registry"], addresses)
