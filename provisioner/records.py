"""Dataclasses that are made and filled quickly: a run needs a hundred classes, and thousands of objects for a host.

The standard library compiles the text of each method anew for each class, a tenth of a millisecond for every one. Here
only `__init__` is made so, and without the run-time checks of a frozen class it takes a third of the time; that nothing
is assigned to a frozen one is for mypy to find.
"""

from __future__ import annotations

import dataclasses
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """Return a class as `dataclasses.dataclass` does, with its fields, and its ways to compare and to hash."""
        return (lambda one: _made(one, **options)) if cls is None else _made(cls, **options)


__all__ = ["dataclass"]


def _made(cls: type, /, *, frozen: bool = False, eq: bool = True, **options: bool) -> type:
    if {"order", "slots"} & options.keys():
        return dataclasses.dataclass(cls, frozen=frozen, eq=eq, **options)
    own = set(vars(cls))
    made: type = dataclasses.dataclass(cls, eq=False, repr=False, **options)
    added: dict[str, Any] = {"__repr__": _repr}
    if eq:
        key = _key([field.name for field in dataclasses.fields(made) if field.compare])
        added |= {"__eq__": _equal(key), "__hash__": _hashed(key) if frozen else None}
    for name in added.keys() - own:
        setattr(made, name, added[name])
    return made


def _key(names: list[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else type


def _equal(key: Callable[[object], object]) -> Callable[[object, object], object]:
    return lambda self, other: key(self) == key(other) if other.__class__ is self.__class__ else NotImplemented


def _hashed(key: Callable[[object], object]) -> Callable[[object], int]:
    return lambda self: hash(key(self))


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
