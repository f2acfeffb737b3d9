"""The plug of a real machine is pulled in the middle of an apply."""

from __future__ import annotations

from typing import TYPE_CHECKING

from one import INVENTORY, POINTS, SERVICE, converges, sound

if TYPE_CHECKING:
    from machine import Jetson


def test_the_plug_is_pulled_three_times(fresh: Jetson) -> None:
    """The power goes while dpkg works, while Docker restarts and during a pull: it comes up sound, and converges."""
    for point in POINTS:
        code, told = fresh.meanwhile(["apply", INVENTORY], (point, fresh.pull_the_plug))
        assert code == 4, told
        up = fresh.user.run("lab", "up", INVENTORY)
        assert up.code == 0, up.all
        sound(fresh)
    converges(fresh)


def test_the_plug_does_not_lose_a_handler(board: Jetson) -> None:
    """A handler that was owed when the power went runs in the next apply, though nothing is left to change."""
    play = board.user.write("playbooks/handler.yaml", SERVICE)
    board.run("rm -f /srv/*")
    point = "grep -q begin /srv/log"
    board.meanwhile(["apply", INVENTORY, play], (point, lambda: (board.run("sync"), board.pull_the_plug())))
    up = board.user.run("lab", "up", INVENTORY)
    assert up.code == 0, up.all
    assert "handled" not in board.run("cat /srv/log")
    ended, _ = board.user.apply(INVENTORY, play)
    assert ended.code == 0, ended.all
    assert board.run("cat /srv/log").split().count("handled") == 1
