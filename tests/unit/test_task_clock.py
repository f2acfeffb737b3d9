"""The laws of clock: set where it is far off, from the controller's time at planning, else left alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from taskviews import plan, shown, view

from provisioner.observables.preflight import Clock as ClockLook
from provisioner.observables.preflight import ClockState
from provisioner.tasks.clock import Clock

if TYPE_CHECKING:
    from provisioner.model import View

NOW = 1_800_000_000


def at(epoch: int | None) -> View:
    """Return a view of a device with this time."""
    seen = view()
    seen.learn(ClockLook(), ClockState(epoch=epoch))
    return seen


CASES = [
    (0, None),
    (60, None),
    (-60, None),
    (61, "clock: 61 seconds ahead, set from this machine's"),
    (-7200, "clock: 2 hours behind, set from this machine's"),
    (-900 * 86400, "clock: 900 days behind, set from this machine's"),
]


@pytest.mark.parametrize(("skew", "line"), CASES)
def test_only_what_is_far_off_is_set(skew: int, line: str | None) -> None:
    """Up to max_skew nothing is done; beyond it the time is set, and a second plan is empty."""
    seen = at(NOW + skew)
    planned = plan(Clock(), seen, services={"now": lambda: NOW})
    assert shown(planned) == ([line] if line else [])
    assert [effect.values for effect in planned.effects] == ([(str(NOW),)] if line else [])
    assert not plan(Clock(), seen, services={"now": lambda: NOW}).changes


def test_an_unknown_time_is_a_warning() -> None:
    """A device that does not tell its time is not touched."""
    planned = plan(Clock(), at(None), services={"now": lambda: NOW})
    assert not planned.changes
    assert planned.warnings
