"""The laws of copy and template: where content goes, what it shows, and what is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from taskviews import absent, context, file, finder, folder, link, plan, sha, shown, view

from provisioner.errors import InputError
from provisioner.model import NeedLook
from provisioner.observables.file import File, FileState
from provisioner.shell import Upload
from provisioner.tasks.copy import Copy
from provisioner.tasks.file import FileType
from provisioner.tasks.stat import Stat
from provisioner.tasks.template import Template

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("arguments", "start", "lines"),
    [
        ({}, absent("/etc/f"), ["/etc/f: None -> b'new'", "new file: owner root, group root, mode 0644"]),
        ({}, file("/etc/f", b"new", mode="0600", owner="nvidia"), []),
        ({}, file("/etc/f", b"old"), ["/etc/f: b'old' -> b'new'"]),
        ({"mode": "0755"}, file("/etc/f", b"old"), ["/etc/f: b'old' -> b'new'", "mode: 0644 -> 0755"]),
        ({"mode": "0755"}, file("/etc/f", b"new"), ["mode: 0644 -> 0755"]),
        ({"mode": "0600"}, file("/etc/f", b"old"), ["/etc/f: secret", "mode: 0644 -> 0600"]),
        ({}, file("/etc/f", b"old", mode="0640"), ["/etc/f: secret"]),
        ({"force": False}, file("/etc/f", b"old"), []),
        ({"mode": "0755", "force": False}, file("/etc/f", b"old"), []),
    ],
)
def test_a_copy_shows_exactly_what_it_changes(arguments: dict[str, Any], start: FileState, lines: list[str]) -> None:
    """One effect writes content, owner and mode at once, and shows each; what others may not read stays unseen."""
    at = view(start)
    task = Copy(content="new", dest="/etc/f", **arguments)
    planned = plan(task, at)
    assert shown(planned) == lines
    assert len(planned.effects) == bool(lines)
    assert not plan(task, at).effects


def test_no_log_hides_every_content() -> None:
    """no_log makes a diff secret, whatever the mode."""
    assert shown(plan(Copy(content="s", dest="/etc/f"), view(absent("/etc/f")), no_log=True))[0] == "/etc/f: secret"


def test_an_existing_file_keeps_what_is_not_asked_for() -> None:
    """Owner, group and mode stay those of the old file; root is who may keep them."""
    at = view(file("/etc/f", b"old", owner="nvidia", group="docker", mode="0660"))
    plan(Copy(content="new", dest="/etc/f"), at)
    state = at.get(File("/etc/f"))
    assert (state.owner, state.group, state.mode, state.sha256) == ("nvidia", "docker", "0660", sha(b"new"))


def test_another_users_file_becomes_ones_own() -> None:
    """Who is not root replaces a file by one that is his, as a rename does."""
    at = view(folder("/etc/shared", mode="0777"), file("/etc/shared/f", b"old", mode="0666"))
    plan(Copy(content="new", dest="/etc/shared/f"), at, user="nvidia")
    assert at.get(File("/etc/shared/f")).owner == "nvidia"


def test_a_missing_folder_fails_a_copy_into_it() -> None:
    """In Ansible's words, before anything is done; after a mkdir in the same play there is no objection."""
    at = view(absent("/etc/d"), absent("/etc/d/f"))
    task = Copy(content="x", dest="/etc/d/f")
    assert plan(task, at).failed == "Destination directory /etc/d does not exist"
    plan(FileType(path="/etc/d", state="directory"), at)
    assert plan(task, at).changes


def test_a_folder_takes_a_file_under_its_name(tmp_path: Path) -> None:
    """dest may be a folder, a link to one, or end with a slash and be made."""
    (tmp_path / "app.conf").write_text("x")
    at = view(
        folder("/etc/d"),
        link("/etc/l", "d"),
        absent("/etc/new"),
        absent("/etc/d/app.conf"),
        absent("/etc/new/app.conf"),
    )
    at.probed[File("/etc/l/app.conf")] = absent("/etc/d/app.conf")
    find = finder(tmp_path)
    assert plan(Copy(src="app.conf", dest="/etc/d"), at, find=find).result["dest"] == "/etc/d/app.conf"
    assert not plan(Copy(src="app.conf", dest="/etc/l"), at, find=find).effects
    planned = plan(Copy(src="app.conf", dest="/etc/new/", directory_mode="0700"), at, find=find)
    assert [next(iter(effect.leaves)) for effect in planned.effects] == [File("/etc/new"), File("/etc/new/app.conf")]
    assert at.get(File("/etc/new")).mode == "0700"
    assert "dir as dest" in (plan(Copy(content="x", dest="/etc/d"), at).failed or "")


def test_a_copy_replaces_a_link_and_follows_one_if_told() -> None:
    """Without follow the link becomes a file of root's; with follow what it leads to is written."""
    for follows, changed in ((False, "/etc/l"), (True, "/etc/t")):
        at = view(link("/etc/l", "t"), file("/etc/t", b"old", owner="nvidia"))
        planned = plan(Copy(content="new", dest="/etc/l", follow=follows), at)
        assert list(planned.effects[0].leaves) == [File(changed)]
        assert at.get(File(changed)).owner == ("nvidia" if follows else "root")


def test_a_write_through_a_link_of_the_same_play_lands_behind_it() -> None:
    """A folder, a link to it, a file through the link: the file is seen under its real name too."""
    at = view(absent("/etc/real"), absent("/etc/link"), absent("/etc/link/f"), absent("/etc/real/f"))
    plan(FileType(path="/etc/real", state="directory"), at)
    plan(FileType(path="/etc/link", src="real", state="link"), at)
    plan(Copy(content="x", dest="/etc/link/f"), at)
    assert at.get(File("/etc/real/f")).sha256 == sha(b"x")
    assert not plan(Copy(content="x", dest="/etc/real/f"), at).effects
    assert plan(Stat(path="/etc/link/f"), at).result["stat"]["size"] == 1


def test_a_backup_is_named_by_the_content_that_it_keeps() -> None:
    """The name can be told before, and the copy is part of what is left."""
    at = view(file("/etc/f", b"old", mode="0640"))
    planned = plan(Copy(content="new", dest="/etc/f", backup=True), at)
    name = f"/etc/f.{sha(b'old')[:8]}~"
    assert planned.result["backup_file"] == name
    assert at.get(File(name)).sha256 == sha(b"old")
    assert "backup_file" not in plan(Copy(content="new", dest="/etc/f", backup=True), at).result


def test_content_that_was_not_brought_along_is_asked_for() -> None:
    """Where the look told a hash only, the plan asks for the content, unless it is the wanted one."""
    bare = FileState(type="file", real="/etc/f", owner="root", group="root", mode="0644", sha256=sha(b"old"))
    with pytest.raises(NeedLook) as need:
        plan(Copy(content="new", dest="/etc/f"), view(bare))
    assert need.value.observable.want == sha(b"new")
    assert not plan(Copy(content="old", dest="/etc/f"), view(bare)).effects


def test_large_content_is_uploaded_and_announced_by_its_hash(tmp_path: Path) -> None:
    """Over 256 KiB content travels beside the script, over 4 MiB there is no diff of it."""
    (tmp_path / "big").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    (tmp_path / "mid").write_bytes(b"x" * (256 * 1024 + 1))
    for name, is_diff in (("mid", True), ("big", False)):
        planned = plan(Copy(src=name, dest="/etc/f.x"), view(absent("/etc/f.x")), find=finder(tmp_path))
        assert isinstance(planned.effects[0].values[-1], Upload)
        assert ("None ->" in shown(planned)[0]) == is_diff


def test_a_remote_source_is_read_as_earlier_tasks_leave_it() -> None:
    """remote_src copies what an earlier task of the play writes."""
    at = view(absent("/etc/a"), absent("/etc/b"))
    plan(Copy(content="x", dest="/etc/a"), at)
    planned = plan(Copy(src="/etc/a", dest="/etc/b", remote_src=True), at)
    assert planned.effects[0].values[-2:] == (sha(b"x"), "/etc/a")
    assert "not found" in (
        plan(Copy(src="/etc/gone", dest="/etc/b", remote_src=True), view(absent("/etc/gone"))).failed or ""
    )


def test_a_tree_is_looked_at_and_planned_whole(tmp_path: Path) -> None:
    """All places of a tree are in the first look, and its folders come before what is in them."""
    (tmp_path / "t/sub").mkdir(parents=True)
    (tmp_path / "t/sub/f").write_text("x")
    task = Copy(src="t", dest="/etc")
    ctx = context(find=finder(tmp_path))
    at = view(*(absent(path) for path in ("/etc/t", "/etc/t/sub", "/etc/t/sub/f")))
    assert {File("/etc/t"), File("/etc/t/sub"), File("/etc/t/sub/f")} <= set(task.looks_at(ctx))
    planned = plan(task, at, find=finder(tmp_path))
    assert [one.path for effect in planned.effects for one in effect.leaves] == ["/etc/t", "/etc/t/sub", "/etc/t/sub/f"]


@pytest.mark.parametrize("arguments", [{}, {"src": "a", "content": "b"}])
def test_there_is_one_thing_to_copy(arguments: dict[str, Any]) -> None:
    """Neither both of src and content nor none of them."""
    with pytest.raises(InputError):
        Copy(dest="/etc/f", **arguments)


@pytest.mark.parametrize(
    ("content", "written"), [({"a": 1}, b'{"a": 1}'), ([1], b"[1]"), (5, b"5"), ("x", b"x"), ("", b"")]
)
def test_content_that_is_no_text_is_written_as_json(content: Any, written: bytes) -> None:
    """A mapping or list is written as JSON, a number as its digits."""
    at = view(absent("/etc/f"))
    plan(Copy(content=content, dest="/etc/f"), at)
    assert at.get(File("/etc/f")).content == written


def test_validate_needs_a_place_for_the_file() -> None:
    """A validate without %s is refused, as by Ansible."""
    planned = plan(Copy(content="x", dest="/etc/f", validate="true"), view(absent("/etc/f")))
    assert "validate must contain %s" in (planned.failed or "")


def test_a_template_is_rendered_and_then_copied(tmp_path: Path) -> None:
    """What is rendered is what is compared; options ride in the header line that Ansible knows."""
    (tmp_path / "t.j2").write_text("a\nb\n")
    texts: list[str] = []

    def render(kind: str, text: str) -> str:
        texts.append(text)
        return text.partition("#jinja2: trim_blocks: False, lstrip_blocks: True\n")[2] or text.upper()

    at = view(absent("/etc/t.conf"))
    more = {"find": finder(tmp_path), "render": render}
    plan(Template(src="t.j2", dest="/etc/t.conf"), at, **more)
    assert at.get(File("/etc/t.conf")).content == b"A\nB\n"
    plan(
        Template(src="t.j2", dest="/etc/t.conf", trim_blocks=False, lstrip_blocks=True, newline_sequence="\\r\\n"),
        at,
        **more,
    )
    assert at.get(File("/etc/t.conf")).content == b"a\r\nb\r\n"
    assert texts[1].startswith("#jinja2:")
