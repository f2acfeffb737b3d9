"""Measures the figures of a run: start-up over a bare Python, and network round trips of whole runs.

    make bench

Times are medians of alternating runs, and are told as differences and ratios in one run: machines are shared and noisy.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 11
CONTRACT = Path(__file__).parent.parent / "tests" / "contract"


def startup() -> None:
    """Tell what `provision --version` takes more than `python -c pass`, in milliseconds."""
    commands = {"bare": ["-c", "pass"], "version": ["-m", "provisioner", "--version"]}
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(RUNS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], capture_output=True, check=True)
            times[name].append(time.perf_counter() - began)
    bare, version = (statistics.median(times[name]) * 1000 for name in commands)
    print(f"provision --version: {version - bare:.0f} ms over a bare Python ({version / bare:.1f} times); goal: 120 ms")


def trips() -> None:
    """Tell the round trips after TCP's own handshake, counted on the wire to a real sshd."""
    sys.path.insert(0, str(CONTRACT))
    from sshd import MISSING, running
    from test_figures import counted, tasks

    if MISSING:
        print(f"round trips: not measured: {MISSING}")
        return
    with running() as server:
        for number in (15, 100):
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "device").mkdir()
                text = tasks(Path(folder) / "device", number)
                first, again = (counted(server, Path(folder), text)[0] for _ in range(2))
            print(f"{number} tasks: first run {first} round trips (goal: 12), nothing to change {again} (goal: 8)")


if __name__ == "__main__":
    startup()
    trips()
