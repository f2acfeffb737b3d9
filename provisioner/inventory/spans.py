"""Where everything in a YAML text begins and ends, to the character: what the edits of an inventory stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

_NULLS = ("", "~", "null", "Null", "NULL")


@dataclass(frozen=True, eq=False)
class Span:
    """A value as it stands in a text, from `start` to `end`; `decorated` is one with an anchor or a tag."""

    start: int
    end: int
    decorated: bool = False


@dataclass(frozen=True, eq=False)
class Text(Span):
    """A scalar: what it reads as before YAML gives it a type, and how it is quoted ('' is not at all)."""

    value: str = ""
    style: str = ""

    @property
    def is_null(self) -> bool:
        """Tell whether nothing, or a word for nothing, is written."""
        return not self.style and self.value in _NULLS


@dataclass(frozen=True, eq=False)
class Alias(Span):
    """A reference to what an anchor marks elsewhere."""


@dataclass(frozen=True, eq=False)
class Items(Span):
    """A list; nothing in one is ever edited."""


@dataclass(frozen=True, eq=False)
class Pairs(Span):
    """A mapping, in braces (`flow`) or indented."""

    entries: tuple[tuple[Span, Span], ...] = ()
    flow: bool = False

    def find(self, key: str) -> tuple[Span, Span] | None:
        """Return key and value of the entry that is written with this key; what a merge adds is not."""
        return next((pair for pair in self.entries if isinstance(pair[0], Text) and pair[0].value == key), None)


def spans(text: str) -> Span:
    """Return what a text of one YAML document holds; it was read without a mistake before."""
    import yaml

    events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return next(_nodes(text, events), Text(len(text), len(text)))


def _nodes(text: str, events: Iterator[Any]) -> Iterator[Span]:
    """Yield the nodes of one collection, to its end."""
    for event in events:
        kind = type(event).__name__
        start, end = event.start_mark.index, event.end_mark.index
        decorated = bool(getattr(event, "anchor", None) or getattr(event, "tag", None))
        if kind == "AliasEvent":
            yield Alias(start, end)
        elif kind == "ScalarEvent":
            style = event.style or ""
            yield Text(start, _end(text, start, end, style), decorated, event.value, style)
        elif kind == "SequenceStartEvent":
            inner = list(_nodes(text, events))
            yield Items(start, _closed(end, inner, event.flow_style), decorated)
        elif kind == "MappingStartEvent":
            inner = list(_nodes(text, events))
            pairs = tuple(zip(inner[:-1:2], inner[1:-1:2], strict=True))
            closed = _closed(end, inner, event.flow_style)
            yield Pairs(start, closed, decorated, pairs, bool(event.flow_style))
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            # libyaml and the Python parser tell the end of braces alike; that of a block lies behind its comments.
            yield _End(start, end)
            return


@dataclass(frozen=True, eq=False)
class _End(Span):
    """The end of a collection, a bracket or nothing."""


def _closed(end: int, inner: list[Span], flow: bool) -> int:
    if flow:
        return inner[-1].end
    return max([end, *(one.end for one in inner[:-1])])


def _end(text: str, start: int, end: int, style: str) -> int:
    """Return where a scalar ends: a block scalar's mark lies behind blank lines that are no part of it."""
    if style not in ("|", ">"):
        return end
    written = text[start:end]
    if "+" in written.partition("\n")[0]:
        return end - len(written) + len(written.removesuffix("\n").removesuffix("\r"))
    return start + len(written.rstrip())
