"""What a freshly flashed device has: the catalogue's files, accounts, packages and units, as states."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.lab import catalogue
from provisioner.observables.file import FileState
from provisioner.observables.package import Package, PackageState
from provisioner.observables.user import Group, GroupState, User, UserState

from .files import put
from .rules import add_unit, bring

if TYPE_CHECKING:
    from .device import Device

_FOLDERS = (
    *("/", "/boot", "/dev", "/etc/default", "/home", "/media", "/mnt", "/opt", "/proc", "/root", "/run/lock", "/srv"),
    *("/run/systemd/system", "/sys", "/tmp", "/usr/bin", "/usr/lib/systemd/system", "/usr/local/bin"),  # noqa: S108
    *("/usr/local/etc", "/usr/local/lib", "/usr/local/sbin", "/usr/local/share", "/usr/sbin", "/usr/share/keyrings"),
    *("/var/cache", "/var/lib", "/var/log", "/var/tmp"),  # noqa: S108
)
_MODES = {"/root": "0700", "/tmp": "1777", "/var/tmp": "1777", "/proc": "0555", "/sys": "0555"}  # noqa: S108
_MERGED = ("bin", "sbin", "lib")
_LINKS = {"/var/run": "/run", "/var/lock": "/run/lock", "/etc/mtab": "/proc/self/mounts"}
_OLD = "18.04"
"""The last Ubuntu whose /bin was not /usr/bin."""


def be_born(device: Device) -> None:
    """Fill a device with what its kind has when it is new."""
    files = {path: str(one["content"]) for path, one in catalogue.files(device.found, device.host, "").items()}
    _groups(device, files["/etc/group"])
    _users(device, files["/etc/passwd"])
    _folders(device)
    _files(device)
    for name, entry in catalogue.everything()["units"].items():
        add_unit(device, name, entry)
    _packages(device)


def _groups(device: Device, table: str) -> None:
    for line in table.splitlines():
        name, _, gid, members = line.split(":")
        there = tuple(sorted(filter(None, members.split(","))))
        device.keep(Group(name), GroupState(present=True, gid=int(gid), members=there))


def _users(device: Device, table: str) -> None:
    groups = {name: device.held(Group(name)) for name in device.names(Group.kind)}
    names = {str(state.gid): name for name, state in groups.items() if state}
    for line in table.splitlines():
        name, _, uid, gid, comment, home, shell = line.split(":")
        others = (group for group, state in groups.items() if state and name in (state.members or ()))  # type: ignore[operator]
        state = UserState(
            present=True,
            uid=int(uid),
            group=names.get(gid, gid),
            groups=tuple(sorted(others)),
            comment=comment,
            home=home,
            shell=shell,
            password="locked",  # noqa: S106 - it tells that there is none
        )
        device.keep(User(name), state)


def _folders(device: Device) -> None:
    merged = str(device.found.data.get("ubuntu")) != _OLD
    for path in _FOLDERS:
        _folder(device, path, _MODES.get(path, "0755"))
    for name in _MERGED:
        _link(device, f"/{name}", f"usr/{name}") if merged else _folder(device, f"/{name}", "0755")
    for path, target in _LINKS.items():
        _link(device, path, target)
    for path, entry in catalogue.folders().items():
        _folder(device, path, f"{entry['mode']:04o}")


def _folder(device: Device, path: str, mode: str) -> None:
    put(device, path, FileState(type="directory"), mode=mode, when=device.disk.born)


def _link(device: Device, path: str, target: str) -> None:
    put(device, path, FileState(type="link", target=target), when=device.disk.born)


def _files(device: Device) -> None:
    born = device.disk.born
    for path, entry in catalogue.files(device.found, device.host, "").items():
        state = FileState().with_content(str(entry["content"]).encode())
        put(device, path, state, mode=f"{entry.get('mode', 0o644):04o}", when=born)
    users, groups = _numbers(device)
    for path, (uid, gid) in catalogue.owners().items():
        state = device.standing(path)
        mode = str(state.mode)
        put(device, path, state, owner=users[uid], group=groups[gid], mode=mode, when=born)


def _numbers(device: Device) -> tuple[dict[int, str], dict[int, str]]:
    """Return the names of uids and gids."""
    users = {name: device.held(User(name)) for name in device.names(User.kind)}
    groups = {name: device.held(Group(name)) for name in device.names(Group.kind)}
    return (
        {state.uid: name for name, state in users.items() if state and isinstance(state.uid, int)},
        {state.gid: name for name, state in groups.items() if state and isinstance(state.gid, int)},
    )


def _packages(device: Device) -> None:
    versions = {name: entry.get("installed") for name, entry in device.packages.items()}
    there = {name: str(version) for name, version in versions.items() if version}
    for name, version in there.items():
        device.keep(Package(name), PackageState(status="installed", version=version, selection="install"))
    for name in there:
        bring(device, name)
