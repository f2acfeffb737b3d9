"""A host put into an inventory's text, brought up to date in it, or taken out of it.

What is made is read again, and has to differ from what was by exactly the entry; what cannot be edited surely is
refused, with the lines to add by hand.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.document import near
from provisioner.errors import InputError
from provisioner.inventory import proof
from provisioner.inventory.occurrences import GroupAt, HostAt, groups_in, hosts_in, is_one_name
from provisioner.inventory.read import inventory_of
from provisioner.inventory.spans import Pairs, Text
from provisioner.inventory.spelling import Tree, lines
from provisioner.inventory.splice import Document, NotSure, branch, siblings_are_flow
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provisioner.inventory.model import Host

IDENTITY = ("jetson_serial", "jetson_machine_id")
"""Variables that tell one unit from another, the surest first."""
NOWHERE = Path("the inventory")
"""Stands in errors for the file, which a text does not know."""
_STEP = 2


@dataclass(frozen=True)
class Entry:
    """A host for the inventory: its name, the group it belongs to, and its variables in the order to be written.

    With `replaces` it may take the name of another unit, whose variables it then overwrites.
    """

    name: str
    group: str | None
    vars: Mapping[str, Any]
    replaces: bool = False


def add(text: str, entries: Iterable[Entry]) -> str:
    """Return an inventory's text with these hosts in it; one that is there has its variables brought up to date."""
    for entry in entries:
        text = _added(Document(text, NOWHERE), entry)
    return text


def remove(text: str, names: Iterable[str]) -> str:
    """Return an inventory's text without these hosts, in whatever groups they are."""
    for name in names:
        text = _removed(text, name)
    return text


# Adding.


def _added(document: Document, entry: Entry) -> str:
    if not is_one_name(entry.name):
        raise InputError(f"{entry.name!r} is no name for a host", hint="letters, digits, dots and dashes are safe")
    inventory = inventory_of(document.text, document.path)
    try:
        if entry.name in inventory.hosts:
            return _updated(document, entry, inventory.hosts[entry.name])
        if entry.name in inventory.groups:
            raise InputError(f"{entry.name!r} is the name of a group", hint="choose another name for the host")
        return _inserted(document, entry)
    except NotSure as error:
        raise InputError(error.message, source=error.source, hint=_by_hand(entry)) from error


def _by_hand(entry: Entry) -> str:
    group = entry.group or "all"
    values = lines(entry.name, Tree(entry.vars) if entry.vars else None, _STEP * 2, _STEP)
    return "\n".join([f"add this by hand, to the hosts of the group {group}:", *values])


def _inserted(document: Document, entry: Entry) -> str:
    wanted, holders = _wanted(document, entry.group)
    keys = [key for key, _ in holders]
    rest = wanted[len(keys) :]
    holder = holders[-1][1] if holders else None
    flow = not rest and holder is not None and siblings_are_flow(holder[1])
    values: Any = (dict(entry.vars) if flow else Tree(entry.vars)) if entry.vars else None
    first, *more = (*rest, entry.name)
    after = document.inserted(holder, first, branch(*more, leaf=values))
    proof.check_put(document, after, (*keys, first), branch(*more, leaf=values), holder[0].start if holder else 0)
    groups = inventory_of(after, document.path).groups
    if entry.name not in groups[entry.group or "all"]:
        raise document.unsure("the host would not be in its group", 0)
    return after


def _wanted(document: Document, name: str | None) -> tuple[tuple[str, ...], list[tuple[str, Any]]]:
    """Return the keys down to the hosts of a group, and those of them that are there with what they hold."""
    groups = list(groups_in(document))
    found = best(groups, "ungrouped" if name in (None, "ungrouped") else str(name))
    if found is None and name in (None, "ungrouped", "all"):
        found = best(groups, "all")
        name = "all"
    if found is not None:
        trail = [*found.trail, (found.name, found.pair)]
        keys = (*(key for key, _ in trail), "hosts")
    else:
        top = best(groups, "all", outermost=True)
        trail = [("all", top.pair)] if top else []
        keys = (str(name), "hosts")
        if top or document_is_empty(document):
            keys = ("all", "hosts") if name == "all" else ("all", "children", str(name), "hosts")
    while len(trail) < len(keys):
        below = trail[-1][1][1] if trail else document.root
        pair = below.find(keys[len(trail)]) if isinstance(below, Pairs) else None
        if pair is None:
            break
        trail.append((keys[len(trail)], pair))
    return keys, trail


def document_is_empty(document: Document) -> bool:
    """Tell whether a text holds nothing but comments."""
    return isinstance(document.root, Text)


def best(groups: Sequence[GroupAt], name: str, *, outermost: bool = False) -> GroupAt | None:
    """Return the place where a group is written that has most to it: hosts, anything, or only the name."""
    found = [group for group in groups if group.name == name and not (outermost and group.trail)]
    return max(found, key=lambda group: group.substance, default=None)


# Bringing up to date.


def _updated(document: Document, entry: Entry, host: Host) -> str:
    own = [at for at in hosts_in(document) if entry.name in at.names]
    ranges = [at for at in own if at.key.value != entry.name]
    if ranges:
        raise InputError(
            f"{entry.name} is there already, as {ranges[0].key.value}",
            source=document.place(ranges[0].key),
            hint="write the hosts out by name to give one of them variables of its own",
        )
    if not own:
        raise document.unsure(f"{entry.name} comes from an alias or a merge key", 0)
    _check_same(document, entry, host, own)
    target = max(own, key=lambda at: (at.has_vars, at.group == entry.group))
    return _merged(document, entry, host, target)


def _check_same(document: Document, entry: Entry, host: Host, own: Sequence[HostAt]) -> None:
    """Refuse a name that another unit has: by serial number or machine id, where both have one, or by the address."""
    place = document.place(own[0].key)
    groups = [at.group for at in own]
    if entry.group not in (None, "all", "ungrouped", *groups):
        hint = f"`provision offboard {entry.name}` takes it out, or leave out the group"
        raise InputError(f"{entry.name} is there already, in the group {groups[0]}", source=place, hint=hint)
    key = next((key for key in IDENTITY if host.vars.get(key) and entry.vars.get(key)), "ansible_host")
    there, new = host.vars.get(key), entry.vars.get(key)
    if None not in (there, new) and str(there) != str(new) and not entry.replaces:
        hint = f"choose another name, or `provision offboard {entry.name}` first"
        raise InputError(f"{entry.name} is another unit: {key} is {there}, not {new}", source=place, hint=hint)


def _merged(document: Document, entry: Entry, host: Host, target: HostAt) -> str:
    """Return the text with the variables that differ replaced, and those that are missing added."""
    for key, value in entry.vars.items():
        if proof.same(host.vars.get(key), value) and key in host.vars:
            continue
        here = next(at for at in hosts_in(document) if at.trail == target.trail and at.key.value == entry.name)
        there = here.value.find(key) if isinstance(here.value, Pairs) else None
        path = (*here.trail, entry.name, key)
        if there is None:
            after = document.inserted((here.key, here.value), key, value)
            proof.check_put(document, after, path, value, here.key.start)
        else:
            if isinstance(value, dict | list | tuple):
                raise document.unsure(f"{key} is no plain value", there[0].start)
            after = document.changed(there, value)
            proof.check_put(document, after, path, value, here.key.start)
        document = Document(after, document.path)
    return document.text


# Taking out.


def _removed(text: str, name: str) -> str:
    document = Document(text, NOWHERE)
    hosts = inventory_of(text, NOWHERE).hosts
    if name not in hosts:
        raise InputError(f"there is no host {name!r} in the inventory{near(name, hosts)}")
    while found := next((at for at in hosts_in(document) if name in at.names), None):
        if len(found.names) > 1:
            raise InputError(
                f"{name} is one of {found.key.value}",
                source=document.place(found.key),
                hint="write the hosts out by name, or make the range smaller, by hand",
            )
        after = document.removed(found.holder, found.index) if found.index >= 0 else document.emptied(found.holder)
        proof.check_gone(document, after, found)
        document = Document(after, document.path)
    if name in inventory_of(document.text, NOWHERE).hosts:
        place = hosts[name].source
        hint = "take it out by hand: what an alias or a merge key brings cannot be edited surely"
        raise InputError(f"{name} comes from an alias or a merge key", source=place, hint=hint)
    return document.text
