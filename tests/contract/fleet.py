"""Runs plays on a real sshd, as the command line does, and keeps what was told."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.events import Event, HostFinished, HostLost, TaskFinished, TaskResult
from provisioner.inventory import load_inventory
from provisioner.model import task_types
from provisioner.playbook import load_playbook
from provisioner.runner import Runner, Settings
from provisioner.transport import SshSession
from provisioner.transport.link import SshTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from sshd import Sshd


@dataclass
class Told:
    """What a run told of its one host."""

    events: list[Event] = field(default_factory=list)

    @property
    def results(self) -> list[TaskResult]:
        """Return the results in order."""
        return [event.result for event in self.events if isinstance(event, TaskFinished)]

    @property
    def statuses(self) -> list[str]:
        """Return the statuses in order."""
        return [result.status for result in self.results]

    @property
    def trips(self) -> int:
        """Return how many batches were sent."""
        return sum(event.trips for event in self.events if isinstance(event, HostFinished))

    @property
    def lost(self) -> list[HostLost]:
        """Return why hosts were lost."""
        return [event for event in self.events if isinstance(event, HostLost)]

    @property
    def finished(self) -> HostFinished:
        """Return how the host ended."""
        return next(event for event in reversed(self.events) if isinstance(event, HostFinished))


def meanwhile(disturb: Callable[[], None], run: Callable[[], Told]) -> Told:
    """Run while something else happens; raises what either of them raises."""
    with ThreadPoolExecutor(1) as pool:
        disturbing = pool.submit(disturb)
        told = run()
        disturbing.result()
    return told


def play(
    sshd: Sshd,
    folder: Path,
    text: str,
    *,
    check: bool = False,
    become: bool = False,
    target: dict[str, Any] | None = None,
    **settings: Any,
) -> Told:
    """Run a playbook's text on the host `device`; `target` changes how it is reached."""
    path = folder / "play.yaml"
    path.write_text(text)
    (folder / "inventory").mkdir(exist_ok=True)
    (folder / "inventory" / "hosts.yaml").write_text("all: {hosts: {device: }}\n")
    inventory = load_inventory(str(folder / "inventory" / "hosts.yaml"))
    told = Told()

    def connect(_host: Any, privileged: bool) -> SshTransport:
        return SshTransport(SshSession(sshd.target(become=privileged, **target or {})))

    options = Settings(check=check, become=become, **settings)
    runner = Runner(inventory, task_types(), connect, told.events.append, options)
    runner.run([load_playbook(path, task_types())], inventory.select("all"))
    return told
