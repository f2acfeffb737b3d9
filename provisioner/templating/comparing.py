"""Ansible's tests that Jinja has not got."""

from __future__ import annotations

import operator
import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

_OPERATORS: dict[str, Callable[[int, int], bool]] = {
    **dict.fromkeys(("==", "=", "eq"), operator.eq),
    **dict.fromkeys(("<", "lt"), operator.lt),
    **dict.fromkeys(("<=", "le"), operator.le),
    **dict.fromkeys((">", "gt"), operator.gt),
    **dict.fromkeys((">=", "ge"), operator.ge),
    **dict.fromkeys(("!=", "<>", "ne"), operator.ne),
}
_PART = re.compile(r"\d+|[a-z]+|\.")
_SEMVER = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-([0-9A-Za-z.-]+))?(?:\+[0-9A-Za-z.-]+)?")


def version(
    value: object, other: object, op: str = "eq", strict: bool | None = None, version_type: str | None = None
) -> bool:
    """Compare two versions as Ansible does: loosely part by part, or by semantic versioning."""
    if op not in _OPERATORS:
        raise ValueError(f"{op!r} is no comparison; there are: {', '.join(_OPERATORS)}")
    if not str(value) or not str(other):
        raise ValueError("a version that is empty cannot be compared")
    key = _semver if version_type in ("semver", "semantic") or strict else _loose
    one, two = key(str(value)), key(str(other))
    return _OPERATORS[op](_compare(one, two), 0)


def _loose(text: str) -> list[int | str]:
    """Return the numbers and words of a version, as Python's LooseVersion took them apart."""
    parts = [part for part in re.split(r"(\d+|[a-z]+|\.)", text) if part and part != "."]
    return [int(part) if part.isdigit() else part for part in parts]


def _semver(text: str) -> list[int | str]:
    found = _SEMVER.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no semantic version")
    release: list[int | str] = [int(found[i]) for i in (1, 2, 3)]
    # a version without a suffix comes after all of its pre-releases
    suffix: list[int | str] = [0, *_loose(found[4].replace("-", "."))] if found[4] else [1]
    return release + suffix


def _compare(one: list[int | str], two: list[int | str]) -> int:
    for left, right in zip_longest(one, two):
        if left == right:
            continue
        if left is None or right is None:
            return -1 if left is None else 1
        if isinstance(left, int) and isinstance(right, int):
            return -1 if left < right else 1
        return -1 if str(left) < str(right) else 1
    return 0


def regex(
    value: object, pattern: str, ignorecase: bool = False, multiline: bool = False, match_type: str = "search"
) -> bool:
    flags = (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)
    methods: dict[str, Callable[..., re.Match[str] | None]] = {
        "search": re.search,
        "match": re.match,
        "fullmatch": re.fullmatch,
    }
    return bool(methods[match_type](pattern, str(value), flags))


def match(value: object, pattern: str, ignorecase: bool = False, multiline: bool = False) -> bool:
    return regex(value, pattern, ignorecase, multiline, "match")


def _outcome(name: str) -> Callable[[Any], bool]:
    def test(result: Any) -> bool:
        if not isinstance(result, dict):
            raise TypeError(f"{name} asks about what a task registered, not about {result!r}")
        return bool(result.get(name, False))

    return test


def changed(result: Any) -> bool:
    if isinstance(result, dict) and "changed" not in result and isinstance(result.get("results"), list):
        return any(bool(item.get("changed")) for item in result["results"])
    return _outcome("changed")(result)


def truthy(value: object, convert_bool: bool = False) -> bool:
    if convert_bool and isinstance(value, str):
        return value.lower() in ("yes", "on", "1", "true", "y", "t")
    return bool(value)


def subset(value: Iterable[Any], other: Container[Any]) -> bool:
    return all(item in other for item in value)


def superset(value: Container[Any], other: Iterable[Any]) -> bool:
    return subset(other, value)


_failed = _outcome("failed")
_skipped = _outcome("skipped")

OUTCOMES: dict[str, Callable[..., bool]] = {
    **dict.fromkeys(("changed", "change"), changed),
    **dict.fromkeys(("failed", "failure"), _failed),
    **dict.fromkeys(("succeeded", "success", "successful"), lambda result: not _failed(result)),
    **dict.fromkeys(("skipped", "skip"), _skipped),
    "unreachable": _outcome("unreachable"),
}
"""The tests that ask how a task ended."""

TESTS: dict[str, Callable[..., bool]] = {
    **OUTCOMES,
    **dict.fromkeys(("version", "version_compare"), version),
    **dict.fromkeys(("subset", "issubset"), subset),
    **dict.fromkeys(("superset", "issuperset"), superset),
    "match": match,
    "search": regex,
    "regex": regex,
    "contains": lambda value, item: item in value,
    "truthy": truthy,
    "falsy": lambda value, convert_bool=False: not truthy(value, convert_bool),
    "all": all,
    "any": any,
}
