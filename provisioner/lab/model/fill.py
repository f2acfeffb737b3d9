"""What a plan leaves open and only a device can tell: filled in as this one would."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from provisioner.model import Unknown
from provisioner.observables.file import File, FileState
from provisioner.observables.image import ContainerImage, ImageState
from provisioner.observables.package import Package, PackageState
from provisioner.observables.unit import Unit
from provisioner.observables.user import Group, GroupState, User, UserState

from .apt import Market, NoWay, base
from .pulls import image_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.model import Effect, Observable, State

    from .device import Device

Known = dict[str, Any]
PEOPLE, SYSTEM = range(1000, 60000), range(999, 100, -1)


def filled(device: Device, effect: Effect, thing: Observable[Any], before: State, state: State) -> State:
    """Return a state without Unknown fields: what the model knows, else what there was."""
    names = [name for name in vars(state) if isinstance(getattr(state, name), Unknown)]
    if not names:
        return state
    teller = _TELLERS.get(type(thing))
    known = teller(device, effect, thing, state) if teller else {}
    return replace(state, **{name: known.get(name, getattr(before, name)) for name in names})


def _of_user(device: Device, effect: Effect, user: User, state: UserState) -> Known:
    accounts = (device.held(User(name)) for name in device.names(User.kind))
    taken = {one.uid for one in accounts if one}
    groups = {name: device.held(Group(name)) for name in device.names(Group.kind)}
    listed = (name for name, group in groups.items() if group and user.name in cast("tuple[str, ...]", group.members))
    return {
        "uid": _free(taken, system="-r" in effect.values),
        "group": "users",
        "groups": tuple(sorted(name for name in listed if name != state.group)),
        "shell": "/bin/sh",
    }


def _of_group(device: Device, effect: Effect, group: Group, _state: GroupState) -> Known:
    """A user's own group takes the user's number, where that is free."""
    groups = (device.held(Group(name)) for name in device.names(Group.kind))
    taken = {one.gid for one in groups if one}
    user = device.held(User(group.name))
    same = user is not None and user.uid not in taken
    return {"gid": user.uid if user and same else _free(taken, system="-r" in effect.values)}


def _free(taken: Iterable[object], *, system: bool) -> int:
    used = set(taken)
    return next(number for number in (SYSTEM if system else PEOPLE) if number not in used)


def _of_package(device: Device, effect: Effect, package: Package, state: PackageState) -> Known:
    """A version is what apt offers; where the status is open too, the package is gone, or as it was, perhaps held."""
    now = device.held(package) or PackageState()
    if isinstance(state.status, Unknown) and isinstance(state.version, Unknown):
        held = now.installed and effect.script.name == "hold_packages"
        return {"status": now.status, "version": now.version, "selection": "hold" if held else now.selection}
    if isinstance(state.status, Unknown):
        return {"status": "config-files", "selection": "deinstall"}
    try:
        version = Market(device).candidate(base(package.name))
    except NoWay:
        version = None
    return {"version": version, "selection": now.selection or "install"}


def _of_file(device: Device, effect: Effect, _file: File, state: FileState) -> Known:
    """An owner by number stands in the effect's values; who makes a file gives it the own primary group."""
    owner, group = ([str(value) for value in effect.values[1:3]] + ["", ""])[:2]
    known: Known = {"mode": "0755" if state.type == "directory" else "0644"}
    if owner.isdigit():
        known["owner"] = _user_of(device, owner)
    account = device.held(User(str(state.owner)))
    known["group"] = _group_of(device, group) if group.isdigit() else account.group if account else "root"
    return known


def _user_of(device: Device, uid: str) -> str:
    """Return the name of a uid, or the number where it has none."""
    held = ((name, device.held(User(name))) for name in device.names(User.kind))
    return next((name for name, state in held if state and str(state.uid) == uid), uid)


def _group_of(device: Device, gid: str) -> str:
    """Return the name of a gid, or the number where it has none."""
    held = ((name, device.held(Group(name))) for name in device.names(Group.kind))
    return next((name for name, state in held if state and str(state.gid) == gid), gid)


def _of_unit(device: Device, _effect: Effect, unit: Unit, _state: State) -> Known:
    """A unit that is unmasked is enabled or not as it was before."""
    word = device.disk.masked.get(unit.name, "enabled")
    return {"load_state": "loaded", "unit_file_state": word, "active_state": "active", "need_daemon_reload": False}


def _of_image(device: Device, effect: Effect, image: ContainerImage, _state: ImageState) -> Known:
    """An image is one whatever it is called: its id follows from the digest that the effect names it by."""
    named = (one.reference for one in effect.leaves if isinstance(one, ContainerImage))
    name = next((one for one in (image.reference, *named) if "@sha256:" in one), image.reference)
    digest = name.partition("@")[2] or name
    for there in device.names(ContainerImage.kind):
        other = device.held(ContainerImage(there))
        if other is not None and other.present and there.endswith(f"@{digest}"):
            return {"id": other.id, "architecture": other.architecture}
    architecture = str(device.found.data["architecture"])
    return {"id": image_id(device.registry, name, architecture), "architecture": architecture}


_TELLERS: Mapping[type[Observable[Any]], Callable[[Device, Effect, Any, Any], Known]] = {
    ContainerImage: _of_image,
    File: _of_file,
    Group: _of_group,
    Package: _of_package,
    Unit: _of_unit,
    User: _of_user,
}
