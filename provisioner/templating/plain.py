"""Strings that hold nothing but names in braces, as most do: they need no template engine, and it takes its time."""

from __future__ import annotations

import functools
import keyword
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAME = re.compile(r"\{\{[ ]*([A-Za-z_][A-Za-z0-9_]*)[ ]*\}\}")
_ELSE = re.compile(r"[{}\r]")  # braces of another kind, and line ends of which Jinja makes others
_WORDS = frozenset({*keyword.kwlist, *keyword.softkwlist})
_JINJA = frozenset(
    {"true", "false", "none", "loop", "self", "super", "caller", "varargs", "kwargs", "lookup", "query", "q", "omit"}
    | {"vars", "range", "dict", "lipsum", "cycler", "joiner", "namespace", "now"}
)
_CACHED = 8192


class Pieces(NamedTuple):
    """A string that is text, name, text, name, ..., text: its names, and what is to be filled in with their values."""

    names: tuple[str, ...]
    form: str

    def joined(self, values: Sequence[Any]) -> Any:
        """Return what Jinja would make of it with these values of the names: a name alone keeps its value's type."""
        if self.form == "%s":
            return values[0]
        return self.form % tuple(["" if value is None else value for value in values])


@functools.lru_cache(_CACHED)
def pieces(text: str) -> Pieces | None:
    """Return a string cut at the names in braces; None where it holds more than names."""
    cut = tuple(_NAME.split(text))
    texts, names = cut[::2], cut[1::2]
    if not names or any(_ELSE.search(literal) for literal in texts):
        return None
    if any(name in _WORDS or name in _JINJA for name in names):
        return None
    return Pieces(names, "%s".join([text.replace("%", "%%") for text in texts]))


def names_in(text: str) -> frozenset[str] | None:
    """Return the names that such a string asks for; None where it holds more than names."""
    cut = pieces(text)
    return None if cut is None else frozenset(cut.names)
