"""`provision facts`: tell what the devices are, as a table or as JSON."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fleet import Fleet, Listeners, load_fleet, start_lab, warm_up

if TYPE_CHECKING:
    import argparse

    from provisioner.events import Event
    from provisioner.jetson.observed import FactsState


def run(options: argparse.Namespace) -> int:
    """Look at the facts of the hosts; return the exit code."""
    from provisioner.jetson.observed import table_row
    from provisioner.report import Recap, exit_code
    from provisioner.report.errors import print_error
    from provisioner.report.facts import print_facts

    warm_up()
    fleet, _ = load_fleet(options, [])
    start_lab(fleet, options)
    recap = Recap()
    lost = _Lost()
    states = gather(fleet, options, Listeners(recap, [lost]))
    table = {name: table_row(state) for name, state in states.items()}
    print_facts(table, sys.stdout, as_json=options.json)
    for error in lost.errors:
        print_error(error, sys.stderr)
    return exit_code(recap)


class _Lost:
    """Keeps why hosts were lost."""

    def __init__(self) -> None:
        self.errors: list[Any] = []

    def __call__(self, event: Event) -> None:
        from provisioner.errors import HostError
        from provisioner.events import HostLost

        if isinstance(event, HostLost):
            self.errors.append(HostError(f"{event.host}: {event.message}", hint=event.hint))

    def close(self) -> None:
        return


def gather(fleet: Fleet, options: argparse.Namespace, listener: Listeners) -> dict[str, FactsState]:
    """Look at the facts of all hosts that can be reached."""
    from provisioner.errors import Source
    from provisioner.jetson.observed import Facts, FactsState, derive
    from provisioner.playbook import Play, Playbook
    from provisioner.runner import Runner, Settings

    here = Source("facts")
    play = Play(name="facts", hosts="all", hosts_source=here, source=here)
    settings = Settings(check=True, forks=options.forks, facts=Facts(), derive=derive)
    runner = Runner(fleet.inventory, fleet.modules, fleet.connect, listener, settings)
    runner.run([Playbook(path=Path("facts"), plays=(play,))], fleet.hosts)
    return {name: state for name, state in runner.facts().items() if isinstance(state, FactsState)}
