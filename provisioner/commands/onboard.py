"""`provision onboard`: bring new units into the fleet, from an address and a password to an entry in the inventory."""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import Namespace
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.connection import lab_backend, lab_devices, lab_kind
from provisioner.errors import InputError
from provisioner.onboarding.units import Place, Unit, alive, exit_code, place_of
from provisioner.onboarding.work import Work, begin, stage_names, target

from .fleet import find_playbook, lab_name, load_fleet, start_lab, warm_up
from .getting_in import judge, log_in_all, look, meet
from .questions import given_password, goes_on, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.onboarding.recording import Home
    from provisioner.playbook import Playbook

INTERRUPTED = 130


def run(options: Namespace) -> int:
    """Onboard the units; return the exit code."""
    from provisioner.onboarding.recording import open_home

    warm_up()
    home = open_home(options.inventory)
    book = _playbook(options)
    places = [place_of(text, options.port) for text in options.addresses]
    units = [_unit(home, place, options) for place in dict.fromkeys(places)]
    _check_names(home, units, options)
    with tempfile.TemporaryDirectory(prefix="onboard-") as scratch:
        work = _work(options, home, units, scratch=Path(scratch), book=book)
        try:
            code = _onboard(work)
        except KeyboardInterrupt:
            if work.begun:
                raise
            print("\nstopped: no unit and no inventory was changed", file=sys.stderr)
            return INTERRUPTED
    done = [unit for unit in units if unit.done]
    if options.apply and not options.dry_run and done and code != INTERRUPTED:
        return _apply(work, done) or code
    return code


def _playbook(options: Namespace) -> Playbook:
    import provisioner.tasks  # noqa: F401 - registers the task types
    from provisioner.model import task_types
    from provisioner.onboarding.stages import check_stages
    from provisioner.playbook import load_playbook

    book = load_playbook(find_playbook("onboard.yaml", options), modules=task_types())
    check_stages(book)
    return book


def _work(options: Namespace, home: Home, units: list[Unit], *, scratch: Path, book: Playbook) -> Work:
    from provisioner.model import task_types
    from provisioner.onboarding.access import Door, key_pair, write_ssh_config
    from provisioner.onboarding.stages import OneRun, Stages
    from provisioner.report import report_for

    pair = key_pair(Path(options.private_key) if options.private_key else None)
    door = Door(scratch / "known_hosts", scratch / "ssh_config")
    write_ssh_config(door.ssh_config)
    one = OneRun(report_for(sys.stdout, verbosity=options.verbose, diff=options.dry_run))
    stages = Stages(
        book=book,
        modules=task_types(),
        scratch=scratch,
        run=one,
        services={"now": time.time},
        public_key=pair.public,
        sudo=options.sudo,
    )
    return Work(options, home, units, pair, door, scratch, stages, one, given_password(options))


def _unit(home: Home, place: Place, options: Namespace) -> Unit:
    """Return the unit at a place: a host of the inventory that was written by hand, one of its lab, or a new one."""
    from provisioner.onboarding.judging import existing_host, place_key

    user = place.user or options.user or "nvidia"
    host = existing_host(home.inventory, place)
    if host is None:
        known = home.inventory.hosts.get(options.replace) if options.replace else None
        return Unit(place, user, existing=known.name if known else None, patience=options.timeout)
    if lab_kind(host):
        return _lab_unit(home, host.name, options)
    own_user = host.vars.get("ansible_user")
    address, port = place_key(host)
    there = Place(address, port, place.user)
    return Unit(there, place.user or (str(own_user) if own_user else user), host.name, patience=options.timeout)


def _lab_unit(home: Home, name: str, options: Namespace) -> Unit:
    from provisioner import lab

    hosts = home.inventory.hosts
    running = lab.ensure(lab_name(home.inventory), lab_devices(hosts), backend=lab_backend(hosts, None))
    if running.backend == "model":
        raise InputError(f"{name} has no SSH in the lab's backend 'model'", hint="another backend: provision lab up")
    print(running.banner, file=sys.stderr)
    address = running.devices[name]
    patience = max(options.timeout, address.patience)
    return Unit(Place(address.host, address.port), address.user, name, lab=True, patience=patience)


def _check_names(home: Home, units: Sequence[Unit], options: Namespace) -> None:
    from provisioner.document import near
    from provisioner.onboarding.judging import is_name

    if options.replace and options.replace not in home.inventory.hosts:
        guess = near(options.replace, home.inventory.hosts)
        raise InputError(f"--replace: there is no host {options.replace!r} in {options.inventory}{guess}")
    for word, value in (("--name", options.name), ("--replace", options.replace)):
        if value and len(units) > 1:
            raise InputError(f"{word} {value} is for one unit, and there are {len(units)}")
    if options.name and not is_name(options.name):
        raise InputError(f"--name {options.name!r} cannot be a host's name", hint="letters, digits and hyphens")
    if options.name and options.name in home.inventory.hosts and units[0].existing != options.name:
        hint = f"choose another name; if it is the same unit, --replace {options.name}"
        raise InputError(f"{options.name} is in {options.inventory} already", hint=hint)


# The steps, in order. Nothing is written anywhere before the last question is answered.


def _onboard(work: Work) -> int:
    from provisioner.onboarding.settling import settle, write_down

    meet(work)
    log_in_all(work)
    look(work)
    judge(work)
    if not alive(work.units):
        return _told(work)
    if not work.options.dry_run and not work.options.yes and not goes_on(len(alive(work.units))):
        print("you said no: no unit and no inventory was changed", file=sys.stderr)
        return INTERRUPTED
    if work.options.dry_run:
        _preview(work)
        return _told(work)
    work.begun = True
    work.pair.save()
    settle(work)
    write_down(work, say)
    return INTERRUPTED if work.stages.stopped else _told(work)


def _preview(work: Work) -> None:
    """Show exactly what would be done, on the devices and in the inventory."""
    from provisioner.model import Diff
    from provisioner.onboarding.recording import planned

    units = alive(work.units)
    begin(work, units, check=True)
    work.stages.apply(stage_names(work.options), units, partial(target, work), check=True)
    work.run.finish([unit.name for unit in alive(units)])
    if work.pair.new is not None:
        print(f"\nwould make a pair of keys at {work.pair.path} (its public key will be another than shown above)")
    for unit in alive(units):
        edit = planned(work.home, unit)
        _show(Diff(str(edit.path), edit.before.encode(), edit.after.encode()))


def _show(diff: Any) -> None:
    from difflib import unified_diff

    before, after = (side.decode().splitlines(keepends=True) for side in (diff.before, diff.after))
    sys.stdout.writelines(["\n", *unified_diff(before, after, diff.path, f"{diff.path} (with the unit)")])


def _told(work: Work) -> int:
    """Tell what went wrong where no report has, and what to do next; return the exit code."""
    from provisioner.errors import HostError
    from provisioner.report.errors import print_error

    failed = [unit for unit in work.units if unit.error is not None]
    for unit in failed:
        if unit.error is not None and not unit.told:
            print_error(HostError(f"{unit.label}: {unit.error.message}", hint=unit.error.hint), sys.stderr)
    done = [unit.existing or unit.name for unit in work.units if unit.done]
    if done and failed:
        print(f"{len(done)} of {len(work.units)} are in; the same command picks up what is left", file=sys.stderr)
    elif done and not work.options.apply and not work.options.dry_run:
        print(f"\nnext: provision apply {work.options.inventory} -l {','.join(done)} --dry-run")
    return exit_code(work.units)


def _apply(work: Work, done: Sequence[Unit]) -> int:
    """Go straight on to `apply` for the units that are in."""
    from provisioner.report import report_for

    from .apply import converge, known_names

    options = Namespace(
        inventory=work.options.inventory,
        limit=",".join(unit.name or unit.existing or "" for unit in done),
        forks=50,
        user=None,
        private_key=work.options.private_key,
        ask_pass=False,
        ask_become_pass=False,
        timeout=work.options.timeout,
        verbose=work.options.verbose,
        lab_backend=None,
    )
    fleet, books = load_fleet(options, ["site.yaml"], known_names({}))
    password = next((unit.password for unit in done if unit.password), None)
    fleet.credentials = replace(fleet.credentials, become_password=password)
    start_lab(fleet, options)
    return converge(fleet, books, options, [report_for(sys.stdout, verbosity=options.verbose)], {})
