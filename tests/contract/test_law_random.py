"""The law of the dry run on plays and folders that nobody thought of: drawn from a seed, always the same ones.

Tasks collide: one path, a folder above it, a link to it. `plays.py` draws the cases and holds them against the laws:
a dry run touches nothing; what it says without reservation, status, failure and diff, is what the apply does; what the
dry run's view foretells of every file is found; the apply is never wrong about itself; the tasks one by one, each from
a fresh look, come to the same end, and each, once done, has nothing left to do.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest
from plays import Bench, Maker, complaint, shrunk
from shells import ShellTransport, available

if TYPE_CHECKING:
    from pathlib import Path

CASES = 24
"""Plays for each shell; a slow machine tries fewer of them, and never others."""

SECONDS = 11
SHRINKING = 40


@pytest.mark.skipif(os.geteuid() != 0, reason="owners and groups need root")
@pytest.mark.parametrize("shell", available())
def test_random_plays_keep_the_law(shell: str, tmp_path: Path) -> None:
    """No play breaks a law; one that does is told as small as it can be made."""
    end = time.monotonic() + SECONDS
    with ShellTransport(available()[shell], tmp_path) as transport:
        bench = Bench(transport, tmp_path / "bench")
        for n in range(CASES):
            if time.monotonic() > end:
                break
            case = Maker(f"{shell} {n}").case()
            found = complaint(bench, case)
            if found is not None:
                small, said = shrunk(bench, case, found.law, SHRINKING)
                pytest.fail(f"case {n} of {shell}: {said or found}\n\n{small}")
