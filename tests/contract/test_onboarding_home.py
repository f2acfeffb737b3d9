"""The inventory that units come into, on a real disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from provisioner.errors import InputError
from provisioner.onboarding.recording import open_home

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "text", ["", "# the bench\n", "all:\n  hosts:\n", "all:\n  children:\n    orin:\n      hosts: {}\n"]
)
def test_an_inventory_without_hosts_takes_the_first(tmp_path: Path, text: str) -> None:
    """A file that is empty, holds comments only, or has lost its last unit is a home for the next one."""
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    assert open_home(str(path)).inventory.hosts == {}
    assert path.read_text() == text


def test_a_file_that_is_no_inventory_is_refused(tmp_path: Path) -> None:
    """What cannot be read is told with its place, before any unit is asked."""
    path = tmp_path / "fleet.yaml"
    path.write_text("all: [\n")
    with pytest.raises(InputError) as caught:
        open_home(str(path))
    assert "fleet.yaml" in str(caught.value)
