"""Laws of a host's details: versions, Docker, disks and what a person is warned of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.jetson.described import FullFactsState
from provisioner.jetson.facts import facts_from
from provisioner.jetson.facts.details import ASKED
from provisioner.jetson.facts.software import details_from, upstream
from provisioner.jetson.facts.telling import told_of
from provisioner.jetson.observed import FactsState

ORIN = {
    "kernel_arch": "aarch64",
    "userland_arch": "arm64",
    "kernel": "5.15.148-tegra",
    "compatible": "nvidia,p3768-0000+p3767-0005-super|nvidia,p3767-0005|nvidia,tegra234",
    "release_line": "# R36 (release), REVISION: 4.3, GCID: 1",
    "apt_sources": "sane",
}


@pytest.mark.parametrize(
    ("packages", "told"),
    [
        (
            "cuda-cudart-10-2=10.2.300-1 libcudnn8=8.2.1.32-1+cuda10.2 libnvinfer8=8.2.1-1+cuda10.2",
            ("10.2.300", "8.2.1.32", "8.2.1"),
        ),
        (
            (
                "cuda-cudart-12-6=12.6.68-1 cuda-cudart-11-8=11.8.89-1 libcudnn9-cuda-12=9.3.0.75-1 "
                "libnvinfer10=10.3.0.30-1+cuda12.5"
            ),
            ("12.6.68", "9.3.0.75", "10.3.0.30"),
        ),
        ("tensorrt=8.6.2.3-1+cuda12.2", (None, None, "8.6.2.3")),
        ("", (None, None, None)),
    ],
)
def test_software_is_told_by_its_packages(packages: str, told: tuple[str | None, ...]) -> None:
    """CUDA, cuDNN and TensorRT are the newest of their packages, as their makers number them; none is None."""
    found = details_from({"packages": packages})
    assert (found.cuda, found.cudnn, found.tensorrt) == told


@pytest.mark.parametrize(
    ("version", "told"),
    [("1:7.6p1-4ubuntu0.7", "7.6p1"), ("1.11.0~rc.1-1", "1.11.0~rc.1"), ("5:27.5.1-1~ubuntu.22.04~jammy", "27.5.1"),
     ("6.2.1+b38", "6.2.1+b38")],
)  # fmt: skip
def test_a_version_is_its_makers(version: str, told: str) -> None:
    """Debian's epoch and revision are left out, and nothing else is."""
    assert upstream(version) == told


def test_a_daemon_tells_of_itself() -> None:
    """Version, driver, root and runtimes are the running daemon's."""
    docker = details_from({
        "docker_present": "yes", "docker_answers": "yes", "docker_version": "28.2.2", "docker_driver": "vfs",
        "docker_data_root": "/mnt/ssd/docker", "docker_default_runtime": "nvidia", "docker_runtimes": "nvidia runc",
        "packages": "docker.io=20.10.21-0ubuntu1",
    }).docker  # fmt: skip
    assert (docker.version, docker.storage_driver, docker.data_root) == ("28.2.2", "vfs", "/mnt/ssd/docker")
    assert (docker.default_runtime, docker.runtimes) == ("nvidia", ("nvidia", "runc"))


def test_a_silent_daemon_has_its_packages_version() -> None:
    """Where the daemon answers others only, it is told so, with the version that is installed."""
    docker = details_from(
        {"docker_present": "yes", "docker_answers": "no", "docker_denied": "yes", "packages": "docker-ce=5:27.5.1-1"}
    ).docker
    assert (docker.installed, docker.answers, docker.denied, docker.version) == (True, False, True, "27.5.1")


def test_disks_are_of_a_kind_and_one_has_the_root() -> None:
    """Sectors become bytes; words that are no disk are passed over."""
    found = details_from({"disks": "mmcblk0:emmc:100 nvme0n1:nvme:200 x:what:3 broken", "root_disk": "nvme0n1"}).disks
    assert [(one.name, one.kind, one.size_bytes, one.root) for one in found] == [
        ("mmcblk0", "emmc", 51200, False),
        ("nvme0n1", "nvme", 102400, True),
    ]


def test_tegrastats_goes_before_sysfs() -> None:
    """The best source is taken as a whole, and named."""
    both = {"tegrastats": "RAM 1/2MB GPU@31C", "zones": "cpu:52000", "gpu_load": "10"}
    assert details_from(both).readings.source == "tegrastats"
    assert details_from({**both, "tegrastats": ""}).readings.source == "sysfs"
    assert details_from({"nvidia_smi": "40, 1", "zones": "cpu:52000"}).readings.source == "nvidia-smi"
    assert details_from({}).readings.source is None


@pytest.mark.parametrize(
    ("facts", "details", "offset", "said"),
    [
        ({"apt_sources": "placeholder"}, {}, 0, "<SOC>"),
        ({"apt_sources": "commented"}, {}, 0, "commented out"),
        ({"apt_sources": "missing"}, {}, 0, "is missing"),
        ({"first_boot_pending": "yes"}, {}, 0, "first boot"),
        ({"l4t_core": "36.4.4-20250616085344"}, {}, 0, "half done"),
        ({"l4t_kernel": "5.15.185-tegra-36.5.0-2026"}, {"reboot_required": "yes"}, 0, "a reboot is needed"),
        ({}, {"reboot_required": "yes"}, 0, "reboot"),
        ({}, {"docker_driver": "vfs"}, 0, "vfs"),
        ({}, {}, -3600, "3600 s behind"),
        ({}, {}, 90, "90 s ahead of"),
        ({"kernel_arch": "aarch64", "userland_arch": "armhf"}, {}, 0, "userland is armhf"),
    ],
)
def test_a_person_is_warned_once(facts: dict[str, str], details: dict[str, str], offset: int, said: str) -> None:
    """Each thing that is out of order is one warning, and what is in order is none."""
    (warning,) = told_of(facts_from({**ORIN, **facts}), details_from(details), offset)["warnings"]
    assert said in warning


def test_what_is_in_order_is_no_warning() -> None:
    """A sane device warns of nothing, nor does one of a release that had no apt suite at all."""
    assert told_of(facts_from(ORIN), details_from({}), 1)["warnings"] == []
    old = {"release_line": "# R32 (release), REVISION: 1.0, GCID: 1", "apt_sources": "missing", "kernel": ""}
    assert told_of(facts_from({**ORIN, **old}), details_from({}))["warnings"] == []


def test_names_in_json_are_words() -> None:
    """Every name is snake_case, but for the first name of the release, which scripts may use."""
    told = told_of(facts_from(ORIN), details_from({}))
    assert [name for name in told if name != name.lower()] == ["L4T"]
    assert told["L4T"] == told["l4t"] == "36.4.3"


def test_details_enter_no_comparison() -> None:
    """Two looks that differ in details alone are one state: none of them can reach a guard."""
    text = "hostname=orin\n.clock=1\n.details_tegrastats=RAM 1/2MB\n.details_docker_version=28.2.2"
    then = FullFactsState.parse(text)
    now = FullFactsState.parse("hostname=orin\n.clock=2\n.details_tegrastats=RAM 2/2MB")
    assert then == now
    assert then.render() == now.render() == FactsState.parse("hostname=orin").render()
    assert then.details == {"tegrastats": "RAM 1/2MB", "docker_version": "28.2.2"}
    assert then.more.docker.version == "28.2.2"


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(ASKED), st.text(), max_size=len(ASKED)))
def test_any_values_can_be_read(raw: dict[str, str]) -> None:
    """No value in any field makes the derivation or the telling fail."""
    assert told_of(facts_from({}), details_from(raw), 0)["kind"] == "other"


@pytest.mark.parametrize("field", ASKED)
def test_endless_digits_are_no_number(field: str) -> None:
    """A number of five thousand digits ends nothing."""
    text = "9" * 5000
    details_from({field: text})
    details_from({field: f"a:nvme:{text} libcudnn8={text} {text}"})
    assert facts_from({"memory_kb": text, "login_uid": text}).memory_kb is None
