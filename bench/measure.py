"""What a command costs: wall time, CPU and peak memory, of all that it starts; and medians of alternating runs."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_PARENT_DIES, _SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER
_WIDTH = 2000


@dataclass(frozen=True)
class Sample:
    """What one run cost: seconds, seconds, megabytes (of the largest process); and how it ended."""

    wall: float
    cpu: float
    memory: float
    rc: int = 0
    output: str = ""


def run(
    command: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout: float = 300,
) -> Sample:
    """Run a command to its end, and return what it cost, with the CPU of every process that it left behind.

    A small process stands between: it becomes the parent of what the command leaves running (ssh's masters), ends it,
    and adds its CPU. Its own CPU is not counted.
    """
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(timeout), *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=output,
            env=None if env is None else dict(env),
            cwd=cwd,
        )
        told, _ = process.communicate()
        output.seek(0)
        text = output.read()
    cost = json.loads(told)
    return Sample(cost["wall"], cost["cpu"], cost["memory"], cost["rc"], text)


def alternating(commands: Mapping[str, Callable[[], Sample]], runs: int) -> dict[str, list[Sample]]:
    """Return the samples of each command, run in turn, so that a busy minute falls on all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in commands}
    for _ in range(runs):
        for name, command in commands.items():
            samples[name].append(command())
    return samples


def median(samples: Sequence[Sample]) -> Sample:
    """Return the median of each figure; the first failure of all, if there is one."""
    failed = next((one for one in samples if one.rc), None)
    return Sample(
        wall=statistics.median(one.wall for one in samples),
        cpu=statistics.median(one.cpu for one in samples),
        memory=statistics.median(one.memory for one in samples),
        rc=failed.rc if failed else 0,
        output=(failed or samples[-1]).output,
    )


def require(sample: Sample, what: str) -> Sample:
    """Return a sample, or raise with the command's last words if it failed."""
    if sample.rc:
        raise RuntimeError(f"{what} ended with {sample.rc}: ...{sample.output[-_WIDTH:]}")
    return sample


def _main(timeout: float, command: list[str]) -> dict[str, float]:
    """Run a command with its output on our stderr; return what it cost."""
    prctl = ctypes.CDLL(None).prctl
    prctl(_SUBREAPER, 1, 0, 0, 0)
    prctl(_PARENT_DIES, signal.SIGTERM, 0, 0, 0)  # nothing goes on when the benchmark is ended
    began = time.perf_counter()
    # Spawned, not forked: the memory of this process is not to be seen in the child's.
    child = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)], setpgroup=0)
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, lambda *_: os.killpg(child, signal.SIGKILL))
    signal.setitimer(signal.ITIMER_REAL, timeout)
    _, status, used = os.wait4(child, 0)
    wall = time.perf_counter() - began
    signal.setitimer(signal.ITIMER_REAL, 0)
    cpu, memory = used.ru_utime + used.ru_stime, used.ru_maxrss
    for left in _left_behind():
        cpu += left.ru_utime + left.ru_stime
        memory = max(memory, left.ru_maxrss)
    return {"wall": wall, "cpu": cpu, "memory": memory / 1024, "rc": os.waitstatus_to_exitcode(status)}


def _left_behind() -> list[os.struct_rusage]:  # type: ignore[name-defined]
    """End what the command left running, and return what it used."""
    used = []
    while True:
        for pid in _children():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        try:
            used.append(os.wait4(-1, 0)[2])
        except ChildProcessError:
            return used


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


if __name__ == "__main__":
    print(json.dumps(_main(float(sys.argv[1]), sys.argv[2:])))
