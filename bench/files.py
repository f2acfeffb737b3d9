"""Files: one of 200 MB, and a folder of 2,000, to 10 hosts at once; against rsync over ssh, started for all at once."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure
from bench.hosts import fleet
from bench.part import Goal, Options, Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.hosts import Fleet
    from bench.measure import Sample

HOSTS = 10
LIMIT = 1.25
MEMORY_LIMIT = 1.1
MEGABYTE = 1_000_000
MEMORY = Path("/dev/shm")  # noqa: S108 - where there is room, disks are left out of it: both would wait for the same one
TOP = Path(__file__).parent.parent


@dataclass(frozen=True)
class Load:
    """What is pushed: a file, or a folder of files."""

    name: str
    size: int
    files: int = 1
    folders: int = 1

    def make(self, folder: Path) -> Path:
        """Write it; half of it packs well, as programs and models do, and half does not."""
        source = folder / "source" / self.name
        noise = random.Random(1)  # noqa: S311 - the same in each run
        if self.files == 1:
            source.mkdir(parents=True)
            with (source / "file").open("wb") as file:
                for _ in range(self.size // MEGABYTE):
                    file.write(noise.randbytes(MEGABYTE // 2) + b"any text " * (MEGABYTE // 18))
            return source
        for number in range(self.files):
            within = source / f"folder{number % self.folders:03}"
            within.mkdir(parents=True, exist_ok=True)
            half = self.size // self.files // 2
            (within / f"file{number:05}").write_bytes(noise.randbytes(half) + b"any text " * (half // 9))
        return source


def run(options: Options) -> Part:
    """Measure cold pushes and such with nothing left to push, of each kind, ours and rsync's in turn."""
    part = Part(name="files", title=f"Files to {HOSTS} hosts", about=__doc__ or "")
    if not shutil.which("rsync"):
        part.notes.append("rsync is not installed: nothing was measured")
        return part
    loads = (Load("200 MB", 200 * MEGABYTE), Load("2,000 files", 20 * MEGABYTE, 2000, 40))
    if options.quick:
        loads = (Load("20 MB", 20 * MEGABYTE), Load("200 files", 2 * MEGABYTE, 200, 10))
    with _room(), fleet(HOSTS) as hosts:
        for load in loads:
            _measure(part, hosts, load, load.make(hosts.folder), options.runs)
        _measure_memory(part, hosts, loads[0])
        part.notes.append(f"the hosts' trees lie in {hosts.folder.parent}; rsync writes without fsync, we with it")
        part.notes.append("with nothing to push, rsync compares sizes and times, and we the SHA-256 of every file")
    return part


@contextmanager
def _room() -> Iterator[None]:
    """Let temporary folders lie in memory, if there is enough."""
    before = tempfile.tempdir
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 8 * HOSTS * 200 * MEGABYTE // 5:
        tempfile.tempdir = str(MEMORY)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _measure(part: Part, hosts: Fleet, load: Load, source: Path, runs: int) -> None:
    tools = {"rsync": _rsync(hosts, source), "ours": _ours(hosts, source)}
    samples: dict[tuple[str, str], list[Sample]] = {(what, tool): [] for what in ("push", "nothing") for tool in tools}
    for _ in range(runs):
        for tool, command in tools.items():
            hosts.clear()
            for what in ("push", "nothing"):
                samples[what, tool].append(measure.require(command(), f"{tool}, {load.name}, {what}"))
            _compare(hosts, source)
    for what in ("push", "nothing"):
        costs = {tool: measure.median(samples[what, tool]) for tool in tools}
        for tool, cost in costs.items():
            row = {"load": load.name, "what": what, "tool": tool, "wall_s": cost.wall, "cpu_s": cost.cpu}
            part.rows.append({**row, "memory_mb": cost.memory, "wall_ratio": cost.wall / costs["rsync"].wall})
        ratio = costs["ours"].wall / costs["rsync"].wall
        text = f"{load.name}, {'pushed' if what == 'push' else 'nothing to push'}: wall time against rsync"
        part.goals.append(Goal(text=text, value=ratio, limit=LIMIT, unit="times"))


def _measure_memory(part: Part, hosts: Fleet, load: Load) -> None:
    """Compare the peak memory of pushing a file and of pushing a tenth of it."""
    peaks = []
    for one in (Load(f"a tenth of {load.name}", load.size // 10), load):
        source = hosts.folder / "source" / one.name
        hosts.clear()
        sample = _ours(hosts, source if source.is_dir() else one.make(hosts.folder))()
        peaks.append(measure.require(sample, f"ours, {one.name}").memory)
    text = f"{load.name}: peak memory against that of pushing a tenth"
    part.goals.append(Goal(text=text, value=peaks[1] / peaks[0], limit=MEMORY_LIMIT, unit="times"))


def _rsync(hosts: Fleet, source: Path) -> Callable[[], Sample]:
    """Return what runs one rsync for each host, all at once."""
    given = {"IdentityFile": hosts.key, "UserKnownHostsFile": hosts.known_hosts, "BatchMode": "yes", "Port": hosts.port}
    ssh = ["ssh", "-F", "none", *(word for name, value in given.items() for word in ("-o", f"{name}={value}"))]
    lines = []
    for host in hosts.hosts:
        place = f"{hosts.user}@{host.address}:{host.tree}/copy/"
        command = ["rsync", "-a", "-e", shlex.join(ssh), f"{source}/", place]
        lines.append(f'{shlex.join(command)} & all="$all $!"')
    script = "\n".join(["all=", *lines, "for one in $all; do wait $one || exit; done"])
    return partial(measure.run, ["sh", "-c", script])


def _ours(hosts: Fleet, source: Path) -> Callable[[], Sample]:
    """Return what runs a copy task on all hosts."""
    folder = hosts.folder / "ours"
    folder.mkdir(exist_ok=True)
    named = {host.name: {"ansible_host": host.address, "tree": str(host.tree)} for host in hosts.hosts}
    every = {"ansible_port": hosts.port, "ansible_user": hosts.user, "ansible_ssh_private_key_file": str(hosts.key)}
    (folder / "hosts.yaml").write_text(json.dumps({"all": {"hosts": named, "vars": every}}))
    state = folder / ".provision"
    state.mkdir(exist_ok=True)
    shutil.copy(hosts.known_hosts, state / "known_hosts")
    copy = {"src": f"{source}/", "dest": "{{ tree }}/copy/"}
    play = {"name": "files", "hosts": "all", "tasks": [{"name": "the files are there", "copy": copy}]}
    (folder / "play.yaml").write_text(json.dumps([play]))
    words = ("apply", folder / "hosts.yaml", folder / "play.yaml", "--forks", str(HOSTS))
    environment = {**os.environ, "PYTHONPATH": str(TOP), "HOME": str(folder)}
    return partial(measure.run, [sys.executable, "-m", "provisioner", *map(str, words)], env=environment, cwd=folder)


def _compare(hosts: Fleet, source: Path) -> None:
    """See that every host has every file."""
    wanted = sorted((path.relative_to(source), path.stat().st_size) for path in source.rglob("*") if path.is_file())
    for host in hosts.hosts:
        top = host.tree / "copy"
        found = sorted((path.relative_to(top), path.stat().st_size) for path in top.rglob("*") if path.is_file())
        if found != wanted:
            raise RuntimeError(f"{host.name} has {len(found)} files, and should have {len(wanted)}")


if __name__ == "__main__":
    measured = run(Options(runs=int(sys.argv[1]) if sys.argv[1:] else 3, quick="quick" in sys.argv))
    for row in measured.rows:
        print(row)
    for goal in measured.goals:
        print("reached" if goal.met else "missed ", f"{goal.value:.2f} {goal.limit}", goal.text)
