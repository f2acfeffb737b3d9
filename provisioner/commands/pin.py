"""`provision pin`: show the pinned images, pin what has no pin yet, move pins, and take a move back."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from .apply import registry_mirrors
from .fleet import Fleet, Listeners, load_fleet, start_lab

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.images import Move
    from provisioner.jetson.pins import LockFile, Pin


def run(options: argparse.Namespace) -> int:
    """Show or move the pins of an inventory; return the exit code."""
    from provisioner.jetson.images import moved, rolled_back
    from provisioner.jetson.pins import LockFile

    fleet, _ = load_fleet(options, [])
    lock = LockFile.load(fleet.lock_path)
    if options.rollback:
        after, moves = rolled_back(lock)
    else:
        start_lab(fleet, options)
        moves = _review(fleet, options, lock)
        after = moved(lock, moves)
    _show(moves)
    if any(move.moves for move in moves):
        _save(after, dry_run=options.dry_run)
    return 2 if any(move.error for move in moves) else 0


def _review(fleet: Fleet, options: argparse.Namespace, lock: LockFile) -> tuple[Move, ...]:
    """Ask for every pin with --update; otherwise only for the bands that have none."""
    from provisioner.jetson.images import Move, home_of, review
    from provisioner.jetson.registry import Registry

    hosts = _facts(fleet, options)
    registry = Registry(registry_mirrors(fleet))
    if options.update:
        return review(lock, registry, hosts)
    bands = {band for band, _ in lock.pins}
    new = review(type(lock)(lock.path), registry, [facts for facts in hosts if home_of(facts) not in bands])
    kept = [Move(band, family, pin, pin) for (band, family), pin in sorted(lock.pins.items())]
    return (*kept, *new)


def _facts(fleet: Fleet, options: argparse.Namespace) -> list[HostFacts]:
    from provisioner.report import Recap

    from .facts import gather

    states = gather(fleet, options, Listeners([Recap()]))
    for host in fleet.hosts:
        if host.name not in states:
            print(f"warning: {host.name} was not reached; its release is not taken into account", file=sys.stderr)
    return [state.facts for state in states.values()]


def _show(moves: Sequence[Move]) -> None:
    for move in moves:
        print(f"{move.family}, band {move.band}:")
        for note in move.notes:
            print(f"  note: {note}")
        if move.error:
            print(f"  error: {move.error}")
        elif move.moves:
            print(f"  - {_line(move.before)}\n  + {_line(move.after)}")
        else:
            print(f"    {_line(move.after)}")


def _line(pin: Pin | None) -> str:
    return f"{pin.reference} {pin.index_digest} ({pin.platform}, asked {pin.when})" if pin else "(none)"


def _save(lock: LockFile, *, dry_run: bool) -> None:
    if dry_run:
        print("\nnothing was written (dry run)")
        return
    lock.save()
    print(f"\nwrote {lock.path}; commit it")
