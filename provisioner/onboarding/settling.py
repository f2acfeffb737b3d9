"""Changing the units, in an order in which every failure leaves them as reachable as they were."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from provisioner.errors import InputError, Refused
from provisioner.onboarding.access import prove
from provisioner.onboarding.contact import side_by_side
from provisioner.onboarding.recording import record
from provisioner.onboarding.units import alive
from provisioner.onboarding.work import begin, target

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from provisioner.onboarding.stages import Held
    from provisioner.onboarding.units import Unit
    from provisioner.onboarding.work import Work

PASSWORDS = ("password", "keyboard-interactive")


def settle(work: Work) -> None:
    """Change the units: first what lets the key in, then the rest over the key, last what keeps passwords out."""
    units = alive(work.units)
    begin(work, units, check=False)
    try:
        work.stages.apply(("key",), units, partial(target, work))
        path = work.pair.path
        side_by_side(alive(units), lambda unit: prove(work.door.by_key(unit, path), work.pair))
        if (left := alive(units)) and not work.stages.stopped:
            work.stages.apply(("settings",), left, partial(target, work, key=True))
        if (left := alive(units)) and work.options.disable_password and not work.stages.stopped:
            _keys_only(work, left)
    finally:
        work.run.finish([unit.name for unit in alive(units)], interrupted=work.stages.stopped)


def _keys_only(work: Work, units: Sequence[Unit]) -> None:
    """Turn login with a password off, and on again where the key does not log in any more, or passwords still do."""
    held: dict[str, Held] = {}
    by_key = partial(target, work, key=True)

    def proven(unit: Unit) -> None:
        from provisioner.transport.greeting import ways_in

        prove(work.door.by_key(unit, work.pair.path), work.pair)
        if left := [way for way in ways_in(work.door.by_key(unit, work.pair.path)) if way in PASSWORDS]:
            hint = "what else sets it in /etc/ssh/sshd_config? sshd goes by the first word"
            raise Refused(f"sshd still offers {' and '.join(left)}", hint=hint)

    try:
        heard = work.stages.apply(("password",), units, by_key, held=held)
        side_by_side(alive(units), proven)
        back = [unit for unit in units if not unit.alive and unit.name in held and unit.name in heard.changed]
        if back:
            errors = {unit.name: unit.error for unit in back}
            for unit in back:
                unit.error = None
            work.stages.apply(("undo",), back, by_key, held=held)
            for unit in back:
                unit.fail(errors[unit.name] or Refused("login with a password could not be turned off"))
    finally:
        for transport in held.values():
            transport.release()


def write_down(work: Work, say: Callable[[str], None]) -> None:
    """Write down every unit that got through: host key, entry and facts."""
    for unit in alive(work.units):
        try:
            record(work.home, unit, work.scratch)
        except InputError as error:
            hint = error.hint or "the unit lets the key in; run again"
            unit.fail(Refused(str(error), hint=hint))
            continue
        unit.done = True
        say(f"{unit.name}: is in {work.options.inventory}")
