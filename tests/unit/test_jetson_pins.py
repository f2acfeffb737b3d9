"""Laws of pins: chosen once, kept, moved on demand, never lost, never from another band."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.errors import HostError, InputError
from provisioner.jetson.compatibility import candidates
from provisioner.jetson.facts import facts_from
from provisioner.jetson.pins import LockFile, Pin, _parse, _render, choose, lock_path, told_about
from provisioner.jetson.registry import Platform, PlatformNotFound, RegistryUnreachable, Resolved, TagNotFound

if TYPE_CHECKING:
    from pathlib import Path

DIGESTS = st.integers(0, 2**256 - 1).map(lambda n: f"sha256:{n:064x}")
PINS = st.builds(
    Pin,
    family=st.sampled_from(["l4t-pytorch", "pytorch"]),
    band=st.sampled_from(["32.4.3", "32.7", "35", "36.4", "38-39", "no", "1e3"]),
    reference=st.sampled_from(["docker.io/dustynv/l4t-pytorch:r36.4.0", "127.0.0.1:5000/a/b:26.08"]),
    index_digest=DIGESTS,
    platform_digest=DIGESTS,
    platform=st.just("linux/arm64"),
    size=st.integers(0, 10**11),
    when=st.just("2026-11-22T16:05:00Z"),
)


def pin(number: int = 1, band: str = "36.4", **changes: Any) -> Pin:
    made = Pin(
        family="l4t-pytorch",
        band=band,
        reference="docker.io/dustynv/l4t-pytorch:r36.4.0",
        index_digest=f"sha256:{number:064x}",
        platform_digest=f"sha256:{number:064x}",
        platform="linux/arm64",
        size=6732208331,
        when="2026-11-22T16:05:00Z",
    )
    return replace(made, **changes)


class Shelf:
    """A registry that is a dictionary: reference to the digest's number or to the error it raises."""

    def __init__(self, **errors: Exception) -> None:
        self.asked: list[str] = []
        self.errors = errors
        self.number = 7

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        self.asked.append(reference)
        if error := self.errors.get(reference.rpartition(":")[2].replace(".", "_").replace("-", "_")):
            raise error
        digest = f"sha256:{self.number:064x}"
        return Resolved(reference, digest, digest, "application/json", platform, 5, ((digest, 5),), digest)


def test_the_file_lies_where_ansible_does_not_look(tmp_path: Path) -> None:
    """Pins lie beside the inventory, in a folder whose name starts with a dot, under the inventory's name."""
    assert lock_path(tmp_path / "lab.yaml") == tmp_path / ".provision" / "lab.lock.yaml"


@settings(max_examples=30)
@given(st.lists(PINS, max_size=5), st.lists(PINS, max_size=5))
def test_what_was_written_is_read_back(pins: list[Pin], previous: list[Pin]) -> None:
    """Parsing what was rendered gives the same pins, and rendering them again the same text."""
    rows = {row.key: row for row in pins}
    for old in previous:
        if old.key in rows:
            rows[old.key] = replace(rows[old.key], previous=old)
    text = _render(rows)
    again = {row.key: row for row in _parse(text, "x")}
    assert again == rows
    assert [row.previous for row in again.values()] == [rows[key].previous for key in again]
    assert _render(again) == text


@given(st.permutations([pin(band=band) for band in ("35", "36.4", "32.7", "38-39")]))
def test_the_order_is_stable(pins: list[Pin]) -> None:
    """The text does not depend on the order in which devices were met."""
    assert _render({row.key: row for row in pins}) == _render(
        {row.key: row for row in sorted(pins, key=lambda p: p.key)}
    )


def test_a_saved_pin_is_there_for_the_next_run(tmp_path: Path) -> None:
    """A pin survives on disk, with a header that tells what the file is for, and no scrap is left beside it."""
    path = tmp_path / ".provision" / "lab.lock.yaml"
    LockFile.load(path).with_pin(pin()).save()
    assert LockFile.load(path).pin_for("36.4") == pin()
    assert "commit it" in path.read_text()
    assert sorted(entry.name for entry in path.parent.iterdir()) == [".lab.lock.yaml.lock", "lab.lock.yaml"]


def test_nothing_changed_writes_nothing(tmp_path: Path) -> None:
    """The same image asked for again keeps the file, byte for byte, and so does an empty run."""
    path = tmp_path / "lab.lock.yaml"
    LockFile.load(path).save()
    assert not path.exists()
    LockFile.load(path).with_pin(pin()).save()
    before = path.read_bytes(), path.stat().st_ino
    LockFile.load(path).with_pin(pin(when="2030-01-01T00:00:00Z")).save()
    assert (path.read_bytes(), path.stat().st_ino) == before


def test_two_runs_keep_each_others_pins(tmp_path: Path) -> None:
    """Runs that read the same file and save at the same time lose nothing."""
    path = tmp_path / "lab.lock.yaml"
    bands = [f"32.{n}" for n in range(8)]
    files = [LockFile.load(path).with_pin(pin(band=band)) for band in bands]
    threads = [threading.Thread(target=file.save) for file in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(key[0] for key in LockFile.load(path).pins) == bands


def test_rollback_goes_back_and_forward(tmp_path: Path) -> None:
    """The replaced pin is remembered; rolling back twice is where one was; without one it is an error."""
    file = LockFile(tmp_path / "lab.lock.yaml").with_pin(pin(1)).with_pin(pin(2))
    assert file.pin_for("36.4") == pin(2, previous=pin(1))
    back = file.rollback("36.4")
    assert back.pin_for("36.4") == pin(1, previous=pin(2))
    assert back.rollback("36.4").pins == file.pins
    with pytest.raises(InputError, match="no earlier pin"):
        file.rollback("35")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("version: '1'\npins:\n- band: [\n", 4, "not YAML"),
        ("<<<<<<< HEAD\nversion: '1'\n=======\nversion: '2'\n>>>>>>> b\n", 2, "not YAML"),
        ("version: '2'\npins: []\n", 1, "version 1"),
        ("pins: []\n", 1, "version 1"),
        ("- 1\n", 1, "expected a mapping"),
        ("version: '1'\n", 1, "expected a list of pins"),
        ("version: '1'\nextra: 1\npins: []\n", 2, "unknown key: extra"),
        ("version: '1'\npins:\n- band: '35'\n", 3, "missing key: family"),
        ("version: '1'\npins:\n- band: '35'\n  digets: x\n", 4, "unknown key: digets"),
    ],
)
def test_a_broken_file_is_shown_with_its_line(tmp_path: Path, text: str, line: int, said: str) -> None:
    """Every mistake in the file names path and line, and nothing is guessed."""
    path = tmp_path / "lab.lock.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        LockFile.load(path)
    assert said in caught.value.message
    assert caught.value.source
    assert (caught.value.source.path, caught.value.source.line) == (str(path), line)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("index_digest: sha256:0", "index_digest: sha256:x", "index_digest: expected"),
        ("size: 6732208331", "size: big", "size: expected"),
        ("reference: docker.io", "reference: DOCKER IO", "no image reference"),
        ("platform: linux/arm64", "platform: [a]", "platform: expected one value"),
    ],
)
def test_broken_values_are_refused(old: str, new: str, said: str) -> None:
    """A digest that is none, a size that is no number and a name that is no image are errors, each with its line."""
    text = _render({pin().key: pin()})
    assert old in text
    with pytest.raises(InputError, match=said) as caught:
        _parse(text.replace(old, new), "x")
    assert caught.value.source
    assert text.splitlines()[caught.value.source.line - 1].strip().startswith(old.split(":", maxsplit=1)[0])


def test_a_second_pin_of_a_band_is_refused() -> None:
    """What a merge of two branches can leave, two pins of one band, is an error and not a coin toss."""
    text = _render({pin().key: pin()})
    row = text[text.index("- family") :]
    with pytest.raises(InputError, match="a second pin"):
        _parse(text + row, "x")


def test_a_pinned_image_needs_no_registry(tmp_path: Path) -> None:
    """A pin in the lock is taken without asking anybody, also when the tag has moved since."""
    shelf, lock = Shelf(), LockFile(tmp_path / "x").with_pin(pin())
    choice = choose(candidates("36.4.3"), shelf, lock)
    assert (choice.pin, choice.asked, shelf.asked) == (pin(), False, [])


def test_a_new_pin_is_asked_once(tmp_path: Path) -> None:
    """Without a pin the first candidate is asked; what the registry says becomes the pin."""
    shelf, lock = Shelf(), LockFile(tmp_path / "x")
    choice = choose(candidates("36.4.3"), shelf, lock)
    assert shelf.asked == ["docker.io/dustynv/l4t-pytorch:r36.4.0"]
    assert (choice.asked, choice.pin.band, choice.pin.index_digest) == (True, "36.4", f"sha256:{7:064x}")
    assert choice.pin.pinned == f"docker.io/dustynv/l4t-pytorch@sha256:{7:064x}"
    assert lock.with_pin(choice.pin).pin_for("36.4") == choice.pin


def test_update_asks_again(tmp_path: Path) -> None:
    """An update asks although there is a pin, and the pin it replaces stays reachable."""
    shelf, lock = Shelf(), LockFile(tmp_path / "x").with_pin(pin())
    choice = choose(candidates("36.4.3"), shelf, lock, update=True)
    assert (choice.asked, choice.pin.index_digest) == (True, f"sha256:{7:064x}")
    moved = lock.with_pin(choice.pin).pin_for("36.4")
    assert moved is not None
    assert moved.previous == pin()


@pytest.mark.parametrize("error", [TagNotFound("gone"), PlatformNotFound("amd64 only")])
def test_a_missing_tag_falls_through(tmp_path: Path, error: Exception) -> None:
    """A tag that is not there, or not for the device, gives way to the next one and a note."""
    wish = "nvcr.io/nvidia/l4t-pytorch:r35.3.1-pth2.0-py3"
    shelf = Shelf(r35_3_1_pth2_0_py3=error)
    choice = choose(candidates("35.3.1", wanted=wish), shelf, LockFile(tmp_path / "x"))
    assert shelf.asked == [wish, "docker.io/dustynv/l4t-pytorch:r35.3.1"]
    assert choice.pin.reference == "docker.io/dustynv/l4t-pytorch:r35.3.1"
    assert choice.notes == (f"passed over: {error}",)
    assert told_about(wish)


def test_a_silent_registry_is_no_missing_tag(tmp_path: Path) -> None:
    """A registry that does not answer is an error: the next candidate would be another image for no good reason."""
    shelf = Shelf(r36_4_0=RegistryUnreachable("down"))
    with pytest.raises(RegistryUnreachable):
        choose(candidates("36.4.3"), shelf, LockFile(tmp_path / "x"))
    assert len(shelf.asked) == 1


def test_when_nothing_is_there_all_is_told(tmp_path: Path) -> None:
    """If no candidate exists the error names each one."""
    shelf = Shelf(**{"26_08_py3": TagNotFound("first"), "26_07_py3": TagNotFound("second")})
    with pytest.raises(TagNotFound, match=r"first.*second"):
        choose(candidates("39.2.0"), shelf, LockFile(tmp_path / "x"))


def test_a_refused_host_gets_no_pin(tmp_path: Path) -> None:
    """A host without candidates fails with the reason, and no registry is asked."""
    shelf = Shelf()
    with pytest.raises(HostError, match="exec format error"):
        choose(candidates(facts_from({"kernel_arch": "riscv64"})), shelf, LockFile(tmp_path / "x"))
    assert shelf.asked == []


def test_a_pin_moved_to_another_band_is_refused(tmp_path: Path) -> None:
    """A pin that somebody edited into a band of which its image is not, or for another platform, is not used."""
    shelf = Shelf()
    for wrong in (pin(reference="docker.io/dustynv/l4t-pytorch:r35.4.1"), pin(platform="linux/amd64")):
        with pytest.raises(InputError):
            choose(candidates("36.4.3"), shelf, LockFile(tmp_path / "x").with_pin(wrong))
    assert shelf.asked == []


def test_a_wish_against_the_pin_is_told(tmp_path: Path) -> None:
    """The pin wins over a tag that is asked for by name, and says how to change that."""
    choice = choose(
        candidates("36.4.3", wanted="example.org/mine:1"), Shelf(), LockFile(tmp_path / "x").with_pin(pin())
    )
    assert choice.pin == pin()
    assert "pin --update" in choice.notes[0]
