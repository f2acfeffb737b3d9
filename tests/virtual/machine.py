"""A virtual Jetson as a test handles it: looked at from within, unplugged, cut off. Needs no SSH."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner.lab.places import alive, read_json, write_json
from provisioner.lab.virtual.machine import Agent, attach

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from user import User

Point = str
"""A moment, as a condition of the shell that comes true in the machine."""

INVENTORY = "inventory/virtual.yaml"
NOISE = (
    "/home/nvidia/.sudo_as_admin_successful",
    "/var/log/", "/var/lib/systemd/", "/var/lib/sudo/", "/tmp/", "/var/tmp/", "/var/lib/private/",
    "/var/lib/containerd/",
    "/var/lib/dhcp", "/var/cache/ldconfig/", "/var/lib/docker-data/network/files/", "/var/lib/docker-data/buildkit/",
)  # fmt: skip
"""What a machine writes by itself: left alone, or, as sudo does with its mark, when somebody comes in."""

WAIT = """
for turn in 1 2 3 4 5 6 7 8 9 10; do
  if { SCRIPT; } >/dev/null 2>&1; then echo yes; break; fi
  sleep 0.3
done
"""

LIST = r"find / -xdev ! -type d -printf '%p\t%y %m %U %G %s %T@ %l\n'"
FOLDERS = r"find / -xdev -type d -printf '%p\t%y %m %U %G\n'"


@dataclass
class Jetson:
    """One machine of a user's lab."""

    user: User
    name: str
    lab_name: str = "virtual"

    @property
    def lab(self) -> Path:
        """Return the folder of the lab."""
        return next((self.user.state / "provision" / "lab").glob(f"{self.lab_name}-*"))

    @property
    def folder(self) -> Path:
        """Return the folder of the machine."""
        return self.lab / "devices" / self.name

    def run(self, script: str) -> str:
        """Run a script as root in the machine and return what it printed, without the last newline."""
        with self.agent() as agent:
            return agent.run(script).rstrip("\n")

    def agent(self) -> Agent:
        """Return the way into the machine."""
        return attach(self.folder)

    def files(self) -> dict[str, str]:
        """Return every file that is kept on the disk: kind, mode, owner, size, time of its content."""
        lines = [line.partition("\t") for line in self.run(f"{LIST}; {FOLDERS}").splitlines()]
        return {path: told for path, _, told in lines if not path.startswith(NOISE)}

    @property
    def port(self) -> int:
        """Return the port that leads to its SSH server."""
        return int(read_json(self.lab / "lab.json")["ports"][self.name])

    @contextmanager
    def behind(self, port: int) -> Iterator[None]:
        """Let the lab tell meanwhile that the machine is reached through another port."""
        facts, known = read_json(self.lab / "lab.json"), self.folder / "known_hosts"
        line = known.read_text()
        write_json(self.lab / "lab.json", {**facts, "ports": {**facts["ports"], self.name: port}})
        known.write_text(line + line.replace(f":{facts['ports'][self.name]} ", f":{port} "))
        try:
            yield
        finally:
            write_json(self.lab / "lab.json", facts)
            known.write_text(line)

    def docker(self, form: str) -> str:
        """Return what `docker info` tells in a form."""
        return self.run(f"docker info --format '{form}'")

    def daemon_json(self) -> Any:
        """Return what Docker's configuration says."""
        return json.loads(self.run("cat /etc/docker/daemon.json"))

    def invocation(self, unit: str = "docker") -> str:
        """Return which start of a unit this is."""
        return self.run(f"systemctl show -p InvocationID --value {unit}")

    def until(self, script: str, patience: float = 600.0, while_true: Callable[[], bool] = lambda: True) -> None:
        """Wait until a script succeeds in the machine, which waits itself: to be asked costs it more."""
        deadline = time.monotonic() + patience
        with self.agent() as agent:
            while time.monotonic() < deadline and while_true():
                if agent.run(WAIT.replace("SCRIPT", script)):
                    return
        raise AssertionError(f"{script!r} was never true in {self.name}")

    def meanwhile(self, arguments: list[str], *events: tuple[Point, Callable[[], object]]) -> tuple[int, str]:
        """Run a command; when the machine is at a point, do something to it. Return exit code and all that was said."""
        process = self.user.start(*arguments)
        try:
            for point, act in events:
                self.until(point, while_true=lambda: process.poll() is None)
                act()
        except BaseException:
            process.kill()
            sys.stdout.write("\n".join(process.communicate()))
            raise
        out, err = process.communicate(timeout=self.user.patience)
        return process.returncode, out + err

    def pull_the_plug(self) -> None:
        """End the machine at once."""
        pid = read_json(self.lab / "lab.json")["machines"][self.name]
        os.kill(pid, signal.SIGKILL)
        while alive(pid):
            time.sleep(0.05)

    def cut_the_link(self) -> None:
        """Reset every connection to the machine's SSH server."""
        self.run("ss --kill --no-header state established '( sport = :22 )' >/dev/null")


def changed_files(before: dict[str, str], after: dict[str, str]) -> set[str]:
    """Return what is not the same."""
    return {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
