"""The main job on real arm64 machines: announced, done, done once, repaired; on one of them sudo wants a password."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from machine import INVENTORY, Jetson, changed_files
from proxy import Proxy

if TYPE_CHECKING:
    from user import Ended, User

HOSTS = ("nano6", "xavier5")
TAGS = {"nano6": "dustynv/l4t-pytorch:r36.4.0", "xavier5": "dustynv/l4t-pytorch:r35.4.1"}
FOREIGN = {
    "data-root": "/var/lib/docker-data",
    "insecure-registries": ["10.0.2.0/24"],
    "log-opts": {"max-size": "10m"},
    "registry-mirrors": ["http://10.0.2.100:5000"],
}
OWN = {"runtimes": {"nvidia": {"path": "nvidia-container-runtime", "runtimeArgs": []}}, "default-runtime": "nvidia"}
DRIFT = """
sed -i -e '/"default-runtime"/d' -e 's/^    },$/    }/' /etc/docker/daemon.json
docker image rm --force TAG >/dev/null
apt-mark unhold nvidia-container-toolkit >/dev/null
systemctl restart docker
"""


@dataclass
class Story:
    """What three runs told, and what the machines were before, between and after."""

    user: User
    machines: dict[str, Jetson]
    untouched: dict[str, set[str]]
    dry: dict[str, Any]
    applied: tuple[Ended, dict[str, Any]]
    again: tuple[Ended, dict[str, Any]]
    starts: dict[str, tuple[str, str]]


@pytest.fixture(scope="module")
def story(user: User) -> Story:
    """Return what a dry run, the apply after it and a second apply told."""
    up = user.run("lab", "up", INVENTORY)
    assert up.code == 0, up.all
    machines = {name: Jetson(user, name) for name in HOSTS}
    before = {name: machine.files() for name, machine in machines.items()}
    dry = user.apply(INVENTORY, "--dry-run")
    assert dry[0].code == 0, dry[0].all
    untouched = {name: changed_files(before[name], machine.files()) for name, machine in machines.items()}
    applied = user.apply(INVENTORY)
    first = {name: machine.invocation() for name, machine in machines.items()}
    again = user.apply(INVENTORY)
    starts = {name: (first[name], machine.invocation()) for name, machine in machines.items()}
    return Story(user, machines, untouched, dry[1], applied, again, starts)


def claims(report: dict[str, Any], host: str) -> dict[str, tuple[str, str]]:
    """Return status and shown lines of each task of a host."""
    return {
        f"{one['task']} {one['item']}": (one["status"], str(one["shows"]))
        for one in report["results"]
        if one["host"] == host
    }


@pytest.mark.parametrize("host", HOSTS)
def test_a_dry_run_writes_nothing(story: Story, host: str) -> None:
    """After a dry run every file on the machine's disk is the one that was there, run-time noise aside."""
    assert story.untouched[host] == set()


@pytest.mark.parametrize("host", HOSTS)
def test_the_apply_makes_exactly_the_changes_announced(story: Story, host: str) -> None:
    """Each task ends as the dry run said, and what it showed is done, but for versions that only apt's lists tell."""
    assert story.applied[0].code == 0, story.applied[0].all
    said, done = claims(story.dry, host), claims(story.applied[1], host)
    assert {task: status for task, (status, _) in said.items()} == {task: status for task, (status, _) in done.items()}
    assert sum(status == "changed" for status, _ in said.values()) == 5
    others = {task for task in said if "container runtime, held" not in task}
    assert {task: said[task] for task in others} == {task: done[task] for task in others}


@pytest.mark.parametrize("host", HOSTS)
def test_docker_is_what_was_asked_for(story: Story, host: str) -> None:
    """dockerd itself reports the default runtime; keys of daemon.json that are not ours are still there."""
    machine = story.machines[host]
    assert machine.docker("{{.DefaultRuntime}}") == "nvidia"
    assert machine.docker("{{.DockerRootDir}}") == FOREIGN["data-root"]
    assert machine.daemon_json() == FOREIGN | OWN


@pytest.mark.parametrize("host", HOSTS)
def test_the_image_is_there_by_its_pinned_digest(story: Story, host: str) -> None:
    """The image on the machine has the digest that the lock file pins, and is for arm64."""
    lock = (story.user.folder / "inventory/.provision/virtual.lock.yaml").read_text()
    form = "{{.Architecture}} {{index .RepoDigests 0}}"
    architecture, digest = story.machines[host].run(f"docker image inspect --format '{form}' {TAGS[host]}").split()
    assert architecture == "arm64"
    assert digest.partition("@")[2] in re.findall(r"sha256:[0-9a-f]{64}", lock)


@pytest.mark.parametrize("host", HOSTS)
def test_packages_are_held(story: Story, host: str) -> None:
    """Docker and NVIDIA's runtime are held in dpkg's own books."""
    held = story.machines[host].run("apt-mark showhold").split()
    assert {"docker.io", "nvidia-container-toolkit"} <= set(held)


def test_verify_is_green(story: Story) -> None:
    """`provision verify` finds the GPU (a stand-in) in the pinned container on both machines."""
    ended = story.user.run("verify", INVENTORY)
    assert ended.code == 0, ended.all
    assert "Orin (8.7)" in ended.out
    assert "Xavier (7.2)" in ended.out


def test_a_container_that_another_runtime_started_has_no_gpu(story: Story) -> None:
    """The proof is one: started by runc, the same image says that there is no CUDA; by default, that there is."""
    told = "python3 -c 'import torch; print(torch.cuda.is_available())'"
    machine, tag = story.machines["nano6"], TAGS["nano6"]
    assert machine.run(f"docker run --rm --network none --runtime runc {tag} {told}") == "False"
    assert machine.run(f"docker run --rm --network none {tag} {told}") == "True"


@pytest.mark.parametrize("host", HOSTS)
def test_a_second_apply_changes_and_restarts_nothing(story: Story, host: str) -> None:
    """Run again, nothing changes, in one look for each machine; dockerd is still the same process."""
    ended, report = story.again
    assert ended.code == 0, ended.all
    assert {one["status"] for one in report["results"] if one["host"] == host} <= {"ok", "skipped"}
    assert report["batches"] == len(HOSTS)
    before, after = story.starts[host]
    assert before == after


@pytest.mark.parametrize(("host", "most"), [("nano6", 8), ("xavier5", 9)])
def test_a_run_with_nothing_to_do_takes_few_round_trips(story: Story, host: str, most: int) -> None:
    """Counted on the wire after TCP's handshake, login and look are done within the figure; a password adds one."""
    with Proxy(story.machines[host].port) as proxy:
        with story.machines[host].behind(proxy.port):
            ended = story.user.run("apply", INVENTORY, "-l", host)
        assert ended.code == 0, ended.all
        assert "0 changed" in ended.out
        assert 0 < proxy.trips <= most


@pytest.mark.parametrize("host", HOSTS)
def test_drift_is_shown_and_repaired_and_nothing_else(story: Story, host: str) -> None:
    """What was undone by hand is shown by the dry run and repaired by the next apply; other files stay as they are."""
    machine, user = story.machines[host], story.user
    machine.run(DRIFT.replace("TAG", TAGS[host]))
    assert machine.docker("{{.DefaultRuntime}}") == "runc"
    ended, dry = user.apply(INVENTORY, "--dry-run", "--exit-code", "-l", host)
    assert ended.code == 3, ended.all
    before = machine.files()
    ended, report = user.apply(INVENTORY, "-l", host)
    assert ended.code == 0, ended.all
    changed = {one["task"] for one in report["results"] if one["status"] == "changed"}
    assert changed == {one["task"] for one in dry["results"] if one["status"] == "changed"}
    assert len(changed) == 3
    assert machine.daemon_json() == FOREIGN | OWN
    assert machine.docker("{{.DefaultRuntime}}") == "nvidia"
    assert "nvidia-container-toolkit" in machine.run("apt-mark showhold").split()
    touched = {path for path in changed_files(before, machine.files()) if not path.startswith(EXPECTED)}
    assert touched == set()
    assert user.apply(INVENTORY, "-l", host)[1]["recap"][host]["changed"] == 0


EXPECTED = (
    "/etc/docker/daemon.json", "/var/lib/docker-data/", "/var/lib/provision/image.json",
    "/var/lib/dpkg/", "/var/lib/apt/", "/var/cache/apt/",
)  # fmt: skip
"""What a repair of this drift writes: Docker's settings and their backup, the image, its record, and apt's books."""
