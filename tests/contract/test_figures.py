"""Round trips of whole runs, counted on the wire by a proxy that delays every byte."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from fleet import Told, play
from proxy import Proxy

from provisioner.jetson.observed import Facts, derive

if TYPE_CHECKING:
    from pathlib import Path

    from sshd import Sshd

DELAY = 0.05
"""Seconds that each byte takes one way: long enough that waiting shows as a new causal step."""


def tasks(folder: Path, number: int) -> str:
    """Return a play of so many tasks, each resting on the one before, with a handler and a command between."""
    lines = [f"    - file: {{path: {folder}/0, state: directory}}\n"]
    lines += [f"    - copy: {{dest: {folder}/0/{n}, content: '{n}'}}\n" for n in range(1, number)]
    return f"- hosts: all\n  become: {'true' if os.geteuid() == 0 else 'false'}\n  tasks:\n" + "".join(lines)


def counted(sshd: Sshd, folder: Path, text: str) -> tuple[int, Told]:
    """Run a play through the proxy; return its network round trips after TCP's own handshake."""
    with Proxy(sshd.port, DELAY) as proxy:
        told = play(sshd, folder, text, target={"port": proxy.port}, facts=Facts(), derive=derive)
        return proxy.trips, told


@pytest.mark.parametrize("number", [15, 100])
def test_round_trips_of_a_run(sshd: Sshd, tmp_path: Path, number: int) -> None:
    """Nothing to change: at most 8 round trips, for 15 tasks and for 100; a first run: at most 4 more."""
    device = tmp_path / "device"
    device.mkdir()
    text = tasks(device, number)
    first, told = counted(sshd, tmp_path, text)
    assert set(told.statuses) == {"changed"}
    assert first <= 12
    again, told = counted(sshd, tmp_path, text)
    assert set(told.statuses) == {"ok"}
    assert again <= 8
