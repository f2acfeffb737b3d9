"""Runs the benchmark: `python -m bench [PART ...]`, and writes results and docs/performance.md."""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module
from importlib.util import find_spec

from bench import report
from bench.part import PARTS, Options


def main() -> None:
    """Run the parts that are named, or all, and write what came out."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # the hosts are stopped on the way out
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what runs cost.")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}, or report alone (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="runs that a median is taken of (default: 5)")
    parser.add_argument("--quick", action="store_true", help="few hosts, one run of each; nothing is written")
    parser.add_argument(
        "--no-peers", action="store_true", help="without Ansible, Mitogen and pyinfra; nothing is written"
    )
    parser.add_argument("--minutes", type=float, help="begin no further comparison after so long; the rest is noted")
    parser.add_argument("--resume", action="store_true", help="keep the comparisons of the last run, and do the rest")
    given = parser.parse_args()
    if wrong := set(given.parts) - {*PARTS, "report"}:
        parser.error(f"there is no part {', '.join(sorted(wrong))}")
    options = Options(
        runs=given.runs, minutes=given.minutes, resume=given.resume, quick=given.quick, peers=not given.no_peers
    )
    kept = not (given.quick or given.no_peers)  # half a measurement replaces no whole one
    if kept and set(given.parts) != {"report"}:
        report.note_machine()
    for name in given.parts or PARTS:
        if name != "report" and find_spec(f"bench.{name}"):
            part = import_module(f"bench.{name}").run(options)
            report.tell(part)
            if kept:
                part.save()
    if kept:
        report.write()


if __name__ == "__main__":
    main()
