"""The laws of the tasks that look, run and say: stat, command, shell, assert, fail, debug, set_fact."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from taskviews import absent, file, folder, link, plan, shown, view

from provisioner.errors import InputError
from provisioner.model import ANYTHING, Ran, TaskType, Unknown, View, task_types
from provisioner.observables.file import FileState
from provisioner.tasks.assertion import Assert
from provisioner.tasks.command import Command, Shell
from provisioner.tasks.copy import Copy
from provisioner.tasks.debug import Debug
from provisioner.tasks.fail import Fail
from provisioner.tasks.file import FileType
from provisioner.tasks.set_fact import SetFact
from provisioner.tasks.stat import Stat

VALUES = {"yes": True, "no": False, "n": 3}


def render(kind: str, text: str) -> Any:
    """Evaluate names only."""
    assert kind == "expression"
    return VALUES[text]


def stat(at: View, **arguments: Any) -> dict[str, Any]:
    """Return what stat registers."""
    result: dict[str, Any] = plan(Stat(**arguments), at).result["stat"]
    return result


def test_stat_tells_what_is_there() -> None:
    """Type, owner and every permission, under the names that Ansible gives them."""
    at = view(file("/etc/f", b"x", mode="4750", owner="nvidia", facts="1000|0|1|9|8|7|66|1|2"), link("/etc/l", "f"))
    told = stat(at, path="/etc/f")
    assert (told["exists"], told["isreg"], told["isdir"], told["islnk"]) == (True, True, False, False)
    assert (told["mode"], told["pw_name"], told["uid"], told["size"], told["mtime"]) == ("4750", "nvidia", 1000, 1, 9)
    assert (told["xusr"], told["wgrp"], told["roth"], told["isuid"], told["isgid"]) == (True, False, False, True, False)
    told = stat(at, path="/etc/l")
    assert (told["islnk"], told["lnk_target"], told["lnk_source"]) == (True, "f", "/etc/f")
    assert stat(at, path="/etc/l", follow=True)["isreg"]
    assert stat(view(absent("/etc/x")), path="/etc/x") == {"exists": False}


def test_stat_tells_what_earlier_tasks_will_have_made() -> None:
    """A planned file is there; its size is known, its times and number are not."""
    at = view(absent("/etc/d"), absent("/etc/d/f"))
    plan(FileType(path="/etc/d", state="directory", mode="0700"), at)
    plan(Copy(content="four", dest="/etc/d/f"), at)
    told = stat(at, path="/etc/d/f")
    assert (told["exists"], told["size"], told["mode"]) == (True, 4, "0644")
    assert isinstance(told["mtime"], Unknown)
    assert stat(at, path="/etc/d")["isdir"]
    plan(FileType(path="/etc/d", state="absent"), at)
    assert not stat(at, path="/etc/d/f")["exists"]


def test_stat_gives_a_checksum_where_one_is_asked_for() -> None:
    """sha1 by default and when asked for, sha256 without the content, none for what is too large to bring."""
    at = view(file("/etc/f", b"x"))
    assert "checksum" not in stat(at, path="/etc/f")
    assert stat(at, path="/etc/f", get_checksum=True)["checksum"] == hashlib.sha1(b"x").hexdigest()
    assert stat(at, path="/etc/f", checksum_algorithm="sha256")["checksum"] == hashlib.sha256(b"x").hexdigest()
    assert "checksum" not in stat(at, path="/etc/f", checksum_algorithm="md5", get_checksum=False)
    large = view(FileState(type="file", real="/etc/f", mode="0644", sha256="0", large=True))
    assert "4 MiB" in (plan(Stat(path="/etc/f", get_checksum=True), large).failed or "")


@pytest.mark.parametrize(
    ("task", "values"),
    [
        (Command(cmd="ls -l 'a b' $HOME *"), ("3600", "", "no", "", "ls", "-l", "a b", "$HOME", "*")),
        (Command(argv=["echo", "a;b"]), ("3600", "", "no", "", "echo", "a;b")),
        (Command(cmd="cat", stdin="x", chdir="/tmp"), ("3600", "/tmp", "yes", b"x\n", "cat")),
        (Command(cmd="cat", stdin="x", stdin_add_newline=False), ("3600", "", "yes", b"x", "cat")),
        (Shell(cmd="ls | wc"), ("3600", "", "no", "", "/bin/sh", b"ls | wc")),
        (Shell(cmd="ls", executable="/bin/bash"), ("3600", "", "no", "", "/bin/bash", b"ls")),
    ],
)
def test_words_are_passed_as_values(task: TaskType, values: tuple[Any, ...]) -> None:
    """A command is split once, on the controller; shell text travels as data; both may do anything."""
    (effect,) = plan(task, view()).effects
    assert effect.values == values
    assert effect.opaque
    assert effect.disturbs == (ANYTHING,)


def test_no_log_hides_a_command() -> None:
    """The one line that a command shows is its words, or that they are hidden."""
    assert shown(plan(Command(argv=["echo", "a b"]), view())) == ["run: echo 'a b'"]
    assert shown(plan(Shell(cmd="echo s3cret"), view(), no_log=True)) == ["run: (hidden)"]


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ({"creates": "/etc/f"}, False),
        ({"creates": "/etc/none"}, True),
        ({"removes": "/etc/f"}, True),
        ({"removes": "/etc/none"}, False),
        ({"creates": "f", "chdir": "/etc"}, False),
        ({"creates": "/etc/dangling"}, False),
        ({"creates": "/etc/later"}, False),
    ],
)
def test_creates_and_removes_decide_whether_it_runs(arguments: dict[str, Any], runs: bool) -> None:
    """Also by what an earlier task will have made."""
    states = (file("/etc/f"), absent("/etc/none"), link("/etc/dangling", "gone"), absent("/etc/later"))
    at = view(*states)
    plan(Copy(content="", dest="/etc/later"), at)
    planned = plan(Command(cmd="make", **arguments), at)
    assert planned.changes == runs
    assert runs or planned.result["stdout"].startswith("skipped, since")


def test_a_pattern_in_creates_fails_clearly() -> None:
    """A view has no names to match a pattern with."""
    planned = plan(Shell(cmd="x", creates="/etc/*.conf"), view())
    assert "no pattern" in (planned.failed or "")
    assert not planned.effects


def test_what_a_command_told_is_registered() -> None:
    """rc, both streams, and their lines, without empty ends."""
    planned = plan(Shell(cmd="x"), view())
    assert planned.finish is not None
    told = planned.finish(Ran(2, "a\nb\n\n", "oops\n"))
    assert (told["rc"], told["stdout"], told["stdout_lines"]) == (2, "a\nb", ["a", "b"])
    assert (told["stderr"], told["msg"]) == ("oops", "non-zero return code")
    assert planned.result["cmd"] == "x"
    kept = plan(Shell(cmd="x", strip_empty_ends=False), view()).finish
    assert kept is not None
    assert kept(Ran(0, "a\n", ""))["stdout"] == "a\n"


def test_a_variable_that_no_shell_fills_in_is_warned_about() -> None:
    """command has no shell: what looks like a variable stays as it is, and a word is said about it."""
    assert plan(Command(cmd="echo $HOME"), view()).warnings
    assert not plan(Command(cmd="echo 5$"), view()).warnings


@pytest.mark.parametrize(
    "make", [Command, lambda: Command(cmd="'x"), lambda: Command(cmd="a", argv=["b"]), lambda: Shell(cmd=" ")]
)
def test_there_is_one_command_to_run(make: Any) -> None:
    """No command, two commands, and unbalanced quotes are errors of the playbook."""
    with pytest.raises(InputError):
        make()


@pytest.mark.parametrize(
    ("that", "failed"),
    [
        ("yes", None),
        (["yes", True], None),
        (["yes", "no"], "Assertion failed"),
        ("no", "Assertion failed"),
        (False, "Assertion failed"),
    ],
)
def test_assert_fails_at_the_first_false_one(that: Any, failed: str | None) -> None:
    """Text is evaluated, what is no text is its own answer."""
    planned = plan(Assert(that=that), view(), render=render)
    assert planned.failed == failed
    assert (planned.result.get("assertion") in ("no", False)) == bool(failed)


def test_assert_says_what_it_is_told() -> None:
    """fail_msg may be several lines; success_msg is said unless quiet."""
    assert plan(Assert(that="no", fail_msg=["a", "b"]), view(), render=render).failed == "a\nb"
    assert plan(Assert(that="yes", success_msg="fine"), view(), render=render).message == "fine"
    assert plan(Assert(that="yes", success_msg="fine", quiet=True), view(), render=render).message is None


def test_fail_fails() -> None:
    """With its message."""
    assert plan(Fail(msg="no"), view()).failed == "no"


def test_debug_says_a_message_or_a_value() -> None:
    """A value is shown under its name, and both are registered; verbosity hides them."""
    assert plan(Debug(), view()).message == "Hello world!"
    assert plan(Debug(msg="hi"), view()).result == {"msg": "hi"}
    planned = plan(Debug(var="n"), view(), render=render)
    assert (planned.message, planned.result) == ("n: 3", {"n": 3})
    assert plan(Debug(msg={"a": [1]}), view()).message == '{\n    "a": [\n        1\n    ]\n}'
    assert plan(Debug(msg="x", verbosity=2), view(), options={"verbosity": 1}).skipped
    assert plan(Debug(msg="x", verbosity=1), view(), options={"verbosity": 1}).message == "x"
    with pytest.raises(InputError):
        Debug(msg="a", var="b")


def test_set_fact_sets_names() -> None:
    """Any name that a variable may have; cacheable is none of them."""
    planned = plan(SetFact(free={"a": 1, "cacheable": True}), view())
    assert planned.sets == {"a": 1}
    assert planned.result["ansible_facts"] == {"a": 1}
    for free in ({}, {"not a name": 1}):
        with pytest.raises(InputError):
            SetFact(free=free)


def test_every_task_of_this_package_is_registered() -> None:
    """Importing the package is all that it takes."""
    names = {
        "assert",
        "blockinfile",
        "command",
        "copy",
        "debug",
        "fail",
        "file",
        "lineinfile",
        "set_fact",
        "shell",
        "stat",
    }
    assert names | {"template"} <= set(task_types())
    assert folder("/").exists
