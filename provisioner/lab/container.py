"""Backend *container*: a device is a container of the local engine, made from an image that is there already.

All but the making of a device's root is the namespace backend's: server, agent, stand-ins, disk. Nothing is pulled; an
image suits if a trial device made from it does as it should. The ids of a container are a range that owns nothing on
the machine: an engine that would give a container the machine's root is not taken.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.lab import contained, inside, namespace, places
from provisioner.lab.namespace import BASE, IDS, NotPossible
from provisioner.lab.standins_folder import open_up
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_ENGINES = ("podman", "docker")
_GUEST = "/usr/local/lib/simulation/guest"  # our own modules, where a container sees them
_MODULES = ("agent", "contained", "inside", "syscalls")
_PODMAN = ["--systemd=false", "--no-hosts", "--dns=none", "--http-proxy=false", "--image-volume=ignore"]
_PODMAN += ["--read-only-tmpfs=false"]  # it would hide /var/tmp
_TMPFS = {"run": "suid,mode=0755", "tmp": "suid,mode=1777"}
_IMAGES = 5  # so many are tried
_ASK, _BOOT = 30.0, 45.0
_EQUIPPING = threading.Lock()  # devices start side by side, and share the folder
_RIGHTS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "SETFCAP", "SETGID", "SETUID", "SYS_CHROOT")
_AT_BOOT = ("SETPCAP", "SYS_ADMIN")  # inside the container's own namespace of users; given up before the device lives
_PROBE = """
import ctypes, json, os, selectors, shutil, socket, sys
assert sys.version_info >= (3, 9), "its Python is older than 3.9"
missing = [name for name in ("bash", "su", "setpriv", "stat", "find") if not shutil.which(name, path="/usr/bin:/bin")]
assert not missing, "it has no " + ", ".join(missing)
assert os.path.exists("/usr/bin/python3"), "its Python is not /usr/bin/python3"
at = "/etc/alternatives"
names = [at + "/" + name for name in (os.listdir(at) if os.path.isdir(at) else []) if name[-3:] != ".gz"]
first = [line.split()[1] for line in open("/proc/self/uid_map") if line.split()[0] == "0"]
print(json.dumps({"base": int(first[0]), "links": {n: os.readlink(n) for n in names if os.path.islink(n)}}))
"""


@dataclass(frozen=True)
class Engine:
    """A local engine, and the image whose containers are devices."""

    program: str
    image: str
    base: int = BASE
    links: Mapping[str, str] = field(default_factory=dict)

    @property
    def tmpfs(self) -> str:
        """Return the options of a tmpfs that is empty, whatever the image has in its place."""
        return "rw,exec,nodev,size=1g" + (",notmpcopyup" if self.program == "podman" else "")

    def run(self, *options: str) -> list[str]:
        """Return the command that runs a container of the image: no privileges, no network of its own."""
        own = ["--network=host", "--read-only", "--workdir=/", "--user=0:0", "--entrypoint=", "--pull=never"]
        unconfined = ["--security-opt=label=disable", "--security-opt=apparmor=unconfined"]
        words = [self.program, "run", "--rm", "--log-driver=none", *own, *unconfined, "--cap-drop=ALL"]
        if self.program == "podman":
            first = BASE if os.geteuid() == 0 else 1  # a plain user's 1 is the first id that /etc/subuid gives them
            words += [f"--{kind}map=0:{first}:{IDS}" for kind in ("uid", "gid")]
            words += _PODMAN
        return [*words, *options, self.image]


class Device(namespace.Device):
    """A simulated device that is a container."""

    disk = "volumes"

    def __init__(self, engine: Engine, folder: Path, *rest: Any) -> None:
        super().__init__(folder, *rest)
        self._engine = engine
        self._shown = folder / "shown"
        _equip(self.tools)

    def _new_disk(self, disk: Path) -> None:
        for name in inside.OWN:
            (disk / name).mkdir(mode=0o700 if name == "root" else 0o755)
            if os.geteuid() == 0:
                os.chown(disk / name, self._engine.base, self._engine.base)
        if self._engine.program == "podman" and os.geteuid():
            _checked(["podman", "unshare", "chown", "1:1", *(str(disk / name) for name in inside.OWN)])

    def _spec(self, disk: Path) -> dict[str, Any]:
        spec = super()._spec(disk)
        shutil.rmtree(self._shown, ignore_errors=True)
        self._shown.mkdir(mode=0o755)
        for shown in ("boot_id", "meminfo"):
            shutil.copy(spec[shown], self._shown)
        kept = {path: target for path, target in spec["links"].items() if not path.startswith("/etc/alternatives/")}
        shown_at = {name: f"{contained.SHOWN}/{name}" for name in ("boot_id", "meminfo")}
        return {**spec, **shown_at, "links": {**kept, **self._engine.links}}

    def _first_process(self) -> socket.socket:
        shutil.copy(self.folder / "boot.json", self._shown)
        (self._shown / "boot.json").chmod(0o644)
        with _listener(self._shown / "link") as listener, (self.folder / "engine.log").open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/")
            return self._connected(listener, self._process)

    def _command(self) -> list[str]:
        shown = [(self.folder / self.disk / name, f"/{name}", "rw") for name in inside.OWN]
        shown += [(self.tools, "/usr/local", "ro"), (self._shown, contained.SHOWN, "ro")]
        options = [f"--volume={here}:{there}:{mode}" for here, there, mode in shown]
        options += [f"--tmpfs=/{name}:{self._engine.tmpfs},{mode}" for name, mode in _TMPFS.items()]
        options += [f"--cap-add={right}" for right in (*_RIGHTS, *_AT_BOOT)]
        options += [f"--hostname={self.host}", f"--env=PYTHONPATH={_GUEST}", "--env=LC_ALL=C.UTF-8"]
        return [*self._engine.run(*options), "/usr/bin/python3", "-B", "-m", "provisioner.lab.contained"]

    def _connected(self, listener: socket.socket, process: subprocess.Popen[bytes]) -> socket.socket:
        deadline = time.monotonic() + _BOOT
        while process.poll() is None and time.monotonic() < deadline:
            try:
                return listener.accept()[0]
            except TimeoutError:
                continue
        process.kill()  # the container ends by itself: nobody listens any more
        process.wait()
        raise NotPossible(_last((self.folder / "engine.log").read_text(errors="replace")) or "the container is silent")


def works(near: Path) -> str | None:
    """Try it: start a throw-away device near the lab's folder; return why it cannot be had, None if it can."""
    return _search(near)[1]


def chosen() -> dict[str, Any]:
    """Return, as data, the engine and the image that `works` found."""
    engine, why = _search(places.home(".trial"))
    if engine is None:
        raise NotPossible(why)
    return asdict(engine)


def kind(engine: Mapping[str, Any]) -> Callable[..., Device]:
    """Return what makes devices with an engine that was chosen."""
    return partial(Device, Engine(**engine))


def erase(engine: Mapping[str, Any], folder: Path) -> None:
    """Delete the disk of the device in folder, whose files belong to ids of the container."""
    _erase(Engine(**engine), folder)


@cache
def _search(near: Path) -> tuple[Engine | None, str | None]:
    engines = [engine for engine in _ENGINES if shutil.which(engine)]
    if not engines:
        return None, "no podman or docker on this machine"
    reasons = []
    for program in engines:
        listed = _asked([program, "images", "--quiet", "--no-trunc"])
        if listed.returncode:
            reasons.append(f"{program} does not answer: {_last(listed.stderr)}")
            continue
        engine, why = _suitable(program, list(dict.fromkeys(listed.stdout.split())), near)
        if engine:
            return engine, None
        reasons.append(f"{program}: {why}")
    return None, "; ".join(reasons)


def _suitable(program: str, images: list[str], near: Path) -> tuple[Engine | None, str]:
    reasons = [] if images else ["it has no image (nothing is pulled)"]
    for image in images[:_IMAGES]:
        try:
            engine = _probed(Engine(program, image))
            failed = namespace.trial(near, partial(Device, engine), partial(_erase, engine))
        except NotPossible as error:
            failed = str(error)
        if failed is None:
            return engine, ""
        reasons.append(f"image {image.removeprefix('sha256:')[:12]}: {failed}")
    return None, ", ".join(reasons)


def _probed(engine: Engine) -> Engine:
    """Ask an image whether it has what a device needs, and which id of the machine its root would be."""
    said = json.loads(_checked([*engine.run(), "python3", "-c", _PROBE]))
    if not said["base"]:
        raise NotPossible("its root would be the machine's root (no userns-remap, not rootless)")
    return Engine(engine.program, engine.image, **said)


def _erase(engine: Engine, folder: Path) -> None:
    disk = folder / Device.disk
    if not disk.exists():
        return
    volumes = list(disk.iterdir())
    if os.geteuid() and volumes:
        options = [f"--volume={disk}:/mnt", "--cap-add=DAC_OVERRIDE", "--cap-add=FOWNER"]
        names = [f"/mnt/{volume.name}" for volume in volumes]
        _checked([*engine.run(*options), "find", *names, "-mindepth", "1", "-delete"])
        for volume in volumes:
            volume.rmdir()
    shutil.rmtree(disk)


def _equip(tools: Path) -> None:
    """Put what a container's first process runs among the stand-ins, and let them run with the image's Python."""
    package, python = tools / "lib/simulation/guest/provisioner/lab", tools / "python/bin"
    with _EQUIPPING:
        if package.exists():
            return
        package.mkdir(parents=True)
        for path in (package.parent / "__init__.py", package / "__init__.py"):
            path.touch()
        for name in _MODULES:
            shutil.copy(Path(__file__).with_name(f"{name}.py"), package)
        python.mkdir(mode=0o755)
        (python / f"python{sys.version_info.major}.{sys.version_info.minor}").symlink_to("/usr/bin/python3")
        open_up(tools)


def _asked(words: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=_ASK, check=False, cwd="/")
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))


def _checked(words: list[str]) -> str:
    done = _asked(words)
    if done.returncode:
        raise NotPossible(_last(done.stderr))
    return done.stdout


def _last(said: str) -> str:
    return (said.strip().splitlines() or [""])[-1]


def _listener(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    folder = os.open(path.parent, os.O_PATH | os.O_CLOEXEC)
    try:
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")  # the path itself may be longer than a socket's may be
    finally:
        os.close(folder)
    path.chmod(0o666)
    listener.listen(1)
    listener.settimeout(0.2)
    return listener
