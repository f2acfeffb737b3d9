"""Host names as they are written: ranges, users and ports."""

from __future__ import annotations

import ipaddress
import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_RANGE = re.compile(r"\[([0-9]*|[A-Za-z]):([0-9]+|[A-Za-z])(?::([0-9]+))?\]")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.%]+)\](?::(\d{1,5}))?")
_NAME = re.compile(r"[^\s,\[\]]+")
_PLAIN = re.compile(r"[^\s,:\[\]]+")


def expand(text: str) -> list[tuple[str, int | None]]:
    """Return the names that `jetson[01:10].lab:22` stands for, each with its port; ValueError says what is wrong."""
    if _PLAIN.fullmatch(text):
        return [(text, None)]
    if (found := _BRACKETED.fullmatch(text)) and _is_address(found[1]):
        return [(found[1], int(found[2]) if found[2] else None)]
    pattern, port = _split_port(text)
    names = list(_names(pattern))
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no host name")
    return [(name, port) for name in names]


def _split_port(text: str) -> tuple[str, int | None]:
    outside = _RANGE.sub("", text)
    if outside.count(":") == 1 and (found := re.fullmatch(r"(.+):(\d{1,5})", text)):
        return found[1], int(found[2])
    return text, None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def _names(pattern: str) -> Iterator[str]:
    found = _RANGE.search(pattern)
    if found is None:
        yield pattern
        return
    for middle in _steps(found[1] or "0", found[2], int(found[3] or 1)):
        for rest in _names(pattern[found.end() :]):
            yield pattern[: found.start()] + middle + rest


def _steps(first: str, last: str, step: int) -> Iterator[str]:
    if step < 1:
        raise ValueError("the step of a range is at least 1")
    if first.isdigit() and last.isdigit():
        if len(first) > 1 and first.startswith("0") and len(first) != len(last):
            raise ValueError(f"the ends of the range [{first}:{last}] need the same number of digits")
        if int(first) > int(last):
            raise ValueError(f"the range [{first}:{last}] is empty")
        width = len(first) if first.startswith("0") else 0
        yield from (f"{number:0{width}d}" for number in range(int(first), int(last) + 1, step))
        return
    letters = string.ascii_letters
    if first.isdigit() or last.isdigit() or letters.index(first) > letters.index(last):
        raise ValueError(f"the range [{first}:{last}] is empty")
    yield from letters[letters.index(first) : letters.index(last) + 1 : step]
