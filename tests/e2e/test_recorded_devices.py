"""Recorded devices, booted in the lab: `provision facts --json` tells of each what was recorded of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from user import needs_namespaces

from provisioner.jetson.facts.readings import read_tegrastats
from provisioner.lab import catalogue

if TYPE_CHECKING:
    from user import User

BOOTED = (
    "nano-a02-32.1.0",
    "tx2-32.7.2",
    "agx-orin-34.1.1",
    "xavier-nx-35.4.1",
    "orin-nx-36.4.7",
    "agx-thor-38.4.0",
    "agx-orin-39.2.0",
    "gb10-24.04",
    "raspberry-pi-4-armhf-12",
)
"""One of each major release, a server, and a board with a 32-bit system."""


def tell(user: User, backend: str, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return what the facts of devices are, by id."""
    hosts = {f"host{number}": {"simulate": name} for number, name in enumerate(names)}
    user.write("lab.json", json.dumps({"all": {"hosts": hosts}}))
    try:
        ended = user.run("facts", "lab.json", "--json", "-b", "--lab-backend", backend)
        assert ended.code == 0, ended.all
        told = json.loads(ended.out)
    finally:
        user.run("lab", "reset", "lab.json")
    return {name: told[host] for host, name in zip(hosts, names, strict=True)}


def check(name: str, told: dict[str, Any]) -> None:
    """Compare what is told of a device with its recording."""
    data = catalogue.everything()["devices"][name]
    versions = {package: str(entry.get("installed", "")) for package, entry in data["packages"].items()}
    assert told["kernel"] == data["kernel"]
    assert (told["kernel_architecture"], told["userland_architecture"]) == (data["machine"], data["architecture"])
    assert told["model"] == (data["model"] or None)
    assert (told["kind"] == "jetson") == bool(data["release"])
    assert told["memory_mb"] == data["memory_kb"] // 1024
    assert [(disk["name"], disk["kind"], disk["root"]) for disk in told["storage"]] == [
        (disk["name"], disk["kind"], disk["root"]) for disk in data["storage"]
    ]
    toolkit = versions.get("nvidia-container-toolkit", "")
    assert (told["container_toolkit"] or "") == toolkit.rpartition("-")[0]
    info = data.get("docker_info")
    assert told["docker_installed"] == told["docker_answers"] == (info is not None)
    if info is not None:
        assert (told["docker_version"], told["docker_storage_driver"]) == (info["version"], info["driver"])
        assert (told["docker_data_root"], told["docker_default_runtime"]) == (
            info["data_root"],
            info["default_runtime"],
        )
        assert told["docker_runtimes"] == info["runtimes"]
        assert told["docker_data_root_free_bytes"] > 0
    assert told["power_modes"] == {str(number): mode for number, mode in enumerate(data.get("power", ()))}
    line = read_tegrastats(data.get("tegrastats", ""))
    if line is not None:
        assert told["temperatures_celsius"] == dict(line.temperatures)
        assert (told["gpu_load_percent"], told["cpu_load_percent"]) == (line.gpu_load, line.cpu_load)
        assert (told["temperature_celsius"], told["readings_source"]) == (line.temperature, "tegrastats")
    if data["release"]:
        revision = data["release"].partition("REVISION: ")[2].partition(",")[0]
        major = data["release"].partition("# R")[2].partition(" ")[0]
        assert told["l4t"] == f"{major}.{revision}"
        assert told["apt_sources"] == ("sane" if data["repositories"] else "missing")
    assert abs(told["clock_offset_seconds"]) < 30


@needs_namespaces
def test_booted_devices_tell_what_was_recorded(user: User) -> None:
    """Through a real shell and SSH, the facts of each booted device are those of its recording."""
    for name, told in tell(user, "namespace", BOOTED).items():
        check(name, told)


def test_modelled_devices_tell_what_was_recorded(user: User) -> None:
    """As data, every device there is tells the same."""
    for name, told in tell(user, "model", tuple(catalogue.everything()["devices"])).items():
        check(name, told)


@pytest.mark.parametrize("backend", ["model"])
def test_a_device_that_is_not_there_has_a_place_and_a_near_one(user: User, backend: str) -> None:
    """A misspelt `simulate` is one error: where it stands, what was meant, and what there is."""
    user.write("lab.yaml", "all:\n  hosts:\n    a: {simulate: orin-nx-36.4.77}\n")
    ended = user.run("facts", "lab.yaml", "--lab-backend", backend)
    assert ended.code != 0
    assert "lab.yaml:3" in ended.err
    assert "did you mean 'orin-nx-36.4.7'?" in ended.err
