"""Laws of what is told beside a failure: cause and fix where they are known, below the hint of the task."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.engine.meaning import lost, with_meaning
from provisioner.errors import Refused, Unreachable
from provisioner.events import TaskResult
from provisioner.jetson.failures import explain

FULL = "write /x: no space left on device"
FIX = "images need about 2.5 times their compressed size; put Docker's data-root on a larger disk"
TOLD = f"the disk is full: {FIX}"


def result(**more: Any) -> TaskResult:
    """Return a task that failed."""
    return TaskResult(**{"host": "h", "play": "p", "task": "t", "module": "m", "status": "failed", "rc": 1, **more})


@pytest.mark.parametrize("where", ["message", "stderr", "stdout"])
def test_a_failure_has_cause_and_fix_as_its_hint(where: str) -> None:
    """Wherever the device said it, the text is known, with what mends it and where that was read."""
    told = with_meaning(result(**{where: FULL}), explain)
    assert told.hint == TOLD
    assert told.explained is not None
    assert (told.explained.id, told.explained.fix) == ("disk-full", FIX)
    assert told.explained.sources


def test_the_hint_of_a_task_stays_and_comes_first() -> None:
    """What a task advises is kept; what its message is known to mean stands below, unless it says the same."""
    told = with_meaning(result(message=FULL, hint="the old files are back"), explain)
    assert told.hint == f"the old files are back\n{TOLD}"
    again = with_meaning(told, explain)
    assert again == told


def test_a_task_with_a_hint_knew_what_of_its_output_counts() -> None:
    """Beside a hint only the message is read, and not all that was printed on the way to it."""
    told = with_meaning(result(message="it broke", stderr=FULL, hint="look there"), explain)
    assert (told.hint, told.explained) == ("look there", None)


@pytest.mark.parametrize("status", ["ok", "changed", "skipped", "unknown"])
def test_what_did_not_fail_is_not_explained(status: Any) -> None:
    """However a text looks, without a failure it means nothing."""
    fine = result(status=status, rc=0, stdout=FULL, message=FULL)
    assert with_meaning(fine, explain) is fine


def test_what_nobody_knows_is_left_as_it_is() -> None:
    """An unknown text adds nothing."""
    unknown = result(message="non-zero return code 7")
    assert with_meaning(unknown, explain) == unknown


def test_a_host_that_is_lost_is_explained_too() -> None:
    """The controller's own words have a meaning as well, told below their hint."""
    gone = lost("h", Unreachable("no answer from 192.168.55.1 port 22 within 10 s", hint="is the device on?"), explain)
    assert gone.unreachable
    assert gone.explained is not None
    assert gone.explained.id == "usb-cable"
    assert str(gone.hint).startswith("is the device on?\n")
    refused = lost("h", Refused("something new"), explain)
    assert (refused.unreachable, refused.hint, refused.explained) == (False, None, None)
