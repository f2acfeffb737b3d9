"""A user with a lab of virtual Jetsons, which is stopped and removed in the end."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path += [str(Path(__file__).parents[1] / name) for name in ("e2e", "contract")]
sys.path.append(str(Path(__file__).parent))
from machine import Jetson
from one import INVENTORY, ONE
from user import User

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give emulated machines time."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """Yield a user whose folder is what `provision init` makes."""
    with tempfile.TemporaryDirectory(prefix="virtual-") as top:
        folder, state = Path(top) / "work", Path(top) / "state"
        folder.mkdir()
        someone = User(folder, state, patience=1800)
        made = someone.run("init", ".")
        assert made.code == 0, made.all
        try:
            yield someone
        finally:
            for inventory in (folder / "inventory").glob("*.yaml"):
                someone.run("lab", "reset", str(inventory))


@pytest.fixture
def board(user: User) -> Jetson:
    """Return a machine as the test before left it."""
    user.write(INVENTORY, ONE)
    up = user.run("lab", "up", INVENTORY)
    assert up.code == 0, up.all
    return Jetson(user, "board", lab_name="one")


@pytest.fixture
def fresh(user: User) -> Jetson:
    """Return the machine as it was born."""
    user.write(INVENTORY, ONE)
    assert user.run("lab", "reset", INVENTORY).code == 0
    up = user.run("lab", "up", INVENTORY)
    assert up.code == 0, up.all
    return Jetson(user, "board", lab_name="one")
