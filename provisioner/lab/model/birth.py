"""What a freshly flashed device has: the catalogue's files, accounts, packages and units, as states."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from provisioner.lab import catalogue
from provisioner.observables.file import File, FileState
from provisioner.observables.package import Package, PackageState
from provisioner.observables.unit import Unit, UnitRun, UnitRunState, UnitState
from provisioner.observables.user import Group, GroupState, User, UserState

from .device import token
from .rules import bring, start_unit, written

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .device import Device

_FOLDERS = (
    "/ /boot /dev /etc /etc/default /home /media /mnt /opt /proc /root /run /run/lock /run/systemd/system /srv /sys "
    "/tmp /usr /usr/bin /usr/lib /usr/lib/systemd/system /usr/local /usr/local/bin /usr/local/etc /usr/local/lib "
    "/usr/local/sbin /usr/local/share /usr/sbin /usr/share /usr/share/keyrings /var /var/cache /var/lib /var/log /var/tmp"
).split()
_MODES = {"/root": 0o700, "/tmp": 0o1777, "/var/tmp": 0o1777, "/proc": 0o555, "/sys": 0o555}  # noqa: S108 - a device's
_MERGED = ("bin", "sbin", "lib")
_LINKS = {"/var/run": "/run", "/var/lock": "/run/lock", "/etc/mtab": "/proc/self/mounts"}
_OLD = "18.04"
"""The last Ubuntu whose /bin was not /usr/bin."""


def be_born(device: Device) -> None:
    """Fill a device with what its kind has when it is new."""
    _accounts(device)
    _folders(device)
    _files(device)
    _packages(device)
    for name, entry in catalogue.everything()["units"].items():
        add_unit(device, name, entry)


def add_unit(device: Device, name: str, entry: Mapping[str, Any]) -> None:
    """Give a device a unit; what is enabled runs."""
    state = "static" if entry.get("static") else "enabled" if entry.get("active") else "disabled"
    device.keep(Unit(name), UnitState(load_state="loaded", unit_file_state=state))
    if entry.get("active"):
        start_unit(device, name)
        device.keep(UnitRun(name), UnitRunState(invocation=token()))


def _accounts(device: Device) -> None:
    files = catalogue.files(device.found, device.host, "")
    groups = [line.split(":") for line in files["/etc/group"]["content"].splitlines()]
    for name, _, gid, members in groups:
        there = tuple(sorted(filter(None, members.split(","))))
        device.keep(Group(name), GroupState(present=True, gid=int(gid), members=there))
    names = {int(gid): name for name, _, gid, _ in groups}
    for line in files["/etc/passwd"]["content"].splitlines():
        name, _, uid, gid, comment, home, shell = line.split(":")
        others = tuple(sorted(group for group, _, _, members in groups if name in members.split(",")))
        state = UserState(
            present=True,
            uid=int(uid),
            group=names.get(int(gid), gid),
            groups=others,
            comment=comment,
            home=home,
            shell=shell,
            password="locked",  # noqa: S106 - no password
        )
        device.keep(User(name), state)


def _folders(device: Device) -> None:
    merged = str(device.found.data["ubuntu"]) != _OLD
    for name in _MERGED:
        if merged:
            _put(device, f"/{name}", FileState(type="link", target=f"usr/{name}"))
        else:
            _folder(device, f"/{name}", 0o755)
    for path in _FOLDERS:
        _folder(device, path, _MODES.get(path, 0o755))
    for path, entry in catalogue.folders().items():
        _folder(device, path, entry["mode"])
    for path, target in _LINKS.items():
        _put(device, path, FileState(type="link", target=target))


def _files(device: Device) -> None:
    for path, entry in catalogue.files(device.found, device.host, "").items():
        _folder(device, posixpath.dirname(path), 0o755, again=False)
        state = FileState(type="file", mode=f"{entry.get('mode', 0o644):04o}")
        _put(device, path, state.with_content(entry["content"].encode()))
    names = {int(device.held(User(name)).uid): name for name in device.names(User.kind)}  # type: ignore[union-attr, arg-type]
    groups = {int(device.held(Group(name)).gid): name for name in device.names(Group.kind)}  # type: ignore[union-attr, arg-type]
    for path, (uid, gid) in catalogue.owners().items():
        state = device.standing(path)
        if state.exists:
            _put(device, path, state, owner=names[uid], group=groups[gid])


def _folder(device: Device, path: str, mode: int, *, again: bool = True) -> None:
    """Put a folder at a path, and those above it that are missing."""
    if not again and device.standing(path).exists:
        return
    if path != "/":
        _folder(device, posixpath.dirname(path), 0o755, again=False)
    _put(device, path, FileState(type="directory", mode=f"{mode:04o}"))


def _put(device: Device, path: str, state: FileState, owner: str = "root", group: str = "root") -> None:
    file = File(device.real(path) if path != "/" else "/")
    device.keep(file, written(device, file, state, owner=owner, group=group, when=device.disk.born))


def _packages(device: Device) -> None:
    for name, version in _installed(device):
        device.keep(Package(name), PackageState(status="installed", version=version, selection="install"))
    for name, _ in _installed(device):
        bring(device, name)


def _installed(device: Device) -> Iterator[tuple[str, str]]:
    for name, entry in device.packages.items():
        if entry.get("installed"):
            yield name, str(entry["installed"])
