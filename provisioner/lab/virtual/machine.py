"""One QEMU process: started, asked, saved, ended. Its disk survives whatever happens to it, as a board's eMMC does."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from provisioner.errors import ProvisionError
from provisioner.lab.places import alive
from provisioner.lab.virtual import needs
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = 2048
"""MiB of a machine."""

SERVICES = "10.0.2.100"
"""Where a machine sees the lab: packages on port 80, the registry on port 5000."""

BOOT = 600.0
"""Seconds that a machine may take until it answers; an emulated one needs some 50 on a quiet computer."""

CORES = str(min(max((os.cpu_count() or 1) // 2, 1), 2))
"""Of a machine. Labs have two machines: with more cores than there really are, theirs wait for one another's locks."""

HARDWARE = ("-machine", "virt", "-cpu", "cortex-a72", "-smp", CORES, "-m", str(MEMORY), "-accel", "tcg,thread=multi")
KERNEL_WORDS = "console=ttyAMA0 root=/dev/vda rw quiet apparmor=0"
"""What the kernel is told; `mitigations=off` was tried and makes a boot no quicker."""

_RELAY = Path(__file__).with_name("relay.py")
_ANSWER = 120.0
_TICK = 0.2


@dataclass(frozen=True)
class Firmware:
    """What a machine starts from beside its disk: kernel, first file system and device tree."""

    kernel: Path
    initrd: Path
    device_tree: Path


@dataclass(frozen=True)
class Ports:
    """Loopback ports: that of the machine's sshd, and those of the lab's services as the machine reaches them."""

    ssh: int
    packages: int
    registry: int


class Machine:
    """A machine with its disk; `folder` holds its console, its pid and the sockets that it is steered by."""

    def __init__(self, folder: Path, disk: Path, firmware: Firmware) -> None:
        self.folder, self.disk, self.firmware = folder, disk, firmware
        self._process: subprocess.Popen[bytes] | None = None
        self._monitor: _Lines | None = None

    @property
    def pid(self) -> int | None:
        """Return the number of its process while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self, ports: Ports) -> None:
        """Switch it on; it goes on from its saved state where its disk has one, else it boots."""
        self._end_orphan()
        saved = saved_state(self.disk)
        command = [*self._command(ports), *(("-loadvm", saved) if saved else ())]
        with (self.folder / "qemu.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
        self._pid_file.write_text(str(self._process.pid), encoding="ascii")
        self._monitor = _Lines(self._connect("qmp"))
        self._monitor.read()  # its greeting
        self._ask_monitor("qmp_capabilities")
        if saved:
            # from here on the disk is the truth: a state of the past must not come back after the plug was pulled
            self.command("delvm", saved)

    @property
    def _pid_file(self) -> Path:
        return self.folder / "pid"

    def _end_orphan(self) -> None:
        """End a process that still has the disk, because the lab's own was killed."""
        try:
            pid = int(self._pid_file.read_text(encoding="ascii"))
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return
        if os.fsencode(self.disk) in command:
            os.kill(pid, signal.SIGKILL)
            while alive(pid):
                time.sleep(_TICK)

    def _command(self, ports: Ports) -> list[str]:
        relay = f"{sys.executable} -S -E {_RELAY} 127.0.0.1"
        forwards = [
            f"hostfwd=tcp:127.0.0.1:{ports.ssh}-:22",
            f"guestfwd=tcp:{SERVICES}:80-cmd:{relay} {ports.packages}",
            f"guestfwd=tcp:{SERVICES}:5000-cmd:{relay} {ports.registry}",
        ]
        return [
            *("qemu-system-aarch64", *HARDWARE, "-no-user-config", "-nodefaults", "-nographic"),
            *("-kernel", str(self.firmware.kernel), "-initrd", str(self.firmware.initrd)),
            *("-dtb", str(self.firmware.device_tree)),
            *("-append", KERNEL_WORDS),
            *("-drive", f"file={self.disk},if=none,format=qcow2,id=disk"),
            *("-device", "virtio-blk-device,drive=disk"),
            *("-netdev", ",".join(["user", "id=net", *forwards]), "-device", "virtio-net-device,netdev=net"),
            *("-device", "virtio-serial-device", "-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
            *("-chardev", f"socket,path={self.folder}/agent,server=on,wait=off,id=agent"),
            *("-qmp", f"unix:{self.folder}/qmp,server=on,wait=off"),
            *("-serial", f"file:{self.folder}/console", "-monitor", "none"),
        ]

    def _connect(self, name: str) -> socket.socket:
        deadline = time.monotonic() + _ANSWER
        while time.monotonic() < deadline and self.pid is not None:
            with suppress(OSError):
                return _socket(self.folder / name)
            time.sleep(_TICK)
        said = (self.folder / "qemu.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise ProvisionError(f"QEMU did not start: {said[-1] if said else 'it said nothing'}")

    def command(self, *words: str) -> None:
        """Give a command to QEMU's monitor, as a person would type it; raise ProvisionError with its complaint."""
        told = self._ask_monitor("human-monitor-command", {"command-line": " ".join(words)})
        if told:
            raise ProvisionError(f"QEMU does not {words[0]}: {str(told).strip()}")

    def _ask_monitor(self, name: str, arguments: dict[str, Any] | None = None) -> Any:
        assert self._monitor is not None
        self._monitor.write({"execute": name, **({"arguments": arguments} if arguments else {})})
        while True:
            told = self._monitor.read()
            if "error" in told:
                raise ProvisionError(f"QEMU: {told['error'].get('desc')}")
            if "return" in told:
                return told["return"]

    def agent(self, patience: float = BOOT) -> Agent:
        """Return the way into the machine, when it answers there."""
        return attach(self.folder, lambda: self.pid is not None, patience)

    def save(self, state: str) -> None:
        """Keep memory and disk as they are, under a name; the machine goes on from there when it is next started."""
        self.command("savevm", state)

    def stop(self) -> None:
        """Switch it off; what its system had not written is lost."""
        if self.pid is not None:
            with suppress(OSError, EOFError, ProvisionError):
                self._ask_monitor("quit")
        if self._process:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ANSWER)
            self._process.kill()


def attach(folder: Path, runs: Callable[[], bool] = lambda: True, patience: float = BOOT) -> Agent:
    """Return the way into the machine of a folder, when it answers there; raise ProvisionError where it never does."""
    deadline = time.monotonic() + patience
    while runs() and time.monotonic() < deadline:
        with suppress(OSError, ValueError, EOFError):
            return Agent(_socket(folder / "agent"))
        time.sleep(_TICK)
    raise ProvisionError("the virtual machine does not answer", hint=f"its console: {folder / 'console'}")


def _socket(path: Path) -> socket.socket:
    link = socket.socket(socket.AF_UNIX)
    try:
        link.connect(str(path))
    except OSError:
        link.close()
        raise
    link.settimeout(_ANSWER)
    return link


def saved_state(disk: Path) -> str | None:
    """Return the name of the state that a disk holds, if any."""
    states = json.loads(needs.run(["qemu-img", "info", "-U", "--output=json", str(disk)])).get("snapshots", [])
    return str(states[-1]["name"]) if states else None


class _Lines:
    """JSON values over a socket, one a line."""

    def __init__(self, link: socket.socket) -> None:
        self._link, self._stream = link, link.makefile("rb")

    def write(self, value: dict[str, Any], before: bytes = b"") -> None:
        self._link.sendall(before + json.dumps(value).encode() + b"\n")

    def read(self, after: bytes = b"") -> dict[str, Any]:
        line = self._stream.readline()
        if not line:
            raise EOFError
        if after:
            _, found, line = line.rpartition(after)
            if not found:
                return self.read(after)
        value = json.loads(line)
        assert isinstance(value, dict)
        return value

    def close(self) -> None:
        self._stream.close()
        self._link.close()


class Agent:
    """QEMU's guest agent: runs commands in a machine as root, without its network."""

    _numbers = itertools.count(int(time.time()))

    def __init__(self, link: socket.socket) -> None:
        link.settimeout(3.0)
        self._lines = _Lines(link)
        number = next(self._numbers)
        # 0xFF: whatever somebody left half said is forgotten
        self._lines.write({"execute": "guest-sync-delimited", "arguments": {"id": number}}, before=b"\xff")
        while self._lines.read(after=b"\xff").get("return") != number:
            pass
        link.settimeout(_ANSWER)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Hang up."""
        self._lines.close()

    def set_clock(self, seconds: float) -> None:
        """Set the machine's clock: it stood still while its state was saved."""
        self._ask("guest-set-time", {"time": int(seconds * 1e9)})

    def run(self, script: str, stdin: bytes = b"", patience: float = BOOT) -> str:
        """Run a shell script to its end and return what it printed; raise ProvisionError where it failed."""
        request = {"path": "/bin/sh", "arg": ["-euc", script], "capture-output": True}
        request |= {"input-data": b64encode(stdin).decode()} if stdin else {}
        pid = self._ask("guest-exec", request)["pid"]
        ended = next(filter(None, self._ended(pid, time.monotonic() + patience)))
        out, err = (b64decode(ended.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data"))
        if ended.get("exitcode") != 0:
            raise ProvisionError(f"a script of the lab failed in the virtual machine: {(err or out).strip()[-500:]}")
        return out

    def _ended(self, pid: int, deadline: float) -> Iterator[dict[str, Any] | None]:
        while time.monotonic() < deadline:
            told = self._ask("guest-exec-status", {"pid": pid})
            yield told if told["exited"] else None
            time.sleep(_TICK)
        raise ProvisionError("a script of the lab does not end in the virtual machine")

    def write(self, path: str, content: bytes, mode: str = "0644") -> None:
        """Write a file of the machine."""
        self.run(f'umask 077; cat >"{path}"; chmod {mode} "{path}"', content)

    def _ask(self, name: str, arguments: dict[str, Any]) -> Any:
        self._lines.write({"execute": name, "arguments": arguments})
        told = self._lines.read()
        if "error" in told:
            raise ProvisionError(f"the virtual machine's agent: {told['error'].get('desc')}")
        return told["return"]
