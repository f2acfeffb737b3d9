"""What a YAML file says, as a tree in which every key and every value knows its place."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, NamedTuple

from provisioner.errors import InputError, InputErrors, Source
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value as it was written, and where."""

    source: Source


@dataclass(frozen=True, slots=True, eq=False)
class ScalarNode(Node):
    """One value: what YAML makes of it, and the text that was written."""

    value: object
    text: str = ""
    quoted: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class ListNode(Node):
    """A sequence of nodes."""

    items: tuple[Node, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class MapNode(Node):
    """A mapping in the order of its keys; merge keys are resolved."""

    entries: tuple[tuple[ScalarNode, Node], ...] = field(default=())

    def get(self, name: object) -> Node | None:
        """Return the value under this key, if there is one."""
        return next((value for key, value in self.entries if key.value == name), None)

    def key(self, name: object) -> ScalarNode | None:
        """Return the key itself, for its place."""
        return next((key for key, _ in self.entries if key.value == name), None)

    def without(self, names: Iterable[object]) -> MapNode:
        """Return the mapping less these keys."""
        gone = set(names)
        return MapNode(self.source, tuple((k, v) for k, v in self.entries if k.value not in gone))


class UnsafeText(str):
    """Text that was tagged !unsafe: it is never rendered."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Vault:
    """An encrypted value; it is an error only where it is used."""

    source: Source


class Caution(NamedTuple):
    """Something that was read otherwise than it was probably meant."""

    source: Source
    message: str


def plain(node: Node) -> object:
    """Return the ordinary Python value of a node; what an alias shares stays shared."""
    return _plain(node, {})


def _plain(node: Node, done: dict[int, object]) -> object:
    if isinstance(node, ScalarNode):
        return node.value
    if id(node) not in done:
        if isinstance(node, MapNode):
            done[id(node)] = {key.value: _plain(value, done) for key, value in node.entries}
        elif isinstance(node, ListNode):
            done[id(node)] = [_plain(item, done) for item in node.items]
    return done[id(node)]


def walk(node: Node) -> Iterator[ScalarNode]:
    """Yield every scalar value below a node (not the keys), each shared part once."""
    seen: set[int] = set()
    todo = [node]
    while todo:
        here = todo.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, ScalarNode):
            yield here
        elif isinstance(here, MapNode):
            todo.extend(value for _, value in reversed(here.entries))
        elif isinstance(here, ListNode):
            todo.extend(reversed(here.items))


def places(root: Node) -> Callable[[tuple[object, ...]], Source]:
    """Return a function from a path of keys and indexes to the place of what lies there, or of what lies nearest."""

    def place(path: tuple[object, ...]) -> Source:
        return find(root, path).source

    return place


def find(root: Node, path: tuple[object, ...]) -> Node:
    """Return the node at a path of keys and indexes, or the last one on the way there."""
    node = root
    for step in path:
        below: Node | None = None
        if isinstance(node, MapNode):
            below = node.get(step)
        elif isinstance(node, ListNode) and isinstance(step, int) and step < len(node.items):
            below = node.items[step]
        if below is None:
            break
        node = below
    return node


_NEAR = 0.7
_ALIKE = 0.1
_TRAILING_ZERO = re.compile(r"\d+\.\d*0")


def lossy(root: Node) -> Iterator[Caution]:
    """Yield a warning for each number below a node that loses a digit of what was written, as 36.10 does."""
    for node in walk(root):
        if isinstance(node.value, float) and _TRAILING_ZERO.fullmatch(node.text) and str(node.value) != node.text:
            yield Caution(node.source, f"{node.text} is read as the number {node.value}; quote it if it is a version")


def is_template(text: str) -> bool:
    """Tell whether a string has anything for Jinja in it."""
    return "{" in text and ("{{" in text or "{%" in text or "{#" in text)


def near(name: str, candidates: Iterable[str]) -> str:
    """Return "; did you mean 'x'?" for the nearest of some names, or nothing."""
    import difflib

    wanted = name.casefold()
    matcher = difflib.SequenceMatcher(b=wanted)
    best, least = "", _NEAR
    for candidate in candidates:
        text = candidate.casefold()
        # who mistypes a name seldom mistypes its first letter
        bonus = _ALIKE if text[:1] == wanted[:1] else 0.0
        matcher.set_seq1(text)
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) + bonus < least:
            continue
        score = matcher.ratio() + bonus
        if score > least or (score == least and not best):
            best, least = candidate, score
    return f"; did you mean {best!r}?" if best else ""


def raise_all(errors: Iterable[InputError]) -> None:
    """Raise what was found, if anything was: one error as itself, several together in order of place."""
    flat = InputErrors(errors).errors
    once = {(error.source, error.message): error for error in flat}
    ordered = sorted(once.values(), key=lambda error: error.source or Source(""))
    if len(ordered) == 1:
        raise ordered[0]
    if ordered:
        raise InputErrors(ordered)
