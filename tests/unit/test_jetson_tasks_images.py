"""Laws of the images of a run: asked once, kept from dry run to apply, pinned when proved, moved and taken back."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from provisioner.errors import HostError, InputError
from provisioner.jetson.facts import HostFacts, facts_from
from provisioner.jetson.images import ImageCatalogue, familiar, moved, review, rolled_back, seen_path
from provisioner.jetson.pins import LockFile
from provisioner.jetson.registry import Platform, RegistryUnreachable, Resolved, TagNotFound

if TYPE_CHECKING:
    from pathlib import Path


def facts(l4t: str = "36.4.3", soc: str = "tegra234") -> HostFacts:
    """Return a Jetson."""
    major, _, rest = l4t.partition(".")
    return facts_from(
        {
            "kernel_arch": "aarch64",
            "userland_arch": "arm64",
            "compatible": f"nvidia,{soc}",
            "release_line": f"# R{major} (release), REVISION: {rest}, GCID: 1",
        }
    )


class Asked:
    """A registry that counts what it is asked; tags mean their own name, in a version that can be moved."""

    def __init__(self, *missing: str, dead: bool = False) -> None:
        self.missing = missing
        self.dead = dead
        self.asked: list[str] = []
        self.version = "1"

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return digests made of the name."""
        self.asked.append(reference)
        if self.dead:
            raise RegistryUnreachable(f"{reference}: no answer", hint="is the network up?")
        if reference in self.missing:
            raise TagNotFound(f"{reference}: no such tag")
        digest = f"sha256:{self.version * 64}"
        return Resolved(reference, digest, digest, "m", platform, 1000, ((f"sha256:{'c' * 64}", 900),), digest)


def catalogue(tmp_path: Path, registry: Asked, *, update: bool = False) -> ImageCatalogue:
    """Return the images of a run of inventory/lab.yaml."""
    return ImageCatalogue(tmp_path / ".provision" / "lab.lock.yaml", registry=registry, update=update)


def test_a_band_is_asked_for_once(tmp_path: Path) -> None:
    """However many hosts plan at once, one question is asked for each band, and all get the same pin."""
    registry = Asked()
    images = catalogue(tmp_path, registry)
    with ThreadPoolExecutor(16) as pool:
        pins = list(pool.map(lambda _: images.choose(facts()).pin, range(32)))
    assert len(set(pins)) == 1
    assert len(registry.asked) == 1
    assert images.layers(pins[0]) == ((f"sha256:{'c' * 64}", 900),)


def test_a_failure_is_told_to_every_host_and_asked_for_once(tmp_path: Path) -> None:
    """A registry that does not answer is waited for once in a run."""
    registry = Asked(dead=True)
    images = catalogue(tmp_path, registry)
    for _ in range(3):
        with pytest.raises(RegistryUnreachable):
            images.choose(facts())
    assert len(registry.asked) == 1


def test_a_host_without_an_image_is_refused_without_asking(tmp_path: Path) -> None:
    """The reason comes from the tables: no registry is needed to say no."""
    registry = Asked(dead=True)
    with pytest.raises(HostError) as caught:
        catalogue(tmp_path, registry).choose(facts_from({"kernel_arch": "riscv64"}))
    assert "exec format error" in caught.value.message
    assert registry.asked == []


def test_what_a_dry_run_saw_is_what_the_apply_pins(tmp_path: Path) -> None:
    """The tag moves between the dry run and the apply: the apply takes the digest that was shown, and asks nobody."""
    registry = Asked()
    shown = catalogue(tmp_path, registry).choose(facts(), fresh=True).pin
    registry.version = "2"
    later = Asked(dead=True)
    images = catalogue(tmp_path, later)
    assert images.known(facts()) == images.choose(facts()).pin == shown
    images.taken(shown)
    images.save()
    assert later.asked == []
    assert not seen_path(tmp_path / ".provision" / "lab.lock.yaml").exists()
    assert LockFile.load(images.path).pin_for("36.4") == shown


def test_a_dry_run_looks_anew(tmp_path: Path) -> None:
    """Two dry runs each tell what the tag means when they run, as long as nothing is pinned."""
    registry = Asked()
    catalogue(tmp_path, registry).choose(facts(), fresh=True)
    registry.version = "2"
    assert catalogue(tmp_path, registry).choose(facts(), fresh=True).pin.index_digest == f"sha256:{'2' * 64}"


def test_nothing_is_pinned_that_no_device_has_proved(tmp_path: Path) -> None:
    """A pin that was only chosen is not written."""
    images = catalogue(tmp_path, Asked())
    images.choose(facts())
    images.save()
    assert not images.path.exists()


def test_a_pin_needs_no_registry_and_never_moves_by_itself(tmp_path: Path) -> None:
    """Once pinned, the digest stays also when the tag moves; only an update asks again."""
    registry = Asked()
    images = catalogue(tmp_path, registry)
    pin = images.choose(facts()).pin
    images.taken(pin)
    images.save()
    registry.version = "2"
    assert catalogue(tmp_path, registry).choose(facts()).pin == pin
    assert len(registry.asked) == 1
    assert catalogue(tmp_path, registry, update=True).choose(facts()).pin != pin


def test_a_missing_tag_is_passed_over_and_every_host_is_told(tmp_path: Path) -> None:
    """The next candidate is taken, and the note of it is not one host's alone."""
    images = catalogue(tmp_path, Asked("docker.io/dustynv/l4t-pytorch:r36.4.0"))
    first, second = images.choose(facts()), images.choose(facts())
    assert first.pin == second.pin
    assert first.pin.reference == "nvcr.io/nvidia/pytorch:25.02-py3-igpu"
    assert any("passed over" in note for note in first.notes)
    assert second.notes == first.notes


def test_a_memory_that_is_broken_is_forgotten(tmp_path: Path) -> None:
    """What a dry run saw is only a memory: a broken file does not stop a run, a broken lock file does."""
    folder = tmp_path / ".provision"
    folder.mkdir()
    (folder / "lab.seen.yaml").write_text("][")
    assert catalogue(tmp_path, Asked()).known(facts()) is None
    (folder / "lab.lock.yaml").write_text("][")
    with pytest.raises(InputError):
        catalogue(tmp_path, Asked())


def test_an_update_shows_what_moves_moves_it_and_goes_back(tmp_path: Path) -> None:
    """Review changes nothing; moving keeps the pin before; a rollback brings exactly that one back."""
    registry = Asked()
    images = catalogue(tmp_path, registry)
    before = images.choose(facts()).pin
    images.taken(before)
    lock = images.save()
    assert [move.moves for move in review(lock, registry)] == [False]
    registry.version = "2"
    moves = review(lock, registry, [facts(), facts("35.4.1", "tegra194")])
    assert [(move.band, move.moves) for move in moves] == [("35", True), ("36.4", True)]
    assert LockFile.load(images.path).pin_for("36.4") == before
    after = moved(lock, moves).save()
    assert after.pin_for("36.4") == moves[1].after or after.pin_for("36.4").same_image(moves[1].after)  # type: ignore[union-attr]
    back, taken_back = rolled_back(after)
    assert [move.band for move in taken_back] == ["36.4"]
    assert before.same_image(back.pin_for("36.4"))
    back.save()
    assert before.same_image(LockFile.load(images.path).pin_for("36.4"))


def test_a_review_tells_what_it_could_not_ask(tmp_path: Path) -> None:
    """A registry that does not answer is an entry of the review, not its end."""
    images = catalogue(tmp_path, Asked())
    images.taken(images.choose(facts()).pin)
    (move,) = review(images.save(), Asked(dead=True))
    assert not move.moves
    assert "no answer" in str(move.error)


def test_without_an_earlier_pin_there_is_no_way_back(tmp_path: Path) -> None:
    """A rollback that would do nothing says so."""
    with pytest.raises(InputError):
        rolled_back(LockFile(tmp_path / "lab.lock.yaml"))


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("docker.io/library/python:3", "python:3"),
        ("docker.io/dustynv/l4t-pytorch:r36.4.0", "dustynv/l4t-pytorch:r36.4.0"),
        ("nvcr.io/nvidia/pytorch:26.08-py3", "nvcr.io/nvidia/pytorch:26.08-py3"),
        (f"docker.io/a/b@sha256:{'1' * 64}", f"a/b@sha256:{'1' * 64}"),
    ],
)
def test_names_are_those_that_docker_shows(reference: str, shown: str) -> None:
    """Docker leaves its own registry out of names, and so do the commands that people copy."""
    assert familiar(reference) == shown
