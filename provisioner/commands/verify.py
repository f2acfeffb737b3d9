"""`provision verify`: prove on each device that PyTorch runs on its GPU, in the pinned container."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .apply import converge
from .fleet import load_fleet, start_lab

if TYPE_CHECKING:
    import argparse

    from provisioner.report import Reporter


def run(options: argparse.Namespace) -> int:
    """Run the shipped verify playbook; return the exit code."""
    from provisioner.jetson.observed import fact_names
    from provisioner.report import report_for
    from provisioner.report.machine import JsonReport

    fleet, playbooks = load_fleet(options, ["verify.yaml"], fact_names())
    reports: list[Reporter] = [report_for(sys.stdout, verbosity=options.verbose)]
    if options.json:
        reports.append(JsonReport(Path(options.json)))
    start_lab(fleet, options)
    return converge(fleet, playbooks, options, reports, {})
