"""Where groups and hosts are written in an inventory's text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.inventory.ranges import expand
from provisioner.inventory.spans import Pairs, Span, Text
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.inventory.splice import Document, Pair

    Trail = tuple[tuple[str, Pair], ...]

_HOST = re.compile(r"[^-\s,!&@\[\]{}*?~#'\"\\:|<>=%`/](?:[^\s,\[\]*?#'\"\\|<>`/]*[^\s,\[\]*?#'\"\\|<>`/:])?")
_LONGEST = 253


@dataclass(frozen=True, eq=False)
class GroupAt:
    """A place where a group is named: the keys above it, and its own key and value."""

    name: str
    trail: Trail
    pair: Pair

    @property
    def substance(self) -> int:
        """Return how much stands there: 3 with hosts, 2 with a word about them, 1 with something, 0 with nothing."""
        value = self.pair[1]
        if not isinstance(value, Pairs):
            return 0
        hosts = value.find("hosts")
        return 1 if hosts is None else 3 if isinstance(hosts[1], Pairs) and hosts[1].entries else 2


@dataclass(frozen=True, eq=False)
class HostAt:
    """A place where hosts are named: the keys above it, `hosts` included, and its own key and value."""

    names: tuple[str, ...]
    group: str
    trail: tuple[str, ...]
    holder: Pair
    key: Text
    value: Span
    index: int
    """Which entry of `hosts` it is; -1 where `hosts` is nothing but this name."""

    @property
    def has_vars(self) -> bool:
        """Tell whether variables are written there."""
        return isinstance(self.value, Pairs)


def is_one_name(name: str) -> bool:
    """Tell whether a text can be the name of one host."""
    if len(name) > _LONGEST or not name.isprintable() or not _HOST.fullmatch(name):
        return False
    try:
        return expand(name) == [(name, None)]
    except ValueError:
        return False


def groups_in(document: Document) -> Iterator[GroupAt]:
    """Yield every place where a group is named."""
    yield from _groups(document.root, ())


def _groups(node: Span, trail: Trail) -> Iterator[GroupAt]:
    for key, value in node.entries if isinstance(node, Pairs) else ():
        if not isinstance(key, Text):
            continue
        yield GroupAt(key.value, trail, (key, value))
        children = value.find("children") if isinstance(value, Pairs) else None
        if children is not None:
            yield from _groups(children[1], (*trail, (key.value, (key, value)), ("children", children)))


def hosts_in(document: Document) -> Iterator[HostAt]:
    """Yield every place where hosts are named."""
    for group in groups_in(document):
        value = group.pair[1]
        holder = value.find("hosts") if isinstance(value, Pairs) else None
        if holder is None:
            continue
        trail = (*(key for key, _ in group.trail), group.name, "hosts")
        below = holder[1]
        if isinstance(below, Text) and not below.is_null:
            yield HostAt(_names(below), group.name, trail, holder, below, below, -1)
        for index, (key, vars_) in enumerate(below.entries if isinstance(below, Pairs) else ()):
            if isinstance(key, Text) and (key.value != "<<" or key.style):
                yield HostAt(_names(key), group.name, trail, holder, key, vars_, index)


def _names(key: Text) -> tuple[str, ...]:
    try:
        return tuple(name for name, _ in expand(key.value))
    except ValueError:
        return ()
