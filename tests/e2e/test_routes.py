"""One playbook for hosts of every kind: each gets, or is refused, what its own hardware can run."""

from __future__ import annotations

from typing import Any

import pytest
from user import User, needs_namespaces

pytestmark = needs_namespaces

INVENTORY = "inventory/mixed.yaml"
DEVICES = {
    "workstation": "x86-rtx-a4000-24.04",
    "spark": "gb10-24.04",
    "pi": "raspberry-pi-5-13",
    "rock": "rk3588-orangepi-5-plus-22.04",
}
START = {
    "workstation": "docker run -it --rm --runtime nvidia pytorch/pytorch:2.14.0-cuda13.0-cudnn9-runtime",
    "spark": "docker run -it --rm --runtime nvidia nvcr.io/nvidia/pytorch:26.08-py3",
    "pi": "docker run -it --rm python:3.12-slim",
}


@pytest.fixture(scope="module")
def mixed(lab: User) -> User:
    """Return a user whose inventory has one device of each kind that is no Jetson."""
    hosts = "".join(f"    {name}: {{simulate: {device}}}\n" for name, device in DEVICES.items())
    lab.write(INVENTORY, f"all:\n  hosts:\n{hosts}")
    yield lab
    lab.run("lab", "reset", INVENTORY)


@pytest.fixture(scope="module")
def told(mixed: User) -> dict[str, Any]:
    """Return what a dry run, the apply after it, and a second apply told."""
    return {
        "user": mixed,
        "dry": mixed.apply(INVENTORY, "--dry-run"),
        "apply": mixed.apply(INVENTORY),
        "again": mixed.apply(INVENTORY),
    }


def of(report: dict[str, Any], host: str) -> list[dict[str, Any]]:
    """Return the results of a host."""
    return [one for one in report["results"] if one["host"] == host]


@pytest.mark.parametrize("host", START)
def test_each_route_ends_with_its_own_image(told: dict[str, Any], host: str) -> None:
    """The command to start with has the image of the route, and the GPU only where there is one."""
    ended, report = told["apply"]
    assert report["hosts"][host]["start_with"] == START[host], ended.all
    assert report["recap"][host]["failed"] == 0, ended.all
    assert report["recap"][host]["changed"] > 0


@pytest.mark.parametrize("host", START)
def test_a_second_run_changes_nothing(told: dict[str, Any], host: str) -> None:
    """Run again, each host is as it should be, in whatever way it got there."""
    assert {one["status"] for one in of(told["again"][1], host)} <= {"ok", "skipped"}


@pytest.mark.parametrize("host", START)
def test_the_dry_run_said_it_before(told: dict[str, Any], host: str) -> None:
    """What the dry run called changed without reservation was changed."""
    done = {(one["task"], one["item"], one["status"]) for one in of(told["apply"][1], host)}
    said = [one for one in of(told["dry"][1], host) if not one["assumed_after"] and one["status"] in ("ok", "changed")]
    assert said
    assert [one for one in said if (one["task"], one["item"], one["status"]) not in done] == []


def test_without_a_gpu_there_is_no_cuda_and_that_is_told(told: dict[str, Any]) -> None:
    """The Raspberry Pi is told that it computes on the CPU, and no runtime of NVIDIA's is asked for on it."""
    ended, report = told["apply"]
    assert "there is no CUDA on this host (Raspberry Pi 5" in ended.all.replace("\n", " ")
    assert [one["status"] for one in of(report, "pi") if one["task"].startswith("NVIDIA's runtime")] == ["skipped"]


def test_an_rk3588_is_refused_with_the_vendors_way(told: dict[str, Any]) -> None:
    """It ends at the first task: the reason, the versions of its NPU's software, and the way that there is."""
    ended, report = told["apply"]
    (first,) = of(report, "rock")
    assert first["status"] == "failed"
    assert ended.code == 2
    assert "no NVIDIA GPU" in str(first)
    assert "driver in the kernel is 0.9.6; librknnrt.so is 2.3.2" in str(first)
    assert "rknn-toolkit-lite2" in str(first)


def test_pins_are_kept_for_each_route_and_platform(told: dict[str, Any]) -> None:
    """The lock file has a pin for each route, for the platform of its hosts."""
    lock = (told["user"].folder / "inventory/.provision/mixed.lock.yaml").read_text()
    for band, platform in (("x86-cuda13", "linux/amd64"), ("sbsa-cuda13", "linux/arm64"), ("arm64-cpu", "linux/arm64")):
        assert f"band: {band}\n" in lock
        assert f"platform: {platform}\n" in lock


WITHOUT = """
- hosts: workstation
  become: true
  tasks:
    - apt:
        name: [nvidia-container-toolkit, nvidia-container-toolkit-base, libnvidia-container-tools, libnvidia-container1]
        state: absent
        allow_change_held_packages: true
"""


def test_nvidias_repository_comes_with_the_key_that_was_given(told: dict[str, Any]) -> None:
    """Without the toolkit and its repository a server is refused with both ways to it; with a key it gets them."""
    user: User = told["user"]
    gone = user.run("apply", INVENTORY, user.write("without.yaml", WITHOUT))
    assert gone.code == 0, gone.all
    refused, report = user.apply(INVENTORY, "-l", "workstation")
    assert refused.code == 2
    assert "nvidia_toolkit_key=FILE" in refused.all
    assert [one["task"] for one in of(report, "workstation") if one["status"] == "changed"] == []
    no_key = user.folder / user.write("nvidia.html", "404")
    refused, _ = user.apply(INVENTORY, "-l", "workstation", "-e", f"nvidia_toolkit_key={no_key}")
    assert refused.code == 2
    assert "has no public key" in refused.all
    key = user.folder / user.write("nvidia.asc", "-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    given = ("-e", f"nvidia_toolkit_key={key}")
    ended, _ = user.apply(INVENTORY, "-l", "workstation", *given)
    assert ended.code == 0, ended.all
    assert user.apply(INVENTORY, "-l", "workstation", *given)[1]["recap"]["workstation"]["changed"] == 0


@pytest.mark.parametrize("host", ["workstation", "spark"])
def test_verify_computes_on_the_gpu_of_a_server(told: dict[str, Any], host: str) -> None:
    """`provision verify` proves a server's GPU as it does a Jetson's."""
    ended = told["user"].run("verify", INVENTORY, "-l", host)
    assert ended.code == 0, ended.all
    assert "computes on" in ended.all


def test_verify_has_nothing_to_prove_without_a_gpu(told: dict[str, Any]) -> None:
    """A host without an NVIDIA GPU is skipped, and is no failure."""
    ended = told["user"].run("verify", INVENTORY, "-l", "pi")
    assert ended.code == 0, ended.all
