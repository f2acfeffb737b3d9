"""Backend *container*: why it is not taken. It is detected only; see `works`."""

from __future__ import annotations

import shutil
import subprocess

_ENGINES = ("podman", "docker")
_ASK = 3.0


def works() -> str:
    """Return why devices are not started in a local container engine."""
    engines = [engine for engine in _ENGINES if shutil.which(engine)]
    if not engines:
        return "no docker or podman on this machine"
    running = [engine for engine in engines if _answers(engine)]
    if not running:
        return f"{' and '.join(engines)} found, but no engine answers"
    return f"{running[0]} runs, but this version of the lab has no device image for it"


def _answers(engine: str) -> bool:
    try:
        done = subprocess.run([engine, "info"], capture_output=True, timeout=_ASK, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
