"""What an effect shows: a file as a unified diff, anything else as a line."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from provisioner.model import Diff, Line
from provisioner.report.text import Row, count, row, size, to_plain, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from provisioner.model import Shown

LONGEST = 120  # rows of one diff, unless -vv
WIDEST = 400  # characters of one row, unless -vv
_CONTEXT = 3
_COMPARED = 20_000  # lines that differ, above which the smallest diff would take too long to find

_Opcode = tuple[str, int, int, int, int]


def show_rows(shows: Iterable[Shown], *, whole: bool = False) -> list[Row]:
    """Return what effects show, long diffs cut with a count unless the whole is asked for."""
    rows: list[Row] = []
    for one in shows:
        rows += _line_rows(one) if isinstance(one, Line) else _cut(diff_rows(one), whole=whole)
    return rows


def diff_text(diff: Diff) -> str | None:
    """Return the whole diff as one text for programs, or None where it is secret."""
    return None if diff.secret else "\n".join(to_plain(line) for line in diff_rows(diff))


def diff_rows(diff: Diff) -> list[Row]:
    """Return the whole diff of a file; a secret one says only that there is one."""
    if diff.before == diff.after:
        return []
    rows = _heads(diff)
    if diff.secret:
        return [*rows, row(("(content hidden)", "dim"))]
    before, after = _text(diff.before), _text(diff.after)
    if before is None or after is None:
        return [*rows, row((_binary(diff.before, diff.after), "changed"))]
    return [*rows, *(_hunks(before.split("\n"), after.split("\n")) or [row(("(an empty file)", "dim"))])]


def _line_rows(line: Line) -> list[Row]:
    lines = visible(line.text.removeprefix("~ ")).rstrip("\n").split("\n")
    return [row(("~ " if n == 0 else "  ", "changed"), text) for n, text in enumerate(lines)]


def _heads(diff: Diff) -> list[Row]:
    path = visible(diff.path).replace("\n", "\\n")
    before = "(absent)" if diff.before is None else path
    after = "(absent)" if diff.after is None else path
    return [row((f"--- before: {before}", "head")), row((f"+++ after: {after}", "head"))]


def _text(content: bytes | None) -> str | None:
    """Return content as text, '' where there is no file, None where it is no text."""
    if content is None:
        return ""
    if b"\0" in content:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _binary(before: bytes | None, after: bytes | None) -> str:
    there = [content for content in (before, after) if content is not None]
    sizes = " -> ".join(size(len(content)) for content in there)
    digests = " -> ".join(hashlib.sha256(content).hexdigest()[:12] for content in there)
    return f"binary, {sizes}, sha256 {digests}"


def _hunks(before: list[str], after: list[str]) -> list[Row]:
    """Return the hunks of two texts that were split at newlines: the last piece is what has no newline behind it."""
    old, new = _Lines(before), _Lines(after)
    rows: list[Row] = []
    for group in _groups(old.keys, new.keys):
        first, last = group[0], group[-1]
        rows.append(row((f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@", "hunk")))
        for tag, i1, i2, j1, j2 in group:
            if tag == "equal":
                rows.extend(old.rows(i1, i2, " ", ""))
                continue
            rows.extend(old.rows(i1, i2, "-", "remove"))
            rows.extend(new.rows(j1, j2, "+", "add"))
    return rows


class _Lines:
    """A text's lines; the last one is another line if it lacks its newline."""

    def __init__(self, pieces: list[str]) -> None:
        *self.lines, rest = pieces
        self.open_end = len(self.lines) if rest else -1
        if rest:
            self.lines.append(rest)
        self.keys = [(line, n == self.open_end) for n, line in enumerate(self.lines)]

    def rows(self, start: int, stop: int, sign: str, style: str) -> Iterator[Row]:
        for n in range(start, stop):
            yield row((f"{sign}{visible(self.lines[n])}", style))
            if n == self.open_end:
                yield row(("\\ No newline at end of file", "dim"))


def _range(start: int, stop: int) -> str:
    """Return a hunk's range as diff -u writes it: an empty one names the line before it."""
    length = stop - start
    return str(start + 1) if length == 1 else f"{start + 1 if length else start},{length}"


def _groups(old: Sequence[object], new: Sequence[object]) -> Iterator[list[_Opcode]]:
    """Yield the groups of changes with their context; what is equal at both ends is not searched."""
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    start = max(head - _CONTEXT, 0)
    keep = max(tail - _CONTEXT, 0)
    stop_old, stop_new = len(old) - keep, len(new) - keep
    if len(old) + len(new) - 2 * (head + tail) > _COMPARED:
        yield _replaced(start, head, len(old) - tail, len(new) - tail, tail - keep)
        return
    from difflib import SequenceMatcher

    matcher = SequenceMatcher(None, old[start:stop_old], new[start:stop_new])
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        yield [(tag, i1 + start, i2 + start, j1 + start, j2 + start) for tag, i1, i2, j1, j2 in group]


def _replaced(start: int, head: int, end_old: int, end_new: int, after: int) -> list[_Opcode]:
    return [
        ("equal", start, head, start, head),
        ("replace", head, end_old, head, end_new),
        ("equal", end_old, end_old + after, end_new, end_new + after),
    ]


def _common(one: Sequence[object], other: Sequence[object]) -> int:
    """Return how many items two sequences begin with in common."""
    limit = min(len(one), len(other))
    return next((n for n in range(limit) if one[n] != other[n]), limit)


def _cut(rows: list[Row], *, whole: bool) -> list[Row]:
    if whole:
        return rows
    kept = [_narrow(line) for line in rows[:LONGEST]]
    if len(rows) > LONGEST:
        kept.append(row((f"... {count(len(rows) - LONGEST, 'more line')}; -vv shows all", "dim")))
    return kept


def _narrow(line: Row) -> Row:
    (text, style), *_ = line
    if len(text) <= WIDEST:
        return line
    return row((text[:WIDEST], style), (f" ... {count(len(text) - WIDEST, 'more character')}", "dim"))
