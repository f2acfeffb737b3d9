"""`provision offboard NAME`: units out of the inventory, and what is kept about them out of .provision."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from provisioner.connection import Credentials, lab_kind, target_of
from provisioner.document import near
from provisioner.errors import InputError, InputErrors
from provisioner.records import dataclass

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from provisioner.inventory import Host, Inventory
    from provisioner.inventory.edit import Edit

NOT_CONFIRMED = 130


@dataclass(frozen=True)
class Plan:
    """What goes: lines of inventory files, names in known_hosts, files of remembered facts."""

    edits: tuple[tuple[Edit, tuple[str, ...]], ...]
    known_hosts: Path
    keys: tuple[str, ...]
    facts: tuple[Path, ...]


def run(options: argparse.Namespace) -> int:
    """Show what goes, ask, and take it out; return the exit code."""
    from provisioner.inventory import load_inventory

    names = tuple(dict.fromkeys(options.names))
    inventory = load_inventory(options.inventory)
    plan = _planned(inventory, names, options.inventory)
    _show(plan)
    if options.dry_run:
        print("\nnothing was changed (dry run)")
        return 0
    if not options.yes and not _agreed(names):
        print("not confirmed; nothing was changed")
        return NOT_CONFIRMED
    _carry_out(plan)
    _tell(inventory, names)
    return 0


def _planned(inventory: Inventory, names: Sequence[str], spec: str) -> Plan:
    from provisioner.inventory.edit import files_of, planned_remove
    from provisioner.transport.forget import held

    if inventory.path is None:
        hint = "an inventory that is a file or a folder can be edited"
        raise InputError(f"{spec!r} is a list of names, which nothing can be taken out of", hint=hint)
    missing = [name for name in names if name not in inventory.hosts]
    if missing:
        raise InputErrors(_unknown(name, inventory) for name in missing)
    edits = tuple((planned_remove(file, some), tuple(some)) for file, some in files_of(inventory.path, names).items())
    rest = [host for host in inventory.hosts.values() if host.name not in names]
    keys = _filed(inventory, [inventory.hosts[name] for name in names]) - _filed(inventory, rest)
    known = inventory.state_dir / "known_hosts"
    kept = {inventory.facts_file(host.name) for host in rest}
    facts = [path for name in names if (path := inventory.facts_file(name)) not in kept and path.is_file()]
    return Plan(edits, known, tuple(held(known, keys)), tuple(facts))


def _unknown(name: str, inventory: Inventory) -> InputError:
    if name in inventory.groups:
        told = f"{name!r} is a group; name its hosts: {', '.join(inventory.groups[name])}"
        return InputError(f"there is no host {name!r} in {inventory.path}", hint=told)
    return InputError(f"there is no host {name!r} in {inventory.path}{near(name, inventory.hosts)}")


def _filed(inventory: Inventory, hosts: Iterable[Host]) -> set[str]:
    """Return the names under which the keys of hosts are filed; a simulated device's are its lab's."""
    from provisioner.transport.forget import filed_as

    real = (host for host in hosts if not lab_kind(host))
    return {filed_as(target_of(host, inventory, Credentials(), None, become=False)) for host in real}


def _show(plan: Plan) -> None:
    from provisioner.model import Diff
    from provisioner.report.diff import show_rows
    from provisioner.report.text import encodable, to_ansi, to_plain, wants_colour

    render = to_ansi if wants_colour(sys.stdout) else to_plain
    for edit, _ in plan.edits:
        for line in show_rows([Diff(str(edit.path), edit.before.encode(), edit.after.encode())]):
            print(encodable(render(line), sys.stdout))
    if plan.keys:
        print(f"~ {plan.known_hosts}: without the keys of {', '.join(plan.keys)}")
    for path in plan.facts:
        print(f"~ {path}: removed")


def _agreed(names: Sequence[str]) -> bool:
    sys.stdout.flush()
    try:
        answer = input(f"\ntake out {', '.join(names)}? [y/N] ")
    except EOFError:
        print()
        return False
    return answer.strip().lower() in ("y", "yes")


def _carry_out(plan: Plan) -> None:
    """Take everything out; what cannot be written is found before anything is."""
    from provisioner.files import check_replaceable
    from provisioner.inventory.edit import check_writable, remove, write
    from provisioner.transport.forget import forget

    for edit, _ in plan.edits:
        check_writable(edit.path)
    if plan.keys:
        check_replaceable(plan.known_hosts)
    for edit, names in plan.edits:
        write(edit.path, partial(remove, names=names))
    if plan.keys:
        forget(plan.known_hosts, plan.keys)
    for path in plan.facts:
        path.unlink(missing_ok=True)


def _tell(inventory: Inventory, names: Sequence[str]) -> None:
    """Say what was done, and what is left to people."""
    print(f"\ntook out {', '.join(names)}; the devices themselves were not touched")
    assert inventory.path is not None
    home = inventory.path if inventory.path.is_dir() else inventory.path.parent
    for name in names:
        for path in (home / "host_vars" / f"{name}{suffix}" for suffix in ("", ".yml", ".yaml", ".json")):
            if path.exists():
                print(f"{path} is still there; delete it if nobody needs it")
    if len(names) == len(inventory.hosts):
        print(f"{inventory.path} names no host now; `provision onboard` puts one in")
