"""Virtual Jetsons of a kind, and those of a lab: how one is born, started and put to rest.

A unit is born once for each kind: it boots from the base, becomes the device of the catalogue, and its state is saved.
A lab's device is a copy of that, so it starts in seconds; later it goes on from where it was put to rest. A machine
whose process was killed boots from its disk, as a board does after the plug was pulled.
"""

from __future__ import annotations

import shutil
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InputError, ProvisionError
from provisioner.lab import catalogue, keys
from provisioner.lab.places import free_port
from provisioner.lab.virtual import images, needs, packages
from provisioner.lab.virtual.base import Base, base, base_key, cache, digest, made_once
from provisioner.lab.virtual.machine import (
    BOOT,
    CORES,
    HARDWARE,
    KERNEL_WORDS,
    MEMORY,
    SERVICES,
    Firmware,
    Machine,
    Ports,
)
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.lab.virtual.base import Say

KINDS = ("orin-nano-36.4.3", "agx-xavier-35.4.1")
"""Devices of the catalogue that can be virtual: their images come from Docker Hub, whose mirror the lab can be."""

_BORN, _RESTING = "born", "resting"
_MARKS = "/usr/share/virtual-jetson"
_OWN_LINE = "nvidia ALL=(ALL:ALL) NOPASSWD: ALL\n"
_KERNEL = "nvidia-l4t-kernel"
_AT_BIRTH = "/run/birth"
_SETTLE = 300


@dataclass(frozen=True)
class Stock:
    """All that the units of a lab are started from: one saved disk for each kind, packages, and image layers."""

    born: dict[str, Path]
    packages: Path
    layers: list[Path]
    base: Base


def kind(simulate: str) -> catalogue.Model:
    """Return what `virtual: ID [SETTING=VALUE ...]` of an inventory names; raise InputError where it cannot be had."""
    found = catalogue.model(simulate)
    if found.id not in KINDS:
        raise InputError(f"{found.id} cannot be virtual", hint=f"virtual is one of: {', '.join(KINDS)}")
    return found


def stock(simulates: Iterable[str], say: Say) -> Stock:
    """Return what units of these kinds need, building what is not yet in the cache; `say` is told how far it is."""
    models = {model.id: model for model in map(kind, simulates)}
    needs.require(build=False)
    made = packages.repository([kind(name) for name in KINDS])
    layers = images.layers(say)
    ground = base(say)
    with ThreadPoolExecutor() as pool:
        work = {name: pool.submit(_born, ground, model, made, say) for name, model in models.items()}
        born = {name: job.result() for name, job in work.items()}
    return Stock(born, made, layers, ground)


def _born(ground: Base, model: catalogue.Model, repository: Path, say: Say) -> Path:
    entries = packages.nvidia(model)
    folder = cache() / f"{model.id}-{digest(base_key(), model.data, entries, HARDWARE, KERNEL_WORDS, Path(__file__))}"
    if not folder.exists():
        needs.require(build=True)
        with made_once(folder) as draft:
            if draft is not None:
                say(f"first boot of {model.id} (once; 2 to 4 minutes)")
                _give_birth(draft, ground, model, repository)
                say(f"{model.id} is born")
    return folder


def _give_birth(draft: Path, ground: Base, model: catalogue.Model, repository: Path) -> None:
    disk = draft / "disk.qcow2"
    needs.run(["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(ground.disk), str(disk)])
    tree = _device_tree(draft, model)
    machine = Machine(draft, disk, Firmware(ground.kernel, ground.initrd, tree))
    machine.start(Ports(free_port(0), 9, 9))
    try:
        with machine.agent() as agent:
            agent.run("sh /usr/share/virtual-jetson/setup.sh")
            for path, text in _marks(model).items():
                agent.write(path, text.encode())
            agent.run(f"mkdir {_AT_BIRTH}")
            for archive in _installed(model, repository):
                agent.write(f"{_AT_BIRTH}/{archive.name}", archive.read_bytes())
            agent.run(f"dpkg --install {_AT_BIRTH}/*.deb; rm -r {_AT_BIRTH}")
            agent.run(f"timeout {_SETTLE} systemctl is-system-running --wait || :; systemctl is-active docker; sync")
        machine.save(_BORN)
    finally:
        machine.stop()


def _device_tree(draft: Path, model: catalogue.Model) -> Path:
    tree = draft / "device-tree"
    command = ["qemu-system-aarch64", "-machine", f"virt,dumpdtb={tree}", "-cpu", "cortex-a72", "-smp", CORES]
    needs.run([*command, "-m", str(MEMORY), "-nodefaults", "-display", "none"])
    for name, texts in (
        ("model", [model.data["model"]]),
        ("compatible", [*model.data["compatible"], "linux,dummy-virt"]),
    ):
        needs.run(["fdtput", "-t", "s", str(tree), "/", name, *texts])
    return tree


def _marks(model: catalogue.Model) -> dict[str, str]:
    """Return the files that make a Debian look like the device, where the provisioner looks."""
    capability = ".".join(str(part) for part in model.data["gpu"]["capability"])
    # NVIDIA's certificate is not the lab's to have: its repository is read over plain HTTP, and signed all the same
    sources = catalogue.nvidia_sources(model).replace("https:", "http:")
    return {
        "/etc/nv_tegra_release": model.data["release"],
        "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list": sources,
        f"{_MARKS}/tegrastats": model.data["tegrastats"].strip() + "\n",
        f"{_MARKS}/power-mode": f"{model.data['power'][0]}\n",
        f"{_MARKS}/gpu": f"{model.data['gpu']['name']} {capability}\n",
    }


def _installed(model: catalogue.Model, repository: Path) -> list[Path]:
    """Return the archives of NVIDIA's packages that the device comes with."""
    pool = repository / "jetson" / "common" / "pool" / str(model.data["suite"])
    # its kernel is Debian's: a package that says otherwise would call for a reboot
    names = [name for name, entry in packages.nvidia(model).items() if entry.get("installed") and name != _KERNEL]
    return [path for name in names for path in pool.glob(f"{name}_*.deb")]


class Unit:
    """A virtual device of a lab."""

    def __init__(self, folder: Path, host: str, simulate: str, goods: Stock) -> None:
        self.folder, self.host, self.goods = folder, host, goods
        self.model = kind(simulate)
        self.port = 0
        self._disk = folder / "disk.qcow2"
        born = goods.born[self.model.id]
        firmware = Firmware(goods.base.kernel, goods.base.initrd, born / "device-tree")
        self._machine = Machine(folder, self._disk, firmware)
        self._born = born / "disk.qcow2"

    @property
    def pid(self) -> int | None:
        """Return the number of its process while it runs."""
        return self._machine.pid

    def start(self, ports: Ports, key: str) -> None:
        """Switch it on, and return when its SSH server answers; a new one gets its name and the lab's key first.

        Raises ProvisionError.
        """
        new = not self._disk.exists()
        if new:
            draft = self._disk.with_suffix(".draft")
            shutil.copyfile(self._born, draft)
            draft.rename(self._disk)
        keys.pair(self.folder / "host_key", self.host)
        self.port = ports.ssh
        self._machine.start(ports)
        with self._machine.agent() as agent:
            agent.set_clock(time.time())
            if not (self.folder / "named").exists():
                for path, (content, mode) in self._own_files(key).items():
                    agent.write(path, content, mode)
                agent.run(self._own_settings(), self._password())
                (self.folder / "named").touch()
        self._wait_for_ssh()
        keys.remember(self.folder, self.port)

    def _own_files(self, key: str) -> dict[str, tuple[bytes, str]]:
        hosts = f"127.0.0.1\tlocalhost\n127.0.1.1\t{self.host}\n{SERVICES}\trepo.download.nvidia.com\n"
        password = "sudo_password" in self.model.settings
        return {
            "/etc/hostname": (f"{self.host}\n".encode(), "0644"),
            "/etc/hosts": (hosts.encode(), "0644"),
            "/etc/apt/trusted.gpg.d/" + packages.KEY: ((self.goods.packages / packages.KEY).read_bytes(), "0644"),
            "/etc/ssh/ssh_host_ed25519_key": ((self.folder / "host_key").read_bytes(), "0600"),
            "/etc/ssh/ssh_host_ed25519_key.pub": ((self.folder / "host_key.pub").read_bytes(), "0644"),
            "/home/nvidia/.ssh/authorized_keys": (key.encode(), "0600"),
            **({} if password else {"/etc/sudoers.d/nvidia": (_OWN_LINE.encode(), "0440")}),
        }

    def _own_settings(self) -> str:
        return (
            f"hostname {self.host}; chown -R nvidia:nvidia /home/nvidia/.ssh\n"
            'read -r password || :; [ -z "$password" ] || printf \'nvidia:%s\\n\' "$password" | chpasswd\n'
            "systemctl restart ssh; sync\n"
        )

    def _password(self) -> bytes:
        settings = self.model.settings
        return f"{settings.get('sudo_password') or settings.get('login_password') or ''}\n".encode()

    def _wait_for_ssh(self) -> None:
        deadline = time.monotonic() + BOOT
        while time.monotonic() < deadline and self.pid is not None:
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=20) as link:
                    if link.recv(4) == b"SSH-":
                        return
            except OSError:
                pass
            time.sleep(0.2)
        raise ProvisionError(
            f"the SSH server of {self.host} does not answer", hint=f"its console: {self.folder}/console"
        )

    def busy(self) -> bool:
        """Tell whether anybody is connected."""
        return connected(self.port)

    def stop(self) -> None:
        """Put it to rest: memory and disk are kept as they are."""
        if self._machine.pid is not None:
            self._machine.save(_RESTING)

    def halt(self) -> None:
        """End its process."""
        self._machine.stop()


def connected(port: int) -> bool:
    """Tell whether a loopback port has a client."""
    established, place = "01", f"0100007F:{port:04X}"
    lines = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    return any(words[1] == place and words[3] == established for words in map(str.split, lines))
