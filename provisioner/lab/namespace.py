"""Backend *namespace*, seen from the machine: starts the first process of a device and asks it for more.

The device's root is an id of the machine that owns nothing there. Who may map a range of ids differs: the machine's
root writes the map itself, a plain user has `newuidmap` do it (package uidmap, /etc/subuid).
"""

from __future__ import annotations

import itertools
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import uuid
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.lab import catalogue, standins_folder
from provisioner.lab.places import python_environment, write_json

if TYPE_CHECKING:
    from collections.abc import Callable

BASE, IDS = 100_000, 65_536
_PATIENCE = 20.0
_HIDDEN = [
    "docker",
    "dockerd",
    "docker-proxy",
    "containerd",
    "containerd-shim-runc-v2",
    "runc",
    "ctr",
    "docker-init",
    "docker-compose",
    "podman",
    "nvidia-ctk",
    "nvidia-container-runtime",
    "nvidia-container-cli",
    "nvidia-container-toolkit",
    "nvidia-smi",
    "nvpmodel",
    "tegrastats",
    "jetson_clocks",
    "snap",
    "needrestart",
]


class NotPossible(Exception):  # noqa: N818 - it reads as what it says
    """Why a device could not be started."""


class Device:
    """One simulated device: its disk, its processes, and a link to the first of them."""

    disk = "root"  # what its folder is called; every backend has its own

    def __init__(  # noqa: PLR0917 - what a device consists of
        self, folder: Path, host: str, found: catalogue.Model, key: str, registry: str, tools: Path
    ) -> None:
        self.folder, self.host, self.found, self.key = folder, host, found, key
        self.registry, self.tools = registry, tools
        self.rebooted: Callable[[], None] = lambda: None
        self.boots = 0
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._replies: dict[int, _Reply] = {}
        self._running: dict[int, _Reply] = {}
        self._link: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Start the device; raise NotPossible where that cannot be done."""
        disk = self.folder / self.disk
        if not disk.exists():
            disk.mkdir(parents=True)
            self._new_disk(disk)
        write_json(self.folder / "boot.json", self._spec(disk))
        self._link = link = self._first_process()
        self._handshake(link)
        threading.Thread(target=self._listen, args=(link,), daemon=True, name=f"{self.host}-link").start()
        self.boots += 1

    def halt(self) -> None:
        """End every process of the device; its disk stays."""
        if self._link:
            with suppress(OSError):
                self._link.shutdown(socket.SHUT_RDWR)
        if self._process:
            self._process.wait(_PATIENCE)

    def spawn(
        self,
        user: str,
        command: str | list[str],
        env: dict[str, str],
        fds: tuple[int, int, int],
        groups: list[int] | None = None,
    ) -> Running:
        """Run a command in the device as user, through the user's shell if it is text."""
        line, argv = (command, None) if isinstance(command, str) else ("", command)
        request = {"user": user, "command": line, "argv": argv, "env": env, "groups": groups}
        reply, message = self._ask(request, fds)
        if "pid" not in message:
            raise NotPossible(message.get("error", "the device went down"))
        return Running(reply)

    def login(self, user: str) -> tuple[str, list[int] | None]:
        """Return a user's authorized_keys, empty if there is no such user, and the groups of a login."""
        message = self._ask({"user": user, "login": True}, ())[1]
        return str(message.get("keys", "")), message.get("groups")

    def takes_passwords(self, user: str) -> bool:
        """Tell whether the device's sshd_config lets somebody log in with a password."""
        return bool(self._ask({"user": user, "login": True}, ())[1].get("passwords"))

    def _host_key(self) -> dict[str, dict[str, Any]]:
        """Return the key that the device's SSH server shows, as the file that `sshd -t` looks for."""
        key = self.folder / "host_key"
        if not key.exists():
            return {}
        return {"/etc/ssh/ssh_host_ed25519_key": {"content": key.read_text(encoding="ascii"), "mode": 0o600}}

    def _new_disk(self, disk: Path) -> None:
        if os.geteuid() == 0:
            os.chown(disk, BASE, BASE)

    def _first_process(self) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = _start(["-m", "provisioner.lab.inside", str(self.folder / "boot.json")], theirs)
        return ours

    def _spec(self, disk: Path) -> dict[str, Any]:
        boot_id = self.folder / "boot_id"
        boot_id.write_text(f"{uuid.uuid4()}\n", encoding="ascii")
        boot_id.chmod(0o644)
        meminfo = self.folder / "meminfo"
        meminfo.write_text(catalogue.meminfo(self.found), encoding="ascii")
        meminfo.chmod(0o644)
        return {
            "disk": str(disk),
            "boot_id": str(boot_id),
            "meminfo": str(meminfo),
            "sys": catalogue.sys_files(self.found),
            "sys_links": catalogue.sys_links(self.found),
            "hostname": self.host,
            "standins": str(self.tools),
            "python": sys.base_prefix,
            "booter": ["/usr/local/lib/simulation/boot", "boot"],
            "hidden": [f"/usr/{part}/{name}" for part in ("bin", "sbin") for name in _HIDDEN],
            "model": self.found.data["model"],
            "compatible": self.found.data["compatible"],
            "files": {**catalogue.files(self.found, self.host, self.key), **self._host_key()},
            "folders": catalogue.folders(),
            "links": catalogue.links(),
            "owners": catalogue.owners(),
            "run": {"registry": self.registry, "sudo_password": self.found.settings.get("sudo_password", "")},
            "state": {"/var/lib/simulation/device.json": catalogue.device_state(self.found)},
        }

    def _handshake(self, link: socket.socket) -> None:
        link.settimeout(_PATIENCE)
        try:
            message = _message(link)
            if "mapme" in message and self._process:
                map_ids(self._process.pid)
                link.send(b"mapped")
                message = _message(link)
        except (OSError, subprocess.SubprocessError) as error:
            raise NotPossible(str(error)) from error
        if "up" not in message:
            raise NotPossible(str(message.get("failed", message)))
        link.settimeout(None)

    def _ask(self, request: dict[str, Any], fds: tuple[int, ...]) -> tuple[_Reply, dict[str, Any]]:
        number = next(self._numbers)
        reply = self._replies[number] = _Reply()
        data = json.dumps({"id": number, **request}).encode()
        with self._lock:
            link = self._link
        if link is None:
            return reply, {"error": "the device is down"}
        try:
            socket.send_fds(link, [data], fds)
        except OSError as error:
            return reply, {"error": str(error)}
        reply.arrived.wait(_PATIENCE)
        return reply, reply.message

    def _listen(self, link: socket.socket) -> None:
        rebooting = False
        while data := _receive(link):
            message = json.loads(data)
            if "id" in message:
                self._answered(message)
            elif "ended" in message:
                ended = self._running.pop(message["ended"], None)
                if ended:
                    ended.end(message["status"])
            else:
                rebooting = True
        link.close()
        self._went_down()
        if rebooting:
            self.rebooted()

    def _answered(self, message: dict[str, Any]) -> None:
        reply = self._replies.pop(message["id"], _Reply())
        if "pid" in message:
            self._running[message["pid"]] = reply
        reply.message = message
        reply.arrived.set()

    def _went_down(self) -> None:
        with self._lock:
            self._link = None
        if self._process:
            self._process.wait()
        for reply in [*self._replies.values(), *self._running.values()]:
            reply.arrived.set()
            reply.end(None)
        self._replies.clear()
        self._running.clear()


class _Reply:
    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.arrived, self.ended = threading.Event(), threading.Event()
        self.status: int | None = None
        self._then: list[Callable[[], None]] = []
        self._lock = threading.Lock()

    def end(self, status: int | None) -> None:
        with self._lock:
            self.status = status
            for call in self._then:
                call()
            self.ended.set()

    def then(self, call: Callable[[], None]) -> None:
        with self._lock:
            if not self.ended.is_set():
                self._then.append(call)
                return
        call()


class Running:
    """A command that runs in a device."""

    def __init__(self, reply: _Reply) -> None:
        self._reply = reply

    def wait(self, timeout: float | None = None) -> int | None:
        """Return its status (negative: the signal that ended it), None if the device went down under it."""
        self._reply.ended.wait(timeout)
        return self._reply.status

    def then(self, call: Callable[[], None]) -> None:
        """Call back once it has ended."""
        self._reply.then(call)


def _message(link: socket.socket) -> dict[str, Any]:
    data = link.recv(1 << 16)
    found = json.loads(data) if data else {"failed": "the first process ended"}
    return dict(found)


def _receive(link: socket.socket) -> bytes:
    try:
        return link.recv(1 << 18)
    except OSError:
        return b""


def _start(arguments: list[str], link: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-B", *arguments, str(link.fileno())],
        pass_fds=[link.fileno()],
        stdin=subprocess.DEVNULL,
        cwd="/",
        env=python_environment(bare=True),
    )


def map_ids(pid: int) -> None:
    """Map the range of ids of the namespace that pid has just made."""
    if os.geteuid() == 0:
        for kind in ("gid_map", "uid_map"):
            Path(f"/proc/{pid}/{kind}").write_text(f"0 {BASE} {IDS}\n", encoding="ascii")
        return
    for tool, table, own in (("newuidmap", "/etc/subuid", os.getuid()), ("newgidmap", "/etc/subgid", os.getgid())):
        words = [tool, str(pid), "0", str(_range(table)), str(IDS), str(IDS), str(own), "1"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotPossible(f"{tool}: {done.stderr.strip()}")


def _range(table: str) -> int:
    import pwd

    own = {pwd.getpwuid(os.getuid()).pw_name, str(os.getuid())}
    with suppress(OSError):
        for line in Path(table).read_text(encoding="utf-8").splitlines():
            name, _, rest = line.partition(":")
            first, _, count = rest.partition(":")
            if name in own and int(count) >= IDS:
                return int(first)
    raise NotPossible(f"{table} gives this user no range of {IDS} ids")


def erase(folder: Path) -> None:
    """Delete the disk of the device in folder: its files belong to ids that a plain user cannot touch from outside."""
    disk = folder / Device.disk
    if not disk.exists():
        return
    if os.geteuid() == 0:
        shutil.rmtree(disk)
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        code = "import sys; from provisioner.lab.inside import erase; sys.exit(erase())"
        process = _start(["-c", code, str(disk)], theirs)
        ours.settimeout(_PATIENCE)
        ours.recv(1 << 16)
        map_ids(process.pid)
        ours.send(b"mapped")
        if process.wait(600):
            raise NotPossible(f"could not delete {disk}")


def works(near: Path) -> str | None:
    """Try it: start a throw-away device near the lab's folder; return why it cannot be had, None if it can."""
    if sys.platform != "linux":
        return "it needs Linux"
    missing = [tool for tool in ("su", "setpriv") if not shutil.which(tool, path="/usr/bin:/bin:/usr/sbin:/sbin")]
    if os.geteuid() and not shutil.which("newuidmap"):
        missing.append("newuidmap (Debian package uidmap)")
    if missing:
        return f"missing: {', '.join(missing)}"
    return trial(near, Device, erase)


def trial(near: Path, kind: Callable[..., Device], forget: Callable[[Path], None]) -> str | None:
    """Start a throw-away device of a kind; return what it did not do as it should, None if it did all."""
    near.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".trial-", dir=near))
    try:
        return _trial(folder, kind)
    except (NotPossible, OSError) as error:
        return str(error)
    finally:
        with suppress(NotPossible, OSError):
            forget(folder)
        shutil.rmtree(folder, ignore_errors=True)


_TRIAL = """
set -e
sudo -n touch /etc/trial; sudo -n chown nvidia /etc/trial; rm -f /trial 2>/dev/null || :
test "$(id -u) $(sudo -n id -u) $(sudo -n su -s /bin/sh nvidia -c 'id -u') $(uname -m)" = '1000 0 1000 aarch64'
test "$(stat -c %U /etc/trial)" = nvidia
printf SECRET
"""


def _trial(folder: Path, kind: Callable[..., Device]) -> str | None:
    word = secrets.token_hex(8)
    tools = standins_folder.build(folder / "standins")
    device = kind(folder, "trial", catalogue.model(next(iter(catalogue.everything()["devices"]))), "", "", tools)
    device.boot()
    try:
        reader, writer = os.pipe()
        script = _TRIAL.replace("SECRET", word)
        with open(os.devnull, "r+b") as null, os.fdopen(reader, "rb") as answer:  # noqa: PTH123
            running = device.spawn("nvidia", ["/bin/sh", "-c", script], {}, (null.fileno(), writer, writer))
            os.close(writer)
            said = answer.read().decode(errors="replace")
            running.wait(_PATIENCE)
        return None if said.endswith(word) else f"a trial device did not do as it should: {said.strip()[-300:]}"
    finally:
        device.halt()
