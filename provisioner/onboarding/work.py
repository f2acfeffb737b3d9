"""One run of the command: what it was told, and what it works with."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from provisioner.events import RunStarted
from provisioner.records import dataclass

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from provisioner.onboarding.access import Door, KeyPair
    from provisioner.onboarding.recording import Home
    from provisioner.onboarding.stages import OneRun, Stages
    from provisioner.onboarding.units import Unit
    from provisioner.transport import Secret, Target


@dataclass
class Work:
    """One run: options, inventory, units, keys; `begun` tells that something may have been changed."""

    options: Namespace
    home: Home
    units: list[Unit]
    pair: KeyPair
    door: Door
    scratch: Path
    stages: Stages
    run: OneRun
    password: Secret | None
    begun: bool = False


def target(work: Work, unit: Unit, become: bool, *, key: bool = False) -> Target:
    """Return how a unit is reached now: with the key once that works, else with the password."""
    by_key = key or unit.by_key
    found = work.door.by_key(unit, work.pair.path) if by_key else work.door.by_password(unit)
    return replace(found, become=become)


def stage_names(options: Namespace) -> tuple[str, ...]:
    """Return the stages that are asked for, in order."""
    return ("key", "settings", "password") if options.disable_password else ("key", "settings")


def begin(work: Work, units: Sequence[Unit], *, check: bool) -> None:
    """Tell the reports that the run begins."""
    backend = "lab" if any(unit.lab for unit in units) else None
    names = tuple(unit.name for unit in units)
    work.run.begin(RunStarted(at=time.monotonic(), hosts=names, check=check, simulated=backend))
