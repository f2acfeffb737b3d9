"""The scale: one controller and up to 1,000 light hosts, and an inventory of 10,000.

Nothing is left to change on the hosts, as in a nightly run. CPU and memory are the controller's: the hosts are one
other process (see light.py). Sizes are run in turn, so that a busy minute falls on all of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench import light, measure
from bench.part import Goal, Options, Part
from bench.work import playbook

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.measure import Sample
    from bench.part import Row

ROOT = Path(__file__).parent.parent
SIZES = (50, 100, 200, 500, 1000)
QUICK = (50, 100, 200)
FORKS = (100, 50)
TASKS = 20
SITE = 50
"""How many hosts are in one group."""

MANY = 10_000
_LOAD = "import sys; from provisioner.inventory import load_inventory; print(len(load_inventory(sys.argv[1]).hosts))"


def run(options: Options) -> Part:
    """Measure runs on ever more hosts, and the loading of a large inventory."""
    sizes = QUICK if options.quick else SIZES
    part = Part(
        name="scale",
        title="Scale",
        about=f"{TASKS} tasks with nothing left to change. CPU and memory are the controller's; one other process is "
        "all the hosts: SSH is real for each, and what they answer was recorded from one. `load` is `load_inventory` "
        f"on {MANY:,} hosts in nested groups with files of variables, in a process of its own, imports and all.",
    )
    with tempfile.TemporaryDirectory(prefix="bench-scale-") as name, _fleet(Path(name)) as fleet:
        fleet.record()
        for forks, runs in ((FORKS[0], max(1, options.runs // 2)), (FORKS[1], 1)):
            _hosts(part, fleet, sizes, forks, runs)
        _inventory(part, Path(name), options.runs)
    return part


def _hosts(part: Part, fleet: _Fleet, sizes: tuple[int, ...], forks: int, runs: int) -> None:
    commands = {str(size): lambda size=size: fleet.apply(size, forks) for size in sizes}
    medians = {int(size): measure.median(all_) for size, all_ in measure.alternating(commands, runs).items()}
    part.rows += [_row(size, forks, sample) for size, sample in medians.items()]
    if forks != FORKS[0]:
        return
    least, most = medians[min(sizes)], medians[max(sizes)]
    grown = (most.memory - medians[forks].memory) / (max(sizes) - forks)
    ratio = (most.cpu / max(sizes)) / (least.cpu / min(sizes))
    part.goals += [
        Goal(text=f"memory per host from {forks} to {max(sizes)} hosts", value=grown, limit=0.5, unit="MB"),
        Goal(text=f"CPU per host at {max(sizes)} hosts over that at {min(sizes)}", value=ratio, limit=1.2),
    ]


def _row(size: int, forks: int, sample: Sample) -> Row:
    cost = {"wall_s": sample.wall, "cpu_s": sample.cpu, "cpu_per_host_ms": sample.cpu / size * 1000}
    return {"what": "run", "hosts": size, "forks": forks, **cost, "memory_mb": sample.memory}


def _inventory(part: Part, folder: Path, runs: int) -> None:
    """Measure how long an inventory takes to load."""
    many = folder / "many"
    many.mkdir()
    (many / "hosts.yaml").write_text(nested(MANY))
    for name, text in variables(MANY).items():
        (many / name).parent.mkdir(exist_ok=True)
        (many / name).write_text(text)
    command = [sys.executable, "-c", _LOAD, str(many)]
    samples = [measure.require(measure.run(command, env=_env(folder)), "loading") for _ in range(runs)]
    sample = measure.median(samples)
    cost = {"wall_s": sample.wall, "cpu_s": sample.cpu, "cpu_per_host_ms": sample.cpu / MANY * 1000}
    part.rows.append({"what": "load", "hosts": MANY, "forks": None, **cost, "memory_mb": sample.memory})
    part.goals.append(Goal(text=f"an inventory of {MANY:,} hosts is loaded", value=sample.wall, limit=3, unit="s"))


def nested(hosts: int, settings: str = "") -> str:
    """Return an inventory of regions, sites and models with variables; every host is in three groups."""
    lines = ["all:", "  vars:", *[f"    common_{n}: value {n}" for n in range(20)], settings, "  children:"]
    sites = [range(start, min(start + SITE, hosts)) for start in range(0, hosts, SITE)]
    for region in range(min(10, len(sites))):
        lines += [f"    region{region}:", f"      vars: {{region: r{region}, ntp: [a.lan, b.lan]}}", "      children:"]
        for site in range(region, len(sites), 10):
            lines += [f"        site{site}:", f"          vars: {{site: s{site}, gateway: 10.{site}.0.1}}"]
            lines += [
                "          hosts:",
                *[f"            {_name(n)}: {{ansible_host: {_address(n)}}}" for n in sites[site]],
            ]
    for number, model in enumerate(("orin", "xavier", "nano")):
        lines += [f"    {model}:", f"      vars: {{model: {model}}}", "      hosts:"]
        lines += [f"        {_name(n)}:" for n in range(number, hosts, 3)]
    return "\n".join(lines) + "\n"


def variables(hosts: int) -> dict[str, str]:
    """Return files of variables: for each group, and for every tenth host."""
    groups = ["all", "orin", "xavier", "nano", *(f"region{n}" for n in range(10))]
    groups += [f"site{n}" for n in range((hosts + SITE - 1) // SITE)]
    text = {f"group_vars/{name}.yml": "".join(f"{name}_{n}: text {n}\n" for n in range(10)) for name in groups}
    return text | {f"host_vars/{_name(n)}.yml": f"serial: '{n:08}'\nslot: {n}\n" for n in range(0, hosts, 10)}


def _name(number: int) -> str:
    return f"jetson{number:05}"


def _address(number: int) -> str:
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


@dataclass
class _Fleet:
    """Light hosts, and a folder with a playbook and an inventory for each size."""

    folder: Path
    servers: light.Light
    facts: str | None = None

    def record(self) -> None:
        """Bring the one real host to its state, and see what it says when nothing is left to do."""
        for _ in range(2):
            self.servers.forget()
            self.apply(1, 1)
        sample = self.apply(1, 1)
        facts = self.folder / "1" / ".provision" / "facts" / _name(0)
        self.facts = facts.read_text() if facts.exists() else None
        if "changed=0 " not in sample.output:
            raise RuntimeError(f"something is still left to change: {sample.output[-2000:]}")

    def apply(self, hosts: int, forks: int) -> Sample:
        """Run the playbook on the first hosts."""
        inventory = self._inventory(hosts)
        command = [sys.executable, "-m", "provisioner", "apply", str(inventory), "play.yaml"]
        sample = measure.run(
            [*command, "--forks", str(forks), "-T", "60"], env=_env(self.folder), cwd=self.folder, timeout=900
        )
        return measure.require(sample, f"{hosts} hosts")

    def _inventory(self, hosts: int) -> Path:
        path = self.folder / str(hosts) / "hosts.yaml"
        if not path.exists():
            settings = {
                "ansible_port": self.servers.port,
                "ansible_user": os.environ.get("USER", "root"),
                "ansible_ssh_private_key_file": self.folder / "client",
                "tree": self.folder / "tree",
            }
            state = path.parent / ".provision"
            state.mkdir(parents=True)
            path.write_text(nested(hosts, "".join(f"    {name}: {value}\n" for name, value in settings.items())))
            kind, key = (self.folder / "host.pub").read_text().split()[:2]
            lines = [f"[{_address(n)}]:{self.servers.port} {kind} {key}\n" for n in range(hosts)]
            (state / "known_hosts").write_text("".join(lines))
            if self.facts is not None:  # every host was seen before
                (state / "facts").mkdir()
                for n in range(hosts):
                    (state / "facts" / _name(n)).write_text(self.facts)
        return path


@contextmanager
def _fleet(folder: Path) -> Iterator[_Fleet]:
    for name in ("client", "host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(folder / "client.pub", folder / "authorized_keys")
    (folder / "home").mkdir()
    (folder / "tree").mkdir()
    for source in playbook.FILES.glob("*.*"):
        # All hosts share a recording, so nothing in it may be a host's own.
        text = source.read_text().replace("inventory_hostname", "common_0")
        (folder / source.name).write_text(text)
    text = playbook.text(TASKS).replace("inventory_hostname", "common_0")
    (folder / "play.yaml").write_text(text.replace(str(playbook.FILES), str(folder)))
    with light.Light(folder) as servers:
        yield _Fleet(folder, servers)


def _env(folder: Path) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(folder / "home"), "PYTHONPATH": str(ROOT), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
