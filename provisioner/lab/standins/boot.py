"""What happens while a device boots: what installed packages bring is put in place, and enabled units start."""

from __future__ import annotations

import os

from . import apt, state, systemd


def main(_argv: list[str]) -> int:
    """Boot."""
    database, device = state.database(), state.device()
    apt.bring({"commands": device["commands"]})
    for name, entry in device["packages"].items():
        if state.installed(database.get(name)):
            apt.bring(entry)
    os.makedirs("/run/sshd", exist_ok=True)  # noqa: PTH103
    systemd.start_enabled()
    return 0
