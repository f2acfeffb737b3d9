"""Users for the tests: one with an empty folder, one with what `provision init` makes and a lab."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from user import User

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def user(tmp_path: Path) -> User:
    """Yield a user with an empty folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return User(folder, tmp_path / "state")


@pytest.fixture(scope="module")
def lab() -> Iterator[User]:
    """Yield a user whose folder is what `provision init` makes, and whose lab is stopped and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="lab-") as top:
        folder, state = Path(top) / "work", Path(top) / "state"
        folder.mkdir()
        someone = User(folder, state)
        made = someone.run("init", ".")
        assert made.code == 0, made.all
        try:
            yield someone
        finally:
            someone.run("lab", "reset", "inventory/lab.yaml")
