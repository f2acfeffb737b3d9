"""`provision facts`: tell what the devices are, as a table or as JSON."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .fleet import Fleet, Listeners, load_fleet, start_lab

if TYPE_CHECKING:
    import argparse

    from provisioner.events import Event
    from provisioner.jetson.described import FullFactsState


def run(options: argparse.Namespace) -> int:
    """Look at the facts of the hosts; return the exit code."""
    from provisioner.jetson.facts.telling import told_of
    from provisioner.report import Recap, exit_code
    from provisioner.report.errors import print_error
    from provisioner.report.facts import print_facts

    fleet, _ = load_fleet(options, [])
    start_lab(fleet, options)
    recap = Recap()
    heard = _Heard()
    states = gather(fleet, options, Listeners([recap, heard]))
    table = {name: told_of(state.facts, state.more, heard.offset(name, state)) for name, state in states.items()}
    print_facts(table, sys.stdout, as_json=options.json)
    for error in heard.errors:
        print_error(error, sys.stderr)
    return exit_code(recap)


class _Heard:
    """Keeps why hosts were lost, and when each of the others had told its facts."""

    def __init__(self) -> None:
        self.errors: list[Any] = []
        self._ended: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        from provisioner.errors import HostError
        from provisioner.events import HostFinished, HostLost

        if isinstance(event, HostLost):
            self.errors.append(HostError(f"{event.host}: {event.message}", hint=event.hint))
        elif isinstance(event, HostFinished):
            self._ended[event.host] = time.time()

    def offset(self, host: str, state: FullFactsState) -> int | None:
        """Return by how many seconds a host's clock is ahead; it was read last, a moment before the host had ended."""
        clock, ended = state.more.clock, self._ended.get(host)
        return None if clock is None or ended is None else clock - int(ended)

    def close(self) -> None:
        return


def gather(fleet: Fleet, options: argparse.Namespace, listener: Listeners) -> dict[str, FullFactsState]:
    """Look at the facts and details of all hosts that can be reached, in one round trip each."""
    from provisioner.errors import Source
    from provisioner.jetson.described import FullFacts, FullFactsState
    from provisioner.jetson.failures import explain
    from provisioner.jetson.observed import derive, fact_names
    from provisioner.playbook import Play, Playbook
    from provisioner.runner import Runner, Settings

    here = Source("facts")
    play = Play(name="facts", hosts="all", hosts_source=here, source=here)
    settings = Settings(
        check=True,
        forks=options.forks,
        become=bool(vars(options).get("become")),
        facts=FullFacts(),
        derive=derive,
        fact_names=fact_names(),
        explain=explain,
    )
    runner = Runner(fleet.inventory, fleet.modules, fleet.connect, listener, settings)
    runner.run([Playbook(path=Path("facts"), plays=(play,))], fleet.hosts)
    return {name: state for name, state in runner.facts().items() if isinstance(state, FullFactsState)}
