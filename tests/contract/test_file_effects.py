"""The laws of the effects of file tasks, on real shells: what a plan says that it leaves, the probe finds."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import shutil
import stat
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.model import Context, Effect, NeedLook, Observable, Plan, State, TaskType, Unknown, View
from provisioner.observables.file import CONTENT, HASHED, METADATA, File, FileState
from provisioner.observables.file_many import FILE_MANY
from provisioner.shell import Script, Upload, quote, with_needs, words
from provisioner.tasks.blockinfile import BlockInFile
from provisioner.tasks.command import Command, Shell
from provisioner.tasks.copy import Copy
from provisioner.tasks.file import FileType
from provisioner.tasks.lineinfile import LineInFile
from provisioner.tasks.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "ash"]}
USER = pwd.getpwuid(os.geteuid()).pw_name
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
PRELUDE = "LC_ALL=C; export LC_ALL; umask 022\nnext() { printf '@@\\n'; }\nnext_all() { echo \"@@ $1\"; }\n"


@pytest.fixture(params=list(SHELLS))
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    """Return a folder to play in, and a shell to do it with."""
    if not shutil.which(SHELLS[request.param][0]):
        pytest.skip(f"no {request.param} here")
    return Device(SHELLS[request.param], tmp_path)


@dataclass
class Device:
    """This machine as a device: looks, and runs effects, by one shell."""

    shell: list[str]
    root: Path
    trips: int = 0
    user: str = USER

    def call(
        self, script: Script, values: Iterable[Any], settings: str = "", also: Script | None = None
    ) -> subprocess.CompletedProcess[bytes]:
        """Run one script as the wire does: a function in a subshell, without stdin, where another one may be known."""
        values = list(values)
        places = {value.sha256: f"move:{self.bring(value)}" for value in values if isinstance(value, Upload)}
        text = PRELUDE + settings + "".join(s.definition for s in with_needs([script, *filter(None, [also])]))
        text += f"main() {{\n( {script.name} {words(values, places)} ) </dev/null\n}}\nmain\n"
        return subprocess.run(self.shell, input=text.encode(), capture_output=True, check=False)

    def bring(self, upload: Upload) -> Path:
        """Put an upload where the transport would, and return that place."""
        place = Path(tempfile.mkdtemp(dir=self.root))
        if upload.archive:
            unpack = ["tar", "-C", str(place), "-xpmof", "-"]
            subprocess.run(unpack, input=b"".join(upload.pieces()), check=True)
        else:
            (place / "content").write_bytes(b"".join(upload.pieces()))
        return place

    def looks(
        self, asked: Mapping[Observable[Any], tuple[str, ...]], *, guarding: bool = False
    ) -> dict[Observable[Any], State]:
        """Return what the probes find, each called once for all of its kind, as looks or as guards."""
        found = {}
        for kind in {type(observable) for observable in asked}:
            group = [observable for observable in asked if type(observable) is kind]
            values = [word for observable in group for word in asked[observable]]
            ran = self.call(kind.probe, values, "guarding=yes\n" if guarding else "guarding=\n", kind.many)
            assert ran.returncode == 0, ran.stderr
            _, *told = re.split(r"^@@(?: (\d+))?\n", ran.stdout.decode(), flags=re.MULTILINE)
            for number, text in zip(told[::2], told[1::2], strict=True):
                members, group = group[: int(number or 1)], group[int(number or 1) :]
                if number:
                    found.update(kind.surveyed(text.removesuffix("\n"), members))
                else:
                    found[members[0]] = parsed(kind, text.removesuffix("\n"))
            assert not group
        return found

    def look(self, observable: Observable[Any]) -> State:
        """Return what one probe finds."""
        return self.looks({observable: observable.arguments()})[observable]

    def verify(self, leaves: Mapping[Observable[Any], State]) -> None:
        """Compare what is there with what was said to be."""
        found = self.looks(
            {observable: observable.guard_arguments(state) for observable, state in leaves.items()}, guarding=True
        )
        for observable, state in leaves.items():
            assert known_text(found[observable], state) == known_text(state, state), observable

    def note(self, view: View, observables: Iterable[Observable[Any]]) -> None:
        """Look at what a view does not tell yet."""
        wanted: dict[Observable[Any], Observable[Any]] = {seen: seen for seen in view.probed}
        for observable in observables:
            wanted[observable] = wanted.pop(observable, observable).merged(observable)
        stale = [o for o in wanted.values() if o not in view.probed or not o.satisfied_by(view.probed[o])]
        self.trips += bool(stale)
        for observable, state in self.looks({observable: observable.arguments() for observable in stale}).items():
            view.learn(observable, state)

    def plan(self, task: TaskType, view: View) -> Plan:
        """Plan a task; whatever it asks for is looked at."""
        wanted = list(task.looks_at(self.context))
        for _ in range(20):
            self.note(view, wanted)
            try:
                view.begin()
                return task.plan(view, self.context)
            except NeedLook as need:
                wanted = [need.observable, *need.others]
        raise AssertionError(f"{task} asks for {wanted} again and again")

    @property
    def context(self) -> Context:
        """Return a context of the user that runs the tests."""
        return Context(host="here", label="task", user=self.user, find=lambda _, name: self.root / name)

    def apply(self, effect: Effect) -> None:
        """Run an effect, and compare what it leaves with what it said."""
        ran = self.call(effect.script, effect.values)
        assert ran.returncode == 0, (effect, ran.stderr)
        assert ran.stderr == b""
        self.verify(effect.leaves)

    def run(self, *tasks: TaskType) -> list[Plan]:
        """Plan all tasks before any runs, each over what the ones before will leave; then run and compare."""
        view = View()
        self.note(view, [observable for task in tasks for observable in task.looks_at(self.context)])
        plans = []
        for task in tasks:
            plan = self.plan(task, view)
            assert plan.failed is None, plan.failed
            for effect in plan.effects:
                view.lay(effect, "task")
            plans.append(plan)
        for plan in plans:
            for effect in plan.effects:
                self.apply(effect)
        self.verify(view.planned)
        return plans

    def is_done(self, *tasks: TaskType) -> bool:
        """Tell whether a second run would change nothing."""
        return not any(self.plan(task, View()).effects for task in tasks)

    def at(self, name: str) -> Path:
        """Return the place of a name in the folder."""
        return self.root / name

    def path(self, name: str) -> str:
        """Return the path of a name in the folder."""
        return str(self.at(name))


def parsed(kind: type[Observable[Any]], text: str) -> State:
    """Return the state that a probe's text tells, which has to tell the same text."""
    state = kind.state.parse(text)
    assert state.render() == "\n".join(line for line in text.split("\n") if not line.startswith("."))
    return state


def known_text(state: State, like: State) -> str:
    """Return the lines of the fields that are known of `like`."""
    fields = like.known_fields()
    return "\n".join(line for line in state.render().split("\n") if line.partition("=")[0] in fields)


def names(folder: Path) -> list[str]:
    """Return the names in a folder, in order."""
    return sorted(path.name for path in folder.iterdir())


def mode(path: str) -> int:
    """Return the mode bits of a path."""
    return stat.S_IMODE(os.lstat(path).st_mode)


def test_a_chain_of_file_tasks_leaves_what_was_planned_before_any_ran(device: Device) -> None:
    """A folder is made, filled, edited twice, guarded, linked to and written through: one look predicts it all."""
    p = device.path
    tasks = [
        FileType(path=p("etc/app/conf.d"), state="directory", mode="2750"),
        Copy(content="a = 1\n", dest=p("etc/app/conf.d/main.conf")),
        LineInFile(path=p("etc/app/conf.d/main.conf"), regexp="^a", line="a = 2"),
        LineInFile(path=p("etc/app/conf.d/main.conf"), line="b = 3", insertbefore="^a"),
        BlockInFile(path=p("etc/app/conf.d/main.conf"), block="c = 4", insertafter="^b"),
        FileType(path=p("etc/app/conf.d/main.conf"), mode="u=rw,go="),
        FileType(src="conf.d", path=p("etc/app/link"), state="link"),
        Copy(content="through\n", dest=p("etc/app/link/second"), mode="0644"),
        LineInFile(path=p("etc/app/link/second"), line="more"),
        FileType(path=p("etc/app/conf.d/touched"), state="touch", mode="0600"),
    ]
    device.run(*tasks)
    assert device.trips == 1
    expected = "b = 3\n# BEGIN ANSIBLE MANAGED BLOCK\nc = 4\n# END ANSIBLE MANAGED BLOCK\na = 2\n"
    assert Path(p("etc/app/conf.d/main.conf")).read_text() == expected
    assert Path(p("etc/app/conf.d/second")).read_text() == "through\nmore\n"
    assert (mode(p("etc")), mode(p("etc/app/conf.d")), mode(p("etc/app/conf.d/main.conf"))) == (0o2750, 0o2750, 0o600)
    settled = Copy(content="through\nmore\n", dest=p("etc/app/link/second"))
    assert device.is_done(tasks[0], *tasks[3:7], settled, tasks[8])


def test_removing_and_making_again_in_one_play(device: Device) -> None:
    """A folder that was full is removed, made again, and is empty but for what comes after."""
    device.at("d/old").mkdir(parents=True)
    device.at("d/f").write_text("x")
    device.run(
        Copy(content="1", dest=device.path("d/old/new")),
        FileType(path=device.path("d"), state="absent"),
        FileType(path=device.path("d/sub"), state="directory"),
        Copy(content="2", dest=device.path("d/f")),
    )
    assert names(device.at("d")) == ["f", "sub"]


@pytest.mark.parametrize("start", ["file", "link", "folder link", "dangling", "empty folder"])
def test_a_link_takes_the_place_of_anything(device: Device, start: str) -> None:
    """With force a link replaces a file, another link wherever it leads, and an empty folder."""
    path = device.at("x")
    device.at("dir").mkdir()
    if start == "file":
        path.write_text("old")
    elif start == "empty folder":
        path.mkdir()
    else:
        path.symlink_to({"link": "other", "folder link": "dir", "dangling": "gone"}[start])
    task = FileType(src="target", path=str(path), state="link", force=True)
    device.run(task)
    assert str(path.readlink()) == "target"
    assert device.is_done(task)
    assert names(device.root) == ["dir", "x"]


def test_a_copy_replaces_a_link_and_an_edit_follows_it(device: Device) -> None:
    """As in Ansible: copy puts a file where the link was, lineinfile changes what the link leads to."""
    for name in ("a", "b"):
        device.at(name).write_text("old\n")
        device.at(f"to-{name}").symlink_to(name)
    device.run(Copy(content="new\n", dest=device.path("to-a")), LineInFile(path=device.path("to-b"), line="more"))
    assert not device.at("to-a").is_symlink()
    assert device.at("a").read_text() == "old\n"
    assert device.at("to-b").is_symlink()
    assert device.at("b").read_text() == "old\nmore\n"


def test_copy_with_follow_writes_through_the_link(device: Device) -> None:
    """With follow the link stays and what it leads to is written."""
    device.at("a").write_text("old\n")
    device.at("l").symlink_to("a")
    device.run(Copy(content="new\n", dest=device.path("l"), follow=True))
    assert device.at("l").is_symlink()
    assert device.at("a").read_text() == "new\n"


@AS_ROOT
def test_a_setgid_parent_gives_its_group(device: Device) -> None:
    """What is made under a setgid folder has its group, folders are setgid too, and a mode that is given is exact."""
    device.at("g").mkdir()
    shutil.chown(device.path("g"), group="games")
    device.at("g").chmod(0o2775)
    device.run(
        Copy(content="x", dest=device.path("g/f")),
        FileType(path=device.path("g/d"), state="directory"),
        FileType(path=device.path("g/d/e"), state="directory", mode="0755"),
        FileType(src="f", path=device.path("g/l"), state="link"),
        Copy(content="x", dest=device.path("g/d/e/f")),
    )
    assert mode(device.path("g/d")) == 0o2755
    assert mode(device.path("g/d/e")) == 0o755
    assert device.at("g/f").group() == "games"
    assert device.at("g/d/e/f").group() == "root"


@AS_ROOT
def test_an_existing_file_keeps_its_owner_group_and_mode(device: Device) -> None:
    """New content alone changes nothing else; the copy that is kept is as the old file was."""
    path = device.at("f")
    path.write_text("old\n")
    shutil.chown(path, "daemon", "games")
    path.chmod(0o640)
    (plan,) = device.run(Copy(content="new\n", dest=str(path), backup=True))
    kept = Path(plan.result["backup_file"])
    assert [(p.owner(), p.group(), mode(str(p))) for p in (path, kept)] == [("daemon", "games", 0o640)] * 2
    assert kept.read_text() == "old\n"


@AS_ROOT
def test_a_file_that_changes_hands_loses_setuid_as_planned(device: Device) -> None:
    """The kernel takes setuid away; the plan says so, and a mode that is given brings it back."""
    for name in "ab":
        device.at(name).write_text("x")
        device.at(name).chmod(0o6755)
    device.run(
        FileType(path=device.path("a"), owner="daemon"), FileType(path=device.path("b"), owner="daemon", mode="4755")
    )
    assert (mode(device.path("a")), mode(device.path("b"))) == (0o755, 0o4755)


@AS_ROOT
def test_numbers_are_owners_too(device: Device) -> None:
    """An owner given as a number is that of the file afterwards, named or not; again nothing changes."""
    tasks = [
        Copy(content="x", dest=device.path("f"), owner="1", group="54321"),
        FileType(path=device.path("d"), state="directory", owner="54321"),
        FileType(path=device.path("z"), state="touch", owner="0", access_time="preserve", modification_time="preserve"),
    ]
    device.run(*tasks)
    assert device.at("f").stat().st_uid == 1
    assert device.at("d").stat().st_uid == 54321
    assert device.is_done(*tasks)


@AS_ROOT
def test_recurse_gives_away_all_that_is_below(device: Device) -> None:
    """Owner, group and mode reach all below, links apart; X is for folders and programs; then nothing is left."""
    device.at("t/a/b").mkdir(parents=True)
    for name, bits in (("t/f", 0o644), ("t/a/prog", 0o755), ("t/a/b/secret", 0o600), ("t/- $x '", 0o6711)):
        device.at(name).write_text("x")
        device.at(name).chmod(bits)
    device.at("t/link").symlink_to("/etc/passwd")
    tasks = [
        Copy(content="late", dest=device.path("t/late"), mode="0600"),
        FileType(
            path=device.path("t"), state="directory", recurse=True, owner="daemon", group="games", mode="u=rwX,g=rX,o="
        ),
        Copy(content="late", dest=device.path("t/late")),
    ]
    plans = device.run(*tasks)
    assert not plans[2].effects
    assert (mode(device.path("t/f")), mode(device.path("t/a/prog")), mode(device.path("t/a"))) == (0o640, 0o750, 0o750)
    assert {p.owner() for p in device.at("t").rglob("*") if not p.is_symlink()} == {"daemon"}
    assert Path("/etc/passwd").stat().st_uid == 0
    assert device.is_done(tasks[1])


def test_a_tree_is_copied_with_all_that_is_in_it(device: Device) -> None:
    """src/ means what is in it, src itself goes below dest; empty folders too; a second run changes nothing."""
    device.at("src/sub/empty").mkdir(parents=True)
    device.at("src/a").write_text("a")
    device.at("src/sub/b").write_bytes(b"\0\xff\n")
    device.at("src/sub/b").chmod(0o755)
    for src, top in (("src/", "out"), ("src", "in/src")):
        task = Copy(src=src, dest=device.path(top.partition("/")[0]), directory_mode="0750", mode="preserve")
        device.run(task)
        assert names(device.at(top)) == ["a", "sub"]
        assert device.at(f"{top}/sub/b").read_bytes() == b"\0\xff\n"
        assert (mode(device.path(f"{top}/sub")), mode(device.path(f"{top}/sub/b"))) == (0o750, 0o755)
        assert device.at(f"{top}/sub/empty").is_dir()
        assert device.is_done(task)


def test_dest_with_a_slash_is_a_folder_and_is_made(device: Device) -> None:
    """dest/ that is missing is made, a dest that is a folder or a link to one takes the file under its own name."""
    device.at("f.txt").write_text("x")
    device.at("there").mkdir()
    device.at("link").symlink_to("there")
    tasks = [Copy(src="f.txt", dest=device.path(name)) for name in ("new/deep", "there", "link")]
    tasks[0] = Copy(src="f.txt", dest=device.path("new/deep") + "/")
    device.run(*tasks)
    assert device.at("new/deep/f.txt").read_text() == "x"
    assert device.at("there/f.txt").read_text() == "x"
    assert device.is_done(*tasks)


@pytest.mark.parametrize("name", ["it's", 'two "words" $HOME `id`', "-n", "line\nbreak", "back\\slash %25", "*"])
def test_any_name_arrives_intact(device: Device, name: str) -> None:
    """Quotes, blanks, a leading dash, a newline: paths and content are carried, never interpreted."""
    folder = f"{device.path('d')}/{name}"
    device.run(
        FileType(path=folder, state="directory"),
        Copy(content=name, dest=f"{folder}/{name}"),
        LineInFile(path=f"{folder}/{name}", line=name.partition("\n")[0], insertbefore="BOF", regexp="^no such"),
        FileType(src=name, path=f"{folder}/l{name}", state="link", force=True),
        FileType(path=f"{folder}/{name}", mode="0600"),
        FileType(path=f"{folder}/gone{name}", state="touch"),
        FileType(path=f"{folder}/gone{name}", state="absent"),
    )
    assert names(Path(folder)) == sorted([name, f"l{name}"])


def test_large_content_travels_beside_the_script(device: Device) -> None:
    """What is over 256 KiB is an upload, and over 4 MiB it is neither diffed nor read back."""
    device.at("mid").write_bytes(os.urandom(300 * 1024))
    device.at("big").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    tasks = [Copy(src=name, dest=device.path(f"{name}.out")) for name in ("mid", "big")]
    tasks.append(Copy(content="y" * 300_000, dest=device.path("text")))
    tasks.append(Copy(src=device.path("big.out"), remote_src=True, dest=device.path("again")))
    plans = device.run(*tasks)
    assert all(isinstance(plan.effects[0].values[-1], Upload) for plan in plans[:3])
    assert device.at("again").stat().st_size == 4 * 1024 * 1024 + 1
    assert device.is_done(*tasks)


def test_a_name_that_reads_like_an_upload_is_a_name(device: Device) -> None:
    """A large file of the device is copied by its path, whatever that path holds."""
    (device.root / "is:move:").mkdir()
    device.at("is:move:/big").write_bytes(b"x" * (4 * 1024 * 1024 + 1))
    device.run(Copy(src=device.path("is:move:/big"), remote_src=True, dest=device.path("again")))
    assert device.at("again").stat().st_size == 4 * 1024 * 1024 + 1
    assert names(device.at("is:move:")) == ["big"]


ODD = ["plain", "two words", "it's", "-n", ".hidden", "..odd", "*", "$HOME", "back\\slash", "line\nbreak", "%25", "ü"]


@pytest.mark.parametrize("large", [False, True])
def test_a_tree_is_put_together(device: Device, large: bool) -> None:
    """Names of any sort, in new folders and old ones, over files and links: all are there, as if each came alone."""
    source, there = device.at("source"), device.at("to")
    for folder in ("", "deep/er", "old"):
        (source / folder).mkdir(parents=True, exist_ok=True)
        for name in ODD:
            (source / folder / name).write_bytes(f"{folder}/{name}".encode() * (5000 if large else 1))
    (source / "prog").write_text("#!/bin/sh\n")
    (source / "prog").chmod(0o755)
    (there / "old").mkdir(parents=True)
    for name in ODD[:4]:
        (there / "old" / name).write_text("other")
        (there / "old" / name).chmod(0o640)
    (there / "old" / "..odd").symlink_to("plain")
    (there / "old" / "ü").symlink_to("gone")
    task = Copy(src="source/", dest=str(there), directory_mode="0750")
    (plan,) = device.run(task)
    assert "put_files" in [effect.script.name for effect in plan.effects]
    assert sum(isinstance(value, Upload) for effect in plan.effects for value in effect.values) == large
    assert len(plan.effects) == 3 + 3 * 2
    wanted = {path.relative_to(source): path.read_bytes() for path in source.rglob("*") if path.is_file()}
    assert {path.relative_to(there): path.read_bytes() for path in there.rglob("*") if path.is_file()} == wanted
    assert not any(path.is_symlink() for path in there.rglob("*"))
    assert {mode(str(there / "old" / name)) for name in ODD[:4]} == {0o640}
    assert (mode(str(there / "deep/er/.hidden")), mode(str(there / "deep"))) == (0o644, 0o750)
    assert names(device.root) == ["source", "to"]
    assert device.is_done(task)
    device.run(Copy(src="source/", dest=str(there), mode="preserve"))
    assert mode(str(there / "prog")) == 0o755


def test_what_a_power_cut_left_goes_with_the_next_write(device: Device) -> None:
    """A file or folder of ours from another boot goes when something is written beside it; nothing else does."""
    device.at("to").mkdir()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    kept = {f".provision.{boot}.abcdef", ".provision.x"}
    device.at("to/.provision.0000beef.folder").mkdir()
    for name in (*kept, ".provision.0000beef.abcdef", ".provision.0000beef.folder/content"):
        device.at(f"to/{name}").write_text("half")
    device.run(Copy(content="whole", dest=device.path("to/one")))
    assert set(names(device.at("to"))) == kept | {"one"}


def contents(top: Path) -> dict[str, tuple[bytes, int]]:
    """Return content and mode of each file below a folder."""
    files = (path for path in top.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(top)): (path.read_bytes(), mode(str(path))) for path in files}


def many_files(top: Path) -> Path:
    """Make a folder of a hundred files, with names that lines can hold, and some that nearly cannot."""
    for number in range(100):
        name = f"{ODD[number]} x" if number < len(ODD) and not set(ODD[number]) & set("\n\\") else f"f{number}"
        folder = top / ("", "a", "a/b c")[number % 3]
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (name if not name.startswith("-") else f"f{number}")
        path.write_bytes(f"{number}".encode() * number * 7)
        path.chmod(0o755 if number % 10 == 0 else 0o644)
    return top


@pytest.mark.parametrize("there", [False, True], ids=["new-folder", "old-folder"])
def test_a_set_of_files_arrives_and_is_kept(device: Device, there: bool) -> None:
    """A hundred files are looked at as one and brought as one; a second run finds nothing to do."""
    source = many_files(device.at("source"))
    if there:
        (device.at("to") / "a").mkdir(parents=True)
        device.at("to/other").write_text("not ours")
    task = Copy(src="source/", dest=device.path("to"), mode="preserve")
    (plan,) = device.run(task)
    assert [effect.script.name for effect in plan.effects][-1] == ("put_files" if there else "put_tree")
    wanted = contents(source) | ({"other": (b"not ours", 0o644)} if there else {})
    assert contents(device.at("to")) == wanted
    assert device.is_done(task)
    assert device.is_done(Copy(src="source/", dest=device.path("to")))
    assert names(device.root) == ["source", "to"]


def test_what_drifted_in_a_set_is_mended(device: Device) -> None:
    """Whatever became of some files of a set, they are as they should be afterwards, and no other is touched."""
    source, to = many_files(device.at("source")), device.at("to")
    task = Copy(src="source/", dest=str(to), mode="preserve")
    device.run(task)
    (to / "f30").write_text("other")
    (to / "f33").unlink()
    (to / "f36").unlink()
    (to / "f36").symlink_to("f39")
    (to / "a/f31").chmod(0o600)
    before = {path: path.stat().st_ino for path in to.rglob("*") if path.is_file() and not path.is_symlink()}
    assert not device.is_done(task)
    device.run(task)
    assert contents(to) == contents(source)
    assert not any(path.is_symlink() for path in to.rglob("*"))
    moved = {path.name for path, inode in before.items() if path.stat().st_ino != inode}
    assert moved == {"f30"}
    assert device.is_done(task)


@AS_ROOT
def test_a_set_gets_owner_and_group(device: Device) -> None:
    """New files of a set get the owner and group that are asked for, or their setgid folder's."""
    many_files(device.at("source"))
    to = device.at("to")
    given = Copy(src="source/", dest=str(to), owner="daemon", group="games")
    device.run(given)
    files = [path for path in to.rglob("*") if path.is_file()]
    assert {(path.owner(), path.group()) for path in files} == {("daemon", "games")}
    assert device.is_done(given)
    device.run(Copy(src="source/", dest=str(to), owner="bin"))
    assert {path.owner() for path in files} == {"bin"}
    own = device.at("own")
    own.mkdir()
    shutil.chown(own, group="games")
    own.chmod(0o2775)
    device.run(Copy(src="source/", dest=str(own)))
    assert {path.group() for path in own.rglob("*")} == {"games"}
    assert device.is_done(Copy(src="source/", dest=str(own)))


def test_a_folder_that_is_a_link_makes_no_set(device: Device) -> None:
    """Where a link leads elsewhere, files are looked at one by one, and arrive where it leads."""
    source = many_files(device.at("source"))
    device.at("elsewhere").mkdir()
    device.at("to").mkdir()
    device.at("to/a").symlink_to(device.path("elsewhere"))
    task = Copy(src="source/", dest=device.path("to"), mode="preserve")
    device.run(task)
    assert contents(device.at("elsewhere")) == contents(source / "a")
    assert device.is_done(task)


@AS_ROOT
def test_a_tree_keeps_and_gives_owners(device: Device) -> None:
    """Files that are replaced keep their owner and group, new ones get theirs; a setgid folder gives its group."""
    source, there = device.at("source"), device.at("to")
    (source / "g").mkdir(parents=True)
    (there / "g").mkdir(parents=True)
    shutil.chown(there / "g", group="games")
    (there / "g").chmod(0o2775)
    for name in ("a", "b", "g/c", "g/d"):
        (source / name).write_text("new")
    for name in ("a", "g/c"):
        (there / name).write_text("old")
        shutil.chown(there / name, "daemon", "bin")
        (there / name).chmod(0o600)
    task = Copy(src="source/", dest=str(there))
    device.run(task)
    owners = {name: ((there / name).owner(), (there / name).group()) for name in ("a", "b", "g/c", "g/d")}
    kept = ("daemon", "bin")
    assert owners == {"a": kept, "b": ("root", "root"), "g/c": kept, "g/d": ("root", "games")}
    assert device.is_done(task)
    given = Copy(src="source/", dest=str(there), owner="1", group="54321", mode="u=rw,go=r")
    device.run(given)
    assert {(path.stat().st_uid, path.stat().st_gid) for path in there.rglob("?") if path.is_file()} == {(1, 54321)}
    assert device.is_done(given)


def test_a_bundle_that_was_damaged_changes_nothing(device: Device) -> None:
    """Where a hash does not fit no file is put, and nothing lies about."""
    source, there = device.at("source"), device.at("to")
    source.mkdir()
    there.mkdir()
    for name in "abc":
        (source / name).write_text(f"new {name}")
        (there / name).write_text("old")
    plan = device.plan(Copy(src="source/", dest=str(there)), View())
    (effect,) = plan.effects
    values = tuple(value.replace(b"new b", b"bad b") if isinstance(value, bytes) else value for value in effect.values)
    ran = device.call(effect.script, values)
    assert ran.returncode != 0
    assert b"damaged" in ran.stderr
    assert {path.read_text() for path in there.iterdir()} == {"old"}
    assert names(there) == ["a", "b", "c"]


def test_a_validate_that_refuses_leaves_the_old_file(device: Device) -> None:
    """validate sees the new content before it is in place; refused, nothing has changed and nothing lies about."""
    path = device.at("f")
    path.write_text("good\n")
    plan = device.plan(Copy(content="bad\n", dest=str(path), validate="grep -q good %s"), View())
    ran = device.call(plan.effects[0].script, plan.effects[0].values)
    assert ran.returncode != 0
    assert b"validate refused" in ran.stderr
    assert path.read_text() == "good\n"
    assert names(device.root) == ["f"]


@AS_ROOT
@pytest.mark.parametrize("content", [b"text " * 20_000, b"\xff\x00" * 50_000], ids=["text", "bytes"])
def test_a_full_disk_is_named(device: Device, content: bytes) -> None:
    """Where there is no room the reason is told, the old file stays and nothing lies about."""
    device.at("new").write_bytes(content)
    disk = device.at("disk")
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32k", "none", str(disk)], check=True)
    try:
        (disk / "f").write_text("old")
        plan = device.plan(Copy(src="new", dest=str(disk / "f")), View())
        ran = device.call(plan.effects[0].script, plan.effects[0].values)
        assert ran.returncode != 0
        assert b"No space left on device" in ran.stderr
        assert {path.name: path.read_text() for path in disk.iterdir()} == {"f": "old"}
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_hard_link_is_a_second_name(device: Device) -> None:
    """state=hard makes it once, and a mode reaches both names."""
    device.at("a").write_text("x")
    task = FileType(src=device.path("a"), path=device.path("b"), state="hard", mode="0600")
    device.run(task)
    assert device.at("a").stat().st_ino == device.at("b").stat().st_ino
    assert mode(device.path("a")) == 0o600
    assert device.is_done(task)


def test_remove_refuses_the_root(device: Device) -> None:
    """Whatever went wrong before: the body removes neither nothing nor everything."""
    plan = device.plan(FileType(path=device.path("x"), state="absent"), View(probed={}))
    assert not plan.effects
    device.at("x").write_text("")
    effect = device.plan(FileType(path=device.path("x"), state="absent"), View()).effects[0]
    for path in ("", "/", "/.", "/..", "//"):
        ran = device.call(effect.script, (path,))
        assert ran.returncode == 1
        assert b"refusing" in ran.stderr


def test_a_command_gets_its_words_and_its_input(device: Device) -> None:
    """Words arrive as they are, stdin is what was given or empty, chdir holds, the rc is the program's."""
    cases: list[tuple[TaskType, int, bytes]] = [
        (Command(argv=["printf", "%s|", "it's", "$HOME", "a b", "-x", "*"]), 0, b"it's|$HOME|a b|-x|*|"),
        (Command(cmd="cat", stdin="in"), 0, b"in\n"),
        (Command(cmd="cat", stdin="in", stdin_add_newline=False), 0, b"in"),
        (Command(cmd="cat"), 0, b""),
        (Command(cmd="pwd", chdir=str(device.root)), 0, f"{device.root}\n".encode()),
        (Command(cmd="pwd", chdir="/no/such"), 1, b""),
        (Shell(cmd="echo a; exit 3"), 3, b"a\n"),
        (Shell(cmd="x='q r'\necho \"$x\" | tr q Q\n"), 0, b"Q r\n"),
        (Shell(cmd="cat; pwd", stdin="z", chdir=str(device.root)), 0, f"z\n{device.root}\n".encode()),
        (Shell(cmd="echo ${BASH_VERSION:+yes}", executable="/bin/bash"), 0, b"yes\n"),
        (Shell(cmd="tr '\\0' ' ' </proc/$PPID/cmdline; : s3cret"), 0, b""),
    ]
    for task, rc, stdout in cases:
        effect = task.plan(View(), device.context).effects[0]
        ran = device.call(effect.script, effect.values)
        assert ran.returncode == rc, (task, ran.stderr)
        assert b"s3cret" not in ran.stdout
        assert not stdout or ran.stdout == stdout
    assert not names(device.root)


@pytest.mark.parametrize("odd", ["", "a|b", "back\\slash", "two\nlines"])
def test_many_things_are_told_as_each_alone(device: Device, odd: str) -> None:
    """Looks and guards of many paths say what those of one say, whatever stands there and however it is called."""
    for number in range(40):
        (device.root / f"file {number}%").write_bytes(b"x" * number)
    (device.root / "folder").mkdir(mode=0o2750)
    (device.root / "folder/-n").write_bytes(b"y" * 5_000_000)
    (device.root / "to folder").symlink_to("folder")
    (device.root / "nowhere %").symlink_to("not %/there")
    (device.root / "circle").symlink_to("circle")
    os.mkfifo(device.root / "fifo")
    (device.root / "file 7%").chmod(0o7)
    if odd:
        (device.root / odd).write_bytes(b"odd")
    names = [
        *(f"file {n}%" for n in range(45)),
        "folder",
        "folder/-n",
        "to folder",
        "to folder/-n",
        "nowhere %",
        "fifo",
    ]
    names += ["nowhere %/x", "circle", "circle/x", "folder/no/such", "file 1%/x", "", *filter(None, [odd])]
    ends = hashlib.sha256(b"x" * 3).hexdigest()
    wants = [METADATA, HASHED, CONTENT, ends]
    files = [File(device.path(name), wants[n % 4]) for n, name in enumerate(names)] + [File("/"), File("/none/x")]
    values = [word for file in files for word in file.arguments()]
    assert device.call(FILE_MANY, values, "guarding=yes\n").returncode == bool(odd)
    for guarding in (False, True):
        together = device.looks({file: file.arguments() for file in files}, guarding=guarding)
        for file in files:
            alone = device.looks({file: file.arguments()}, guarding=guarding)[file]
            assert together[file] == alone, file
            assert getattr(together[file], "content", None) == getattr(alone, "content", None)


@pytest.mark.parametrize("change", ["", "content", "other", "time"])
def test_what_was_hashed_is_hashed_again_once_it_changed(device: Device, change: str) -> None:
    """A guard believes a hash that was noted while the file is the same one, of that size and time, and no longer."""
    place, work = device.at("f"), device.at("work")
    place.write_bytes(b"one")
    os.utime(place, ns=(10**18 + 5, 10**18 + 5))
    work.mkdir()
    look = [*device.shell, "-c", 'LC_ALL=C stat -c "%d|%i|%s|%y" "$1"', "sh", place]
    told = subprocess.run(look, capture_output=True, text=True, check=True).stdout
    (work / "hashed").write_text(f"{'a' * 64} {told}")
    if change == "content":
        place.write_bytes(b"two")
    elif change == "other":
        shutil.copy2(place, device.at("g"))
        device.at("g").replace(place)
    elif change == "time":
        os.utime(place, ns=(10**18 + 6, 10**18 + 6))
    ran = device.call(File.probe, [str(place), HASHED], f"guarding=yes work={quote(str(work))}\n", File.many)
    expected = hashlib.sha256(place.read_bytes()).hexdigest() if change else "a" * 64
    assert parsed(File, ran.stdout.decode().partition("\n")[2].removesuffix("\n")).sha256 == expected


def test_a_tree_says_what_sorts_there_are(device: Device) -> None:
    """The probe of a tree names each sort once, in order, and nothing for what is not there."""
    device.at("t/d").mkdir(parents=True)
    for name in ("a", "b"):
        device.at(f"t/{name}").write_text("")
        device.at(f"t/{name}").chmod(0o640)
    device.at("t/d").chmod(0o755)
    group = device.at("t").group()
    assert device.look(Tree(device.path("t"))).sorts == (f"directory|{USER}|{group}|0755", f"file|{USER}|{group}|0640")
    assert device.look(Tree(device.path("none"))).sorts == ()


@AS_ROOT
@pytest.mark.skipif(not shutil.which("setpriv"), reason="no setpriv to become another user")
def test_a_plain_user_gets_what_was_planned() -> None:
    """Without root: what is made is one's own, and another's file in a shared folder becomes one's own."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        for owner, group in (("root", "root"), ("daemon", "daemon")):
            (folder / owner).write_text("old\n")
            shutil.chown(folder / owner, owner, group)
        become = ["setpriv", "--reuid=daemon", "--regid=daemon", "--clear-groups", "sh"]
        device = Device(become, folder, user="daemon")
        tasks = [
            FileType(path=device.path("d/e"), state="directory", mode="0750"),
            Copy(content="x\n", dest=device.path("d/e/f")),
            LineInFile(path=device.path("d/e/f"), line="y", backup=True),
            FileType(path=device.path("d/e/f"), mode="0600"),
            Copy(content="mine\n", dest=device.path("root"), backup=True),
            LineInFile(path=device.path("daemon"), line="more"),
            FileType(src="f", path=device.path("d/e/l"), state="link"),
        ]
        device.run(*tasks)
        assert device.at("root").owner() == "daemon"
        assert device.is_done(*tasks[:1], *tasks[2:])


def test_unknown_fields_are_no_part_of_the_comparison() -> None:
    """The helper of this suite leaves out exactly what the plan does not know."""
    state = FileState(type="file", real="/x", owner="a", group=Unknown(), mode="0644")
    assert "group" not in known_text(FileState(type="file", real="/x", group="b"), state)
    assert File("/x").is_absent(FileState())
