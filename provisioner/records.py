"""Dataclasses that are made and filled quickly: a run needs a hundred classes, and thousands of objects for a host.

The standard library compiles the text of each method anew for each class, a tenth of a millisecond for every one. Here
`__init__` is compiled once for all classes with as many fields, and has its names changed for each. Without the checks
of a frozen class at run time it takes a third of the time; that nothing is assigned to one is for mypy to find.
"""

from __future__ import annotations

import dataclasses
import operator
from functools import cache
from operator import attrgetter, methodcaller
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass
    from types import CodeType
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """Return a class as `dataclasses.dataclass` does, with its fields, and its ways to compare and to hash."""
        return (lambda one: _made(one, **options)) if cls is None else _made(cls, **options)


__all__ = ["dataclass"]

_MISSING = dataclasses.MISSING
_MADE = object()
_ORDER = (operator.lt, operator.le, operator.gt, operator.ge)


def _made(cls: type, /, *, frozen: bool = False, eq: bool = True, order: bool = False, **options: bool) -> type:
    own = set(vars(cls))
    cls.__doc__ = cls.__doc__ or cls.__name__  # else the library writes one, which takes longer than all the rest
    made: type = dataclasses.dataclass(cls, init=False, eq=False, repr=False, **options)
    fields = dataclasses.fields(made)
    added: dict[str, Any] = {"__repr__": _repr, "__init__": _filling(made, fields)}
    if eq:
        key = _key([field.name for field in fields if field.compare])
        added |= {"__eq__": _compared(key, operator.eq), "__hash__": _hashed(key) if frozen else None}
        added |= {f"__{one.__name__}__": _compared(key, one) for one in _ORDER if order}
    for name in added.keys() - own:
        setattr(made, name, added[name])
    return made


def _filling(cls: type, fields: tuple[dataclasses.Field[Any], ...]) -> FunctionType:
    """Return `__init__` for these fields: that of any class with as many, under other names."""
    given = sorted((field for field in fields if field.init), key=lambda field: bool(field.kw_only))
    named = sum(bool(field.kw_only) for field in given)
    usual = {field.name: _usual(field) for field in given if _usual(field) is not _MISSING}
    leading = [field.name for field in given[: len(given) - named]]
    if sorted(leading, key=lambda name: name in usual) != leading:
        raise TypeError(f"{cls.__qualname__}: a field without a default follows one that has one")
    finish = _finishing(cls, fields)
    names = tuple(field.name for field in given)
    code = _for_fields(len(names), finish is not None)
    code = code.replace(
        co_argcount=1 + len(leading),
        co_kwonlyargcount=named,
        co_names=(*names, *code.co_names[len(names) :]),
        co_varnames=("self", *names),
        co_qualname=f"{cls.__qualname__}.__init__",
    )
    init = FunctionType(code, {"finish": finish}, argdefs=tuple(usual[name] for name in leading if name in usual))
    init.__kwdefaults__ = {name: value for name, value in usual.items() if name not in leading}
    return init


def _usual(field: dataclasses.Field[Any]) -> Any:
    """Return what a field has where nothing is given: its default, or MADE where that is made for each object."""
    return field.default if field.default_factory is _MISSING else _MADE


def _finishing(cls: type, fields: tuple[dataclasses.Field[Any], ...]) -> Callable[[Any], None] | None:
    """Return what is left to do when an object has what it was given, if anything is."""
    made = [(one.name, one.default_factory) for one in fields if one.default_factory is not _MISSING]
    left = methodcaller("__post_init__") if hasattr(cls, "__post_init__") else None
    if not made:
        return left

    def finish(self: Any) -> None:
        for name, make in made:
            if getattr(self, name, _MADE) is _MADE:
                object.__setattr__(self, name, make())
        if left is not None:
            left(self)

    return finish


@cache
def _for_fields(number: int, finished: bool) -> CodeType:
    """Return the code of an `__init__` with so many arguments, each put into the attribute of its name."""
    names = [f"field_{n}" for n in range(number)]
    lines = [*(f"self.{name} = {name}" for name in names), *["finish(self)"] * finished, "pass"]
    space: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(names)}):\n " + "\n ".join(lines), space)  # noqa: S102 - none of it is input
    code: CodeType = space["__init__"].__code__
    return code


def _key(names: list[str]) -> Callable[[object], object]:
    return attrgetter(*names) if names else type


def _compared(key: Callable[[object], object], how: Callable[[Any, Any], bool]) -> Callable[[object, object], object]:
    return lambda self, other: how(key(self), key(other)) if other.__class__ is self.__class__ else NotImplemented


def _hashed(key: Callable[[object], object]) -> Callable[[object], int]:
    return lambda self: hash(key(self))


def _repr(self: Any) -> str:
    shown = (f"{one.name}={getattr(self, one.name)!r}" for one in dataclasses.fields(self) if one.repr)
    return f"{type(self).__qualname__}({', '.join(shown)})"
