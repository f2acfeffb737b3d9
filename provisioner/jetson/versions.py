"""Dotted versions and ranges of them, as the tables write them."""

from __future__ import annotations

import re
from functools import cached_property

from provisioner.records import dataclass

Version = tuple[int, ...]

_NUMBERS = re.compile(r"\d+(?:\.\d+)*")
_BOUND = re.compile(r"(>=|<=|==|>|<)(\d+(?:\.\d+)*)")
_PLACES = 4


def version(text: str) -> Version:
    """Return the dotted number that a text starts with, so that 36.10 comes after 36.4."""
    found = _NUMBERS.match(text)
    if not found:
        raise ValueError(f"no version number: {text!r}")
    return tuple(int(part) for part in found.group().split("."))


def padded(number: Version) -> Version:
    """Return a version with trailing zeros, because 32.5 and 32.5.0 are the same release."""
    return number + (0,) * (_PLACES - len(number))


@dataclass(frozen=True)
class Range:
    """Bounds on a version, written as ">=36.2,<36.4"; the text is what people read."""

    text: str

    @cached_property
    def bounds(self) -> tuple[tuple[str, Version], ...]:
        """The bounds as (operator, version), all of which must hold."""
        found = [_BOUND.fullmatch(part.strip()) for part in self.text.split(",")]
        if not all(found):
            raise ValueError(f"no version range: {self.text!r}")
        return tuple((match[1], padded(version(match[2]))) for match in found if match)

    def __contains__(self, number: Version) -> bool:
        return all(_holds(padded(number), operator, bound) for operator, bound in self.bounds)


def _holds(number: Version, operator: str, bound: Version) -> bool:
    return {
        ">=": number >= bound,
        "<=": number <= bound,
        "==": number == bound,
        ">": number > bound,
        "<": number < bound,
    }[operator]
