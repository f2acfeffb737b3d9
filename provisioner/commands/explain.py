"""`provision explain`: what a text that a device or a container printed is known to mean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from provisioner.errors import InputError

if TYPE_CHECKING:
    import argparse
    from typing import BinaryIO

    from provisioner.events import Explanation

LARGEST = 1_000_000
"""Bytes that are read of a text's beginning, and as many of its end."""

STRETCH, OVERLAP = 200, 20
"""Lines of a long text that are looked at together, and lines that two such stretches share."""

UNKNOWN = 1


def run(options: argparse.Namespace) -> int:
    """Print cause, fix and sources; return 1 where nothing is known of the text."""
    from provisioner.report.explain import print_explanation

    given = " ".join(options.text)
    text = _ends(sys.stdin.buffer).decode("utf-8", "replace") if given == "-" else given
    if not text.strip():
        raise InputError("there is no text to explain", hint="`provision explain 'exec format error'`, or - for stdin")
    known = _known(text.strip())
    print_explanation(known, sys.stdout if known else sys.stderr)
    return 0 if known else UNKNOWN


def _ends(stream: BinaryIO) -> bytes:
    """Read a stream to its end, and return its beginning and its end: in a log, what counts is mostly said last."""
    head, tail = stream.read(LARGEST), b""
    while more := stream.read(LARGEST):
        tail = (tail + more)[-LARGEST:]
    return head + tail


def _known(text: str) -> Explanation | None:
    """Return what the beginning and the end of a text mean, else the last that is known of anything between."""
    from provisioner.jetson.failures import explain

    if known := explain(text, in_check=True):
        return known
    lines = text.splitlines()
    stretches = (lines[start : start + STRETCH + OVERLAP] for start in reversed(range(0, len(lines), STRETCH)))
    return next(filter(None, (explain("\n".join(one), in_check=True) for one in stretches)), None)
