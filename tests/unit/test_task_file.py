"""The laws of file: what it plans over what is there, and over what earlier tasks will have made."""

from __future__ import annotations

from typing import Any

import pytest
from taskviews import absent, file, folder, link, plan, shown, view

from provisioner.errors import InputError
from provisioner.model import NeedLook, NotYetKnown, Unknown, View
from provisioner.observables.file import File, FileState
from provisioner.tasks.copy import Copy
from provisioner.tasks.file import FileType
from provisioner.tasks.modes import octal
from provisioner.tasks.tree import Tree, TreeState


@pytest.mark.parametrize(
    ("mode", "current", "is_folder", "expected"),
    [
        ("0644", "0600", False, "0644"),
        ("644", "0600", False, "0644"),
        (420, "0600", False, "0644"),
        ("0o2755", "0600", True, "2755"),
        (None, "0640", False, "0640"),
        ("u=rwX,g=rx,o=", "0644", False, "0650"),
        ("u=rwX,g=rX,o=", "0644", False, "0640"),
        ("u=rwX,g=rX,o=", "0644", True, "0750"),
        ("u=rwX,g=rX,o=", "0744", False, "0750"),
        ("+x", "0644", False, "0755"),
        ("+w", "0444", False, "0644"),
        ("a+w", "0444", False, "0666"),
        ("g=u", "0640", False, "0660"),
        ("u+s,g+s", "0755", False, "6755"),
        ("+t", "0777", True, "1777"),
        ("g-s", "2755", True, "0755"),
        ("u=rw", "4755", False, "0655"),
        ("o+w-r", "0644", False, "0642"),
        ("ug+x,o-r", "0644", False, "0750"),
        ("u+", "0644", False, "0644"),
    ],
)
def test_modes_are_those_of_chmod(mode: Any, current: str, is_folder: bool, expected: str) -> None:
    """A mode comes out as four digits: numbers as they are, symbols as they change the current one."""
    assert octal(mode, current, folder=is_folder) == expected


@pytest.mark.parametrize("mode", ["rw", "u~x", "9999", "preserve", "07777777", ""])
def test_what_is_no_mode_is_refused(mode: str) -> None:
    """A mode that chmod does not know fails the plan, with its text."""
    planned = plan(FileType(path="/etc/f", mode=mode), view(file("/etc/f")))
    assert mode in (planned.failed or "")
    assert not planned.effects


@pytest.mark.parametrize(
    ("arguments", "state", "lines"),
    [
        ({"mode": "0644", "owner": "root", "group": "root"}, {}, []),
        ({"mode": "0600"}, {}, ["mode: 0644 -> 0600"]),
        ({"owner": "nvidia"}, {}, ["owner: root -> nvidia"]),
        ({"group": "docker"}, {}, ["group: root -> docker"]),
        ({"owner": "nvidia", "mode": "0600"}, {}, ["owner: root -> nvidia", "mode: 0644 -> 0600"]),
        ({"owner": "nvidia"}, {"mode": "4755"}, ["owner: root -> nvidia", "mode: 4755 -> 0755"]),
        ({"owner": "0"}, {}, []),
        ({"owner": "1000"}, {"owner": "nvidia", "facts": "1000|1000|5"}, []),
        ({"owner": "1001"}, {"owner": "nvidia", "facts": "1000|1000|5"}, ["owner: nvidia -> (the name of id 1001)"]),
    ],
)
def test_one_wrong_field_is_one_effect(arguments: dict[str, Any], state: dict[str, Any], lines: list[str]) -> None:
    """What is as asked yields nothing, what is not yields one effect that says exactly what it changes."""
    at = view(file("/etc/f", **state))
    planned = plan(FileType(path="/etc/f", **arguments), at)
    assert shown(planned) == lines
    assert len(planned.effects) == bool(lines)
    assert not plan(FileType(path="/etc/f", **arguments), at).effects


@pytest.mark.parametrize(
    ("arguments", "start", "failed"),
    [
        ({"state": "file"}, absent("/etc/x"), "file (/etc/x) is absent, cannot continue"),
        ({"state": "file"}, folder("/etc/x"), "file (/etc/x) is directory, cannot continue"),
        ({"state": "directory"}, file("/etc/x"), "/etc/x already exists as a file"),
        ({"state": "link", "src": "/etc"}, file("/etc/x"), "refusing to convert from file to symlink for /etc/x"),
        ({"state": "link"}, absent("/etc/x"), "src is required for creating new symlinks"),
        ({"state": "hard"}, absent("/etc/x"), "src is required for creating new hardlinks"),
        ({"state": "link", "src": "gone"}, absent("/etc/x"), "src file does not exist"),
        ({"recurse": True, "state": "file"}, file("/etc/x"), "recurse option requires state to be 'directory'"),
        ({"src": "y"}, file("/etc/x"), "src option requires state to be 'link' or 'hard'"),
    ],
)
def test_what_ansible_refuses_is_refused(arguments: dict[str, Any], start: FileState, failed: str) -> None:
    """What cannot be is a failed plan in Ansible's words, without effects."""
    planned = plan(FileType(path="/etc/x", **arguments), view(start, absent("/etc/gone")))
    assert failed in (planned.failed or "")
    assert not planned.effects


def test_a_folder_is_made_with_all_above_it_and_each_gets_the_access() -> None:
    """Missing folders are made one by one, and a second task finds them all."""
    at = view(absent("/etc/a"), absent("/etc/a/b"))
    planned = plan(FileType(path="/etc/a/b", state="directory", owner="nvidia", mode="0700"), at)
    assert [list(effect.leaves) for effect in planned.effects] == [[File("/etc/a")], [File("/etc/a/b")]]
    assert at.get(File("/etc/a")).owner == "nvidia"
    assert at.get(File("/etc/a/b")).mode == "0700"
    assert not plan(FileType(path="/etc/a/b", state="directory", mode="0700"), at).effects


def test_the_guard_reads_what_was_there_before_the_tasks_own_effects() -> None:
    """Of the folders that a task makes it is their absence that it rests on."""
    at = view(absent("/etc/a"), absent("/etc/a/b"))
    plan(FileType(path="/etc/a/b", state="directory"), at)
    assert not at.reads[File("/etc/a")].exists
    assert not at.reads[File("/etc/a/b")].exists


def test_a_setgid_folder_hands_its_group_down() -> None:
    """A new folder takes group and setgid from a setgid parent, so far as no mode is given."""
    at = view(folder("/etc/g", mode="2775", group="games"), absent("/etc/g/a"), absent("/etc/g/a/b"))
    plan(FileType(path="/etc/g/a", state="directory"), at)
    plan(FileType(path="/etc/g/a/b", state="directory", mode="0755"), at)
    made = [at.get(File(path)) for path in ("/etc/g/a", "/etc/g/a/b")]
    assert [(state.group, state.mode) for state in made] == [("games", "2755"), ("games", "0755")]


def test_the_group_of_another_users_file_is_known_after_apply() -> None:
    """The primary group of a user is nobody's guess; the next task that asks for it has to wait."""
    at = view(folder("/etc/h", owner="nvidia"), absent("/etc/h/f"))
    plan(FileType(path="/etc/h/f", state="touch"), at, user="nvidia")
    state = at.get(File("/etc/h/f"))
    assert state.owner == "nvidia"
    assert isinstance(state.group, Unknown)
    with pytest.raises(NotYetKnown):
        plan(FileType(path="/etc/h/f", group="docker"), at)


def test_what_was_below_a_removed_folder_is_gone_too() -> None:
    """Neither what was looked at nor what an earlier task made outlives its folder."""
    at = view(folder("/etc/d"), file("/etc/d/old"), absent("/etc/d/new"))
    plan(Copy(content="x", dest="/etc/d/new"), at)
    planned = plan(FileType(path="/etc/d", state="absent"), at)
    assert shown(planned) == ["/etc/d: directory with all that is in it -> absent"]
    assert not at.get(File("/etc/d/old")).exists
    assert not at.get(File("/etc/d/new")).exists
    assert not plan(FileType(path="/etc/d", state="absent"), at).effects


def test_nothing_to_remove_is_no_change() -> None:
    """What is absent stays so, and the root is never removed."""
    assert not plan(FileType(path="/etc/x", state="absent"), view(absent("/etc/x"))).effects
    assert plan(FileType(path="/", state="absent"), view()).failed == "refusing to remove /"


@pytest.mark.parametrize(
    ("start", "force", "lines"),
    [
        (absent("/etc/l"), False, ["/etc/l: absent -> link to t"]),
        (link("/etc/l", "t"), False, []),
        (link("/etc/l", "other"), False, ["/etc/l: link to other -> link to t"]),
        (file("/etc/l"), True, ["/etc/l: file -> link to t"]),
        (folder("/etc/l"), True, ["/etc/l: directory -> link to t"]),
    ],
)
def test_a_link_points_where_it_is_told(start: FileState, force: bool, lines: list[str]) -> None:
    """The target is compared as text; what is in the way goes only by force."""
    at = view(start, file("/etc/t"))
    at.probed[Tree("/etc/l")] = TreeState()
    task = FileType(path="/etc/l", src="t", state="link", force=force)
    assert shown(plan(task, at)) == lines
    assert not plan(task, at).effects


def test_owner_and_mode_of_a_link_are_those_of_its_target() -> None:
    """With follow, as is the default, access reaches through the link, also through one of this very task."""
    at = view(absent("/etc/l"), file("/etc/t"))
    plan(FileType(path="/etc/l", src="t", state="link", mode="0600"), at)
    assert at.get(File("/etc/t")).mode == "0600"
    plan(FileType(path="/etc/l", owner="nvidia"), at)
    assert (at.get(File("/etc/t")).owner, at.get(File("/etc/l")).owner) == ("nvidia", "root")
    plan(FileType(path="/etc/l", owner="games", follow=False), at)
    assert (at.get(File("/etc/t")).owner, at.get(File("/etc/l")).owner) == ("nvidia", "games")


def test_a_link_to_nothing_gets_no_access_but_a_warning() -> None:
    """Where a link leads nowhere there is nothing to own."""
    at = view(absent("/etc/l"), absent("/etc/t"))
    planned = plan(FileType(path="/etc/l", src="t", state="link", force=True, mode="0600"), at)
    assert len(planned.effects) == 1
    assert planned.warnings


def test_touch_makes_a_file_once_and_preserve_keeps_the_times() -> None:
    """A touch of what is there is a change, as in Ansible, unless both times are preserved."""
    at = view(absent("/etc/t"))
    preserving = FileType(path="/etc/t", state="touch", access_time="preserve", modification_time="preserve")
    assert shown(plan(preserving, at))[0] == "/etc/t: None -> b''"
    assert not plan(preserving, at).effects
    assert shown(plan(FileType(path="/etc/t", state="touch"), at)) == ["/etc/t: touch"]


def test_a_hard_link_is_known_by_its_inode() -> None:
    """Two names of one inode are done; another file is replaced by force only."""
    one = file("/etc/a", b"x", facts="0|0|1|0|0|0|77|2|1")
    same = file("/etc/b", b"x", facts="0|0|1|0|0|0|77|2|1")
    other = file("/etc/b", b"x", facts="0|0|1|0|0|0|78|1|1")
    task = FileType(path="/etc/b", src="/etc/a", state="hard")
    assert not plan(task, view(one, same)).effects
    assert "Cannot link" in (plan(task, view(one, other)).failed or "")


def test_what_was_not_looked_at_is_asked_for() -> None:
    """A plan never guesses: it asks for the look that it needs."""
    with pytest.raises(NeedLook) as need:
        plan(FileType(path="/etc/x", state="directory"), View())
    assert need.value.observable == File("/etc/x")


def test_a_relative_path_is_an_error_of_the_playbook() -> None:
    """A path is absolute, or begins with root's home."""
    with pytest.raises(InputError):
        plan(FileType(path="x"), view())
    at = view(folder("/root"), file("/root/x"))
    assert plan(FileType(path="~/x"), at).result["path"] == "/root/x"


def test_recurse_changes_the_sorts_that_are_wrong() -> None:
    """A tree is told by the sorts of things in it; a later file that is wrong makes it wrong again."""
    at = view(folder("/etc/t", owner="nvidia"), file("/etc/t/f"), absent("/etc/t/new"))
    at.probed[Tree("/etc/t")] = TreeState(sorts=("directory|nvidia|root|0755", "file|root|root|0644"))
    task = FileType(path="/etc/t", state="directory", recurse=True, owner="nvidia")
    assert shown(plan(task, at)) == ["below /etc/t: file root root 0644 -> nvidia root 0644"]
    assert at.get(File("/etc/t/f")).owner == "nvidia"
    assert not plan(task, at).effects
    plan(Copy(content="x", dest="/etc/t/new"), at)
    assert plan(task, at).effects
    assert at.get(File("/etc/t/new")).owner == "nvidia"


def test_recurse_over_what_this_play_changes_waits() -> None:
    """Whether a sort is gone with its last thing cannot be told before."""
    at = view(folder("/etc/t"), file("/etc/t/f"))
    at.probed[Tree("/etc/t")] = TreeState(sorts=("file|root|root|0644",))
    plan(FileType(path="/etc/t/f", mode="0600"), at)
    with pytest.raises(NotYetKnown):
        plan(FileType(path="/etc/t", state="directory", recurse=True, mode="u=rwX"), at)
