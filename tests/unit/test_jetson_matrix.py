"""Laws of `provision images`: what is told of releases and routes, and what is asked wrongly."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.cli import parse
from provisioner.commands.images import run
from provisioner.errors import InputError
from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.compatibility import candidates
from provisioner.jetson.matrix import known_family, known_l4t, section_of, sections, source_text

FAMILIES = list(catalogue().families)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """Return the exit code of `provision images` and what it printed."""
    code = run(parse(["images", *arguments]))
    return code, capsys.readouterr().out


@pytest.mark.parametrize("family", FAMILIES)
def test_every_release_and_every_route_is_told_once(family: str) -> None:
    """No release is left out or told twice, and each is told what `candidates` gives it."""
    found = sections(family)
    told = [l4t for section in found for l4t in section.releases]
    assert sorted(told) == sorted(row.l4t for row in catalogue().releases_file.releases)
    assert {section.band for section in found} >= {row.id for row in catalogue().routes}
    for section in found:
        assert bool(section.images) != bool(section.refusal)
        for l4t in section.releases:
            assert section.images == candidates(l4t, family).images


@pytest.mark.parametrize("family", FAMILIES)
def test_every_claim_has_its_source(family: str) -> None:
    """Each section with images has sources, and each of them a text that says where it is."""
    for section in sections(family):
        assert section.sources or not section.images
        for name in section.sources:
            assert source_text(name) != name


@given(st.text(max_size=12))
def test_no_text_is_taken_for_a_release_that_it_is_not(text: str) -> None:
    """Whatever is typed is a dotted number, or refused as no release."""
    said = ""
    try:
        l4t = known_l4t(text)
    except InputError as error:
        l4t, said = "", error.message
    assert bool(l4t) != bool(said)
    assert not l4t or l4t in text
    assert not l4t or l4t.replace(".", "").isdigit()


@pytest.mark.parametrize(
    ("text", "said"),
    [("35.4.l", "did you mean 35.4.1?"), ("5.1.2", "35.4.1"), ("6.2.1", "36.4.4 or 36.4.7"), ("jetpack", "no release")],
)
def test_a_wrong_release_has_a_guess(text: str, said: str) -> None:
    """A slip of the finger is corrected, and a JetPack is translated."""
    with pytest.raises(InputError) as caught:
        known_l4t(text)
    assert said in caught.value.message


@pytest.mark.parametrize("text", ["35.4.1", "r35.4.1", "R35.4.1", " 35.4.1 "])
def test_a_release_may_be_written_as_on_the_device(text: str) -> None:
    """The letter in front, and space around it, make no difference."""
    assert known_l4t(text) == "35.4.1"


@pytest.mark.parametrize(
    ("name", "near"), [("l4t-pytroch", "l4t-pytorch"), ("onnx", "onnxruntime"), ("tensorrt", "l4t-tensorrt")]
)
def test_a_wrong_family_has_a_guess(name: str, near: str) -> None:
    """An unknown family names the nearest one, and all that there are."""
    with pytest.raises(InputError, match=f"did you mean '{near}'") as caught:
        known_family(name)
    assert all(one in (caught.value.hint or "") for one in FAMILIES)


def test_one_release_is_told_with_all_its_images(capsys: pytest.CaptureFixture[str]) -> None:
    """With --l4t every image is there in order, with why and from where, and the exit code is 0."""
    code, out = shown(capsys, "--l4t", "35.4.1")
    places = [out.index(image.reference) for image in candidates("35.4.1").images]
    assert code == 0
    assert places == sorted(places)
    assert "why: JetPack 5" in out
    assert "hub-snapshot: github.com/dusty-nv/jetson-containers" in out


def test_a_release_without_images_is_an_answer_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    """The reason and a next step are told, and the exit code is 2."""
    code, out = shown(capsys, "--l4t", "37.0")
    assert code == 2
    assert "none: no images are known for L4T 37.0" in out
    assert "hint: " in out


@pytest.mark.parametrize("arguments", [[], ["--l4t", "36.4.3"], ["--family", "onnxruntime"]])
def test_programs_are_told_the_same(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    """JSON has every image that the sections have, each with its sources."""
    _, out = shown(capsys, *arguments, "--json")
    told: dict[str, Any] = json.loads(out)
    options = parse(["images", *arguments])
    found = (section_of(options.l4t, options.family),) if options.l4t else sections(options.family)
    assert [[image["image"] for image in one["images"]] for one in told["sections"]] == [
        [image.reference for image in section.images] for section in found
    ]
    assert all(image["sources"] for one in told["sections"] for image in one["images"])


@pytest.mark.parametrize("columns", ["80", "140"])
def test_names_of_images_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    """Whatever the width, the name of an image can be copied, and lines fit unless one word is longer."""
    monkeypatch.setenv("COLUMNS", columns)
    _, out = shown(capsys)
    for section in sections():
        assert all(image.reference in out for image in section.images[:3])
    assert all(len(line) <= int(columns) or len(line.split()) <= 2 for line in out.splitlines())
