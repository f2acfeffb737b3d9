"""The laws of many files at once: what a plan shows and leaves is what it would be file by file."""

from __future__ import annotations

import hashlib
import io
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from taskviews import absent, context, file, finder, folder, link, plan, shown, view

from provisioner.model import NeedLook
from provisioner.observables.file import File, FileState
from provisioner.observables.file_set import FileSet, FileSetState
from provisioner.shell import Part, Upload
from provisioner.tasks.bundle import LARGEST, MOST, Member, bundled
from provisioner.tasks.content import Content
from provisioner.tasks.copy import Copy
from provisioner.tasks.listing import listed
from provisioner.tasks.writing import FileTask
from provisioner.transport.upload import Packer

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.model import Effect


def tree(tmp_path: Path, files: int, size: int = 10) -> Path:
    """Make a folder of files."""
    for number in range(files):
        within = tmp_path / f"t/d{number % 3}"
        within.mkdir(parents=True, exist_ok=True)
        (within / f"f{number:04}").write_bytes(f"{number:>{size}}".encode())
    return tmp_path / "t"


def places(files: int, top: str = "/etc/t") -> list[Any]:
    """Return the places of such a tree as those that nothing stands at."""
    return [absent(f"{top}/d{number % 3}/f{number:04}") for number in range(files)]


def both(
    tmp_path: Path, *states: Any, user: str = "root", folders: Any = None, **arguments: Any
) -> tuple[tuple[Effect, ...], tuple[Effect, ...]]:
    """Return what a copy plans, and what it would plan file by file."""
    task, ctx = Copy(src="t", dest="/etc", **arguments), context(find=finder(tmp_path), user=user)
    kind = folders or (folder if all(state.exists for state in states) else absent)
    above = [kind("/etc/t"), *(kind(f"/etc/t/d{number}") for number in range(3))]
    few, many = view(*above, *states), view(*above, *states)
    few.probed |= as_set(tmp_path / "t", *states)
    one_by_one = Copy(src="t", dest="/etc", follow=True, **arguments)  # where links are followed, there is no set
    return task.plan(few, ctx).effects, FileTask.plan(one_by_one, many, ctx).effects


def as_set(source: Path, *states: FileState, below: str = "/etc/t") -> dict[Any, Any]:
    """Return these files as a look at all of them together tells of them."""
    listing = listed(str(source))
    by_path = {state.real: state for state in states}
    told = FileSetState.of([by_path[f"{below}/{name}"] for name in listing.names.names])
    return {FileSet(below, listing.names, listing.combined): told}


def test_what_is_shown_and_left_is_the_same(tmp_path: Path) -> None:
    """Few effects show all that many show, in the same order, and leave what they leave."""
    tree(tmp_path, 20)
    few, many = both(tmp_path, *places(20), mode="0640")
    assert (len(few), len(many)) == (2, 24)
    assert [one for effect in few for one in effect.shows] == [one for effect in many for one in effect.shows]
    assert [x for e in few for x in e.leaves.items()] == [x for e in many for x in e.leaves.items()]


def unpacked(effect: Effect) -> tuple[dict[str, bytes], dict[str, int]]:
    """Return files and folders (with their modes) of an effect's archive, its list of hashes compared and left out."""
    upload = effect.values[0]
    assert isinstance(upload, Upload)
    data = b"".join(upload.pieces())
    assert len(data) == upload.size
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = tar.getmembers()
        files = {one.name: tar.extractfile(one).read() for one in members if one.isfile()}  # type: ignore[union-attr]
    sums = files.pop("sums")
    assert hashlib.sha256(sums).hexdigest() == upload.sha256 == effect.values[1]
    listed = [line.split("  ./", 1) for line in sums.decode().splitlines()]
    assert {name: digest for digest, name in listed} == {
        name: hashlib.sha256(content).hexdigest() for name, content in files.items()
    }
    return files, {one.name: one.mode for one in members if one.isdir()}


def test_an_archive_holds_the_files_and_their_hashes(tmp_path: Path) -> None:
    """What travels into folders that are there is a tar of these files, so many in each numbered one as may be."""
    tree(tmp_path, 2000, 300)
    few, _ = both(tmp_path, *places(2000), folders=folder)
    assert [effect.script.name for effect in few] == ["put_files"]
    files, folders = unpacked(few[0])
    assert (len(files), folders) == (2000, {})
    numbered = {name.rpartition("/")[0] for name in files}
    assert all(len([name for name in files if name.startswith(f"{one}/")]) <= MOST for one in numbered)


def test_a_new_folder_travels_as_one(tmp_path: Path) -> None:
    """Where nothing is there yet, folders and files come in one tar, to be put in place by one name."""
    source = tree(tmp_path, 2000, 300)
    few, _ = both(tmp_path, *places(2000), mode="0640", directory_mode="0750")
    assert [(effect.script.name, effect.values[-1]) for effect in few] == [("put_tree", "/etc/t")]
    files, folders = unpacked(few[0])
    top = next(iter(folders))
    assert folders == dict.fromkeys((top, f"{top}/d0", f"{top}/d1", f"{top}/d2"), 0o750)
    assert files == {f"{top}/{path.relative_to(source)}": path.read_bytes() for path in source.rglob("f*")}


def test_archives_of_other_modes_are_other_ones(tmp_path: Path) -> None:
    """Two that differ in modes alone are not taken for one another, by neither their hash nor what is kept of them."""
    tree(tmp_path, 1000, 300)
    asked = ({"mode": "0640"}, {"mode": "0644"}, {"directory_mode": "0700"})
    for folders in (folder, absent):
        plans = [both(tmp_path, *places(1000), folders=folders, **one)[0] for one in asked]
        assert len({few[-1].values[1] for few in plans}) == (3 if folders is absent else 2)


def left(effects: tuple[Effect, ...]) -> dict[File, FileState]:
    """Return what effects leave, file by file."""
    found: dict[File, FileState] = {}
    for thing, state in (pair for effect in effects for pair in effect.leaves.items()):
        if isinstance(thing, FileSet):
            found |= {file: state.file(number, file.path) for number, file in enumerate(thing.files)}
        else:
            found[thing] = state
    return found


@pytest.mark.parametrize(
    ("arguments", "user"),
    [({}, "root"), ({}, "nvidia"), ({"mode": "0640", "owner": "nvidia"}, "root"), ({"mode": "preserve"}, "root")],
)
def test_a_set_of_new_files_is_what_they_are_one_by_one(tmp_path: Path, arguments: dict[str, Any], user: str) -> None:
    """What is shown and left of many new files, seen as one thing, is what is of each of them."""
    tree(tmp_path, 100)
    (tmp_path / "t/d1/f0001").chmod(0o755)
    few, many = both(tmp_path, *places(100), user=user, **arguments)
    assert len(few) == 1
    assert [one for effect in few for one in effect.shows] == [one for effect in many for one in effect.shows]
    assert {one: state.render() for one, state in left(few).items()} == {
        one: s.render() for one, s in left(many).items()
    }


@pytest.mark.parametrize("arguments", [{}, {"mode": "0644"}, {"owner": "root", "group": "root"}])
def test_a_set_that_is_right_is_read_and_left(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """Where all files are as they are to be, nothing is planned, and the set alone is what the plan rests on."""
    source = tree(tmp_path, 100)
    there = [file(f"/etc/t/{path.relative_to(source)}", path.read_bytes()) for path in source.rglob("f*")]
    at = view(folder("/etc/t"), *(folder(f"/etc/t/d{number}") for number in range(3)))
    at.probed |= as_set(source, *there)
    planned = plan(Copy(src="t", dest="/etc", **arguments), at, find=finder(tmp_path))
    assert planned.effects == ()
    assert [one for one in at.reads if not isinstance(one, File)] == list(as_set(source, *there))
    assert not [one for one in at.reads if isinstance(one, File) and "/f" in one.path]


def test_of_a_set_only_what_is_odd_is_looked_at(tmp_path: Path) -> None:
    """Files that are another content, mode or kind are asked for together, and planned one by one; the rest is not."""
    source = tree(tmp_path, 100)
    there = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("f*")}
    states = {name: file(f"/etc/t/{name}", content) for name, content in there.items()}
    states["d0/f0003"] = file("/etc/t/d0/f0003", b"old")
    states["d1/f0004"] = file("/etc/t/d1/f0004", there["d1/f0004"], mode="0600")
    states["d2/f0005"] = absent("/etc/t/d2/f0005")
    at = view(folder("/etc/t"), *(folder(f"/etc/t/d{number}") for number in range(3)))
    at.probed |= as_set(source, *states.values())
    task, given = Copy(src="t", dest="/etc", mode="0644"), {"find": finder(tmp_path)}
    with pytest.raises(NeedLook) as asked:
        plan(task, at, **given)
    odd = [asked.value.observable, *asked.value.others]
    assert [str(one) for one in odd] == ["file /etc/t/d0/f0003", "file /etc/t/d1/f0004", "file /etc/t/d2/f0005"]
    at.probed |= {one: states[one.path.removeprefix("/etc/t/")] for one in odd if isinstance(one, File)}
    planned = plan(task, at, **given)
    assert {str(one) for effect in planned.effects for one in effect.leaves} == {str(one) for one in odd}


def test_a_later_task_sees_the_files_of_a_planned_set(tmp_path: Path) -> None:
    """A file that a set will have is there for the next task, with owner, mode and content."""
    tree(tmp_path, 100)
    at = view(absent("/etc/t"), *(absent(f"/etc/t/d{number}") for number in range(3)))
    at.probed |= as_set(tmp_path / "t", *places(100))
    plan(Copy(src="t", dest="/etc"), at, find=finder(tmp_path))
    seen = at.peek(File("/etc/t/d1/f0001"))
    assert (seen.type, seen.owner, seen.mode, seen.content) == ("file", "root", "0644", b"         1")
    assert not at.peek(File("/etc/t/d1/other")).exists


def nothing(top: str, files: int) -> list[FileState]:
    """Return that nothing of a tree is there."""
    return [absent(top), *(absent(f"{top}/d{n}") for n in range(3)), *places(files, top)]


def test_two_sets_in_two_places_are_two(tmp_path: Path) -> None:
    """A set that was planned elsewhere bears on no other."""
    source = tree(tmp_path, 100)
    at = view(folder("/srv"), *nothing("/etc/t", 100), *nothing("/srv/t", 100))
    at.probed |= as_set(source, *places(100)) | as_set(source, *places(100, "/srv/t"), below="/srv/t")
    for dest in ("/etc", "/srv"):
        planned = plan(Copy(src="t", dest=dest), at, find=finder(tmp_path))
        assert [effect.script.name for effect in planned.effects] == ["put_tree"]


def test_over_a_planned_set_files_are_planned_one_by_one(tmp_path: Path) -> None:
    """Who copies to where a set will be finds its files, and changes what is asked for otherwise."""
    source = tree(tmp_path, 100)
    at = view(*nothing("/etc/t", 100))
    at.probed |= as_set(source, *places(100))
    plan(Copy(src="t", dest="/etc"), at, find=finder(tmp_path))
    planned = plan(Copy(src="t", dest="/etc", mode="0600"), at, find=finder(tmp_path))
    assert [effect.script.name for effect in planned.effects] == ["give_access"]
    assert len(left(planned.effects)) == 100
    assert plan(Copy(src="t", dest="/etc", mode="0600"), at, find=finder(tmp_path)).effects == ()


@pytest.mark.parametrize("name", ["a\nb", "a|b", "a\\b", "-a"])
def test_names_that_lines_cannot_hold_make_no_set(tmp_path: Path, name: str) -> None:
    """Such files are looked at one by one."""
    (tree(tmp_path, 100) / name).write_text("")
    asked = list(Copy(src="t", dest="/etc").looks_at(context(find=finder(tmp_path))))
    assert not [one for one in asked if isinstance(one, FileSet)]
    assert len(asked) > 100


def test_hosts_that_lack_the_same_get_the_same_archive(tmp_path: Path) -> None:
    """An archive is made once, and so is the hash of each file."""
    tree(tmp_path, 1000, 300)
    first, _ = both(tmp_path, *places(1000))
    second, _ = both(tmp_path, *places(1000))
    one, other = first[0].values[0], second[0].values[0]
    assert isinstance(one, Upload)
    assert isinstance(other, Upload)
    assert one.holds is other.holds


def test_files_of_one_kind_go_together_whatever_they_were(tmp_path: Path) -> None:
    """Old files with any owner and mode are replaced together, and keep both."""
    tree(tmp_path, 9)
    old = [file(f"/etc/t/d{n % 3}/f{n:04}", b"old", mode="0600", owner=["root", "nvidia"][n % 2]) for n in range(9)]
    few, many = both(tmp_path, *old)
    assert [effect.script.name for effect in few] == ["put_files"]
    assert [one for effect in few for one in effect.shows] == [one for effect in many for one in effect.shows]
    assert [x for e in few for x in e.leaves.items()] == [x for e in many for x in e.leaves.items()]


@pytest.mark.parametrize("arguments", [{"backup": True}, {"validate": "true %s"}, {"mode": "4755"}])
def test_what_is_more_than_a_file_goes_alone(tmp_path: Path, arguments: dict[str, Any]) -> None:
    """A backup, a validation and a setuid bit keep their own way; so does a large file."""
    tree(tmp_path, 4)
    there = [file(f"/etc/t/d{number % 3}/f{number:04}", b"old") for number in range(4)]
    few, _ = both(tmp_path, *there, **arguments)
    assert [effect.script.name for effect in few] == ["put_file"] * 4
    with (tmp_path / "t/d0/f0000").open("wb") as large:
        large.truncate(LARGEST + 1)
    few, _ = both(tmp_path, *places(4))
    assert [effect.script.name for effect in few] == ["make_folders", "put_files", "put_file"]


def test_a_file_that_changes_is_read_again(tmp_path: Path) -> None:
    """What was read is kept as long as the file stays as it is."""
    path = tmp_path / "f"
    path.write_text("a")
    first = Content.of_file(str(path))
    assert Content.of_file(str(path)) is first
    path.write_text("other")
    assert Content.of_file(str(path)).data == b"other"


@pytest.mark.parametrize("name", ["a", "tree-0/d/two words", "x" * 99, "x" * 100, "x" * 300, "ü", "%s"])
@pytest.mark.parametrize("size", [0, 1, LARGEST])
def test_what_stands_before_a_file_is_what_tarfile_writes(name: str, size: int) -> None:
    """A file's header is byte for byte that of the standard library, whatever its name."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o640
    member = Member(name, 0o640, "hash", Part("", 0, size))
    assert member.header() == info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def test_a_part_is_as_long_as_it_was(tmp_path: Path) -> None:
    """A stretch of a file comes in pieces, and is filled up where the file has become shorter."""
    path = tmp_path / "f"
    path.write_bytes(bytes(range(100)))
    assert list(Part(str(path), 10, 25).pieces(10)) == [
        bytes(range(10, 20)),
        bytes(range(20, 30)),
        bytes(range(30, 35)),
    ]
    assert b"".join(Part(str(path), 90, 30).pieces(8)) == bytes(range(90, 100)) + bytes(20)


def test_packed_pieces_are_one_gzip_file() -> None:
    """Pieces that pack well, and such that do not, make one file that gzip reads."""
    import gzip
    import random

    pieces = [b"text " * 20_000, random.Random(1).randbytes(100_000), *[b"more " * 20_000] * 12]
    packer = Packer()
    packed = [packer.pack(piece) for piece in pieces]
    assert gzip.decompress(b"".join(packed)) == b"".join(pieces)
    assert len(packed[0]) < 2000
    assert len(packed[-1]) < 2000


def test_all_below_a_folder_is_walked_once(tmp_path: Path) -> None:
    """Folders come before what is in them; a link to a folder above is not followed."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/b/f").write_text("x")
    (tmp_path / "a/up").symlink_to("..")
    (tmp_path / "a/link").symlink_to("b")
    listing = listed(str(tmp_path))
    assert listing.folders == ("a", "a/b", "a/link", "a/up")
    assert [source.name for source in listing.files] == ["a/b/f", "a/link/f"]


def test_a_listing_is_made_once_and_never_old(tmp_path: Path) -> None:
    """As long as nothing changes it is the same one; another content, mode, file or folder makes a new one."""
    top = tree(tmp_path, 6)
    before = listed(str(top))
    assert listed(str(top)) is before
    for change in (
        lambda: (top / "d1/f0001").write_text("other, and longer"),
        lambda: (top / "d1/f0001").chmod(0o755),
        (top / "d1/f0001").unlink,
        (top / "d1/new").mkdir,
        lambda: (top / "d1/new/f").write_text("x"),
    ):
        change()
        after = listed(str(top))
        assert after is not before
        before = after


@pytest.mark.parametrize(
    "arguments", [{}, {"mode": "0600"}, {"mode": "preserve"}, {"owner": "daemon"}, {"force": False}]
)
@pytest.mark.parametrize("user", ["root", "nvidia"])
def test_what_was_planned_elsewhere_changes_nothing(tmp_path: Path, arguments: dict[str, Any], user: str) -> None:
    """A tree is planned, and guarded, as if each of its files were asked for by itself."""
    tree(tmp_path, 12)
    states = [
        *(folder("/etc/t"), folder("/etc/t/d0"), absent("/etc/t/d1"), folder("/etc/t/d2")),
        *(absent(f"/etc/t/d1/f{n:04}") for n in range(1, 12, 3)),
        *(absent("/etc/t/d0/f0000"), file("/etc/t/d0/f0003", b"other"), link("/etc/t/d0/f0006", "../x")),
        *(file("/etc/t/d0/f0009", f"{9:>10}".encode(), mode="0600"), link("/etc/t/d2/f0002", "f0005")),
        *(file(f"/etc/t/d2/f{n:04}", f"{n:>10}".encode(), owner="nvidia") for n in (5, 8, 11)),
    ]
    told = []
    for planned in (False, True):
        at = view(*states)
        if planned:
            at.planned[File("/srv/elsewhere")] = absent("/srv/elsewhere")
        effects = FileTask.plan(
            Copy(src="t", dest="/etc", **arguments), at, context(find=finder(tmp_path), user=user)
        ).effects
        told.append(([(one.script, one.values, one.shows, list(one.leaves.items())) for one in effects], at.reads))
    assert told[0] == told[1]


def test_one_effect_is_left_as_it_is() -> None:
    """A copy of one file is what it was."""
    planned = plan(Copy(content="x", dest="/etc/f"), view(absent("/etc/f")))
    assert [effect.script.name for effect in planned.effects] == ["put_file"]
    assert bundled(planned.effects, "root") == planned.effects
    assert shown(planned)
    assert list(planned.effects[0].leaves) == [File("/etc/f")]
