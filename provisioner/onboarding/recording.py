"""What is written down of a unit: its host key, its entry in the inventory, its facts. All of it, or nothing."""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner import files
from provisioner.errors import InputError
from provisioner.inventory import load_inventory
from provisioner.inventory.edit import Edit, Entry, add, check_writable, file_for, planned_add, write
from provisioner.inventory.model import STATE, Inventory
from provisioner.inventory.read import inventory_of
from provisioner.onboarding.access import usual_keys
from provisioner.onboarding.judging import MACHINE, SERIAL, place_key
from provisioner.onboarding.units import SSH_PORT
from provisioner.records import dataclass
from provisioner.transport.hostkeys import host_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from provisioner.onboarding.units import Unit

MODULE, RELEASE = "jetson_module", "jetson_l4t"
_TAME = re.compile(r"[^A-Za-z0-9 ._+()/-]")
_LONGEST = 80


@dataclass(frozen=True)
class Home:
    """The inventory that units come into, as it was when the command began."""

    path: Path
    inventory: Inventory

    @property
    def known_hosts(self) -> Path:
        """Return the inventory's own known_hosts."""
        return self.inventory.state_dir / "known_hosts"

    def machines(self) -> dict[str, str]:
        """Return the machine-ids that earlier runs saw, by host."""
        from provisioner.jetson.observed import FactsState

        found = {}
        for name in self.inventory.hosts:
            with suppress(OSError, ValueError):
                machine = FactsState.parse(self.inventory.facts_file(name).read_text("utf-8")).facts.machine_id
                if machine:
                    found[name] = machine
        return found


def open_home(spec: str) -> Home:
    """Read an inventory that may be new or empty, and make sure that it can be written to before anything else is."""
    path = Path(spec)
    if "," in spec and not path.exists():
        raise InputError(f"{spec!r} is a list of names, which cannot be written to", hint="name a file: -i fleet.yaml")
    if not path.exists():
        if not path.parent.is_dir():
            raise InputError(f"there is no folder {path.parent}", hint="`provision init DIR` makes one")
        inventory = inventory_of("", path)
    else:
        inventory = _without_hosts(path) or load_inventory(spec)
    for file in (path,) if not path.is_dir() else ():
        check_writable(file)
    files.check_replaceable(inventory.state_dir / "known_hosts") if inventory.state_dir.is_dir() else None
    return Home(path, inventory)


def _without_hosts(path: Path) -> Inventory | None:
    """Return the inventory of a file that names no host yet, or none any more: nobody else can use it."""
    if not path.is_file():
        return None
    found = inventory_of(path.read_text("utf-8", "replace"), path)
    return None if found.hosts else found


def entry_of(unit: Unit) -> Entry:
    """Return what the inventory is to say of a unit."""
    facts = unit.facts.facts if unit.facts else None
    own: dict[str, Any] = {}
    if not unit.lab:
        own["ansible_host"] = unit.place.address
        if unit.place.port != SSH_PORT:
            own["ansible_port"] = unit.place.port
        own["ansible_user"] = unit.user
        if unit.key_file is not None and unit.key_file not in usual_keys():
            own["ansible_ssh_private_key_file"] = _short(unit.key_file)
    told = {
        MODULE: facts.module_name if facts else None,
        SERIAL: unit.serial,
        RELEASE: facts.l4t if facts else None,
        MACHINE: unit.machine,
    }
    return Entry(
        unit.name,
        None if unit.existing else unit.group,
        {**own, **{k: v for k, text in told.items() if (v := tame(text))}},
    )


def tame(text: str | None) -> str:
    """Return what a device says of itself as it may stand in an inventory, whose values are read as templates."""
    return _TAME.sub("", text or "")[:_LONGEST].strip()


def _short(path: Path) -> str:
    absolute = path.expanduser().absolute()
    home = Path.home()
    return f"~/{absolute.relative_to(home)}" if absolute.is_relative_to(home) else str(absolute)


def planned(home: Home, unit: Unit) -> Edit:
    """Return what the inventory file holds, and what it would hold with the unit."""
    return planned_add(home.path, [entry_of(unit)])


def record(home: Home, unit: Unit, scratch: Path) -> None:
    """Write down the unit; where the entry cannot be written, known_hosts is as it was."""
    assert unit.greeting is not None
    entry = entry_of(unit)
    store = home.known_hosts
    store.parent.mkdir(parents=True, exist_ok=True)
    stale = {unit.greeting.name}
    old = home.inventory.hosts.get(unit.existing or "")
    if old is not None and not unit.lab:
        stale.add(host_name(*place_key(old)))
    with files.locked(store.with_name(f".{store.name}.lock")):
        before = store.read_bytes() if store.exists() else None
        text = (before or b"").decode("utf-8", "surrogateescape")
        after = exchanged(text, stale, unit.greeting.line).encode("utf-8", "surrogateescape")
        if after != before:
            files.replace(store, after)
        try:
            write(file_for(home.path, [entry]), lambda now: add(now, [entry]))
        except BaseException:
            if before is None:
                store.unlink(missing_ok=True)
            elif after != before:
                files.replace(store, before)
            raise
    _keep_facts(home, unit, scratch)


def exchanged(text: str, stale: Collection[str], line: str) -> str:
    """Return the text of a known_hosts file in which these names have only the key of this line."""
    lines = []
    for old in text.splitlines():
        if old.strip() == line:
            continue
        words = old.split()
        if len(words) < 3 or words[0].startswith(("#", "@", "|")):  # noqa: PLR2004 - names, type, key
            lines.append(old)
            continue
        kept = [name for name in words[0].split(",") if name.lower() not in stale]
        if kept:
            lines.append(" ".join([",".join(kept), *words[1:]]) if len(kept) < len(words[0].split(",")) else old)
    return "".join(f"{one}\n" for one in [*lines, line])


def _keep_facts(home: Home, unit: Unit, scratch: Path) -> None:
    there = home.inventory.facts_file(unit.name)
    with suppress(OSError):
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(scratch / STATE / "facts" / there.name, there)
