"""`provision offboard`: a unit leaves the inventory, known_hosts and what is remembered; all else stays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from user import User

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5vT0iW"
KNOWN = f"# ours\n192.168.1.41 {KEY}\nhallway.local {KEY}\n192.168.55.1 {KEY}\n"
KITCHEN = "        kitchen:\n          ansible_host: 192.168.1.41\n"
PINS = "inventory/.provision/example.lock.yaml"


@pytest.fixture
def fleet(user: User) -> User:
    """Return a user with the shipped example inventory, host keys, pins and remembered facts."""
    assert user.run("init", ".").code == 0
    for name, text in {"known_hosts": KNOWN, "facts/kitchen": "x", "facts/hallway": "x"}.items():
        user.write(f"inventory/.provision/{name}", text)
    user.write(PINS, "version: '1'\npins: []\n")
    user.write("inventory/host_vars/kitchen.yml", "fan: quiet\n")
    return user


def everything(folder: Path) -> dict[str, str]:
    """Return all files of a folder but locks."""
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file() and p.suffix != ".lock"}


def test_a_unit_leaves_and_all_else_stays(fleet: User) -> None:
    """Its lines, its host key and its facts go; every other byte stays, and the rest of its files is named."""
    before = everything(fleet.folder)
    ended = fleet.run("offboard", "kitchen", "-i", "inventory/example.yaml", "--yes")
    assert ended.code == 0, ended.all
    expected = dict(before)
    del expected["inventory/.provision/facts/kitchen"]
    expected["inventory/example.yaml"] = before["inventory/example.yaml"].replace(KITCHEN, "")
    expected["inventory/.provision/known_hosts"] = KNOWN.replace(f"192.168.1.41 {KEY}\n", "")
    assert everything(fleet.folder) == expected
    assert "-        kitchen:\n-          ansible_host: 192.168.1.41\n" in ended.out
    assert "inventory/host_vars/kitchen.yml is still there" in ended.out


@pytest.mark.parametrize(("more", "answer", "code"), [(["--dry-run"], None, 0), ([], "n\n", 130), ([], None, 130)])
def test_nothing_goes_without_a_yes(fleet: User, more: list[str], answer: str | None, code: int) -> None:
    """A dry run, a no and no answer show what would go, and change nothing."""
    before = everything(fleet.folder)
    ended = fleet.run("offboard", "kitchen", "bench", "-i", "inventory/example.yaml", *more, answer=answer)
    assert ended.code == code, ended.all
    assert "without the keys of 192.168.1.41, 192.168.55.1" in ended.out
    assert "nothing was changed" in ended.out
    assert everything(fleet.folder) == before


def test_a_yes_is_enough(fleet: User) -> None:
    """Who answers y takes out what was shown."""
    ended = fleet.run("offboard", "kitchen", "-i", "inventory/example.yaml", answer="y\n")
    assert ended.code == 0, ended.all
    assert KITCHEN not in (fleet.folder / "inventory/example.yaml").read_text()


def test_a_key_that_another_host_needs_stays(user: User) -> None:
    """Where two names are one address, the key of the address stays for the other one."""
    user.write("hosts.yaml", "all:\n  hosts:\n    a: {ansible_host: 10.0.0.5}\n    b: {ansible_host: 10.0.0.5}\n")
    user.write(".provision/known_hosts", f"10.0.0.5 {KEY}\n")
    assert user.run("offboard", "a", "-i", "hosts.yaml", "-y").code == 0
    assert (user.folder / ".provision/known_hosts").read_text() == f"10.0.0.5 {KEY}\n"
    assert user.run("offboard", "b", "-i", "hosts.yaml", "-y").code == 0
    assert (user.folder / ".provision/known_hosts").read_text() == ""
    assert (user.folder / "hosts.yaml").read_text() == "all:\n  hosts:\n"


WRONG = {
    "unknown": (["kitchne"], "did you mean 'kitchen'"),
    "several": (["kitchne", "hallwy"], "2 errors; nothing was touched"),
    "a group": (["greenhouse"], "is a group; name its hosts: camera-1, camera-2"),
    "in a range": (["rack-2"], "rack-2 is one of rack-[1:3]"),
    "one of two": (["kitchen", "rack-2"], "rack-2 is one of rack-[1:3]"),
}


@pytest.mark.parametrize(("names", "told"), WRONG.values(), ids=WRONG)
def test_what_cannot_be_taken_out_is_one_clear_error(fleet: User, names: list[str], told: str) -> None:
    """Bad input ends with 1 and a next step, and nothing is changed, also of what could be."""
    before = everything(fleet.folder)
    ended = fleet.run("offboard", *names, "-i", "inventory/example.yaml", "--yes")
    assert ended.code == 1, ended.all
    assert told in ended.err
    assert "Traceback" not in ended.all
    assert everything(fleet.folder) == before


def test_an_unwritable_inventory_is_left_whole(fleet: User) -> None:
    """What cannot be written is found before anything is: neither the inventory nor the keys are changed."""
    (fleet.folder / "inventory/.provision/.example.yaml.lock").mkdir()
    before = everything(fleet.folder)
    ended = fleet.run("offboard", "kitchen", "-i", "inventory/example.yaml", "--yes")
    assert ended.code == 1, ended.all
    assert "cannot be written" in ended.err
    assert everything(fleet.folder) == before


def test_a_folder_is_edited_file_by_file(user: User) -> None:
    """Each unit leaves the file of the inventory that names it."""
    user.write("inv/a.yaml", "g:\n  hosts:\n    a:\n    x:\n")
    user.write("inv/b.yaml", "h:\n  hosts:\n    b:\n    y:\n")
    ended = user.run("offboard", "a", "b", "-i", "inv", "--yes")
    assert ended.code == 0, ended.all
    assert (user.folder / "inv/a.yaml").read_text() == "g:\n  hosts:\n    x:\n"
    assert (user.folder / "inv/b.yaml").read_text() == "h:\n  hosts:\n    y:\n"
