"""Connects to all hosts of a job over one library, has one look at each, and hangs up.

python -m bench.transports LIBRARY JOB.json [--memory]      --memory tells megabytes while all are connected
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.transports.way import Way
from provisioner.observables.file import CONTENT, File
from provisioner.transport.link import SshTransport
from provisioner.wire import Batch, Probed

if TYPE_CHECKING:
    from types import ModuleType

LOOKS = (
    *(File(f"/etc/{name}", CONTENT) for name in ("hostname", "hosts", "os-release")),
    *(File(f"/etc/{name}") for name in ("passwd", "group", "fstab", "ssh", "none")),
)


def look(library: ModuleType, way: Way) -> SshTransport:
    """Connect to a host, and have one look."""
    transport = SshTransport(library.session(way))
    told = sum(isinstance(reply, Probed) for reply in transport.exchange(Batch(looks=LOOKS)))
    if told != len(LOOKS):
        raise RuntimeError(f"{way.name} told {told} of {len(LOOKS)} looks")
    return transport


def memory(control: str) -> float:
    """Return the megabytes that this process and all of ssh's hold, each shared page divided by who shares it."""
    kilobytes = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            ours = int(folder.name) == os.getpid() or control.encode() in (folder / "cmdline").read_bytes()
            if ours:
                rollup = (folder / "smaps_rollup").read_text()
                kilobytes += int(rollup.partition("\nPss:")[2].split()[0])
        except (OSError, IndexError, ValueError):
            continue
    return kilobytes / 1024


def main(name: str, path: str, *options: str) -> None:
    """Run a job; print what was asked for."""
    job: dict[str, Any] = json.loads(Path(path).read_text())
    ways = [Way(**{**way, "host_key": tuple(way["host_key"])}) for way in job["ways"]]
    library = importlib.import_module(f"bench.transports.{name}")
    with ThreadPoolExecutor(job["forks"]) as pool:
        transports = list(pool.map(lambda way: look(library, way), ways))
    if "--memory" in options:
        print(memory(job["ways"][0]["control"]))
    for transport in transports:
        transport.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
