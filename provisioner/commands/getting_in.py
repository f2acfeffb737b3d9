"""Getting in: who answers, is it the right key, does a key or a password get in, may the unit join."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from provisioner.errors import InputError, Refused, Unreachable
from provisioner.onboarding.units import alive
from provisioner.onboarding.work import target

from .questions import TRIES, asked_password, is_right_key, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.onboarding.stages import Stages
    from provisioner.onboarding.units import Unit
    from provisioner.onboarding.work import Work


def meet(work: Work) -> None:
    """See who answers, and have every key accepted that is not known yet."""
    from provisioner.onboarding.contact import accepted, asked_about, greet_all, objection, take
    from provisioner.transport import default_known_hosts

    options, store = work.options, work.home.known_hosts
    greet_all(work.units, (store, *default_known_hosts()), work.door.ssh_config)
    for unit in alive(work.units):
        assert unit.greeting is not None
        if _is_done(work, unit):
            unit.done = True
            say(f"{unit.label}: is {unit.existing} of {options.inventory} already")
            continue
        if (no := objection(unit, options.replace)) is not None:
            unit.fail(no)
            continue
        known = "" if asked_about(unit) else " (known)"
        say(f"{unit.label}: {unit.greeting.banner}\n  host key {unit.greeting.key}{known}")
        if not asked_about(unit) and not options.host_key:
            take(unit, work.door.known_hosts)
        elif options.host_key:
            if not accepted(unit, options.host_key):
                unit.fail(
                    Refused(
                        f"it shows the host key {unit.greeting.key.fingerprint}, not {' or '.join(options.host_key)}",
                        hint="another device at this address, or somebody in between; no password was sent",
                    )
                )
            else:
                take(unit, work.door.known_hosts)
        elif is_right_key(unit):
            take(unit, work.door.known_hosts)
        else:
            hint = "on the unit: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`; scripts: --host-key SHA256:..."
            unit.fail(Refused("its host key was not accepted, so no password was sent", hint=hint))


def _is_done(work: Work, unit: Unit) -> bool:
    """Tell whether an earlier run has brought the unit in: its key is in the inventory's own known_hosts."""
    from provisioner.transport import KnownHosts

    if unit.existing is None or work.options.replace or unit.greeting is None:
        return False
    known = KnownHosts((work.home.known_hosts,), unit.place.address, unit.place.port)
    host = work.home.inventory.hosts[unit.existing]
    return known.is_known(unit.greeting.key) and bool(host.vars.get("jetson_module"))


def log_in_all(work: Work) -> None:
    """Log in: with the key where that works already, else with the password, three times at most."""
    from provisioner.onboarding.access import prove
    from provisioner.onboarding.contact import side_by_side

    def by_key(unit: Unit) -> None:
        try:
            prove(work.door.by_key(unit, work.pair.path), work.pair)
        except Refused:
            return
        unit.by_key = True

    units = alive(work.units)
    if work.pair.new is None:
        side_by_side(units, by_key)
    for unit in units:
        unit.password = work.password
    left = [unit for unit in alive(units) if not unit.by_key]
    tries = 1 if work.password else TRIES
    for attempt in range(1, tries + 1):
        left = _try_password(work, left, last=attempt == tries)
        if not left:
            return


def _try_password(work: Work, units: list[Unit], *, last: bool) -> list[Unit]:
    """Return the units that did not take the password; after the last try they have failed."""
    from provisioner.onboarding.access import log_in
    from provisioner.onboarding.contact import side_by_side

    password = work.password or (asked_password(units) if units else None)
    if not units:
        return []
    if password is None:
        for unit in units:
            unit.fail(
                Refused("there is no password", hint="a terminal to ask on, --password-fd N or PROVISION_PASSWORD")
            )
        return []

    def enter(unit: Unit) -> bool:
        unit.password = password
        try:
            log_in(work.door.by_password(unit))
        except Refused as error:
            if not last and "password" in error.message:
                return False
            raise Refused(error.message, hint="the right user (-u) and password; nothing was changed") from error
        return True

    entered = side_by_side(units, enter)
    left = [unit for unit in units if unit.alive and not entered.get(id(unit))]
    if left:
        say(f"the password was not taken by {', '.join(unit.label for unit in left)}")
    return left


def look(work: Work) -> None:
    """Run the checks; a unit that let a key in may still want a password for sudo."""
    from provisioner.onboarding.stages import OneRun

    units = alive(work.units)
    quiet = replace(work.stages, run=OneRun(lambda _event: None))
    _checked(work, quiet, units)
    asking = [unit for unit in units if unit.by_key and unit.error and "sudo wants the password" in unit.error.message]
    if asking and (password := asked_password(asking, ", for sudo")):
        for unit in asking:
            unit.password, unit.error = password, None
        _checked(work, quiet, asking)
    if quiet.stopped:
        raise KeyboardInterrupt


def _checked(work: Work, quiet: Stages, units: Sequence[Unit]) -> None:
    from provisioner.onboarding.recording import tame

    if not units:
        return
    heard = quiet.apply(("check",), units, partial(target, work), check=True)
    for unit in units:
        unit.told = False
        if isinstance(unit.error, Refused) and unit.facts is None and "sudo" not in unit.error.message:
            hint = "is it a Linux with /bin/sh at all? Switches, cameras and the like answer SSH, too"
            unit.error.hint = f"{unit.error.hint}; {hint}" if unit.error.hint else hint
        told = heard.values.get(unit.label, {})
        unit.serial, unit.machine = tame(told.get("serial")) or None, tame(told.get("machine")) or None
        unit.warnings = heard.warnings.get(unit.label, [])


def judge(work: Work) -> None:
    """Give names and groups, find duplicates, and tell what each unit is."""
    from provisioner.onboarding.judging import group_for, hostname_for, judge_duplicates, known_units, name_for
    from provisioner.onboarding.recording import planned

    home, options = work.home, work.options
    fleet = known_units(home.inventory, home.known_hosts, home.machines())
    for unit, error in judge_duplicates(alive(work.units), fleet, options.replace):
        unit.fail(error)
    taken = set(home.inventory.hosts) | set(home.inventory.groups)
    for unit in alive(work.units):
        if unit.facts is None:
            unit.fail(Unreachable("it did not tell what it is", hint="run again"))
            continue
        facts = unit.facts.facts
        unit.name = unit.existing or options.name or name_for(facts, unit.serial, unit.machine, taken)
        taken.add(unit.name)
        unit.group = group_for(facts, home.inventory, options.group)
        unit.hostname = hostname_for(unit.name, facts.hostname)
        unit.key_file = work.pair.path
        try:
            planned(home, unit)
        except InputError as error:
            unit.fail(Refused(str(error), hint=error.hint))
            continue
        serial = f", serial number {unit.serial}" if unit.serial else ""
        where = "" if unit.existing else f" in {unit.group}"
        release = f"L4T {facts.l4t}" + (f" (JetPack {facts.jetpack})" if facts.jetpack else "")
        say(f"{unit.label}: {facts.module_name}, {release}{serial} -> {unit.name}{where}")
        for warning in unit.warnings:
            say(f"  warning: {warning}")
