"""Start-up: what `provision --version` takes over a bare Python, and when the first line about a host is there."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench import hosts
from bench.part import Goal, Options, Part
from bench.tools import OURS, ROOT, USUAL, Job

PROVISION = [sys.executable, "-m", "provisioner"]
TIMEOUT = 60


def run(options: Options) -> Part:
    """Measure both, each as the median of alternating runs."""
    part = Part(
        name="startup",
        title="Start-up",
        about="`provision --version` beside `python -c pass`, in alternating runs; and the time from the start of "
        "`provision apply` in a terminal to the first line that names a host, "
        f"with {USUAL} tasks and nothing to change.",
    )
    _version(part, 3 * options.runs)
    with hosts.fleet(1) as fleet, tempfile.TemporaryDirectory(prefix="bench-startup-") as folder:
        job = Job(fleet, 1, USUAL, fleet.port, Path(folder) / "job")
        if job.run(OURS).rc:
            part.notes.append("the first run failed: the first line was not measured")
            return part
        _first_line(part, job, fleet.hosts[0].name, options.runs)
    return part


def _version(part: Part, runs: int) -> None:
    commands = {"python -c pass": [sys.executable, "-c", "pass"], "provision --version": [*PROVISION, "--version"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, cwd=ROOT, capture_output=True, check=True)
            times[name].append(time.perf_counter() - began)
    bare, version = (statistics.median(one) for one in times.values())
    part.rows += [{"what": name, "wall_s": statistics.median(one)} for name, one in times.items()]
    part.goals.append(Goal(text="--version over a bare Python", value=(version - bare) * 1000, limit=120, unit="ms"))


def _first_line(part: Part, job: Job, host: str, runs: int) -> None:
    seconds = statistics.median(_until(job, host) for _ in range(runs))
    part.rows.append({"what": "provision apply: first line about a host", "wall_s": seconds})
    part.goals.append(Goal(text="the first line about a host", value=seconds, limit=0.5, unit="s"))


def _until(job: Job, host: str) -> float:
    """Return the seconds until a terminal shows a host's name."""
    command = [*PROVISION, "apply", "hosts.yaml", "play.yaml"]
    ours, theirs = os.openpty()
    env = job.env(PYTHONPATH=str(ROOT), TERM="xterm")
    began = time.perf_counter()
    with subprocess.Popen(command, env=env, cwd=job.folder, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown, seconds = b"", 0.0
        while piece := _read(ours):
            shown += piece
            if not seconds and host.encode() in shown:
                seconds = time.perf_counter() - began
        process.wait(TIMEOUT)
    os.close(ours)
    if not seconds:
        raise RuntimeError(f"no host was named: {shown!r}")
    return seconds


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # a terminal that nobody writes to any more
        return b""
