"""That an edited text says what it said before, but for what was to change."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from provisioner.document import ListNode, MapNode, Node, ScalarNode, Vault, parse
from provisioner.errors import InputError
from provisioner.inventory.read import inventory_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from provisioner.inventory.occurrences import HostAt
    from provisioner.inventory.splice import Document

_MOST = 500_000  # values that are looked at: an alias of aliases of aliases multiplies


def same(one: object, other: object) -> bool:
    """Tell whether two values are the same, and of the same types: 1, '1' and true differ."""
    return repr(_bare(one)) == repr(_bare(other))


def check_put(document: Document, after: str, path: Sequence[str], value: Any, at: int) -> None:
    """Refuse an edit that has not put this value at a path."""
    expected = _said(document, document.text) or {}
    holder = expected
    for key in path[:-1]:
        if holder.get(key) is None:
            holder[key] = {}
        holder = holder[key]
    holder[path[-1]] = _bare(value)
    _check(document, after, expected, at)


def check_gone(document: Document, after: str, host: HostAt) -> None:
    """Refuse an edit that has not taken out this entry, and nothing else."""
    expected = _said(document, document.text)
    holder = expected
    for key in host.trail[:-1]:
        holder = holder[key]
    if host.index < 0:
        holder["hosts"] = None
    else:
        del holder["hosts"][host.key.value]
    _check(document, after, expected, host.key.start)


def _check(document: Document, after: str, expected: object, at: int) -> None:
    try:
        told = _said(document, after)
        inventory_of(after, document.path)
    except InputError as error:
        place = error.source.line if error.source else 0
        told_why = f"anchors, aliases or an unusual layout are in the way ({error.message}, line {place} then)"
        raise document.unsure(told_why, at) from error
    if repr(_empty(told)) != repr(_empty(expected)):
        raise document.unsure("an anchor, an alias or a merge key would change something else too", at)


def _said(document: Document, text: str) -> Any:
    return _node(parse(text, str(document.path), empty=True), count(1))


def _node(node: Node, number: Iterator[int]) -> Any:
    """Return what a node says; nothing is shared, so that a change to one part shows in no other."""
    if next(number) > _MOST:
        raise InputError("its aliases stand for too much")
    if isinstance(node, MapNode):
        return {key.value: _node(value, number) for key, value in node.entries}
    if isinstance(node, ListNode):
        return [_node(item, number) for item in node.items]
    assert isinstance(node, ScalarNode)
    return (node.text,) if isinstance(node.value, Vault) else node.value


def _bare(value: object) -> object:
    """Return a value made of ordinary mappings and lists."""
    if isinstance(value, dict):
        return {str(key): _bare(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return value


def _empty(value: object) -> object:
    """Return a value in which an empty mapping is nothing: to an inventory they are the same.

    Keys are sorted: what a merge key brings is read behind the entries that are written.
    """
    if isinstance(value, dict):
        return {key: _empty(value[key]) for key in sorted(value, key=repr)} or None
    return [_empty(item) for item in value] if isinstance(value, list) else value
