"""The command line as a user runs it: a process of its own, a folder of its own, a lab of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from provisioner.lab import choose_backend

TOP = Path(__file__).parents[2]


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def all(self) -> str:
        """Return all that was printed."""
        return self.out + self.err


@dataclass
class User:
    """Somebody in a folder with inventories, playbooks and templates, who runs `provision`."""

    folder: Path
    state: Path
    environment: dict[str, str] = field(default_factory=dict)
    patience: float = 300

    def start(self, *arguments: str, **options: Any) -> subprocess.Popen[str]:
        """Start a command."""
        environment = {**os.environ, "XDG_STATE_HOME": str(self.state), "NO_COLOR": "1", **self.environment}
        return subprocess.Popen(
            [sys.executable, "-m", "provisioner", *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": str(TOP)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def run(self, *arguments: str, answer: str | None = None) -> Ended:
        """Run a command to its end."""
        process = self.start(*arguments, **({} if answer is None else {"stdin": subprocess.PIPE}))
        out, err = process.communicate(answer, timeout=self.patience)
        return Ended(process.returncode, out, err)

    def apply(self, *arguments: str) -> tuple[Ended, dict[str, Any]]:
        """Run `provision apply`, and return what it wrote as JSON besides."""
        report = self.folder / "report.json"
        report.unlink(missing_ok=True)
        ended = self.run("apply", *arguments, "--json", str(report))
        return ended, json.loads(report.read_text()) if report.exists() else {}

    def write(self, name: str, text: str) -> str:
        """Write a file and return its name."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name


def results(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the results of a report, whatever the order in which the hosts came."""
    return sorted(report["results"], key=lambda one: one["host"])


needs_namespaces = pytest.mark.skipif(
    choose_backend()[0] != "namespace", reason="the lab's devices need namespaces, which are not to be had here"
)
