"""The laws of onboard_check: what keeps a unit out is a failure with cause and fix, what only delays it a warning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from taskviews import plan, view

from provisioner.jetson.facts import HostFacts, facts_from
from provisioner.jetson.observed import FACTS_VARIABLE
from provisioner.observables.identity import Identity, IdentityState, Reach, ReachState, Writable, WritableState
from provisioner.observables.preflight import DiskSpace, SpaceState
from provisioner.tasks.onboard_check import OnboardCheck

if TYPE_CHECKING:
    from provisioner.model import Plan

HOME = "/home/nvidia"
PLENTY = 100 * 10**9


def facts(**more: str) -> HostFacts:
    """Return the facts of an Orin Nano on L4T 36.4.3."""
    raw = {
        "kernel_arch": "aarch64",
        "userland_arch": "arm64",
        "compatible": "nvidia,p3768-0000+p3767-0005|nvidia,tegra234",
        "release_line": "# R36 (release), REVISION: 4.3, GCID: 1",
        "login_home": HOME,
    }
    return facts_from({**raw, **more})


def checked(
    told: HostFacts, *, free: int = PLENTY, home_free: int = PLENTY, writable: bool = True, reach: str = "yes"
) -> Plan:
    """Return what the check says of a device."""
    at = view()
    at.learn(Identity(), IdentityState(serial="1420123456789", machine="0123"))
    for path in ("/etc", HOME):
        at.learn(Writable(path), WritableState(writable=writable))
    at.learn(DiskSpace("/etc"), SpaceState(free=free))
    at.learn(DiskSpace(HOME), SpaceState(free=home_free))
    at.learn(DiskSpace("/var/lib/docker"), SpaceState(free=free))
    for registry in ("docker.io", "nvcr.io"):
        at.learn(Reach(registry), ReachState(reach=reach))
    return plan(OnboardCheck(), at, facts={FACTS_VARIABLE: told})


def test_a_sound_unit_passes_and_tells_which_one_it_is() -> None:
    """Nothing is wrong, nothing is planned, and serial number and machine-id are registered."""
    planned = checked(facts())
    assert (planned.failed, planned.effects, planned.warnings) == (None, (), ())
    assert planned.result == {"serial": "1420123456789", "machine": "0123"}


CASES = [
    ({"first_boot_pending": "yes"}, {}, "first boot's setup is not finished"),
    ({"kernel_arch": "x86_64", "userland_arch": "amd64", "compatible": "", "release_line": ""}, {}, "x86_64 host"),
    ({"compatible": "raspberrypi,4-model-b|brcm,bcm2711", "release_line": ""}, {}, "Raspberry Pi"),
    ({"release_line": "# R99 (release), REVISION: 1.0, GCID: 1"}, {}, "99.1"),
    ({}, {"writable": False}, "mounted read-only"),
    ({}, {"free": 10**6}, "the disk is full"),
    ({}, {"home_free": 0}, f"left at {HOME}"),
]


@pytest.mark.parametrize(("raw", "seen", "cause"), CASES)
def test_what_keeps_a_unit_out_is_a_failure(raw: dict[str, str], seen: dict[str, int], cause: str) -> None:
    """The cause is named with what mends it, and there is nothing to do on the device."""
    planned = checked(facts(**raw), **seen)  # type: ignore[arg-type]
    assert cause in str(planned.failed)
    assert planned.hint or ": " in str(planned.failed)
    assert not planned.effects


def test_what_only_keeps_the_image_out_is_a_warning() -> None:
    """A small disk, or no way to the registry, does not keep a unit from the fleet."""
    small = checked(facts(), free=5 * 10**9)
    assert small.failed is None
    assert "data-root" in small.warnings[0]
    lost = checked(facts(), reach="no address")
    assert lost.failed is None
    assert "has no way to" in lost.warnings[0]
