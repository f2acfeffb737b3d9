"""The commands that are compared, each as its users would run it at its best."""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from bench import measure, peers
from bench.work import playbook

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.hosts import Fleet
    from bench.measure import Sample

ROOT = Path(__file__).parent.parent
FORKS = 50
USUAL = 20
"""How many tasks the playbook has, where nothing else is said."""
PEERS = ("ansible", "mitogen", "pyinfra")
OURS = "provision"
FLOOR = "floor"
TITLES = {"ansible": "Ansible", "mitogen": "Mitogen", "pyinfra": "pyinfra", OURS: "provision", FLOOR: "floor"}


@dataclass
class Job:
    """One playbook on the first hosts of a fleet over one port, in a folder with what each tool needs for it."""

    fleet: Fleet
    hosts: int
    tasks: int
    port: int
    folder: Path
    number: int = field(default=0)

    def __post_init__(self) -> None:
        """Write the playbook, the inventories, and an empty home for the tools."""
        self.folder.mkdir(parents=True)
        (self.folder / "home").mkdir()
        (self.folder / "play.yaml").write_text(playbook.text(self.tasks))
        (self.folder / "hosts.yaml").write_text(yaml.safe_dump({"all": self._inventory()}))
        (self.folder / "inventory.py").write_text(self._pyinfra())
        (self.folder / "floor.json").write_text(json.dumps(self._floor()))
        (self.folder / "ansible.cfg").write_text("")
        self.forget()

    def forget(self) -> None:
        """Take away what ours remembers of the hosts from earlier runs; their keys stay known."""
        own = self.folder / ".provision"
        shutil.rmtree(own, ignore_errors=True)
        own.mkdir()
        shutil.copy(self.fleet.known_hosts, own / "known_hosts")

    def run(self, tool: str) -> Sample:
        """Run a tool once, and return what it cost."""
        self.number += 1
        return _COMMANDS[tool](self)

    def env(self, **more: str) -> dict[str, str]:
        """Return the environment of every tool: nothing of the user's own, and no agent."""
        home = str(self.folder / "home")
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return {"LC_ALL": "C.UTF-8", **kept, "HOME": home, "XDG_STATE_HOME": f"{home}/state", "TERM": "dumb", **more}

    def _inventory(self) -> dict[str, object]:
        shared = {
            "ansible_port": self.port,
            "ansible_user": self.fleet.user,
            "ansible_ssh_private_key_file": str(self.fleet.key),
            "ansible_python_interpreter": shutil.which("python3", path=os.defpath) or sys.executable,
        }
        hosts = self.fleet.hosts[: self.hosts]
        return {
            "vars": shared,
            "hosts": {host.name: {"ansible_host": host.address, "tree": str(host.tree)} for host in hosts},
        }

    def _pyinfra(self) -> str:
        shared = {
            "ssh_port": self.port,
            "ssh_user": self.fleet.user,
            "ssh_key": str(self.fleet.key),
            "ssh_known_hosts_file": str(self.fleet.known_hosts),
            "ssh_strict_host_key_checking": "yes",
            "ssh_allow_agent": False,
            "ssh_look_for_keys": False,
            "tasks": self.tasks,
            "work_files": str(playbook.FILES),
        }
        hosts = [
            (host.name, {"ssh_hostname": host.address, "tree": str(host.tree)})
            for host in self.fleet.hosts[: self.hosts]
        ]
        return f"all = ({hosts!r}, {shared!r})\n"

    def _floor(self) -> dict[str, object]:
        hosts = self.fleet.hosts[: self.hosts]
        return {
            "user": self.fleet.user,
            "key": str(self.fleet.key),
            "host_key": self.fleet.host_key[1],
            "port": self.port,
            "forks": FORKS,
            "tasks": self.tasks,
            "hosts": [{"name": host.name, "address": host.address, "tree": str(host.tree)} for host in hosts],
        }


def _ansible(job: Job, **more: str) -> Sample:
    # A folder for ssh's masters of its own: no run finds a connection that another one opened.
    control = Path(f"/tmp/bench-cp-{os.getpid()}-{job.number}")  # noqa: S108 - a socket's path has to be short
    env = job.env(
        ANSIBLE_CONFIG=str(job.folder / "ansible.cfg"),
        ANSIBLE_PIPELINING="true",
        ANSIBLE_FORKS=str(job.hosts),
        ANSIBLE_HOST_KEY_CHECKING="true",
        ANSIBLE_TIMEOUT="60",
        ANSIBLE_SSH_CONTROL_PATH_DIR=str(control),
        ANSIBLE_SSH_COMMON_ARGS=f"-F none -o UserKnownHostsFile={job.fleet.known_hosts} -o IdentitiesOnly=yes",
        **more,
    )
    program = peers.python().parent / "ansible-playbook"
    try:
        return measure.run([program, "-i", "hosts.yaml", "play.yaml"], env=env, cwd=job.folder, timeout=1200)
    finally:
        shutil.rmtree(control, ignore_errors=True)


def _mitogen(job: Job) -> Sample:
    found = sorted(peers.python().parent.parent.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy"))
    return _ansible(job, ANSIBLE_STRATEGY_PLUGINS=str(found[0]), ANSIBLE_STRATEGY="mitogen_linear")


def _pyinfra(job: Job) -> Sample:
    program = peers.python().parent / "pyinfra"
    command = [str(program), "--yes", "--parallel", str(job.hosts), "inventory.py", str(playbook.FILES / "deploy.py")]
    return measure.run(command, env=job.env(), cwd=job.folder, timeout=1200)


def _provision(job: Job) -> Sample:
    command = [
        sys.executable,
        "-m",
        "provisioner",
        "apply",
        "hosts.yaml",
        "play.yaml",
        "--forks",
        str(FORKS),
        "-T",
        "60",
    ]
    return measure.run(command, env=job.env(PYTHONPATH=str(ROOT)), cwd=job.folder)


def _floor(job: Job) -> Sample:
    return measure.run([sys.executable, playbook.FILES / "floor.py", "floor.json"], env=job.env(), cwd=job.folder)


_COMMANDS: dict[str, Callable[[Job], Sample]] = {
    "ansible": _ansible,
    "mitogen": _mitogen,
    "pyinfra": _pyinfra,
    OURS: _provision,
    FLOOR: _floor,
}
