"""An inventory's text with entries put in and taken out; not a character elsewhere is touched."""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Any

from provisioner.errors import InputError, Source
from provisioner.inventory.spans import Pairs, Span, Text, spans
from provisioner.inventory.spelling import Tree, lines, pair, scalar
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STEP = 2
_DOCUMENT_END = re.compile(r"^\.\.\.(?=\s|\Z)", re.MULTILINE)
_OTHER_BREAKS = re.compile("\r(?!\n)|[\x85\u2028\u2029]")
_COLON = re.compile(r"\s*:")
_COMMA = re.compile(r"[ \t]*,")
_REST = re.compile(r"[ \t]*(?:,[ \t]*)?(?:#[^\n]*|\r)?(?:\n|\Z)")

Pair = tuple[Span, Span]


class NotSure(InputError):  # noqa: N818 - the state it tells of
    """A place that cannot be edited without a doubt; whoever knows what was to be written adds that."""


@dataclass(frozen=True)
class Splice:
    """What stands from `start` to `end`, and what comes there instead."""

    start: int
    end: int
    new: str = ""


@dataclass(frozen=True)
class Document:
    """A text in which every place is known."""

    text: str
    path: Path

    @cached_property
    def root(self) -> Span:
        """Return what the text holds."""
        if found := _OTHER_BREAKS.search(self.text):
            raise self.unsure("a line ends in another way than with LF or CR LF", found.start())
        return spans(self.text)

    def unsure(self, why: str, index: int) -> NotSure:
        """Return the refusal to edit at a place."""
        line = self.text.count("\n", 0, index) + 1
        return NotSure(f"cannot be edited surely: {why}", source=Source(str(self.path), line, self.column(index) + 1))

    def place(self, span: Span) -> Source:
        """Return where something stands."""
        return Source(str(self.path), self.text.count("\n", 0, span.start) + 1, self.column(span.start) + 1)

    def spliced(self, *splices: Splice) -> str:
        """Return the text with these parts replaced."""
        text = self.text
        for one in sorted(splices, key=lambda one: one.start, reverse=True):
            text = text[: one.start] + one.new + text[one.end :]
        return text

    # Putting in.

    def inserted(self, holder: Pair | None, name: str, content: Any) -> str:
        """Return the text with an entry at the end of the mapping that a key holds, or of the whole document."""
        key, value = holder or (None, self.root)
        if isinstance(value, Pairs):
            if value.flow:
                return self._in_braces(value, name, content)
            first, last = value.entries[0], value.entries[-1]
            self._on_its_own_line(last[0])
            column = self.column(first[0].start)
            return self.spliced(self._below(self.pair_end(last), column, lines(name, content, column, self._step)))
        if isinstance(value, Text) and value.is_null:
            if key is None:
                return self._in_nothing(value, name, content)
            if self._is_in_braces(key):
                return self._in_braces_of_its_own(key, value, name, content)
            return self._under(key, value, name, content)
        raise self.unsure("an alias, a list or a value stands where a mapping has to be", (key or value).start)

    def _in_nothing(self, root: Text, name: str, content: Any) -> str:
        if root.start != root.end:
            raise self.unsure("a value stands where a mapping has to be", root.start)
        found = _DOCUMENT_END.search(self.text, root.start)
        at = found.start() if found else len(self.text)
        return self.spliced(self._lines_at(at, lines(name, content, 0, self._step)))

    def _in_braces_of_its_own(self, key: Span, value: Text, name: str, content: Any) -> str:
        if value.decorated:
            raise self.unsure("an anchor or a tag stands at a null", value.start)
        start = value.start if value.value else self.pair_end((key, value))
        colon = "" if _COLON.match(self.text, key.end) else ":"
        gap = "" if self.text[start - 1] == " " else " "
        inner = pair(name, content, as_json=self._is_json)
        return self.spliced(Splice(start, value.end if value.value else start, f"{colon}{gap}{{{inner}}}"))

    def _under(self, key: Span, value: Text, name: str, content: Any) -> str:
        self._on_its_own_line(key)
        column = self.column(key.start) + self._step
        below = self._below(self.pair_end((key, value)), column, lines(name, content, column, self._step))
        if not value.value:
            return self.spliced(below)
        if value.decorated:
            raise self.unsure("an anchor or a tag stands at a null", value.start)
        head = len(self.text[: value.start].rstrip(" "))
        return self.spliced(Splice(head, value.end), below)

    def _in_braces(self, mapping: Pairs, name: str, content: Any) -> str:
        if not mapping.entries:
            at = self.text.index("{", mapping.start) + 1
            return self.spliced(Splice(at, at, pair(name, content or {}, as_json=self._is_json)))
        last = mapping.entries[-1]
        end = self.pair_end(last)
        # `name:` needs a blank behind it, which may not be there.
        piece = pair(name, content if content or self.text[end].isspace() else {}, as_json=self._is_json)
        gap = " " if self.text[end - 1] == ":" else ""
        if not self._is_first(last[0]) or not (rest := _REST.match(self.text, end)):
            return self.spliced(Splice(end, end, f"{gap}, {piece}"))
        line = " " * self.column(last[0].start) + piece
        if _COMMA.match(self.text, end):
            return self.spliced(self._lines_at(rest.end(), [f"{line},"]))
        return self.spliced(Splice(end, end, f"{gap},"), self._lines_at(rest.end(), [line]))

    # Taking out.

    def removed(self, holder: Pair, index: int) -> str:
        """Return the text without one entry of the mapping that a key holds, and without its own comments."""
        mapping = holder[1]
        assert isinstance(mapping, Pairs)
        entry = mapping.entries[index]
        floor = self.pair_end(mapping.entries[index - 1]) if index else holder[0].end
        if mapping.flow:
            return self._out_of_braces(mapping, index, floor)
        self._on_its_own_line(entry[0])
        return self.spliced(self._whole(entry, floor))

    def _whole(self, entry: Pair, floor: int) -> Splice:
        column = self.column(entry[0].start)
        start, end = self._comments_above(entry[0].start, column, floor), self._tail(self.pair_end(entry), column)
        if end == len(self.text) and not self.text.endswith("\n"):
            start = len(self.text[:start].removesuffix("\n").removesuffix("\r"))
        return Splice(start, end)

    def _out_of_braces(self, mapping: Pairs, index: int, floor: int) -> str:
        entry, is_last = mapping.entries[index], index == len(mapping.entries) - 1
        end = self.pair_end(entry)
        comma = _COMMA.match(self.text, end)
        rest = _REST.match(self.text, end)
        if self._is_first(entry[0]) and rest:
            start = self._comments_above(entry[0].start, self.column(entry[0].start), floor)
            line = Splice(start, rest.end())
            before = _COMMA.match(self.text, floor)
            return (
                self.spliced(line, Splice(*before.span())) if is_last and not comma and before else self.spliced(line)
            )
        if not is_last:
            return self.spliced(Splice(entry[0].start, mapping.entries[index + 1][0].start))
        if index:
            # `name:` needs a blank behind it.
            bare = self.text[floor - 1] == ":" and not self.text[end].isspace()
            return self.spliced(Splice(floor, end, " " if bare else ""))
        return self.spliced(Splice(entry[0].start, comma.end() if comma else end))

    def emptied(self, holder: Pair) -> str:
        """Return the text with nothing behind a key that held one value."""
        key, value = holder
        start = key.end + self.text[key.end : value.start].index(":") + 1
        return self.spliced(Splice(start, value.end))

    # Changing.

    def changed(self, entry: Pair, new: object) -> str:
        """Return the text with one scalar replaced, in the quotes that it had."""
        key, value = entry
        if not isinstance(value, Text) or value.decorated or value.style in ("|", ">"):
            raise self.unsure("what is to change is no plain value", value.start)
        if value.start == value.end:
            at = self.pair_end(entry)
            colon = " " if _COLON.match(self.text, key.end) else ": "
            return self.spliced(Splice(at, at, colon + scalar(new)))
        return self.spliced(Splice(value.start, value.end, scalar(new, '"' if self._is_json else value.style)))

    # Places.

    def column(self, index: int) -> int:
        """Return how many characters stand before a place on its line."""
        return index - self._line_start(index)

    def pair_end(self, entry: Pair) -> int:
        """Return where an entry ends, before the comment at its right."""
        key, value = entry
        if isinstance(value, Text) and value.start == value.end:
            # Of nothing libyaml tells the place where the next thing begins.
            colon = _COLON.match(self.text, key.end)
            return colon.end() if colon else key.end
        return value.end

    @cached_property
    def newline(self) -> str:
        """Return how most lines end."""
        return "\r\n" if 2 * self.text.count("\r\n") > self.text.count("\n") else "\n"

    @cached_property
    def _is_json(self) -> bool:
        root = self.root
        if not isinstance(root, Pairs) or not root.flow:
            return False
        return not root.entries or getattr(root.entries[0][0], "style", "") == '"'

    @cached_property
    def _step(self) -> int:
        """Return by how much the text indents: as the first mapping in a mapping."""
        return next(self._steps(self.root), _STEP)

    def _steps(self, node: Span) -> Iterator[int]:
        for key, value in node.entries if isinstance(node, Pairs) and not node.flow else ():
            if isinstance(value, Pairs) and not value.flow and value.entries:
                yield self.column(value.entries[0][0].start) - self.column(key.start)
            yield from self._steps(value)

    def _line_start(self, index: int) -> int:
        return self.text.rfind("\n", 0, index) + 1

    def _line_end(self, index: int) -> int:
        found = self.text.find("\n", index)
        return len(self.text) if found < 0 else found + 1

    def _is_first(self, key: Span) -> bool:
        return not self.text[self._line_start(key.start) : key.start].strip(" ")

    def _is_in_braces(self, key: Span) -> bool:
        return any(isinstance(node, Pairs) and node.flow and node.start <= key.start < node.end for node in self._all())

    @cached_property
    def _ends_in_a_block(self) -> bool:
        ends = (node for node in self._all() if isinstance(node, Text) and node.end == len(self.text))
        return any(node.style in ("|", ">") for node in ends)

    def _all(self) -> Iterator[Span]:
        todo = [self.root]
        while todo:
            node = todo.pop()
            yield node
            if isinstance(node, Pairs):
                todo.extend(value for _, value in node.entries)

    def _on_its_own_line(self, key: Span) -> None:
        if not self._is_first(key):
            raise self.unsure("an entry does not begin its line", key.start)

    def _lines_at(self, at: int, new: list[str]) -> Splice:
        block = self.newline.join(new)
        if at and self.text[at - 1] != "\n":
            if self._ends_in_a_block:
                raise self.unsure("the file ends in a text of lines, whose last one would get a line's end", at - 1)
            return Splice(at, at, self.newline + block)
        return Splice(at, at, block + self.newline)

    def _below(self, end: int, column: int, new: list[str]) -> Splice:
        return self._lines_at(self._tail(end, column), new)

    def _tail(self, end: int, column: int) -> int:
        """Return where the lines of an entry end: comments that are indented deeper than its key are its own."""
        rest = _REST.match(self.text, end)
        if not rest or "," in rest[0].partition("#")[0]:
            raise self.unsure("more than a comment stands behind an entry", end)
        at = found = self._line_end(end)
        while at < len(self.text):
            line = self.text[at : self._line_end(at)]
            indent = len(line) - len(line.lstrip(" "))
            is_comment = line[indent:].startswith("#") and indent > column
            if line.strip() and not is_comment:
                break
            at += len(line)
            found = at if is_comment else found
        return found

    def _comments_above(self, start: int, column: int, floor: int) -> int:
        """Return where the comment lines begin that stand right above an entry, as far in as its key."""
        at = self._line_start(start)
        while at and (above := self._line_start(at - 1)) > floor:
            if not self.text[above:].startswith(" " * column + "#"):
                break
            at = above
        return at


def siblings_are_flow(mapping: Span) -> bool:
    """Tell whether the last entry of a mapping that has variables has them in braces."""
    values = [value for _, value in mapping.entries if isinstance(value, Pairs)] if isinstance(mapping, Pairs) else []
    return bool(values) and values[-1].flow


def branch(*keys: str, leaf: Any) -> Any:
    """Return mappings in mappings with a leaf in the innermost."""
    for key in reversed(keys):
        leaf = Tree({key: leaf})
    return leaf
