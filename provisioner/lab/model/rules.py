"""What follows from a change on a device, besides what its effect says: the little that a model has to know."""

from __future__ import annotations

import shlex
import tempfile
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.lab.standins import dockerd
from provisioner.observables.boot import BootId
from provisioner.observables.docker import DockerDaemon
from provisioner.observables.file import File, FileState
from provisioner.observables.image import ContainerImage, ImageState
from provisioner.observables.package import Package, PackageState
from provisioner.observables.unit import UNIT_FOLDERS, Unit, UnitRun, UnitRunState, UnitState
from provisioner.observables.user import Group, GroupState, User, UserPassword, UserPasswordState, UserState
from provisioner.records import dataclass

from .apt import Market, NoWay
from .device import CannotBe, token
from .files import put, put_missing, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.model import Effect, Observable, State

    from .device import Device

DOCKER = "docker.service"
SKELETON = "/etc/skel"
GONE_AT_BOOT = ("/run", "/tmp")  # noqa: S108 - a device's


@dataclass(frozen=True)
class Change:
    """One state that an effect left, and what there was before."""

    device: Device
    effect: Effect
    thing: Observable[Any]
    before: State
    after: State


def follow_up(change: Change) -> None:
    """Do what a device does of itself when a thing changes."""
    rule = _RULES.get(type(change.thing))
    if rule is not None:
        rule(change)


# Packages.


def bring(device: Device, name: str) -> None:
    """Put what a package brings where it belongs; files that are there stay as they are."""
    entry = device.packages.get(name, {})
    for group, gid in entry.get("groups", {}).items():
        if device.held(Group(group)) is None:
            device.keep(Group(group), GroupState(present=True, gid=gid, members=()))
    for folder in entry.get("folders", ()):
        if not device.standing(folder).exists:
            put(device, folder, FileState(type="directory"))
    for path, text in entry.get("files", {}).items():
        put_missing(device, path, text)
    for unit, facts in entry.get("units", {}).items():
        add_unit(device, unit, facts)


def _packaged(change: Change) -> None:
    assert isinstance(change.thing, Package)
    assert isinstance(change.before, PackageState)
    assert isinstance(change.after, PackageState)
    device, name = change.device, change.thing.name.partition(":")[0]
    if change.after.installed and (not change.before.installed or change.before.version != change.after.version):
        _need(device, name)
        bring(device, name)
    elif change.before.installed and not change.after.installed:
        _take_away(change, name)
    daemon_reload(device)


def _need(device: Device, name: str) -> None:
    """Install what a package needs and nobody named."""
    market = Market(device)
    for other in device.packages.get(name, {}).get("depends", ()):
        if market.version(other) is None:
            try:
                version = market.candidate(other)
            except NoWay as no:
                raise CannotBe(str(no), 100) from None
            device.keep(Package(other), PackageState(status="installed", version=version, selection="install"))
            _need(device, other)
            bring(device, other)


def _take_away(change: Change, name: str) -> None:
    entry = change.device.packages.get(name, {})
    for unit in entry.get("units", {}):
        stop_unit(change.device, unit)
        change.device.drop(Unit(unit))
    if change.after == PackageState():
        for path in entry.get("files", {}):
            remove(change.device, change.device.real(path))


# Units.


def add_unit(device: Device, name: str, entry: Mapping[str, Any]) -> None:
    """Give a device a unit, and start it where it starts by itself and nobody has disabled or masked it."""
    word = "static" if entry.get("static") else "enabled" if entry.get("active") else "disabled"
    state = device.held(Unit(name)) or UnitState(load_state="loaded", unit_file_state=word)
    device.keep(Unit(name), state)
    if entry.get("active") and state.unit_file_state in ("enabled", "static"):
        start_unit(device, name)


def start_unit(device: Device, name: str) -> None:
    """Let a unit run anew; Docker's daemon reads its file when it starts, and only then."""
    state = device.held(Unit(name)) or UnitState(load_state="loaded")
    if state.load_state == "masked":
        raise CannotBe(f"Failed to start {name}: Unit {name} is masked.")
    if name == DOCKER:
        start_docker(device)
    device.keep(Unit(name), replace(state, active_state="active"))
    device.keep(UnitRun(name), UnitRunState(invocation=token()))


def stop_unit(device: Device, name: str) -> None:
    """Let a unit end."""
    state = device.held(Unit(name))
    if state is not None:
        device.keep(Unit(name), replace(state, active_state="inactive"))
    device.drop(UnitRun(name))
    if name == DOCKER:
        device.disk.docker = None


def daemon_reload(device: Device) -> None:
    """Let systemd read all unit files."""
    for name in device.names(Unit.kind):
        state = device.held(Unit(name))
        if state is not None and state.need_daemon_reload:
            device.keep(Unit(name), replace(state, need_daemon_reload=False))


def _united(change: Change) -> None:
    assert isinstance(change.thing, Unit)
    assert isinstance(change.before, UnitState)
    assert isinstance(change.after, UnitState)
    name, verb = change.thing.name, str(change.effect.values[0]) if change.effect.values else ""
    was, now = change.before.active_state == "active", change.after.active_state == "active"
    if now and not was:
        start_unit(change.device, name)
    elif was and not now:
        stop_unit(change.device, name)
    elif now and verb == "reload" and name == DOCKER:
        start_docker(change.device)
    if change.after.load_state == "masked" and change.before.load_state != "masked":
        change.device.disk.masked[name] = str(change.before.unit_file_state or "disabled")
    if change.effect.script.name in ("daemon_reload", "unit_file"):
        daemon_reload(change.device)
    state = change.device.held(change.thing)
    if state is not None and state.need_daemon_reload and not change.after.need_daemon_reload:
        # The effect itself let systemd read the files that it wrote.
        change.device.keep(change.thing, replace(state, need_daemon_reload=False))


def _unit_file(change: Change) -> None:
    """A file where systemd looks makes a unit, or has to be read anew."""
    assert isinstance(change.thing, File)
    assert isinstance(change.after, FileState)
    name = unit_of(change.thing.path)
    if name is None or change.after.type == "directory":
        return
    device, state = change.device, change.device.held(Unit(name))
    if change.thing.path.endswith(".conf"):
        if state is not None:
            device.keep(Unit(name), replace(state, need_daemon_reload=True))
    elif change.after.exists:
        word = "disabled" if b"[Install]" in (change.after.content or b"") else "static"
        known = state or UnitState(unit_file_state=word)
        device.keep(Unit(name), replace(known, load_state="loaded", need_daemon_reload=True))
    elif state is not None and state.active_state != "active":
        device.drop(Unit(name))


def unit_of(path: str) -> str | None:
    """Return the unit that a path is a file or drop-in of."""
    folder = next((one for one in UNIT_FOLDERS if path.startswith(f"{one}/")), None)
    name = path[len(folder) + 1 :].partition("/")[0].removesuffix(".d") if folder else ""
    return None if name.endswith((".wants", ".requires")) or "." not in name else name


# Docker.


def start_docker(device: Device) -> None:
    """Let the daemon read its configuration; it does not start with one that it cannot read."""
    content = device.content(dockerd.CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "daemon.json")
        if content is not None:
            copy.write_bytes(content)
        config, why = dockerd.check(str(copy))
    if why:
        raise CannotBe(f"failed to start daemon: {why.replace(str(copy), dockerd.CONFIG)}")
    device.disk.docker = {"config": config, "environment": _environment(device)}


def _environment(device: Device) -> list[str]:
    files = sorted(file.path for file in device.below(f"{UNIT_FOLDERS[0]}/{DOCKER}.d"))
    lines = (line for path in files for line in device.text(path).splitlines())
    return [word for line in lines if line.startswith("Environment=") for word in shlex.split(line.partition("=")[2])]


def _dockered(change: Change) -> None:
    """Who says what the daemon runs with has restarted it, or let it read its file."""
    if change.device.disk.docker is not None:
        start_docker(change.device)


def _imaged(change: Change) -> None:
    """A digest that goes takes the names of its image with it."""
    assert isinstance(change.thing, ContainerImage)
    assert isinstance(change.before, ImageState)
    assert isinstance(change.after, ImageState)
    device = change.device
    if change.after.present:
        return
    device.drop(change.thing)
    if "@" in change.thing.reference:
        for name in device.names(ContainerImage.kind):
            other = device.held(ContainerImage(name))
            if other is not None and other.id == change.before.id:
                device.drop(ContainerImage(name))


# Files and accounts.


def _filed(change: Change) -> None:
    assert isinstance(change.thing, File)
    assert isinstance(change.before, FileState)
    assert isinstance(change.after, FileState)
    if change.after.type != "directory":
        for file in tuple(change.device.below(change.thing.path)):
            change.device.drop(file)
    if not change.after.exists:
        change.device.drop(change.thing)
    elif change.after.type == "directory" and not change.before.exists and _is_home(change):
        _fill_home(change.device, change.after)
    _unit_file(change)


def _is_home(change: Change) -> bool:
    return any(isinstance(one, User) for one in change.effect.leaves) or change.effect.script.name == "make_home"


def _fill_home(device: Device, home: FileState) -> None:
    for file in tuple(device.below(SKELETON)):
        state = device.standing(file.path)
        path = home.real + file.path.removeprefix(SKELETON)
        put(device, path, state, owner=str(home.owner), group=str(home.group), mode=str(state.mode))


def _accounted(change: Change) -> None:
    """A user who goes leaves the groups, and takes the own one along."""
    assert isinstance(change.thing, User)
    assert isinstance(change.before, UserState)
    assert isinstance(change.after, UserState)
    device, name = change.device, change.thing.name
    if change.after.present:
        return
    device.drop(change.thing)
    for group in device.names(Group.kind):
        state = device.held(Group(group))
        members = state.members if state is not None and isinstance(state.members, tuple) else ()
        if state is not None and name in members:
            device.keep(Group(group), replace(state, members=tuple(one for one in members if one != name)))
        elif group == name and not members:
            device.drop(Group(group))
    if "-r" in change.effect.values and change.before.home:
        remove(device, device.real(str(change.before.home)))


def _grouped(change: Change) -> None:
    assert isinstance(change.thing, Group)
    if change.after == GroupState(present=False):
        change.device.drop(change.thing)


def _passworded(change: Change) -> None:
    """A user has one password: what was known of others is over."""
    assert isinstance(change.thing, UserPassword)
    for name in change.device.names(UserPassword.kind):
        user, digest = name.rsplit(" ", 1)
        if user == change.thing.name and digest != change.thing.digest:
            change.device.keep(UserPassword(user, digest), UserPasswordState(matches=False))


_RULES: Mapping[type[Observable[Any]], Callable[[Change], None]] = {
    ContainerImage: _imaged,
    DockerDaemon: _dockered,
    File: _filed,
    Group: _grouped,
    Package: _packaged,
    Unit: _united,
    User: _accounted,
    UserPassword: _passworded,
}


# Witnesses.


def happen(device: Device, witness: Observable[Any]) -> None:
    """Let that happen which a witness is the trace of."""
    if isinstance(witness, BootId):
        reboot(device)
    elif isinstance(witness, UnitRun):
        start_unit(device, witness.name)
    else:
        raise CannotBe(f"{witness}: not simulated: the model knows no such event", 96)


def reboot(device: Device) -> None:
    """Boot anew: what is enabled runs, and nothing else; what lay in memory is gone."""
    device.disk.boot = str(uuid.uuid4())
    for folder in GONE_AT_BOOT:
        for file in tuple(device.below(folder)):
            device.drop(file)
    for path in ("/run/lock", "/run/systemd/system"):
        put(device, path, FileState(type="directory"))
    daemon_reload(device)
    units = [(name, device.held(Unit(name))) for name in device.names(Unit.kind)]
    for name, _ in units:
        stop_unit(device, name)
    for name, state in units:
        if state is not None and _comes_up(state):
            start_unit(device, name)


def _comes_up(state: UnitState) -> bool:
    """Tell whether a unit is started at boot; a static one that ran comes up with what wants it."""
    return state.unit_file_state == "enabled" or (state.unit_file_state == "static" and state.active_state == "active")
