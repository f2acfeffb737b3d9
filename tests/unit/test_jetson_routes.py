"""Laws of hosts that are no Jetson: which images they get by GPU and driver, and what they are told."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.compatibility import candidates, of_route
from provisioner.jetson.facts import facts_from
from provisioner.jetson.images import home_of, review
from provisioner.jetson.pins import LockFile, choose
from provisioner.jetson.registry import Platform, Resolved
from provisioner.jetson.routes import Refused, gpus_of, route_of, route_packages, uncoded
from provisioner.jetson.versions import Range, version

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.jetson.facts import HostFacts

NAMES = [
    "NVIDIA GeForce RTX 4090",
    "NVIDIA A100-SXM4-40GB",
    "NVIDIA GeForce GTX 1080 Ti",
    "Tesla V100-SXM2-16GB",
    "Tesla T4",
]
OLD = {"NVIDIA GeForce GTX 1080 Ti", "Tesla V100-SXM2-16GB"}
DRIVERS = st.tuples(st.integers(300, 999), st.integers(0, 300), st.integers(0, 20)).map(
    lambda v: f"{v[0]}.{v[1]}.{v[2]:02}"
)
KINDS: dict[str, dict[str, str]] = {
    "x86": {"kernel_arch": "x86_64", "userland_arch": "amd64"},
    "raspberry-pi": {
        "kernel_arch": "aarch64",
        "userland_arch": "arm64",
        "model": "Raspberry Pi 5 Model B Rev 1.0",
        "compatible": "raspberrypi,5-model-b|brcm,bcm2712",
        "page_size": "16384",
    },
    "arm64-other": {"kernel_arch": "aarch64", "userland_arch": "arm64"},
}


def server(name: str = NAMES[0], driver: str = "580.95.05", arch: str = "x86_64", more: str = "") -> HostFacts:
    """Return the facts of a host with an NVIDIA GPU."""
    userland = {"x86_64": "amd64", "aarch64": "arm64"}[arch]
    return facts_from({"kernel_arch": arch, "userland_arch": userland, "nvidia_smi": f"{name}, {driver}{more}"})


@given(st.sampled_from(NAMES), DRIVERS, st.sampled_from(["x86_64", "aarch64"]))
def test_no_driver_gets_a_cuda_that_it_cannot_run(name: str, driver: str, arch: str) -> None:
    """Over all drivers: CUDA 13 needs 580, 12 needs 525, 11 needs 450; older GPUs get none with CUDA 13."""
    facts = server(name, driver, arch)
    found = candidates(facts)
    assert bool(found.images) != bool(found.refusal)
    for image in found.images:
        route = found.band.id if found.band else ""
        cuda = int(route[-2:])
        assert version(driver) >= {13: (580,), 12: (525,), 11: (450,)}[cuda]
        assert cuda < 13 or name not in OLD
        assert route in image.bands
        assert facts.architecture in image.architectures
        assert not image.tag.startswith("r")


@given(st.sampled_from(sorted(KINDS)), st.sampled_from(catalogue().families))
def test_a_host_without_a_gpu_never_gets_cuda(kind: str, family: str) -> None:
    """Without an NVIDIA GPU there is an image without CUDA and a warning that says so, or a refusal."""
    facts = facts_from(KINDS[kind])
    found = candidates(facts, family)
    assert facts.kind == kind
    assert all("cuda" not in image.reference and "nvidia" not in image.reference for image in found.images)
    assert bool(found.images) != bool(found.refusal)
    assert any("there is no CUDA" in warning for warning in found.warnings)


@pytest.mark.parametrize(
    ("name", "driver", "arch", "first"),
    [
        ("NVIDIA GeForce RTX 4090", "580.95.05", "x86_64", "docker.io/pytorch/pytorch:2.14.0-cuda13.0-cudnn9-runtime"),
        ("NVIDIA GeForce RTX 4090", "550.120", "x86_64", "docker.io/pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime"),
        ("NVIDIA GeForce GTX 1080", "580.95.05", "x86_64", "docker.io/pytorch/pytorch:2.13.0-cuda12.6-cudnn9-runtime"),
        ("Tesla K80", "470.256.02", "x86_64", "docker.io/pytorch/pytorch:2.7.1-cuda11.8-cudnn9-runtime"),
        ("NVIDIA GB10", "580.142", "aarch64", "nvcr.io/nvidia/pytorch:26.08-py3"),
        ("NVIDIA GH200 480GB", "595.71.05", "aarch64", "nvcr.io/nvidia/pytorch:26.08-py3"),
    ],
)
def test_first_choices(name: str, driver: str, arch: str, first: str) -> None:
    """The newest CUDA that driver and GPU can both run comes first."""
    assert candidates(server(name, driver, arch)).images[0].reference == first


def test_a_jetson_is_asked_before_the_servers() -> None:
    """A Thor has nvidia-smi too, and is a Jetson all the same: it gets the images of its release."""
    facts = facts_from(
        {
            "kernel_arch": "aarch64",
            "compatible": "nvidia,tegra264",
            "release_line": "# R39 (release), REVISION: 2.1",
            "nvidia_smi": "NVIDIA Thor, 595.78",
        }
    )
    band = candidates(facts).band
    assert facts.kind == "jetson"
    assert band is not None
    assert band.id == "38-39"


def test_an_arm_server_gets_no_image_without_an_arm64_part() -> None:
    """pytorch/pytorch has none, and is offered to no arm64 host."""
    for row in catalogue().images:
        if row.repository == "docker.io/pytorch/pytorch":
            assert row.architectures == ("amd64",)
    assert candidates(server(arch="aarch64", driver="550.1")).images == ()


@pytest.mark.parametrize(
    ("name", "generation"),
    [
        ("NVIDIA GeForce GTX 1060 6GB", "Pascal"),
        ("Quadro P2000", "Pascal"),
        ("Tesla P100-PCIE-16GB", "Pascal"),
        ("NVIDIA TITAN V", "Volta"),
        ("Tesla V100-SXM2-32GB", "Volta"),
        ("NVIDIA GeForce GTX 970", "Maxwell"),
        ("NVIDIA GeForce GTX 1660 Ti", None),
        ("Tesla T4", None),
        ("NVIDIA RTX 1000 Ada Generation Laptop GPU", None),
        ("NVIDIA RTX A4000", None),
        ("NVIDIA H100 80GB HBM3", None),
        ("NVIDIA GeForce RTX 5090", None),
    ],
)
def test_older_gpus_are_known_by_their_names(name: str, generation: str | None) -> None:
    """Maxwell, Pascal and Volta are told from what came after them; no name is of two generations."""
    assert gpus_of(server(name))[0].legacy == generation
    rows = [row for row in catalogue().legacy if any(fnmatchcase(name, one) for one in row.names)]
    assert len(rows) == (generation is not None)


def test_a_gpu_whose_name_has_a_comma_keeps_its_driver() -> None:
    """The driver is what stands behind the last comma, and several GPUs are several."""
    gpus = gpus_of(server("Odd, Name", "550.1", more="|Tesla T4, 550.1"))
    assert [(gpu.name, gpu.driver) for gpu in gpus] == [("Odd, Name", "550.1"), ("Tesla T4", "550.1")]


def test_two_generations_in_one_host_are_told() -> None:
    """With an old GPU beside a new one the older one counts, and that is a warning."""
    found = candidates(server("NVIDIA GeForce GTX 1080", "580.1", more="|NVIDIA GeForce RTX 5090, 580.1"))
    assert found.band is not None
    assert found.band.id == "x86-cuda12"
    assert "Pascal" in found.warnings[0]


@pytest.mark.parametrize(
    ("driver", "capability", "hint"),
    [("580.1", "8.9", None), ("570.1", "12.0", "upgrade the NVIDIA driver"), ("580.1", "6.1", "older than its name")],
)
def test_images_without_code_for_the_gpu_are_refused(driver: str, capability: str, hint: str | None) -> None:
    """What nvidia-smi says of the capability is compared with what the images have code for."""
    route = route_of(server(driver=driver))
    assert not isinstance(route, Refused)
    refused = uncoded(route, [capability])
    assert (refused is None) == (hint is None)
    assert hint is None or (refused and hint in refused.hint)
    assert uncoded(route, []) is None


def test_the_pages_of_a_raspberry_pi_5_are_told() -> None:
    """16 KiB pages break programs that expect 4: that is a warning, and 4 KiB are none."""
    raw = KINDS["raspberry-pi"]
    assert any("16 KiB" in one for one in candidates(facts_from(raw)).warnings)
    assert not any("KiB" in one for one in candidates(facts_from({**raw, "page_size": "4096"})).warnings)


def test_packages_follow_the_route() -> None:
    """Only hosts with an NVIDIA GPU get NVIDIA's toolkit; where there is no image there are no packages either."""
    toolkit = {kind: route_packages(facts) for kind, facts in ((k, facts_from(raw)) for k, raw in KINDS.items())}
    assert all(row is not None and row.runtime == () for row in toolkit.values())
    row = route_packages(server())
    assert row is not None
    assert row.runtime == ("nvidia-container-toolkit",)
    assert route_packages(facts_from({"kernel_arch": "aarch64", "compatible": "rockchip,rk3588"})) is None


def test_each_route_can_be_reached() -> None:
    """No row of the table stands behind one that takes all its hosts."""
    hosts = [
        server(name, f"{driver}.1", arch)
        for name in NAMES
        for driver in (460, 530, 590)
        for arch in ("x86_64", "aarch64")
    ]
    hosts += [facts_from(raw) for raw in KINDS.values()]
    assert {home_of(facts) for facts in hosts} >= {row.id for row in catalogue().routes}


def test_bounds_of_the_table_are_ranges() -> None:
    """The oldest driver of a route is one lower bound, and its capability begins with one."""
    for row in catalogue().routes:
        assert row.driver is None or [operator for operator, _ in row.driver.bounds] == [">="]
        assert row.capability is None or isinstance(row.capability, Range)
        assert row.capability is None or row.capability.bounds[0][0] == ">="


class Shelf:
    """A registry that has everything, and remembers for which platform it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return made-up digests."""
        self.asked.append((reference, str(platform)))
        digest = f"sha256:{len(self.asked):064x}"
        return Resolved(reference, digest, digest, "m", platform, 1000, (), digest)


@pytest.mark.parametrize(
    ("facts", "platform"),
    [(server(), "linux/amd64"), (server(arch="aarch64"), "linux/arm64"), (facts_from(KINDS["x86"]), "linux/amd64")],
)
def test_a_pin_is_for_the_platform_of_the_route(tmp_path: Path, facts: Any, platform: str) -> None:
    """A host is pinned for its own architecture, and a second run finds that pin."""
    shelf, lock = Shelf(), LockFile(tmp_path / "lock")
    pin = choose(candidates(facts), shelf, lock).pin
    assert (pin.platform, pin.band) == (platform, home_of(facts))
    again = choose(candidates(facts), shelf, lock.with_pin(pin))
    assert (again.pin, again.asked, len(shelf.asked)) == (pin, False, 1)


def test_pins_of_routes_are_reviewed_like_those_of_bands(tmp_path: Path) -> None:
    """`pin --update` asks anew for a route that is pinned, and for the route of a host that has none yet."""
    shelf, lock = Shelf(), LockFile(tmp_path / "lock")
    lock = lock.with_pin(choose(candidates(server()), shelf, lock).pin)
    moves = review(lock, shelf, [facts_from(KINDS["raspberry-pi"])])
    assert [(move.band, move.error, move.moves) for move in moves] == [
        ("arm64-cpu", None, True),
        ("x86-cuda13", None, True),
    ]


def test_a_tag_for_a_jetson_is_refused_elsewhere() -> None:
    """An l4t image asked for by name is not started on a server, and one for servers is not on a Jetson."""
    assert candidates(server(), wanted="docker.io/dustynv/l4t-pytorch:r36.4.0").images == ()
    assert candidates("36.4.3", wanted="docker.io/pytorch/pytorch:2.13.0-cuda13.0-cudnn9-runtime").images == ()
    assert candidates(server(arch="aarch64"), wanted="nvcr.io/nvidia/pytorch:26.07-py3").images[0].tag == "26.07-py3"
    assert candidates(server(), wanted="example.org/mine:1").images[0].architectures == ("amd64",)


def test_a_route_without_an_image_says_what_there_is() -> None:
    """Where a family has no image for a route, the refusal has a reason and a next step."""
    for route in catalogue().routes:
        for family in catalogue().families:
            found = of_route(route, family)
            assert bool(found.images) != bool(found.refusal and found.hint)
