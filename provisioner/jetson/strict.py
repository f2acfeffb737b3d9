"""Rows of a table as dataclasses, strictly: what does not fit is an error that names its place."""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, fields
from functools import cache
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from provisioner.errors import InputError, Source
from provisioner.jetson.versions import Range

Row = TypeVar("Row")


def decode(kind: type[Row], raw: object, where: Source) -> Row:
    """Return one row as its dataclass; unknown and missing keys and wrong types are errors that name the place."""
    if not isinstance(raw, dict):
        raise InputError(f"expected a mapping, got {raw!r}", source=where)
    hints = _hints(kind)  # type: ignore[arg-type]  # a class is hashable
    rows = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    _same_keys(raw, rows, where)
    return kind(**{key: _value(hints[key], value, _below(where, key)) for key, value in raw.items()})


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _same_keys(raw: dict[str, Any], rows: dict[str, Any], where: Source) -> None:
    if unknown := [str(key) for key in raw if key not in rows]:
        raise InputError(f"unknown key: {', '.join(unknown)}", source=where, hint=f"known: {', '.join(rows)}")
    needed = [key for key, row in rows.items() if row.default is MISSING and row.default_factory is MISSING]
    if missing := [key for key in needed if key not in raw]:
        raise InputError(f"missing key: {', '.join(missing)}", source=where)


def _below(where: Source, key: object) -> Source:
    return Source(f"{where.path}: {key}")


def _value(hint: Any, raw: object, where: Source) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return None if raw is None else _value(arguments[0], raw, where)
    if origin is Literal:
        return _checked(raw in arguments, raw, f"one of {', '.join(arguments)}", where)
    if origin is tuple:
        _checked(isinstance(raw, list), raw, "a list", where)
        return tuple(
            _value(arguments[0], item, _below(where, n)) for n, item in enumerate(typing.cast("list[Any]", raw))
        )
    if origin is dict:
        _checked(isinstance(raw, dict), raw, "a mapping", where)
        items = typing.cast("dict[str, Any]", raw).items()
        return {_value(str, key, where): _value(arguments[1], item, _below(where, key)) for key, item in items}
    return _plain(hint, raw, where)


def _plain(hint: Any, raw: object, where: Source) -> Any:
    if hint is Range:
        bounds = Range(_checked(isinstance(raw, str), raw, "a version range", where))
        _checked(bool(bounds.bounds), raw, "a version range", where)
        return bounds
    if hint in (str, int, bool):
        # bool is an int in Python and 36.10 is a float in YAML: only the very type will do
        return _checked(type(raw) is hint, raw, f"a {hint.__name__}", where)
    return decode(hint, raw, where)


def _checked(good: bool, raw: Any, wanted: str, where: Source) -> Any:
    if not good:
        raise InputError(f"expected {wanted}, got {raw!r}", source=where)
    return raw
