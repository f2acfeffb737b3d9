"""The handshake: one look at each host over each SSH library that could carry it, behind the same protocol.

python -m bench.handshake [--quick]
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench import hosts, known_hosts, measure, peers
from bench.part import Goal, Options, Part
from bench.transports.openssh import command
from bench.transports.way import Way
from bench.wire import Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.hosts import Fleet
    from bench.measure import Sample
    from bench.part import Value

ROOT = Path(__file__).parent.parent
PACKAGES = ("asyncssh~=2.24", "ssh2-python~=1.2", "fabric>=3.2", "pyyaml", "jinja2", "rich")
SIZES = (1, 10, 50, 200)
RTTS = (0.0, 0.05)
FORKS = 50
FLOOR = "bare"
WARM = "openssh-warm"
TITLES = {
    "ours": "ours (fabric, paramiko)",
    FLOOR: "bare paramiko (the floor)",
    "asyncssh": "asyncssh",
    "ssh2": "ssh2-python (libssh2)",
    "openssh": "OpenSSH, new masters",
    WARM: "OpenSSH, masters there",
}


def python() -> Path:
    """Return the interpreter of the environment that has the libraries."""
    return peers.folder() / "ssh" / "bin" / "python"


def install() -> str | None:
    """Install the libraries into an environment of their own; return why that could not be done, or None."""
    there = peers.imports(python(), "asyncssh, ssh2.session, fabric, yaml, jinja2, rich")
    return None if there else peers.environment(python(), PACKAGES)


class Job:
    """So many hosts over one port; a folder with the job's file and the sockets of ssh's masters."""

    def __init__(self, fleet: Fleet, number: int, port: int, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        (folder / "home").mkdir()
        self.ways = [
            Way(
                host.name,
                host.address,
                port,
                fleet.user,
                str(fleet.key),
                str(fleet.known_hosts),
                fleet.host_key,
                str(folder / "c"),
            )
            for host in fleet.hosts[:number]
        ]
        (folder / "job.json").write_text(json.dumps({"forks": FORKS, "ways": [asdict(way) for way in self.ways]}))
        self._clean()

    def run(self, name: str, *options: str) -> Sample:
        """Run the job over a library once; where masters are to be there, they are made before."""
        self._clean()
        if name != WARM:
            return self._once(name, *options)
        with self._masters() as pids:
            before = sum(map(_nanoseconds, pids))
            sample = self._once("openssh", *options)
            spent = sum(map(_nanoseconds, pids)) - before
        return replace(sample, cpu=sample.cpu + spent / 1e9)

    def trips(self, name: str, wire: Wire) -> int:
        """Return the round trips of a run over the wire; those of masters that were there are not counted."""
        time.sleep(1)  # what earlier connections had on the way is not to be counted
        wire.reset()
        if name != WARM:
            self.run(name)
            return _most(wire)
        self._clean()
        with self._masters():
            before = _most(wire)
            self._once("openssh")
            return _most(wire) - before

    def _once(self, library: str, *options: str) -> Sample:
        env = {
            "PATH": os.environ["PATH"],
            "LC_ALL": "C.UTF-8",
            "PYTHONPATH": str(ROOT),
            "HOME": str(self.folder / "home"),
        }
        program = [python(), "-m", "bench.transports", library, self.folder / "job.json", *options]
        return measure.require(measure.run(program, env=env, cwd=self.folder), library)

    def _clean(self) -> None:
        shutil.rmtree(self.folder / "c", ignore_errors=True)
        (self.folder / "c").mkdir(mode=0o700)

    @contextmanager
    def _masters(self) -> Iterator[list[int]]:
        try:
            self._each("-M", "-N", "-f")
            yield _owned_by(str(self.folder / "c"))
        finally:
            self._each("-O", "exit")

    def _each(self, *words: str) -> None:
        def one(way: Way) -> None:
            subprocess.run(command(way, *words), check=False, capture_output=True)

        with ThreadPoolExecutor(10) as pool:
            list(pool.map(one, self.ways))


def _owned_by(control: str) -> list[int]:
    """Return the masters whose sockets lie in a folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if control.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def _nanoseconds(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
    return 0


def run(options: Options) -> Part:
    """Measure each library for each number of hosts and round-trip time."""
    part = Part(
        name="handshake",
        title="The handshake",
        about="A process that connects to all hosts, has one look at each, and hangs up, over each of the libraries "
        "behind the same protocol: wall time and CPU of the process with all that it starts, from its start; memory "
        "while all are connected.",
    )
    if why := hosts.missing() or install():
        part.notes.append(f"not measured: {why}")
        return part
    sizes = SIZES[:2] if options.quick else SIZES
    with tempfile.TemporaryDirectory(prefix="bench-") as folder, hosts.fleet(max(sizes)) as fleet:
        for size in sizes:
            for rtt in RTTS:
                part.rows += _measured(fleet, size, rtt, Path(folder) / f"{size}-{rtt}", options.runs)
    part.goals += _goals(part.rows)
    part.notes += known_hosts.notes()
    return part


def _measured(fleet: Fleet, size: int, rtt: float, folder: Path, runs: int) -> list[dict[str, Value]]:
    rows: list[dict[str, Value]] = []
    with Wire(fleet.wire_port, fleet.port, rtt) as wire:
        job = Job(fleet, size, fleet.wire_port if rtt else fleet.port, folder)
        samples = measure.alternating({name: _runner(job, name) for name in TITLES}, runs)
        for name, title in TITLES.items():
            middle = measure.median(samples[name])
            row: dict[str, Value] = {"library": title, "hosts": size, "rtt_ms": rtt * 1000}
            row |= {"wall_s": middle.wall, "cpu_s": middle.cpu}
            row["memory_mb"] = None if rtt else float(job.run(name, "--memory").output)
            row["trips"] = job.trips(name, wire) if rtt else None
            rows.append(row)
    floor = next(row for row in rows if row["library"] == TITLES[FLOOR])
    for row in rows:
        row["wall_ratio"] = float(row["wall_s"] or 0) / float(floor["wall_s"] or 1)
        row["cpu_ratio"] = float(row["cpu_s"] or 0) / float(floor["cpu_s"] or 1)
    return rows


def _runner(job: Job, name: str) -> Callable[[], Sample]:
    return lambda: job.run(name)


def _most(wire: Wire) -> int:
    return max(count.trips for count in wire.read().values())


def _goals(rows: list[dict[str, Value]]) -> list[Goal]:
    ours = [row for row in rows if row["library"] == TITLES["ours"]]
    most = max(ours, key=lambda row: (row["hosts"], row["rtt_ms"]))
    return [
        Goal(
            text=f"CPU of ours against bare paramiko, {most['hosts']} hosts",
            value=float(most["cpu_ratio"] or 0),
            limit=1.3,
            unit="times",
        )
    ]


def main() -> None:
    """Measure, save, and print the rows."""
    part = run(Options(runs=3, quick="--quick" in sys.argv))
    part.save()
    for row in part.rows:
        print("  ".join(f"{name}={value}" for name, value in row.items()))
    for goal in part.goals:
        print(goal)
    print(*part.notes, sep="\n")


if __name__ == "__main__":
    main()
