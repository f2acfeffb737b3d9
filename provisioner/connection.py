"""From a host of the inventory to where and how to connect."""

from __future__ import annotations

import os
import shlex
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.records import dataclass

from .document import decode, near, raise_all
from .errors import InputError
from .transport import Secret, Target, default_key_files, default_known_hosts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .inventory import Host, Inventory
    from .lab import Lab


LAB_WORDS = ("simulate", "virtual")
"""Words of an inventory that make a host a device of the lab."""

_OPTIONS = ("ansible_ssh_common_args", "ansible_ssh_extra_args")
_PORTS = ("ansible_port", "ansible_ssh_port")
_CONNECTIONS = ("ssh", "smart", "paramiko", "paramiko_ssh")
_LAST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """What the command line says of logging in."""

    user: str | None = None
    key_file: Path | None = None
    password: Secret | None = None
    become_password: Secret | None = None
    timeout: float = 10

    @cached_property
    def key_files(self) -> tuple[Path, ...]:
        """Return the keys to log in with where the inventory names none."""
        return (self.key_file.expanduser(),) if self.key_file else default_key_files()


def target_of(host: Host, inventory: Inventory, given: Credentials, lab: Lab | None, *, become: bool) -> Target:
    """Return where a host is and how to get in; a simulated one is found in its lab."""
    check(host, inventory)
    if lab is not None and host.name in lab.devices:
        return _simulated(host, lab, given, become=become)
    user, address = _split(str(_first(host, "ansible_host", "ansible_ssh_host") or host.name))
    return Target(
        name=host.name,
        address=address,
        port=_port(host),
        user=_text(_first(host, "ansible_user", "ansible_ssh_user")) or user or given.user,
        key_files=_key_files(host, given),
        password=_secret(_first(host, "ansible_password", "ansible_ssh_pass")) or given.password,
        become=become,
        become_password=_become_password(host, given),
        connect_timeout=given.timeout,
        known_hosts=_known_hosts(inventory.state_dir, os.environ.get("HOME")),
        proxy_jump=_jump(host),
    )


def _simulated(host: Host, lab: Lab, given: Credentials, *, become: bool) -> Target:
    address = lab.devices[host.name]
    return Target(
        name=host.name,
        address=address.host,
        port=address.port,
        user=address.user,
        key_files=(address.key_file,),
        known_hosts=(address.known_hosts,),
        become=become,
        become_password=_become_password(host, given),
        connect_timeout=max(given.timeout, address.patience),
        ssh_config=Path("/dev/null"),
    )


def _become_password(host: Host, given: Credentials) -> Secret | None:
    own = _first(host, "ansible_become_password", "ansible_become_pass", "ansible_sudo_pass")
    return _secret(own) or given.become_password


def _key_files(host: Host, given: Credentials) -> tuple[Path, ...]:
    named = _first(host, "ansible_ssh_private_key_file", "ansible_private_key_file")
    return (_path(str(named)).expanduser(),) if named else given.key_files


@lru_cache
def _path(text: str) -> Path:
    return Path(text)


@lru_cache
def _known_hosts(state: Path, _home: str | None) -> tuple[Path, ...]:
    """Return the files that know the keys of an inventory's hosts; `_home` is where the user's own one is."""
    return (state / "known_hosts", *default_known_hosts())


def _first(host: Host, *names: str) -> Any:
    return next((value for name in names if (value := host.vars.get(name)) is not None), None)


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def _secret(value: object) -> Secret | None:
    return None if value is None else Secret(str(value))


def _split(address: str) -> tuple[str | None, str]:
    user, at, rest = address.rpartition("@")
    return (user, rest) if at else (None, address)


def wants_root(host: Host) -> bool:
    """Return what the inventory says of becoming root."""
    value = host.vars.get("ansible_become")
    return value is not None and decode(value, bool, name=f"{host.name}: ansible_become")


def check(host: Host, inventory: Inventory) -> None:
    """Report every variable of a host that does not fit."""
    errors = []
    for name, fits in _CHECKS.items():
        value = host.vars.get(name)
        if value is None:
            continue
        try:
            fits(value)
        except InputError as error:
            place = inventory.var_source(host, name)
            errors.append(InputError(f"{host.name}: {error.message}", source=place, hint=error.hint))
    raise_all(errors)


def _by_ssh(value: object) -> None:
    name = str(value).removeprefix("ansible.builtin.")
    if name not in _CONNECTIONS:
        guess = near(name, _CONNECTIONS)
        raise InputError(f"ansible_connection: {name!r} is not supported; devices are reached over SSH{guess}")


def _number(value: object) -> int:
    try:
        port = int(str(value))
    except ValueError:
        raise InputError(f"the port {value!r} is no number") from None
    if not 1 <= port <= _LAST_PORT:
        raise InputError(f"the port {value!r} is not between 1 and {_LAST_PORT}")
    return port


def _words(name: str, value: object) -> list[str]:
    try:
        return shlex.split(str(value))
    except ValueError as error:
        raise InputError(f"{name}: {error}") from error


_CHECKS: Mapping[str, Callable[[Any], object]] = {
    "ansible_connection": _by_ssh,
    "ansible_become": lambda value: decode(value, bool, name="ansible_become"),
    **dict.fromkeys(_PORTS, _number),
    **{name: partial(_words, name) for name in _OPTIONS},
}


def _port(host: Host) -> int | None:
    value = _first(host, *_PORTS)
    return None if value is None else _number(value)


def _jump(host: Host) -> str | None:
    """Find the jump host in the options that Ansible would hand to ssh."""
    given = [(name, text) for name in _OPTIONS if (text := _first(host, name))]
    words = [word for name, text in given for word in _words(name, text)]
    for word, following in zip(words, [*words[1:], ""], strict=False):
        option = following if word == "-o" else word.removeprefix("-o")
        if option.lower().startswith("proxyjump="):
            return option.partition("=")[2]
        if word == "-J":
            return following
    return None


def lab_devices(hosts: Mapping[str, Host]) -> dict[str, str]:
    """Return which hosts are devices of the lab, and as what: those with the word `simulate` or `virtual`."""
    return {name: kind for name, host in hosts.items() if (kind := lab_kind(host))}


def lab_kind(host: Host) -> str | None:
    """Return what a host is in the lab, or None for a device of its own."""
    return _text(_first(host, *LAB_WORDS))


def lab_backend(hosts: Mapping[str, Host], asked: str | None) -> str | None:
    """Return how the devices of the lab are made: as was asked, virtual where the inventory says so, or None."""
    virtual = [host for host in hosts.values() if host.vars.get("virtual")]
    plain = [host for host in hosts.values() if host.vars.get("simulate")]
    if virtual and plain:
        raise InputError(
            f"{virtual[0].name} is a virtual machine, and {plain[0].name} is simulated: they have different labs",
            source=virtual[0].source,
            hint="keep virtual devices in an inventory of their own",
        )
    return asked or ("virtual" if virtual else None)
