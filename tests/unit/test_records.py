"""Our dataclasses are the standard library's, made in less time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.records import dataclass

VALUES = st.integers(0, 2) | st.sampled_from(["", "a"])


def made(by: Any) -> tuple[type, type]:
    """Return a class and one that inherits from it."""

    @by(frozen=True)
    class Thing:
        """A thing."""

        name: Any
        size: Any = 1
        note: Any = dataclasses.field(default="", compare=False)
        hidden: Any = dataclasses.field(default=None, repr=False)

    @by(frozen=True, kw_only=True)
    class Special(Thing):
        """A thing with more to it."""

        extra: Any = 0

        def __repr__(self) -> str:
            return "special"

    return Thing, Special


OURS, THEIRS = made(dataclass), made(dataclasses.dataclass)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=2, max_size=4), st.sampled_from([0, 1]))
def test_ours_compare_hash_and_show_as_theirs(rows: list[tuple[Any, ...]], which: int) -> None:
    """Whatever is in them, they are equal, hash alike, and read, as the standard library's are."""
    ours, theirs = [OURS[which](*row) for row in rows], [THEIRS[which](*row) for row in rows]
    for one, other in zip(ours, theirs, strict=True):
        assert repr(one) == repr(other)
        assert [one == each for each in ours] == [other == each for each in theirs]
        assert hash(one) == hash(dataclasses.replace(one, note="else"))
        assert dataclasses.asdict(dataclasses.replace(one, size=9)) == dataclasses.asdict(
            dataclasses.replace(other, size=9)
        )
    assert len(set(ours)) == len(set(theirs))


def test_a_class_is_equal_to_none_of_another_class() -> None:
    """A thing and a special one differ, and so does what is no dataclass at all."""
    assert OURS[0]("a") != OURS[1]("a")
    assert OURS[0]("a") != ("a", 1, None)


def test_what_can_change_has_no_hash() -> None:
    """A class that is not frozen compares, and is no key; one that asks for identity has it."""

    @dataclass
    class Open:
        """A thing that changes."""

        name: str = ""

    @dataclass(frozen=True, eq=False)
    class Single:
        """A thing that is equal to itself alone."""

        name: str = ""

    assert Open("a") == Open("a")
    with pytest.raises(TypeError, match="unhashable"):
        hash(Open())
    assert Single("a") != Single("a")
    assert hash(Single())
