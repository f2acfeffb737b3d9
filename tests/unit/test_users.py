"""Users and groups: what a probe's text means, and what user and group make of it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import InputError, NotYetKnown
from provisioner.model import Context, Observable, Pattern, State, Unknown, View
from provisioner.observables.file import File, FileState
from provisioner.observables.user import Group, GroupState, User, UserPassword, UserPasswordState, UserState
from provisioner.tasks.group import GroupTask
from provisioner.tasks.user import UserTask

CTX = Context(host="nano", label="it")
NVIDIA = UserState(
    present=True,
    uid=1000,
    group="nvidia",
    groups=("sudo", "video"),
    comment="",
    home="/home/nvidia",
    shell="/bin/bash",
    password="set",
    home_there=True,
)
ABSENT = UserState(base="/home", login_shell="/bin/sh", home_mode="0750")


def view(*looks: tuple[Observable[Any], State]) -> View:
    """Return a view of what was looked at, in which no other group is there."""
    common: dict[Observable[Any], State] = {
        User("nvidia"): NVIDIA,
        User("new"): ABSENT,
        Group("new"): GroupState(),
        Group("docker"): GroupState(present=True, gid=999, members=("other",)),
        Group("video"): GroupState(present=True, gid=44, members=("nvidia",)),
        Group("sudo"): GroupState(present=True, gid=27, members=("nvidia",)),
        Group("44"): GroupState(present=True, gid=44, members=("nvidia",), name="video"),
        Group("none"): GroupState(),
        File("/home/new"): FileState(type="absent", real="/home/new"),
    }
    return View(probed={**common, **dict(looks)})


def shown(plan: Any) -> list[str]:
    """Return the lines of a plan."""
    return [line.text for effect in plan.effects for line in effect.shows]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (UserState, "present=no"),
        (
            UserState,
            "present=yes\nuid=1\ngroup=a b\ngroups=docker a%20b\ncomment=%25\nhome=/x\nshell=/bin/sh\npassword=locked",
        ),
        (UserState, "present=yes\nuid=0\ngroup=root\ngroups=\ncomment=\nhome=/root\nshell="),
        (GroupState, "present=no"),
        (GroupState, "present=yes\ngid=44\nmembers=a b"),
        (GroupState, "present=yes\ngid=44\nmembers="),
        (UserPasswordState, "matches=yes"),
        (UserPasswordState, ""),
    ],
)
def test_render_is_the_inverse_of_parse(state: type[State], text: str) -> None:
    """What the controller predicts has the text that the probe will print."""
    assert state.parse(text).render() == text


def test_a_user_joins_a_group() -> None:
    """The commonest use: one line, one usermod, and both the user and the group are predicted."""
    task = UserTask(user="nvidia", groups=("docker",), append=True)
    plan = task.plan(view(), CTX)
    (effect,) = plan.effects
    assert shown(plan) == ["user nvidia: groups +docker"]
    assert effect.values == ("usermod", "-a", "-G", "docker", "--", "nvidia")
    assert effect.leaves[User("nvidia")].groups == ("docker", "sudo", "video")
    assert effect.leaves[Group("docker")].members == ("nvidia", "other")
    assert not UserTask(user="nvidia", groups=("video", "44"), append=True).plan(view(), CTX).effects


@pytest.mark.parametrize(
    ("groups", "after", "left"),
    [(("docker",), ("docker",), "sudo"), ((), (), "video"), (("",), (), "video"), (("video",), ("video",), "sudo")],
)
def test_without_append_the_groups_are_those_and_no_others(
    groups: tuple[str, ...], after: tuple[str, ...], left: str
) -> None:
    """A group that the user leaves loses the member."""
    (effect,) = UserTask(user="nvidia", groups=groups).plan(view(), CTX).effects
    assert effect.leaves[User("nvidia")].groups == after
    assert effect.leaves[Group(left)].members == ()


def test_a_group_that_does_not_exist_is_named() -> None:
    """Before anything is touched."""
    plan = UserTask(user="nvidia", groups=("none", "docker"), append=True).plan(view(), CTX)
    assert plan.failed == "Group none does not exist"


def test_a_new_user_is_predicted_but_for_its_numbers() -> None:
    """The uid is open; name, home and groups are not; the home is made, with what the skeleton brings."""
    plan = UserTask(user="new", groups=("docker",)).plan(view(), CTX)
    (effect,) = plan.effects
    assert shown(plan) == ["user new: add, home /home/new", "user new: groups docker"]
    made = effect.leaves[User("new")]
    assert made.open_fields() == ("uid",)
    assert made.render() == (
        "present=yes\ngroup=new\ngroups=docker\ncomment=\nhome=/home/new\nshell=/bin/sh\npassword=locked"
    )
    assert effect.leaves[Group("new")].open_fields() == ("gid",)
    assert effect.leaves[Group("docker")].members == ("new", "other")
    home = effect.leaves[File("/home/new")]
    assert (home.type, home.owner, home.group, home.mode) == ("directory", "new", "new", "0750")
    assert Pattern("file", "/home/new/*") in effect.disturbs
    assert effect.values == ("useradd", "-U", "-G", "docker", "-m", "--", "new")


@pytest.mark.parametrize(
    ("arguments", "switches"),
    [
        ({"create_home": False, "system": True}, ("-U", "-r", "-M")),
        ({"create_home": False, "uid": 1500, "non_unique": True}, ("-U", "-u", "1500", "-o", "-M")),
        ({"create_home": False, "group": "video", "shell": "/bin/false"}, ("-g", "video", "-s", "/bin/false", "-M")),
        ({"create_home": False, "comment": "A B", "home": "/srv/x"}, ("-U", "-c", "A B", "-d", "/srv/x", "-M")),
    ],
)
def test_arguments_become_switches(arguments: dict[str, Any], switches: tuple[str, ...]) -> None:
    """Each argument is useradd's own."""
    (effect,) = UserTask(user="new", **arguments).plan(view(), CTX).effects
    assert effect.values == ("useradd", *switches, "--", "new")


def test_where_its_group_exists_a_new_user_gets_the_default_one() -> None:
    """As with Ansible and useradd -N; which one that is, the device knows."""
    seen = view((Group("new"), GroupState(present=True, gid=7, members=())))
    (effect,) = UserTask(user="new", create_home=False).plan(seen, CTX).effects
    assert "-N" in effect.values
    assert isinstance(effect.leaves[User("new")].group, Unknown)


def test_a_user_may_join_a_group_that_the_play_makes() -> None:
    """A group, then a new user in it, then the same user in another: one plan, without a look in between."""
    seen = view((Group("fleet"), GroupState()))
    for task in (
        GroupTask(group="fleet", system=True),
        UserTask(user="new", groups=("fleet",), append=True),
        UserTask(user="new", groups=("docker",), append=True),
    ):
        plan = task.plan(seen, CTX)
        assert plan.failed is None
        for effect in plan.effects:
            seen.lay(effect, "before")
    assert seen.get(User("new")).groups == ("docker", "fleet")
    assert seen.get(Group("fleet")).members == ("new",)
    assert seen.get(File("/home/new")).owner == "new"
    assert not UserTask(user="new", groups=("docker", "fleet")).plan(seen, CTX).effects
    with pytest.raises(NotYetKnown):
        UserTask(user="new", uid=1001).plan(seen, CTX)


def test_each_wrong_field_is_one_line_of_one_effect() -> None:
    """And a uid that changes may change the owner of any file."""
    task = UserTask(user="nvidia", uid=1001, shell="/bin/sh", comment="Jetson", group="video")
    plan = task.plan(view(), CTX)
    (effect,) = plan.effects
    assert shown(plan) == [
        "user nvidia: uid 1000 -> 1001",
        "user nvidia: comment  -> Jetson",
        "user nvidia: shell /bin/bash -> /bin/sh",
        "user nvidia: group nvidia -> video",
    ]
    assert Pattern("file") in effect.disturbs
    assert effect.leaves[User("nvidia")].open_fields() == ("groups",)
    same = UserTask(user="nvidia", uid=1000, shell="/bin/bash", comment="", home="/home/nvidia")
    assert not same.plan(view(), CTX).effects


def test_a_password_is_set_where_it_differs_and_never_shown() -> None:
    """Neither lines nor names nor the task itself hold it."""
    task = UserTask(user="nvidia", password="$6$x$secret")
    question = task._password
    assert question is not None
    plan = task.plan(view((question, UserPasswordState(matches=False))), CTX)
    assert shown(plan) == ["user nvidia: set the password"]
    assert "secret" not in repr(task) + str(question)
    assert not task.plan(view((question, UserPasswordState(matches=True))), CTX).effects
    kept = UserTask(user="nvidia", password="$6$x$secret", update_password="on_create")
    assert not kept.plan(view(), CTX).effects
    with pytest.raises(InputError):
        UserTask(user="nvidia", password="a:b")
    assert UserPassword("a", "1") != UserPassword("a", "2")


def test_a_home_that_is_missing_is_made() -> None:
    """As Ansible does for a user who is there already."""
    homeless = UserState(**{**vars(NVIDIA), "home_there": None})
    home = FileState(type="absent", real="/home/nvidia")
    plan = UserTask(user="nvidia").plan(view((User("nvidia"), homeless), (File("/home/nvidia"), home)), CTX)
    assert shown(plan) == ["user nvidia: make the home /home/nvidia"]
    assert not UserTask(user="nvidia", create_home=False).plan(view((User("nvidia"), homeless)), CTX).effects


def test_a_user_is_removed() -> None:
    """With the home only where that is asked."""
    (effect,) = UserTask(user="nvidia", state="absent", remove=True, force=True).plan(view(), CTX).effects
    assert effect.values == ("userdel", "-r", "-f", "--", "nvidia")
    assert effect.leaves == {User("nvidia"): UserState()}
    assert not UserTask(user="new", state="absent").plan(view(), CTX).effects


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        ({"group": "none"}, ("groupadd", "--", "none")),
        ({"group": "none", "gid": 5, "system": True}, ("groupadd", "-g", "5", "-r", "--", "none")),
        ({"group": "docker", "gid": 5, "non_unique": True}, ("groupmod", "-g", "5", "-o", "--", "docker")),
        ({"group": "docker", "gid": 999}, None),
        ({"group": "docker"}, None),
        ({"group": "docker", "state": "absent"}, ("groupdel", "--", "docker")),
        ({"group": "none", "state": "absent"}, None),
    ],
)
def test_a_group_takes_one_command(arguments: dict[str, Any], values: tuple[str, ...] | None) -> None:
    """Or none, where it is as it should be."""
    effects = GroupTask(**arguments).plan(view(), CTX).effects
    assert [effect.values for effect in effects] == ([values] if values else [])
