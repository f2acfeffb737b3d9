"""What is known to go wrong on Jetsons, read strictly from failures.yaml, and what a text of a device means."""

from __future__ import annotations

import re
from functools import cache, cached_property
from typing import TYPE_CHECKING, Literal

from provisioner.document import decode, parse
from provisioner.errors import InputError, Source
from provisioner.events import Explanation
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENTRIES = range(1, 48)
"""The numbers of the catalogue: 1 to 35 are failures of the field, 36 to 47 errors in a container."""

_NAME = "failures.yaml"
_HEAD, _TAIL, _WIDTH = 50, 200, 1000  # lines at both ends of a text, and characters of each: a device may say anything


@dataclass(frozen=True)
class Handling:
    """By what a failure is dealt with; `by` is a task, or a check of jetson_preflight, and `test` is what proves it."""

    how: Literal["prevented", "preflight", "explained", "unseen"]
    by: str | None = None
    test: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class KnownFailure:
    """A failure with its cause and what mends it; `seen` are texts in which it showed."""

    id: str
    cause: str
    fix: str
    handled: tuple[Handling, ...]
    source: tuple[str, ...]
    entries: tuple[int, ...] = ()
    patterns: tuple[str, ...] = ()
    in_check: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()

    @cached_property
    def anywhere(self) -> re.Pattern[str] | None:
        """What gives it away wherever it stands."""
        return _one_of(self.patterns)

    @cached_property
    def in_container(self) -> re.Pattern[str] | None:
        """What gives it away in the output of the check in the container."""
        return _one_of((*self.patterns, *self.in_check))


def _one_of(patterns: tuple[str, ...]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{one})" for one in patterns)) if patterns else None


@dataclass(frozen=True)
class Failures:
    """The whole catalogue, what is special first."""

    sources: Mapping[str, str]
    failures: tuple[KnownFailure, ...]

    def named(self, name: str) -> KnownFailure:
        """Return the row with an id."""
        return next(row for row in self.failures if row.id == name)

    def meaning(self, text: str, *, in_check: bool = False) -> KnownFailure | None:
        """Return the first row that a text is of; `in_check` tells that the check in a container said it."""
        told = _ends(text)
        for row in self.failures:
            pattern = row.in_container if in_check else row.anywhere
            if pattern is not None and pattern.search(told):
                return row
        return None


def _ends(text: str) -> str:
    """Return the beginning and the end of a text, and of its lines what a message may fill."""
    lines = text.splitlines()
    if len(lines) > _HEAD + _TAIL:
        lines = [*lines[:_HEAD], *lines[-_TAIL:]]
    return "\n".join(line[:_WIDTH] for line in lines)


@cache
def failures() -> Failures:
    """Return the catalogue that ships with the package."""
    from importlib.resources import files

    return read(files("provisioner.jetson").joinpath(_NAME).read_text("utf-8"), _NAME)


def read(text: str, path: str) -> Failures:
    """Return a catalogue that was written as YAML; raises InputError with the place of what is wrong."""
    node = parse(text, path)
    found: Failures = decode(node, Failures, strict=True)
    for message in _mistakes(found):
        raise InputError(message, source=Source(path))
    return found


def _mistakes(found: Failures) -> Iterator[str]:
    """Yield what the types alone do not forbid."""
    ids = [row.id for row in found.failures]
    yield from (f"{name} is there twice" for name in sorted({name for name in ids if ids.count(name) > 1}))
    for row in found.failures:
        yield from (f"{row.id}: no such source: {name}" for name in row.source if name not in found.sources)
        yield from (f"{row.id}: no such entry: {entry}" for entry in row.entries if entry not in ENTRIES)
        if not (row.source and row.handled):
            yield f"{row.id}: a row needs a source, and something that handles it"
        yield from (f"{row.id}: {message}" for message in _broken(row))


def _broken(row: KnownFailure) -> Iterator[str]:
    for pattern in (*row.patterns, *row.in_check):
        try:
            re.compile(pattern)
        except re.error as error:
            yield f"{pattern!r} is no pattern: {error}"
    for one in row.handled:
        if one.how == "explained" and not (row.patterns or row.in_check):
            yield "it is explained without a pattern"
        if one.how in ("prevented", "preflight") and not (one.by and one.test):
            yield f"{one.how} needs `by` and `test`"
        if one.how == "unseen" and not one.why:
            yield "unseen needs `why`"


def explain(text: str, *, in_check: bool = False) -> Explanation | None:
    """Return what a text that came with a failure is known to mean; `in_check` also guesses as of a container's."""
    known = failures()
    # the check in the container has told the cause in our own words
    row = next((row for row in known.failures if row.cause == text), None) or known.meaning(text)
    if row is None and in_check:
        row = known.meaning(text, in_check=True)
    if row is None:
        return None
    sources = tuple(known.sources[name] for name in row.source)
    return Explanation(id=row.id, cause=row.cause, fix=row.fix, sources=sources)
