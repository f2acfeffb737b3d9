"""Names, groups, and units that are in the fleet already: pure, but for what is remembered of the fleet."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.connection import lab_kind
from provisioner.errors import Refused
from provisioner.onboarding.units import SSH_PORT
from provisioner.records import dataclass
from provisioner.transport.hostkeys import host_name
from provisioner.transport.knownhosts import parse

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from provisioner.inventory import Host, Inventory
    from provisioner.jetson.facts import HostFacts
    from provisioner.onboarding.units import Place, Unit

SERIAL, MACHINE = "jetson_serial", "jetson_machine_id"
NAMELESS = ("ubuntu", "localhost", "tegra-ubuntu", "nvidia", "jetson", "nvidia-desktop", "jetson-desktop", "linux")
"""Host names that images come with: they tell no unit from another."""

TAIL = 5
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_ADDRESS = re.compile(r"[\d.]+|.*:.*")


def is_name(text: str) -> bool:
    """Tell whether a text can be a host's name, here and on the device."""
    return _NAME.fullmatch(text) is not None and not text.isdigit()


def place_key(host: Host) -> tuple[str, int]:
    """Return address and port of a host, as far as the inventory says them."""
    own = host.vars
    address = str(own.get("ansible_host") or own.get("ansible_ssh_host") or host.name).rpartition("@")[2]
    port = str(own.get("ansible_port") or own.get("ansible_ssh_port") or SSH_PORT)
    return address.lower(), int(port) if port.isdecimal() else SSH_PORT


def existing_host(inventory: Inventory, place: Place) -> Host | None:
    """Return the host of the inventory that a place means: by its name, or by its address and port."""
    if place.port == SSH_PORT and place.address in inventory.hosts:
        return inventory.hosts[place.address]
    key = (place.address.lower(), place.port)
    return next((host for host in inventory.hosts.values() if not lab_kind(host) and place_key(host) == key), None)


def name_for(facts: HostFacts, serial: str | None, machine: str | None, taken: Collection[str]) -> str:
    """Return a name for a new unit: its own, or its module's with the end of its serial number."""
    own = facts.hostname.split(".", maxsplit=1)[0].lower()
    if is_name(own) and own not in NAMELESS and own not in taken:
        return own
    stem = re.sub(r"[^a-z0-9]+", "-", (facts.module or facts.soc or "jetson").lower()).strip("-")
    tail = re.sub(r"[^a-z0-9]", "", (serial or machine or "").lower())[-TAIL:]
    name = "-".join(part for part in (stem, tail) if part)
    number, found = 2, name
    while found in taken:
        found, number = f"{name}-{number}", number + 1
    return found


def hostname_for(name: str, current: str) -> str:
    """Return what the device will call itself: its name in the inventory, unless that is an address."""
    short = name.split(".", maxsplit=1)[0]
    return current if _ADDRESS.fullmatch(name) or not is_name(short) else short


def group_for(facts: HostFacts, inventory: Inventory, asked: str | None) -> str:
    """Return the group of a new unit: the one that was asked for, its release's, or `jetsons`."""
    if asked:
        return asked
    release = f"jetpack{facts.jetpack_major}"
    return release if facts.jetpack_major and release in inventory.groups else "jetsons"


@dataclass(frozen=True)
class Known:
    """What is known of one unit of the fleet, or of one that is being onboarded beside it."""

    name: str
    serial: str | None = None
    machine: str | None = None
    keys: frozenset[bytes] = frozenset()


def known_units(inventory: Inventory, known_hosts: Path, remembered: Mapping[str, str]) -> list[Known]:
    """Return what is known of the fleet: from the inventory, its known_hosts, and `remembered` machine-ids by name."""
    keys: dict[str, set[bytes]] = {}
    if known_hosts.is_file():
        for entry in parse(known_hosts, known_hosts.read_text(encoding="utf-8", errors="surrogateescape")):
            for name in entry.patterns.split(",") if not entry.marker else ():
                keys.setdefault(name, set()).add(entry.key.blob)
    found = []
    for host in inventory.hosts.values():
        own = keys.pop(host_name(*place_key(host)), set())
        machine = _text(host.vars.get(MACHINE)) or remembered.get(host.name)
        found.append(Known(host.name, _text(host.vars.get(SERIAL)), machine, frozenset(own)))
    return [*found, *(Known(name, keys=frozenset(blobs)) for name, blobs in keys.items())]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def judge_duplicates(
    units: Iterable[Unit], fleet: Sequence[Known], replace: str | None
) -> Iterator[tuple[Unit, Refused]]:
    """Yield each unit that is in the fleet under another name, or comes a second time, with the reason."""
    seen = list(fleet)
    for unit in units:
        own = _of(unit)
        for other in seen:
            if other.name in (unit.existing, replace, unit.greeting.name if unit.greeting else None):
                continue
            if same := _same(own, other):
                yield unit, _duplicate(unit, other, same)
                break
        else:
            seen.append(own)


def _of(unit: Unit) -> Known:
    blobs = frozenset({unit.greeting.key.blob}) if unit.greeting else frozenset()
    return Known(unit.name or unit.label, unit.serial, unit.machine, blobs)


def _same(one: Known, other: Known) -> str:
    if one.serial and one.serial == other.serial:
        return f"serial number {one.serial}"
    if one.machine and one.machine == other.machine:
        return f"machine-id {one.machine}"
    return "host key" if one.keys & other.keys else ""


def _duplicate(unit: Unit, other: Known, same: str) -> Refused:
    if same.startswith("serial"):
        hint = f"if it is {other.name} under a new address: --replace {other.name}"
    else:
        hint = (
            "a cloned SD card? On one of the two: `sudo rm -f /etc/machine-id /etc/ssh/ssh_host_*_key*; "
            "sudo systemd-machine-id-setup; sudo ssh-keygen -A`, and boot it again; "
            f"if it is {other.name} itself: --replace {other.name}"
        )
    return Refused(f"{unit.label} has the {same} of {other.name}, which is in the fleet already", hint=hint)
