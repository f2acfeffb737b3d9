"""Our dataclasses are the standard library's, made in less time."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.records import dataclass

VALUES = st.integers(0, 2) | st.sampled_from(["", "a"])


def made(by: Any) -> tuple[type, type, type]:
    """Return a class, one that inherits from it, and one with slots whose objects have an order."""

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

    @by(frozen=True, order=True, slots=True)
    class Placed:
        """A thing with a place."""

        name: Any
        size: Any = 1
        note: Any = dataclasses.field(default="", compare=False)
        hidden: Any = dataclasses.field(default=None, repr=False)

    return Thing, Special, Placed


OURS, THEIRS = made(dataclass), made(dataclasses.dataclass)


@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES), min_size=2, max_size=4), st.sampled_from([0, 1, 2]))
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


def filled(by: Any) -> type:
    """Return a class whose objects are filled in every way that there is."""

    @by
    class Base:
        """A thing with some of it."""

        first: Any
        second: Any = 2
        third: Any = dataclasses.field(default_factory=list)

    @by
    class Whole(Base):
        """A thing with all of it."""

        named: Any = dataclasses.field(kw_only=True)
        also: Any = dataclasses.field(default="also", kw_only=True)
        own: Any = dataclasses.field(default_factory=dict, kw_only=True)
        last: Any = "last"
        kept: Any = dataclasses.field(default_factory=set, init=False)
        told: Any = dataclasses.field(default=None, init=False)

        def __post_init__(self) -> None:
            self.told = [self.first, self.third, self.own, self.kept]

    return Whole


FILLED, TEMPLATE = filled(dataclass), filled(dataclasses.dataclass)
NAMES = ("named", "also", "own", "first", "second", "third", "last", "kept", "unheard")


@given(st.lists(st.integers(), max_size=6), st.dictionaries(st.sampled_from(NAMES), st.integers()))
def test_ours_are_filled_as_theirs(places: list[int], names: dict[str, int]) -> None:
    """Whatever is given, by place or by name, objects have in them what the library's have, or are refused alike."""
    assert outcome(FILLED, places, names) == outcome(TEMPLATE, places, names)


def outcome(cls: Any, places: list[int], names: dict[str, int]) -> dict[str, Any] | str:
    """Return what an object has in it, or why there is none."""
    try:
        return dataclasses.asdict(cls(*places, **names))
    except TypeError as error:
        return str(error)


def test_what_is_made_for_each_object_is_its_own() -> None:
    """Two objects share no list that neither was given."""
    one, other = FILLED(1, named=1), FILLED(1, named=1)
    one.third.append("one's")
    one.kept.add("one's")
    assert (other.third, other.kept) == ([], set())


def test_what_inherits_settles_its_objects_its_own_way() -> None:
    """A class that is no dataclass itself, but inherits from one, is asked when its objects are there."""

    @dataclass
    class Base:
        """A thing."""

        name: str

        def __post_init__(self) -> None:
            self.name += " of base"

    class Own(Base):
        def __post_init__(self) -> None:
            super().__post_init__()
            self.name += ", and own"

    assert Own("a").name == "a of base, and own"


def test_a_field_without_a_default_goes_first() -> None:
    """A class that nobody could fill by place is refused when it is made."""
    with pytest.raises(TypeError, match="default"):

        @dataclass
        class _Wrong:
            name: str = ""
            size: int


def test_objects_with_an_order_are_sorted_as_theirs() -> None:
    """What sorts the library's sorts ours, field by field, and not with what is of another class."""
    rows = [("b", 1), ("a", 2), ("a", 1)]
    ours, theirs = sorted(OURS[2](*row) for row in rows), sorted(THEIRS[2](*row) for row in rows)
    assert [(one.name, one.size) for one in ours] == [(one.name, one.size) for one in theirs]
    assert OURS[2]("a") <= OURS[2]("a")
    with pytest.raises(TypeError):
        assert OURS[2]("a") < OURS[0]("a")


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
