"""Laws of the tables and of what may run where."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import InputError, Source
from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.compatibility import (
    apt_sources,
    band_of,
    candidates,
    container_packages,
    docker_problems,
    explain,
    phantom,
    soc_conflict,
)
from provisioner.jetson.facts import facts_from
from provisioner.jetson.rows import Band, Image
from provisioner.jetson.strict import decode
from provisioner.jetson.versions import Range, padded, version

RELEASES = [row.l4t for row in catalogue().releases.values()]
FAMILIES = list(catalogue().families)
ROUTES = {row.id for row in catalogue().routes}
MADE_UP = st.tuples(st.integers(28, 42), st.integers(0, 12), st.integers(0, 12)).map(lambda v: ".".join(map(str, v)))


def reference_rule(host: str, image: str) -> bool:
    """The rule as it is written down, in another form than the code's: may an image run on a host?"""
    (major, minor, micro), (major_i, minor_i, micro_i) = padded(version(host))[:3], padded(version(image))[:3]
    if major in (38, 39):
        return major_i in (38, 39)
    if major != major_i or major not in (32, 34, 35, 36):
        return False
    if major == 36:
        return (minor >= 4) == (minor_i >= 4) and min(minor, minor_i) >= 2
    if major == 32 and min(minor, minor_i) < 7:
        return (minor, micro) == (minor_i, micro_i) or minor == minor_i == 5
    return True


def home(image: Image) -> str:
    """A release of the image's band, for images that are built for no release."""
    return image.built_for or "39.2.0"


def check_no_foreign_image(host: str, family: str) -> None:
    for image in candidates(host, family).images:
        assert reference_rule(host, home(image)), (host, image.reference)
        assert image.band not in ROUTES
        assert image.exists
        assert family in image.families
        assert "arm64" in image.architectures


@pytest.mark.parametrize("family", FAMILIES)
def test_no_known_release_gets_a_foreign_image(family: str) -> None:
    """Over all releases and images: nothing from another band, no tag that does not exist, nothing but arm64."""
    for host in RELEASES:
        check_no_foreign_image(host, family)


@given(MADE_UP, st.sampled_from(FAMILIES))
def test_no_made_up_release_gets_a_foreign_image(host: str, family: str) -> None:
    """A release that nobody has seen yet is held to the same bands."""
    check_no_foreign_image(host, family)


@given(MADE_UP)
def test_a_host_is_told_why(host: str) -> None:
    """Images or a refusal, never both and never neither; a refusal can be read."""
    found = candidates(host)
    assert bool(found.images) != bool(found.refusal)
    assert explain(found)


@given(MADE_UP, MADE_UP)
def test_bands_do_not_overlap(one: str, other: str) -> None:
    """Two releases are in one band exactly if the rule lets them run each other's images."""
    first, second = band_of(one), band_of(other)
    if first and second:
        assert (first == second) == reference_rule(one, other)


@given(MADE_UP)
def test_unknown_releases_warn(host: str) -> None:
    """A release without a row that gets images gets a warning too, and one with a row gets none."""
    found = candidates(host)
    if found.images:
        assert bool(found.warnings) == (catalogue().release(host) is None)


def test_images_are_in_their_band() -> None:
    """The release that an image was built for lies in the band that the image claims, and no other band is claimed."""
    rows = [image for image in catalogue().images if image.band not in ROUTES]
    claimed = {image.reference: image.band for image in rows}
    found = {image.reference: getattr(band_of(home(image)), "id", None) for image in rows}
    assert found == claimed


@pytest.mark.parametrize("row", catalogue().preferred, ids=lambda row: row.hosts.text)
def test_preferred_images_exist(row: object) -> None:
    """An explicit order names only images that exist and belong to a host of its range."""
    preference = next(item for item in catalogue().preferred if item is row)
    for l4t in filter(lambda l4t: version(l4t) in preference.hosts, RELEASES):
        offered = [image.reference for image in candidates(l4t).images]
        assert offered[: len(preference.images)] == list(preference.images)


@pytest.mark.parametrize(
    ("host", "first"),
    [
        ("32.4.4", "nvcr.io/nvidia/l4t-pytorch:r32.4.4-pth1.6-py3"),
        ("32.5.2", "nvcr.io/nvidia/l4t-pytorch:r32.5.0-pth1.7-py3"),
        ("32.6.1", "nvcr.io/nvidia/l4t-pytorch:r32.6.1-pth1.9-py3"),
        ("32.7.4", "nvcr.io/nvidia/l4t-pytorch:r32.7.1-pth1.10-py3"),
        ("34.1.0", "nvcr.io/nvidia/l4t-pytorch:r34.1.1-pth1.12-py3"),
        ("35.1.0", "nvcr.io/nvidia/l4t-pytorch:r35.1.0-pth1.13-py3"),
        ("35.2.1", "nvcr.io/nvidia/l4t-pytorch:r35.2.1-pth2.0-py3"),
        ("35.3.1", "docker.io/dustynv/l4t-pytorch:r35.3.1"),
        ("35.6.1", "docker.io/dustynv/l4t-pytorch:r35.4.1"),
        ("36.3.0", "docker.io/dustynv/l4t-pytorch:r36.2.0"),
        ("36.4.3", "docker.io/dustynv/l4t-pytorch:r36.4.0"),
        ("36.5.2", "docker.io/dustynv/l4t-pytorch:r36.4.0"),
        ("38.4.0", "nvcr.io/nvidia/pytorch:26.08-py3"),
        ("39.2.1", "nvcr.io/nvidia/pytorch:26.08-py3"),
    ],
)
def test_first_choices(host: str, first: str) -> None:
    """The best known image of each kind of host comes first."""
    assert candidates(host).images[0].reference == first


@pytest.mark.parametrize("host", ["28.2.1", "32.1.0", "32.4.5", "33.0", "36.1", "37.0", "40.1"])
def test_what_nothing_fits_is_refused(host: str) -> None:
    """Releases below, between and above the bands get a reason and no image."""
    found = candidates(host)
    assert found.images == ()
    assert host in (found.refusal or "")
    assert found.hint


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"kernel_arch": "aarch64", "compatible": "rockchip,rk3588"}, "RK3588"),
        ({"kernel_arch": "aarch64", "compatible": "rockchip,rk3588s"}, "no NVIDIA GPU"),
        ({"kernel_arch": "x86_64", "nvidia_smi": "GeForce GTX 680, 390.157"}, "driver 390.157 is too old"),
        ({"kernel_arch": "x86_64", "nvidia_smi": "NVIDIA A100, [N/A]"}, "does not tell the driver"),
        ({"kernel_arch": "x86_64", "nvidia_smi": "NVIDIA GPU"}, "does not tell the driver"),
        ({"kernel_arch": "x86_64", "nvidia_smi": "NVIDIA A100, 5\u096e0.1"}, "does not tell the driver"),
        ({"kernel_arch": "aarch64", "nvidia_smi": "GH200 480GB, 510.1"}, "driver 510.1 is too old"),
        ({"kernel_arch": "aarch64", "userland_arch": "armhf", "compatible": "raspberrypi,4-model-b"}, "is armhf"),
        ({"kernel_arch": "riscv64"}, "exec format error"),
        ({"kernel_arch": "aarch64", "compatible": "nvidia,tegra234"}, "neither /etc/nv_tegra_release nor"),
        (
            {"kernel_arch": "aarch64", "compatible": "nvidia,tegra210", "l4t_core": "36.4.3-1"},
            "does not exist for tegra210",
        ),
        (
            {"kernel_arch": "aarch64", "compatible": "nvidia,tegra234", "l4t_core": "38.2.0-1"},
            "does not exist for tegra234",
        ),
        ({"kernel_arch": "aarch64", "userland_arch": "armhf", "l4t_core": "32.7.4-1"}, "userland is armhf"),
    ],
)
def test_hosts_that_are_refused(raw: dict[str, str], said: str) -> None:
    """Each wrong kind of host has a reason of its own and a next step, also for an image that is named by hand."""
    facts = facts_from(raw)
    for found in (candidates(facts), candidates(facts, wanted="example.org/mine:1")):
        assert found.images == ()
        assert said in (found.refusal or "")
        assert found.hint


def test_every_kind_of_host_has_its_words() -> None:
    """No two kinds are told the same, be it images or a refusal."""
    raws = ["x86_64||", "x86_64|A100, 580|", "aarch64|GB10, 580|", "aarch64||", "aarch64||rockchip,rk3588", "riscv64||"]
    hosts = [dict(zip(("kernel_arch", "nvidia_smi", "compatible"), raw.split("|"), strict=True)) for raw in raws]
    found = [candidates(facts_from(raw)) for raw in hosts]
    assert len({(explain(one), one.architecture) for one in found}) == len(raws)


def test_no_module_conflicts_with_its_release() -> None:
    """Each module that a release is for has a chip that the release exists for, so no real device is refused."""
    socs = {module.id: module.soc for module in catalogue().modules}
    pairs = [(row.l4t, name) for row in catalogue().releases.values() for name in row.modules]
    assert [pair for pair in pairs if soc_conflict(socs[pair[1]], pair[0])] == []


def test_a_wish_comes_first_within_its_band() -> None:
    """A tag by name is tried first, be it known not to exist; one of another band is refused; digests are not tags."""
    wish = "nvcr.io/nvidia/l4t-pytorch:r35.3.1-pth2.0-py3"
    found = candidates("35.4.1", wanted=wish)
    assert [image.reference for image in found.images[:2]] == [wish, "docker.io/dustynv/l4t-pytorch:r35.4.1"]
    assert phantom(wish)
    assert not phantom("docker.io/dustynv/l4t-pytorch:r35.4.1")
    assert candidates("36.4.3", wanted=wish).images == ()
    assert "for the band 35" in (candidates("36.4.3", wanted=wish).refusal or "")
    assert candidates("32.1.0", wanted="example.org/mine:1").images[0].reference == "example.org/mine:1"
    assert candidates("36.4.3", wanted="example.org/mine:2-r36.5.0").images
    with pytest.raises(InputError):
        candidates("36.4.3", wanted=f"example.org/mine@sha256:{'0' * 64}")


@pytest.mark.parametrize(
    ("l4t", "docker", "found"),
    [
        ("36.4.3", "28.3.1", ["raw-table"]),
        ("36.4.3", "28.0.1-0ubuntu1", ["raw-table-no-switch"]),
        ("36.4.3", "27.5.1", []),
        ("35.4.1", "28.3.1", []),
        ("39.2.0", "28.3.1", []),
    ],
)
def test_docker_that_fails_is_known(l4t: str, docker: str, found: list[str]) -> None:
    """Docker 28 on R36 lacks a table; from 28.0.2 on an environment variable cures it; nothing else is accused."""
    problems = docker_problems(l4t, docker)
    assert [problem.id for problem in problems] == found
    assert all(bool(problem.environment) == (problem.id == "raw-table") for problem in problems)


def test_every_release_has_its_packages() -> None:
    """One row of packages fits each release since there is a runtime, and brings Docker and the runtime."""
    for l4t in (l4t for l4t in RELEASES if l4t != "32.1.0"):
        assert sum(version(l4t) in row.hosts for row in catalogue().packages) == 1
        packages = container_packages(l4t)
        assert packages is not None
        assert packages.engine == "docker.io"
        assert packages.runtime == (("nvidia-container",) if version(l4t)[0] < 36 else ("nvidia-container-toolkit",))


@pytest.mark.parametrize(
    ("l4t", "soc", "folder"),
    [("32.7.4", "tegra210", "t210"), ("36.4.3", "tegra234", "t234"), ("39.2.0", "tegra234", "som")],
)
def test_the_apt_list_can_be_restored(l4t: str, soc: str, folder: str) -> None:
    """The suite has major and minor only; from R38 on all chips share one folder."""
    suite = "r" + ".".join(l4t.split(".")[:2])
    assert apt_sources(l4t, soc)[1] == f"deb https://repo.download.nvidia.com/jetson/{folder} {suite} main"


@given(st.lists(st.integers(0, 99), min_size=1, max_size=4), st.lists(st.integers(0, 99), min_size=1, max_size=4))
def test_versions_compare_as_numbers(one: list[int], other: list[int]) -> None:
    """36.10 comes after 36.4, and 32.5 is 32.5.0."""
    first, second = (padded(version(".".join(map(str, part)))) for part in (one, other))
    assert (first < second) == ([*one, 0, 0, 0][:4] < [*other, 0, 0, 0][:4])


@pytest.mark.parametrize("text", ["", "36", ">=", ">=36,", "~36", ">= 36 <37"])
def test_ranges_are_strict(text: str) -> None:
    """What is no range is an error when the tables are read, not a rule that never matches."""
    with pytest.raises(ValueError, match="no version range"):
        assert Range(text).bounds


@pytest.mark.parametrize(
    "raw",
    [
        {"id": "x", "lower": "1", "upper": None, "why": "w", "source": ["s"], "typo": 1},
        {"id": "x", "lower": "1", "upper": None, "source": ["s"]},
        {"id": "x", "lower": 36.1, "upper": None, "why": "w", "source": ["s"]},
        {"id": "x", "lower": "1", "upper": None, "why": "w", "source": "s"},
        {"id": True, "lower": "1", "upper": None, "why": "w", "source": ["s"]},
        ["id"],
        None,
    ],
)
def test_rows_are_strict(raw: object) -> None:
    """An unknown key, a missing key, a version as a float and every other wrong type are errors that name the place."""
    with pytest.raises(InputError) as caught:
        decode(Band, raw, Source("bands.yaml"))
    assert caught.value.source
    assert caught.value.source.path.startswith("bands.yaml")
