"""The laws of lineinfile and blockinfile: what becomes of a text, and that a second run finds nothing to do."""

from __future__ import annotations

from typing import Any

import pytest
from taskviews import absent, file, folder, link, plan, view

from provisioner.errors import InputError
from provisioner.model import NeedLook
from provisioner.observables.file import CONTENT, File, FileState
from provisioner.tasks.blockinfile import BlockInFile
from provisioner.tasks.copy import Copy
from provisioner.tasks.file import FileType
from provisioner.tasks.lineinfile import LineInFile

LINES: list[tuple[dict[str, Any], str, str]] = [
    ({"line": "b"}, "a\n", "a\nb\n"),
    ({"line": "b"}, "a", "a\nb\n"),
    ({"line": "b"}, "", "b\n"),
    ({"line": "a"}, "a\nb\n", "a\nb\n"),
    ({"line": "a"}, "a\r\nb\n", "a\nb\n"),
    ({"line": "a"}, "b\na", "b\na\n"),
    ({"line": "x", "regexp": "^a"}, "a1\na2\n", "a1\nx\n"),
    ({"line": "x", "regexp": "^a", "firstmatch": True}, "a1\na2\n", "x\na2\n"),
    ({"line": "x", "search_string": "1"}, "a1\na2\n", "x\na2\n"),
    ({"line": "x", "regexp": "^z"}, "a\nx\n", "a\nx\n"),
    ({"line": r"\1=2", "regexp": r"^(\w+)=", "backrefs": True}, "k=1\n", "k=2\n"),
    ({"line": r"\g<n>", "regexp": "(?P<n>k)", "backrefs": True}, "a k b\n", "k\n"),
    ({"line": "x", "regexp": "^z", "backrefs": True}, "a\n", "a\n"),
    ({"line": r"\1", "regexp": "^a"}, "a\n", "\\1\n"),
    ({"line": "x", "insertafter": "^a"}, "a\nb\na\nc\n", "a\nb\na\nx\nc\n"),
    ({"line": "x", "insertafter": "^a", "firstmatch": True}, "a\nb\na\nc\n", "a\nx\nb\na\nc\n"),
    ({"line": "x", "insertafter": "^b"}, "a\nb", "a\nb\nx\n"),
    ({"line": "x", "insertafter": "^z"}, "a\n", "a\nx\n"),
    ({"line": "x", "insertafter": "EOF"}, "a\n", "a\nx\n"),
    ({"line": "x", "insertafter": "BOF"}, "a\n", "x\na\n"),
    ({"line": "x", "insertbefore": "BOF"}, "a\n", "x\na\n"),
    ({"line": "x", "insertbefore": "^b"}, "a\nb\nc\nb\n", "a\nb\nc\nx\nb\n"),
    ({"line": "x", "insertbefore": "^b", "firstmatch": True}, "a\nb\nc\nb\n", "a\nx\nb\nc\nb\n"),
    ({"line": "x", "insertbefore": "^z"}, "a\n", "a\nx\n"),
    ({"line": "x", "regexp": "^b", "insertafter": "^a"}, "a\nb\n", "a\nx\n"),
    ({"line": "b", "state": "absent"}, "a\nb\nc\nb\n", "a\nc\n"),
    ({"regexp": "^[bc]", "state": "absent"}, "a\nb\nc\n", "a\n"),
    ({"search_string": ".", "state": "absent"}, "a.\nb\n", "b\n"),
    ({"line": "z", "state": "absent"}, "a\n", "a\n"),
    ({"line": "ü", "regexp": "^ä"}, "ä\n", "ü\n"),
]


@pytest.mark.parametrize(("arguments", "before", "after"), LINES)
def test_a_line_goes_where_ansible_puts_it(arguments: dict[str, Any], before: str, after: str) -> None:
    """Each case as Ansible has it; no change is no effect."""
    at = view(file("/etc/f", before.encode()))
    planned = plan(LineInFile(path="/etc/f", **arguments), at)
    assert at.get(File("/etc/f")).content == after.encode()
    assert planned.changes == (before != after)


@pytest.mark.parametrize(("arguments", "before"), [(arguments, before) for arguments, before, _ in LINES])
def test_a_line_that_is_there_stays_there(arguments: dict[str, Any], before: str) -> None:
    """A second run of the same task finds nothing to do, unless the regexp no longer finds its line."""
    at = view(file("/etc/f", before.encode()))
    plan(LineInFile(path="/etc/f", **arguments), at)
    once = at.get(File("/etc/f")).content or b""
    plan(LineInFile(path="/etc/f", **arguments), at)
    twice = at.get(File("/etc/f")).content or b""
    # Where regexp finds one more line each time (a1, a2 above), each run replaces one: so does Ansible.
    assert once == twice or arguments.get("regexp") == "^a" or "search_string" in arguments


BEGIN, END = "# BEGIN ANSIBLE MANAGED BLOCK\n", "# END ANSIBLE MANAGED BLOCK\n"
BLOCKS: list[tuple[dict[str, Any], str, str]] = [
    ({"block": "x"}, "a\n", f"a\n{BEGIN}x\n{END}"),
    ({"block": "x\ny\n"}, "a", f"a\n{BEGIN}x\ny\n{END}"),
    ({"block": "x"}, f"a\n{BEGIN}old\n{END}b\n", f"a\n{BEGIN}x\n{END}b\n"),
    ({"block": "x", "insertafter": "^a"}, "a\nb\n", f"a\n{BEGIN}x\n{END}b\n"),
    ({"block": "x", "insertbefore": "^b"}, "a\nb\n", f"a\n{BEGIN}x\n{END}b\n"),
    ({"block": "x", "insertbefore": "BOF"}, "a\n", f"{BEGIN}x\n{END}a\n"),
    ({"block": "x", "insertafter": "^z"}, "a\n", f"a\n{BEGIN}x\n{END}"),
    ({"block": "x", "insertafter": "(?m)a\\nb"}, "a\nb\nc\n", f"a\nb\n{BEGIN}x\n{END}c\n"),
    ({"block": ""}, f"a\n{BEGIN}old\n{END}b\n", "a\nb\n"),
    ({"state": "absent"}, f"a\n{BEGIN}old\n{END}b\n", "a\nb\n"),
    ({"state": "absent"}, "a", "a"),
    ({"block": "x", "marker": "<{mark}>", "marker_begin": "on", "marker_end": "off"}, "", "<on>\nx\n<off>\n"),
    (
        {"block": "x", "insertafter": "^a", "prepend_newline": True, "append_newline": True},
        "a\nb\n",
        f"a\n\n{BEGIN}x\n{END}\nb\n",
    ),
    ({"block": "x", "prepend_newline": True}, "", f"{BEGIN}x\n{END}"),
]


@pytest.mark.parametrize(("arguments", "before", "after"), BLOCKS)
def test_a_block_goes_where_ansible_puts_it(arguments: dict[str, Any], before: str, after: str) -> None:
    """Each case as Ansible has it; a second run finds nothing to do."""
    at = view(file("/etc/f", before.encode()))
    planned = plan(BlockInFile(path="/etc/f", **arguments), at)
    assert (at.get(File("/etc/f")).content or b"").decode() == after
    assert planned.changes == (before != after)
    assert not plan(BlockInFile(path="/etc/f", **arguments), at).changes


def test_edits_build_on_each_other() -> None:
    """Each edit reads what the ones before will have written, whatever links lead to the file."""
    at = view(link("/etc/l", "f"), absent("/etc/f"))
    plan(Copy(content="a\n", dest="/etc/f", mode="0600"), at)
    plan(LineInFile(path="/etc/l", line="b"), at)
    plan(BlockInFile(path="/etc/f", block="c", insertafter="^a"), at)
    plan(LineInFile(path="/etc/f", regexp="^a", state="absent"), at)
    state = at.get(File("/etc/f"))
    assert state.content == f"{BEGIN}c\n{END}b\n".encode()
    assert (state.mode, at.get(File("/etc/l")).type) == ("0600", "link")


def test_create_makes_the_file_and_its_folders() -> None:
    """Without create a missing file fails; with it, the folders above are made as well."""
    at = view(absent("/etc/d"), absent("/etc/d/f"))
    assert plan(LineInFile(path="/etc/d/f", line="x"), at).failed == "Destination /etc/d/f does not exist !"
    assert plan(BlockInFile(path="/etc/d/f", block="x"), at).failed == "Path /etc/d/f does not exist !"
    planned = plan(LineInFile(path="/etc/d/f", line="x", create=True), at)
    assert [next(iter(effect.leaves)) for effect in planned.effects] == [File("/etc/d"), File("/etc/d/f")]
    assert at.get(File("/etc/d/f")).mode == "0644"


def test_absent_from_a_missing_file_is_done() -> None:
    """No file, no line."""
    assert not plan(LineInFile(path="/etc/f", line="x", state="absent"), view(absent("/etc/f"))).changes


@pytest.mark.parametrize(
    ("start", "why"),
    [
        (folder("/etc/f"), "is a directory"),
        (FileState(type="file", real="/etc/f", mode="0644", sha256="0", large=True), "more than 4 MiB"),
        (FileState(type="file", real="/etc/f", mode="0644", sha256="unreadable", content=b""), "cannot be read"),
        (FileState(type="other", real="/etc/f", mode="0644"), "no regular file"),
    ],
)
def test_what_cannot_be_edited_fails_clearly(start: FileState, why: str) -> None:
    """Folders, devices, what is too large and what cannot be read are no text to edit."""
    assert why in (plan(LineInFile(path="/etc/f", line="x"), view(start)).failed or "")


def test_an_edit_asks_for_the_content() -> None:
    """An earlier task that wanted no content does not make the edit guess."""
    bare = FileState(type="file", real="/etc/f", owner="root", group="root", mode="0644")
    at = view(bare)
    plan(FileType(path="/etc/f", mode="0600"), at)
    with pytest.raises(NeedLook) as need:
        plan(LineInFile(path="/etc/f", line="x"), at)
    assert need.value.observable.want == CONTENT


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"line": "x", "regexp": "a", "search_string": "b"},
        {"line": "x", "insertafter": "a", "insertbefore": "b"},
        {"line": "x", "backrefs": True},
        {"state": "absent"},
    ],
)
def test_arguments_that_do_not_go_together_are_refused(arguments: dict[str, Any]) -> None:
    """What Ansible refuses is an error of the playbook, before any device is touched."""
    with pytest.raises(InputError):
        LineInFile(path="/etc/f", **arguments)


@pytest.mark.parametrize("arguments", [{"regexp": "("}, {"insertafter": "["}, {"regexp": "a", "backrefs": True}])
def test_a_bad_expression_fails_with_its_cause(arguments: dict[str, Any]) -> None:
    """A regular expression that is none, or a group that it has not got."""
    planned = plan(LineInFile(path="/etc/f", line="\\7", **arguments), view(file("/etc/f", b"a\n")))
    assert planned.failed
    assert not planned.effects
