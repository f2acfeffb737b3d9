"""Laws of the recorded devices: where each field is from, that none is missing, and that the parsers read them all."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from provisioner.errors import InputError
from provisioner.jetson.catalogue import catalogue as tables
from provisioner.jetson.compatibility import candidates, container_packages
from provisioner.jetson.facts import HostFacts, facts_from
from provisioner.jetson.facts.readings import read_sysfs, read_tegrastats
from provisioner.jetson.facts.software import HostDetails, details_from
from provisioner.lab import catalogue, recordings

TESTS = Path(__file__).parents[1]
JETSONS = [name for name in recordings.names() if "l4t" in recordings.written(name)]
OTHERS = {
    "x86-rtx-a4000-24.04": "x86-nvidia",
    "gb10-24.04": "sbsa-nvidia",
    "raspberry-pi-5-13": "raspberry-pi",
    "raspberry-pi-4-armhf-12": "raspberry-pi",
    "rk3588-orangepi-5-plus-22.04": "rk3588",
}
RELEASE_LINES = [
    *("32.1", "32.2", "32.3", "32.4", "32.5", "32.6", "32.7", "34.1", "35.1", "35.2", "35.3", "35.4", "35.5", "35.6"),
    *("36.2", "36.3", "36.4", "36.5", "38.2", "38.4", "39.2"),
]


@cache
def read(name: str) -> tuple[HostFacts, HostDetails]:
    """Return what the parsers make of a device's answers."""
    data: dict[str, Any] = dict(catalogue.everything()["devices"][name])
    versions = {name: entry.get("installed", "") for name, entry in data["packages"].items()}
    smi = data.get("nvidia_smi", {})
    facts = facts_from({
        "kernel_arch": data["machine"],
        "userland_arch": data["architecture"],
        "kernel": data["kernel"],
        "os_id": "ubuntu" if "ubuntu" in data else data["os"]["id"],
        "os_version": str(data.get("ubuntu") or data["os"]["version"]),
        "model": data["model"],
        "compatible": "|".join(data["compatible"]),
        "release_line": data["release"].partition("\n")[0],
        "l4t_core": versions.get("nvidia-l4t-core", ""),
        "l4t_kernel": versions.get("nvidia-l4t-kernel", ""),
        "memory_kb": str(data["memory_kb"]),
        "apt_sources": "sane" if data["repositories"] else "missing",
        "nvidia_smi": f"{smi['name']}, {smi['driver']}" if smi else "",
    })  # fmt: skip
    details = details_from({
        "packages": " ".join(f"{package}={version}" for package, version in versions.items() if version),
        "tegrastats": data.get("tegrastats", ""),
        "zones": data.get("zones", ""),
        "disks": " ".join(f"{one['name']}:{one['kind']}:{one['sectors']}" for one in data["storage"]),
        "root_disk": next(one["name"] for one in data["storage"] if one["root"]),
    })  # fmt: skip
    return facts, details


@pytest.mark.parametrize("name", recordings.names())
def test_every_field_says_where_it_is_from(name: str) -> None:
    """A field was recorded somewhere, or composed by a rule that is named; and nothing that a lab needs is missing."""
    fields = recordings.fields(name)
    assert all(field.mark in ("recorded", "composed") and len(field.how) > 5 for field in fields.values())
    needed = {"model", "compatible", "release", "kernel", "suite", "repositories", "packages", "machine", "storage"}
    assert needed <= set(fields)


@pytest.mark.parametrize("name", recordings.names())
def test_no_source_is_one_that_a_reader_cannot_have(name: str) -> None:
    """Where a field is from is a public place or a rule, and never a path of somebody's machine."""
    assert not [field for field in recordings.fields(name).values() if field.how.startswith("/") or ":/" in field.how]


def test_a_field_without_its_origin_is_an_error() -> None:
    """Neither a bare value nor two origins pass for a field."""
    for entry in ({"is": 1}, {"is": 1, "recorded": ""}, {"is": 1, "recorded": "a", "composed": "b"}):
        with pytest.raises(TypeError, match="device: key"):
            recordings.field_of("device: key", entry)


@pytest.mark.parametrize("name", JETSONS)
def test_a_jetson_is_read_as_it_was_recorded(name: str) -> None:
    """Module, SoC, release and part number come out of the device's own words, and nothing contradicts."""
    written = recordings.written(name)
    facts, details = read(name)
    assert (facts.kind, facts.module, facts.soc, facts.l4t) == (
        "jetson", written["module"], written["soc"], written["l4t"],
    )  # fmt: skip
    assert facts.compute_capability == tables().socs[written["soc"]].compute_capability
    assert (facts.l4t_source, facts.l4t_warnings) == ("/etc/nv_tegra_release", ())
    assert facts.jetpack is not None
    assert facts.jetpack_major is not None
    assert details.readings.temperature is not None
    assert [one for one in details.disks if one.root]


@pytest.mark.parametrize("name", JETSONS)
def test_a_recorded_device_can_exist(name: str) -> None:
    """The release is for the module and the SoC, and the software is that of the release's stack."""
    written = recordings.written(name)
    release = tables().release(written["l4t"])
    assert release is not None
    assert int(written["l4t"].split(".")[0]) in tables().socs[written["soc"]].majors
    assert written["module"] in release.modules
    _, details = read(name)
    stack = tables().stacks[release.stack]
    assert details.cuda in (None, stack.cuda)
    assert details.cudnn in (None, stack.cudnn)
    assert details.tensorrt in (None, stack.tensorrt)


@pytest.mark.parametrize(("name", "kind"), OTHERS.items())
def test_what_is_no_jetson_is_told_apart(name: str, kind: str) -> None:
    """Servers, PCs and other boards are what they are, and have no release of Jetson Linux."""
    facts, _ = read(name)
    assert (facts.kind, facts.l4t, facts.soc, facts.module) == (kind, None, None, None)


def test_a_32_bit_userland_is_told() -> None:
    """A 64-bit kernel under a 32-bit system wants 32-bit images, and says so on any board."""
    facts, _ = read("raspberry-pi-4-armhf-12")
    assert (facts.kernel_arch, facts.userland_arch, facts.architecture) == ("aarch64", "armhf", "armhf")
    assert facts.l4t_warnings == ("the kernel is aarch64, but the userland is armhf",)


@pytest.mark.parametrize("line", RELEASE_LINES)
def test_every_release_line_is_recorded(line: str) -> None:
    """From 32.1 to 39.2 there is a device of each line."""
    assert [name for name in JETSONS if recordings.written(name)["l4t"].startswith(f"{line}.")]


def test_every_module_is_recorded() -> None:
    """Of each module that the tables know there is a device, but for one whose device tree nobody has shown."""
    known = {module.id for module in tables().modules}
    assert known - {recordings.written(name)["module"] for name in JETSONS} == {"agx-xavier-industrial"}


@pytest.mark.parametrize("name", recordings.names())
def test_every_sensor_line_is_read(name: str) -> None:
    """What tegrastats or /sys says of a device is understood, with the memory that the device has."""
    data = catalogue.everything()["devices"][name]
    line = data.get("tegrastats")
    found = read_tegrastats(line) if line else read_sysfs(data.get("zones", ""), "")
    assert (found is None) == (not line and "zones" not in data)
    if line:
        assert found is not None
        assert found.memory_total_mb == data["memory_kb"] // 1024
        assert found.cpu_load is not None


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("orin-nx-36.4.6", "orin-nx-36.4."), ("orin-nx-3647", "orin-nx-36.4.7"), ("Xavier-NX-35.4.1", "xavier-nx-35.4.1"),
     ("raspberrypi-5", "raspberry-pi-5")],
)  # fmt: skip
def test_a_device_that_is_not_there_has_a_near_one(asked: str, meant: str) -> None:
    """An unknown id is an error that names the one that was probably meant, and all that there are."""
    with pytest.raises(InputError, match=f"'{asked}'; did you mean '{meant}") as caught:
        catalogue.model(asked)
    assert all(name in str(caught.value.hint) for name in recordings.names())


@pytest.mark.parametrize("name", JETSONS)
def test_the_lab_has_what_a_device_will_fetch(name: str) -> None:
    """Whatever image a recorded Jetson is to get, the lab's registry has one of them, and its apt the packages."""
    facts, _ = read(name)
    found = candidates(facts).images
    row = container_packages(facts.l4t or "")
    if not found or row is None:
        return
    images = {f"{host}/{one}" for one in catalogue.everything()["images"] for host in ("nvcr.io", "docker.io")}
    assert {image.reference for image in found} & images
    offered = catalogue.everything()["devices"][name]["packages"]
    ways = ({row.engine, *row.runtime}, {row.engine, *row.parts})
    assert any(all(package in offered for package in way) for way in ways)


def test_the_tests_see_the_devices_of_the_package() -> None:
    """tests/devices is the package's own folder: there is no second copy that could differ."""
    assert (TESTS / "devices").resolve() == recordings.FOLDER
