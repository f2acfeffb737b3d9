"""Dataclasses that are made and filled quickly: a run needs a hundred classes, and thousands of objects for a host.

The standard library compiles the text of each method anew for each class, a tenth of a millisecond for every one. Here
`__init__` is compiled once for all classes with as many fields of each kind, and has its names changed for each class.
Without the checks of a frozen class at run time it takes a third of the time; that nothing is assigned to one is for
mypy to find.
"""

from __future__ import annotations

import dataclasses
import operator
from functools import cache
from operator import attrgetter
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
_LINES = {
    "g": "self.field_{0} = field_{0}",
    "m": "self.field_{0} = make_{0}() if field_{0} is MADE else field_{0}",
    "a": "self.field_{0} = make_{0}()",
}
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
    """Return `__init__` for these fields: that of any class with as many of each kind, under other names."""
    # Names have no order: by kind, they are like those of more classes.
    given = sorted((one for one in fields if one.init), key=lambda one: (one.kw_only, one.kw_only and _is_made(one)))
    leading = sum(not one.kw_only for one in given)
    filled = [*given, *(one for one in fields if not one.init and _is_made(one))]
    code = _for_kinds("".join(map(_kind, filled)), hasattr(cls, "__post_init__"))
    names = {f"field_{number}": one.name for number, one in enumerate(filled)}
    code = code.replace(
        co_argcount=1 + leading,
        co_kwonlyargcount=len(given) - leading,
        co_names=tuple(names.get(name, name) for name in code.co_names),
        co_varnames=("self", *(one.name for one in given)),
        co_qualname=f"{cls.__qualname__}.__init__",
    )
    makers = {f"make_{number}": one.default_factory for number, one in enumerate(filled)}
    init = FunctionType(code, {**makers, "MADE": _MADE}, argdefs=_trailing(cls, given[:leading]))
    init.__kwdefaults__ = {one.name: _usual(one) for one in given[leading:] if _usual(one) is not _MISSING}
    return init


def _is_made(field: dataclasses.Field[Any]) -> bool:
    return field.default_factory is not _MISSING


def _kind(field: dataclasses.Field[Any]) -> str:
    """Return how a field is filled: with what is given, with that or what is made, or always with what is made."""
    if not field.init:
        return "a"
    return "m" if _is_made(field) else "g"


def _usual(field: dataclasses.Field[Any]) -> Any:
    """Return what stands for a field where nothing is given, or MISSING where something has to be."""
    return _MADE if _is_made(field) else field.default


def _trailing(cls: type, fields: list[dataclasses.Field[Any]]) -> tuple[Any, ...]:
    """Return what stands for the last of some fields; TypeError where one of them has nothing."""
    usual = [_usual(one) for one in fields]
    while usual and usual[0] is _MISSING:
        del usual[0]
    if _MISSING in usual:
        raise TypeError(f"{cls.__qualname__}: a field without a default follows one that has one")
    return tuple(usual)


@cache
def _for_kinds(kinds: str, settles: bool) -> CodeType:
    """Return the code of an `__init__` for fields of these kinds, each put into the attribute of its name."""
    names = [f"field_{number}" for number in range(len(kinds))]
    given = [name for name, kind in zip(names, kinds, strict=True) if kind != "a"]
    lines = [_LINES[kind].format(number) for number, kind in enumerate(kinds)] + ["self.__post_init__()"] * settles
    space: dict[str, Any] = {}
    exec(f"def __init__(self, {', '.join(given)}):\n " + "\n ".join([*lines, "pass"]), space)  # noqa: S102 - no input
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
