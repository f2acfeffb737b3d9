"""The same work under Ansible, Mitogen, pyinfra, ours and the floor: first run, and a run with nothing to change."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import goals, hosts, peers, trees
from bench.measure import median, require
from bench.part import RESULTS, Options, Part, Row, load
from bench.tools import FLOOR, OURS, PEERS, USUAL, Job
from bench.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bench.hosts import Fleet
    from bench.measure import Sample
    from bench.wire import Count

FIRST, AGAIN = "first run", "no change"
_SOME, _MANY, _LARGE = 10, 50, 100


@dataclass(frozen=True)
class Case:
    """One comparison: so many hosts and tasks, so far away, under these tools."""

    hosts: int
    tasks: int = USUAL
    rtt_ms: int = 0
    tools: tuple[str, ...] = (*PEERS, OURS, FLOOR)


def cases(options: Options) -> Iterator[Case]:
    """Yield what is compared, first what the goals are about."""
    both = (OURS, FLOOR)
    peers_too = both if options.quick else Case.tools
    for rtt in (0, 50):
        yield Case(1, rtt_ms=rtt)
        yield Case(10, rtt_ms=rtt, tools=peers_too)
        yield Case(50, rtt_ms=rtt, tools=both)
        if not options.quick:
            yield Case(200, rtt_ms=rtt, tools=both)
    for tasks in (60, 100):
        yield Case(1, tasks, tools=peers_too if tasks < _LARGE else both)
        yield Case(10, tasks, tools=both)
        yield Case(1, tasks, rtt_ms=50, tools=both)
    yield Case(1, 15, rtt_ms=50, tools=both)
    yield Case(1, 100, rtt_ms=100, tools=both)
    if not options.quick:
        yield Case(25)
        yield Case(25, rtt_ms=50)
        yield Case(1, rtt_ms=150)
        yield Case(10, rtt_ms=150, tools=both)


def run(options: Options) -> Part:
    """Return what each tool cost in each case."""
    part = Part(
        name="compare",
        title="The same work under each tool",
        about="Medians of alternating runs. Memory is the largest process's; bytes and round trips are a host's.",
    )
    began = time.monotonic()
    missing = peers.install() if options.peers else "nobody asked for them"
    versions = ", ".join(f"{name} {version}" for name, version in peers.versions().items())
    part.notes.append(f"The peers were not measured: {missing}." if missing else f"Peers: {versions}.")
    if (busy := os.getloadavg()[0]) > 1:
        part.notes.append(
            f"The machine had other work when this began (load {busy:.0f}): trust CPU more than wall time."
        )
    with ExitStack() as stack:
        chosen = [one if not missing else _without_peers(one) for one in cases(options)]
        if options.resume:
            chosen = list(_not_in(kept := load(RESULTS / f"{part.name}.json").rows, chosen))
            part.rows += kept
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-jobs-")))
        fleet = stack.enter_context(hosts.fleet(max(one.hosts for one in chosen)))
        wire = stack.enter_context(Wire(fleet.wire_port, fleet.port))
        for number, case in enumerate(chosen):
            if options.minutes is not None and time.monotonic() > began + options.minutes * 60:
                part.notes.append(f"Left out, as there was no time: {'; '.join(map(_words, chosen[number:]))}.")
                break
            rows, broken = measured(case, fleet, wire, folder / str(number), options)
            part.rows += rows
            part.notes += [f"{_words(case)}: {tool} failed: {why}" for tool, why in broken.items()]
    part.rows.sort(key=lambda row: (row["rtt_ms"], row["hosts"], row["tasks"]))  # type: ignore[operator]
    part.goals = goals.of(part.rows)
    return part


def _not_in(rows: Sequence[Row], chosen: Sequence[Case]) -> Iterator[Case]:
    """Yield the cases of which there are no rows."""
    there = {(row["hosts"], row["tasks"], row["rtt_ms"]) for row in rows}
    return (case for case in chosen if (case.hosts, case.tasks, case.rtt_ms) not in there)


def _without_peers(case: Case) -> Case:
    return Case(case.hosts, case.tasks, case.rtt_ms, tuple(name for name in case.tools if name not in PEERS))


def measured(case: Case, fleet: Fleet, wire: Wire, folder: Path, options: Options) -> tuple[list[Row], dict[str, str]]:
    """Return the rows of a case, and which peers failed, with the reason."""
    began = time.monotonic()
    job = Job(fleet, case.hosts, case.tasks, fleet.wire_port if case.rtt_ms else fleet.port, folder)
    trial = Trial(case, job, wire)
    wire.rtt(case.rtt_ms / 1000)
    for round_ in range(options.runs):
        for tool in case.tools:
            if tool != FLOOR and round_ < _runs(tool, case, FIRST, options):
                trial.attempt(tool, trial.first)
    for round_ in range(options.runs):
        for tool in case.tools:
            if round_ < _runs(tool, case, AGAIN, options):
                trial.attempt(tool, trial.again)
    rows = list(trial.rows())
    told = ", ".join(f"{row['tool']} {row['wall_s']:.2f}/{row['cpu_s']:.2f}" for row in rows if row["phase"] == AGAIN)
    print(f"{_words(case)}: wall/CPU {told} (in {time.monotonic() - began:.0f} s)", file=sys.stderr, flush=True)
    return rows, trial.broken


def _words(case: Case) -> str:
    return f"{case.hosts} hosts, {case.tasks} tasks, {case.rtt_ms} ms"


def _runs(tool: str, case: Case, phase: str, options: Options) -> int:
    """Return how often a tool is run: what takes minutes less often than what takes a second."""
    if options.quick:
        return 1
    if tool in PEERS:
        few = 2 if phase == AGAIN or tool != "ansible" else 1
        return few if case.hosts <= _SOME and case.tasks <= USUAL else 1
    if phase == FIRST:
        return 2 if case.hosts <= _SOME else 1
    return options.runs if case.hosts <= _MANY else max(2, options.runs // 2)


class Trial:
    """The runs of one case, each one verified."""

    def __init__(self, case: Case, job: Job, wire: Wire) -> None:
        self.case = case
        self.job = job
        self.wire = wire
        self.hosts = job.fleet.hosts[: case.hosts]
        self.broken: dict[str, str] = {}
        self._samples: dict[tuple[str, str], list[Sample]] = defaultdict(list)
        self._on_hosts: dict[tuple[str, str], list[float]] = defaultdict(list)
        self._counts: dict[tuple[str, str], Sequence[Count]] = {}

    def attempt(self, tool: str, step: Callable[[str], None]) -> None:
        """Run a tool; a peer that fails is left out of this case, and the reason told."""
        if tool in self.broken:
            return
        try:
            step(tool)
        except RuntimeError as error:
            if tool not in PEERS:
                raise
            self.broken[tool] = str(error)

    def first(self, tool: str) -> None:
        """Run a tool on empty trees."""
        self.job.fleet.clear(self.case.hosts)
        if tool == OURS:
            self.job.forget()
        self._run(tool, FIRST)
        trees.verify(self.hosts, self.case.tasks, tool)

    def again(self, tool: str) -> None:
        """Run a tool where nothing is left to change, whoever made it so."""
        before = trees.snapshot(self.hosts)
        self._run(tool, AGAIN)
        if trees.snapshot(self.hosts) != before:
            raise RuntimeError(f"{tool} touched what was as it should be")

    def _run(self, tool: str, phase: str) -> None:
        self.wire.reset()
        before = self.job.fleet.cpu()
        sample = require(self.job.run(tool), f"{tool}, {phase}, {self.case.hosts} hosts")
        self._samples[tool, phase].append(sample)
        self._on_hosts[tool, phase].append((self.job.fleet.cpu() - before) / self.case.hosts)
        if self.case.rtt_ms:
            self._counts[tool, phase] = list(self.wire.read().values())

    def rows(self) -> Iterator[Row]:
        """Yield a row for each tool and phase."""
        for (tool, phase), samples in self._samples.items():
            if tool in self.broken:
                continue
            middle = median(samples)
            counts = self._counts.get((tool, phase), ())
            yield {
                "phase": phase,
                "hosts": self.case.hosts,
                "tasks": self.case.tasks,
                "rtt_ms": self.case.rtt_ms,
                "tool": tool,
                "runs": len(samples),
                "wall_s": middle.wall,
                "cpu_s": middle.cpu,
                "host_cpu_s": statistics.median(self._on_hosts[tool, phase]),
                "memory_mb": middle.memory,
                "up_kb": sum(one.up for one in counts) / 1000 / self.case.hosts if counts else None,
                "down_kb": sum(one.down for one in counts) / 1000 / self.case.hosts if counts else None,
                "trips": max(one.trips for one in counts) if counts else None,
            }
