"""The main job on the embedded lab: from nothing to PyTorch in a pinned container, dry run first, then again."""

from __future__ import annotations

import re
from typing import Any

import pytest
from user import User, needs_namespaces, results

pytestmark = needs_namespaces

INVENTORY = "inventory/lab.yaml"
HOSTS = {"nano", "xavier", "orin", "thor"}
FOR_SERVERS = {
    "The file that was given has a public key",
    "The folder for keys of repositories",
    "The key of NVIDIA's repository",
    "The line of NVIDIA's repository, which that key alone may sign",
}
"""What a Jetson has no use for: it has NVIDIA's packages from JetPack's own repository."""

IMAGES = {
    "nano": "nvcr.io/nvidia/l4t-pytorch:r32.7.1-pth1.10-py3",
    "xavier": "dustynv/l4t-pytorch:r35.4.1",
    "orin": "dustynv/l4t-pytorch:r36.4.0",
    "thor": "nvcr.io/nvidia/pytorch:26.08-py3",
}


@pytest.fixture(scope="module")
def told(lab: User) -> dict[str, Any]:
    """Return what a dry run, the apply after it, a second apply and a last dry run told."""
    steps = {}
    for name, arguments in {
        "dry": ["--dry-run"],
        "apply": [],
        "again": [],
        "after": ["--dry-run", "--exit-code"],
    }.items():
        steps[name] = lab.apply(INVENTORY, *arguments)
    return {"user": lab, **steps}


def claim(result: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a result says was, or would be, done."""
    return (result["host"], result["task"], result["item"], result["status"], str(result["shows"]))


def test_every_device_ends_in_the_desired_state(told: dict[str, Any]) -> None:
    """The first apply ends with 0, changes every device, and tells how to start working with the image that fits."""
    ended, report = told["apply"]
    assert ended.code == 0, ended.all
    assert set(report["hosts"]) == HOSTS
    for host, image in IMAGES.items():
        assert report["hosts"][host]["start_with"].endswith(image)
        assert report["recap"][host]["changed"] > 0
    assert "simulation" in ended.all.lower()


def test_a_second_run_changes_nothing(told: dict[str, Any]) -> None:
    """Run again, nothing is changed, in one look for each device; what is for other hosts is skipped."""
    ended, report = told["again"]
    assert ended.code == 0
    assert {one["status"] for one in report["results"]} == {"ok", "skipped"}
    assert {one["task"] for one in report["results"] if one["status"] == "skipped"} == FOR_SERVERS
    assert report["batches"] == len(HOSTS)


def test_a_first_run_is_a_look_and_an_apply_for_each_device(told: dict[str, Any]) -> None:
    """Where the facts are known, an apply costs two batches a device; one more asks apt for what only a part lacks."""
    looks_of_apt = 2
    assert told["apply"][1]["batches"] <= 2 * len(HOSTS) + looks_of_apt


def test_a_dry_run_afterwards_finds_nothing(told: dict[str, Any]) -> None:
    """With --exit-code, a dry run on devices that are done ends with 0."""
    assert told["after"][0].code == 0


def test_the_apply_does_what_the_dry_run_said(told: dict[str, Any]) -> None:
    """What the dry run called ok or changed without reservation, and every byte that it showed, is what was done."""
    done = {claim(one) for one in told["apply"][1]["results"]}
    said = [one for one in told["dry"][1]["results"] if not one["assumed_after"]]
    firm = [claim(one) for one in said if one["status"] in ("ok", "changed")]
    assert len(firm) > len(HOSTS)
    assert [one for one in firm if one not in done] == []


def test_what_a_dry_run_reserves_is_named(told: dict[str, Any]) -> None:
    """A claim that rests on a package's scripts names the task that installs it; few are left unknown."""
    unsure = [one for one in told["dry"][1]["results"] if one["assumed_after"]]
    assert all("runtime" in name for one in unsure for name in one["assumed_after"])
    unknown = [one for one in told["dry"][1]["results"] if one["status"] == "unknown"]
    assert len(unknown) <= len(HOSTS)


def test_the_dry_run_pins_what_it_saw(told: dict[str, Any]) -> None:
    """The digests that the dry run showed are those that the lock file holds after the apply."""
    shown = set(re.findall(r"sha256:[0-9a-f]{64}", str(told["dry"][1]["results"])))
    lock = (told["user"].folder / "inventory/.provision/lab.lock.yaml").read_text()
    pinned = set(re.findall(r"index_digest: (sha256:[0-9a-f]{64})", lock))
    assert len(pinned) == len(HOSTS)
    assert pinned <= shown


def test_verify_computes_in_the_container(told: dict[str, Any]) -> None:
    """`provision verify` ends with 0 where the default runtime and the image are as they should be."""
    ended = told["user"].run("verify", INVENTORY)
    assert ended.code == 0, ended.all
    assert ended.out.count("Orin") >= 1


def test_facts_tell_what_the_devices_are(told: dict[str, Any]) -> None:
    """`provision facts` knows module and release of each device, as a table and as JSON."""
    import json

    ended = told["user"].run("facts", INVENTORY, "--json")
    facts = json.loads(ended.out)
    assert {name: one["L4T"] for name, one in facts.items()} == {
        "nano": "32.7.4", "xavier": "35.4.1", "orin": "36.4.3", "thor": "39.2.1",
    }  # fmt: skip
    table = told["user"].run("facts", INVENTORY)
    assert "tegra234" in table.out


DRIFT = """
- hosts: orin
  become: true
  gather_facts: false
  tasks:
    - copy: {dest: /etc/docker/daemon.json, content: '{"log-opts": {"max-size": "10m"}, "runtimes": {}}'}
    - command: docker image rm --force dustynv/l4t-pytorch:r36.4.0
    - dpkg_selections: {name: nvidia-container-toolkit, selection: install}
"""


def test_drift_is_shown_and_repaired(told: dict[str, Any]) -> None:
    """What somebody undid by hand is shown by the dry run and repaired by the next apply; foreign keys are kept."""
    user: User = told["user"]
    drifted = user.run("apply", INVENTORY, user.write("drift.yaml", DRIFT), "-l", "orin")
    assert drifted.code == 0, drifted.all
    ended, dry = user.apply(INVENTORY, "--dry-run", "--exit-code", "-l", "orin")
    assert ended.code == 3
    ended, report = user.apply(INVENTORY)
    assert ended.code == 0, ended.all
    changed = {(one["host"], one["task"]) for one in report["results"] if one["status"] == "changed"}
    assert {host for host, _ in changed} == {"orin"}
    assert changed == {(one["host"], one["task"]) for one in dry["results"] if one["status"] == "changed"}
    shown = user.run("apply", INVENTORY, user.write("look.yaml", LOOK), "-l", "orin", "-v")
    assert "max-size" in shown.out
    assert user.apply(INVENTORY)[1]["recap"]["orin"]["changed"] == 0


LOOK = """
- hosts: orin
  become: true
  tasks:
    - command: cat /etc/docker/daemon.json
      register: daemon
      changed_when: false
    - debug: {var: daemon.stdout}
"""


def test_a_device_that_is_done_needs_no_registry(told: dict[str, Any]) -> None:
    """With the pins there and the images on the devices, nothing is asked of a registry: results come in one look."""
    _, report = told["user"].apply(INVENTORY, "-l", "thor")
    assert report["batches"] == 1


def test_reboot_comes_back_and_goes_on(told: dict[str, Any]) -> None:
    """A reboot ends the session, is waited for, and the play goes on; what is on the disk is still there."""
    user: User = told["user"]
    text = """
- hosts: nano
  become: true
  tasks:
    - copy: {dest: /run/gone, content: x}
    - reboot:
    - stat: {path: /run/gone}
      register: gone
    - assert: {that: [not gone.stat.exists]}
    - command: docker info --format '{{ "{{" }}.DefaultRuntime{{ "}}" }}'
      register: runtime
      changed_when: false
    - assert: {that: [runtime.stdout == 'nvidia']}
"""
    ended = user.run("apply", INVENTORY, user.write("reboot.yaml", text), "-l", "nano")
    assert ended.code == 0, ended.all
    assert user.apply(INVENTORY, "-l", "nano")[1]["recap"]["nano"]["changed"] == 0


def test_results_are_the_same_for_people_and_programs(told: dict[str, Any]) -> None:
    """The recap that is printed has the numbers of the report."""
    ended, report = told["again"]
    for host in HOSTS:
        line = next(line for line in ended.out.splitlines() if re.match(rf"{host}\s+: ok=", line))
        assert f"ok={report['recap'][host]['ok']} " in line
    assert len(results(report)) == sum(one["ok"] + one["skipped"] for one in report["recap"].values())
