"""`provision explain`: what a text that a device or a container printed is known to mean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from provisioner.errors import InputError

if TYPE_CHECKING:
    import argparse

LARGEST = 1_000_000
UNKNOWN = 1


def run(options: argparse.Namespace) -> int:
    """Print cause, fix and sources; return 1 where nothing is known of the text."""
    from provisioner.jetson.failures import explain
    from provisioner.report.explain import print_explanation

    given = " ".join(options.text)
    text = sys.stdin.buffer.read(LARGEST).decode("utf-8", "replace") if given == "-" else given
    if not text.strip():
        raise InputError("there is no text to explain", hint="`provision explain 'exec format error'`, or - for stdin")
    known = explain(text.strip(), in_check=True)
    print_explanation(known, sys.stdout if known else sys.stderr)
    return 0 if known else UNKNOWN
