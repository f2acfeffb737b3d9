"""Arguments in one line: `copy: src=a dest=b` and `command: ls -l chdir=/tmp`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.document import MapNode, ScalarNode, UnsafeText

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_OPEN = {"{{": "}}", "{%": "%}", "{#": "#}"}


def split(text: str) -> list[str]:
    """Return the words of a line; quotes and Jinja's braces keep spaces together, and stay where they are."""
    words: list[str] = []
    word = ""
    for piece in _pieces(text):
        if piece.isspace():
            words.append(word)
            word = ""
        else:
            word += piece
    return [part for part in (*words, word) if part]


def _pieces(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        end = at + 1
        if text[at].isspace():
            yield " "
        elif (closing := _OPEN.get(text[at : at + 2])) is not None:
            found = text.find(closing, at + 2)
            end = found + 2 if found >= 0 else len(text)
            yield text[at:end]
        elif text[at] in "\"'" and (found := _quote_end(text, at)) > 0:
            end = found + 1
            yield text[at:end]
        elif text[at] == "\\":
            end = at + 2
            yield text[at:end]
        else:
            yield text[at]
        at = end


def _quote_end(text: str, start: int) -> int:
    at = start + 1
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == text[start]:
            return at
        at += 1
    return -1


def arguments(node: ScalarNode, raw: str | None, names: Collection[str]) -> tuple[MapNode, list[str]]:
    """Return what a line gives, and the words in it that are no arguments.

    `raw` names the argument that takes free text; then only `names` are taken out of the text, which stays as it is.
    """
    entries: list[tuple[ScalarNode, ScalarNode]] = []
    text = node.text if isinstance(node.value, (int, float)) else str(node.value)
    rest: list[str] = []
    for word in split(text):
        pair = _PAIR.fullmatch(word)
        if pair and (raw is None or pair[1] in names):
            entries.append((_scalar(node, pair[1]), _scalar(node, _unquoted(pair[2]))))
        else:
            rest.append(word)
    if raw is not None and rest:
        whole = text.strip() if not entries else _without(text, entries)
        entries.insert(0, (_scalar(node, raw), _scalar(node, whole)))
        rest = []
    return MapNode(node.source, tuple(entries)), rest


def _without(text: str, entries: list[tuple[ScalarNode, ScalarNode]]) -> str:
    """Return free text less the words that were arguments, its own spaces and lines kept."""
    names = {str(key.value) for key, _ in entries}
    for word in split(text):
        pair = _PAIR.fullmatch(word)
        if pair and pair[1] in names:
            text = re.sub(rf"(^|\s+){re.escape(word)}(?=\s|$)", "", text, count=1)
    return text.strip()


def _scalar(node: ScalarNode, text: str) -> ScalarNode:
    value = UnsafeText(text) if isinstance(node.value, UnsafeText) else text
    return ScalarNode(node.source, value, text, quoted=True)


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'":
        return text[1:-1]
    return text
