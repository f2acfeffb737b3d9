"""Where autotag of jetson-containers is known to pick an image that does not run, this must not."""

from __future__ import annotations

import pytest

from provisioner.jetson.compatibility import candidates
from provisioner.jetson.facts import facts_from
from provisioner.jetson.versions import version

WRONG = [
    ("32.7.4", "l4t-pytorch", "docker.io/dustynv/l4t-pytorch:2.2-r35.4.1"),
    ("32.7.4", "pytorch", "docker.io/dustynv/pytorch:2.7-r36.4.0-cu128-24.04"),
    ("38.4.0", "l4t-pytorch", "docker.io/dustynv/l4t-pytorch:2.2-r35.4.1"),
    ("39.2.0", "l4t-pytorch", "docker.io/dustynv/l4t-pytorch:2.2-r35.4.1"),
    ("38.4.0", "pytorch", "docker.io/dustynv/pytorch:2.7-r36.4.0-cu128-24.04"),
    ("39.2.0", "pytorch", "docker.io/dustynv/pytorch:2.7-r36.4.0-cu128-24.04"),
]
"""Release, family, and what autotag of dd206bfe returns for it with its own table."""


@pytest.mark.parametrize(("host", "family", "wrong"), WRONG)
def test_no_image_of_another_major_release(host: str, family: str, wrong: str) -> None:
    """What autotag returns is not among the images, others are, and asked for by name it is refused."""
    found = candidates(host, family)
    assert found.images
    assert wrong not in {image.reference for image in found.images}
    named = candidates(host, family, wanted=wrong)
    assert named.images == ()
    assert "is for the band" in (named.refusal or "")


def test_the_nearest_release_comes_before_the_last_upload() -> None:
    """autotag takes what was uploaded last, PyTorch 1.11 for r35.3.1 on 35.6.1; the nearest release is r35.4.1."""
    first = candidates("35.6.1", "pytorch").images[0]
    assert first.built_for == "35.4.1"
    assert first.reference != "docker.io/dustynv/pytorch:1.11-r35.3.1"
    plain = [image for image in candidates("35.6.1", "pytorch").images if image.repository.endswith("/dustynv/pytorch")]
    assert version(plain[0].pytorch or "0") == max(version(image.pytorch or "0") for image in plain)


@pytest.mark.parametrize(
    ("host", "image", "good"),
    [
        ("32.7.4", "docker.io/dustynv/opencv:r36.2.0", False),
        ("32.7.4", "docker.io/dustynv/opencv:4.8.1-r32.7.1", True),
        ("35.4.1", "docker.io/dustynv/ros:humble-pytorch-l4t-r32.7.1", False),
        ("35.4.1", "docker.io/dustynv/ros:humble-desktop-l4t-r35.2.1", True),
        ("36.4.3", "docker.io/dustynv/vllm:r37.0", False),
        ("36.4.3", "nvcr.io/nvidia/l4t-tensorrt:r8.5.2-devel", True),
    ],
)
def test_a_release_in_a_foreign_tag_counts(host: str, image: str, good: bool) -> None:
    """A tag that is in no table but names a release (issue 456: opencv:r36.2.0 on 32.7.4) is held to its band."""
    assert bool(candidates(host, wanted=image).images) == good


def test_an_unknown_point_release_is_one_of_its_band() -> None:
    """Issue 1460: autotag did not know 36.4.7; here it, and the one after it, get what 36.4 gets."""
    images = candidates("36.4.4").images
    for host in ("36.4.7", "36.4.19"):
        assert candidates(host).images == images
    assert candidates("36.4.19").warnings


@pytest.mark.parametrize(
    "raw", [{"kernel_arch": "aarch64"}, {"kernel_arch": "aarch64", "nvidia_smi": "NVIDIA GB10, 580.1"}]
)
def test_no_release_is_assumed_where_none_was_read(raw: dict[str, str]) -> None:
    """autotag takes any arm64 host without a release file for a Jetson with 39.1; here it is none, and is told so."""
    found = candidates(facts_from(raw))
    assert found.band is not None
    assert found.band.id in ("arm64-cpu", "sbsa-cuda13")


def test_a_jetson_that_does_not_tell_its_release_gets_nothing() -> None:
    """Where a device tree says Tegra and nothing says which release, no image is guessed."""
    found = candidates(facts_from({"kernel_arch": "aarch64", "compatible": "nvidia,tegra234"}))
    assert found.images == ()
    assert found.host_refused
