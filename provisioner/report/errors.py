"""An error as people are told of it: the message, the place, the line itself, and the next step."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from provisioner.errors import InputError, InputErrors
from provisioner.report.text import (
    Row,
    count,
    encodable,
    masked,
    paragraph,
    row,
    to_ansi,
    to_plain,
    wants_colour,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.errors import ProvisionError, Source

_WIDTH = 100  # characters of a line that are shown around its column
_LARGEST = 16_000_000


def print_error(error: ProvisionError, stream: TextIO) -> None:
    """Write an error to a stream, every one of several, in colour on a terminal."""
    render = to_ansi if wants_colour(stream) else to_plain
    stream.write(encodable("".join(f"{render(line)}\n" for line in error_rows(error)), stream))
    stream.flush()


def error_rows(error: ProvisionError) -> list[Row]:
    """Return an error as rows; several are counted at the end."""
    if not isinstance(error, InputErrors):
        return list(_one(error))
    rows: list[Row] = []
    for each in error.errors:
        rows += [*_one(each), row()]
    return [*rows, row((count(len(error.errors), "error"), "strong"), "; nothing was touched")]


def _one(error: ProvisionError) -> Iterator[Row]:
    first, *more = paragraph(error.message, "strong", lead="error: ")
    yield row(("error: ", "failed"), *first[1:])
    yield from more
    if isinstance(error, InputError) and error.source:
        yield from _place(error.source)
    if error.hint:
        first, *more = paragraph(error.hint, lead="hint: ")
        yield row(("hint: ", "skipped"), *first[1:])
        yield from more


def _place(source: Source) -> Iterator[Row]:
    line = read_line(source.path, source.line) if source.line else None
    margin = " " * len(str(source.line))
    yield row((f"{margin}--> ", "hunk"), str(source))
    if line is None:
        return
    text, column = _around(masked(line), source.column)
    yield row((f"{margin} |", "hunk"))
    yield row((f"{source.line} | ", "hunk"), text)
    if column:
        yield row((f"{margin} | ", "hunk"), _under(text, column), ("^", "failed"))


def read_line(path: str, number: int) -> str | None:
    """Return one line of a file, or None where it cannot be read."""
    try:
        file = Path(path)
        if not file.is_file() or file.stat().st_size > _LARGEST:
            return None
        with file.open(encoding="utf-8-sig", errors="replace", newline="\n") as lines:
            line = next(islice(lines, number - 1, None), None)
    except (OSError, ValueError):
        return None
    return line.rstrip("\r\n") if line is not None else None


def _around(line: str, column: int) -> tuple[str, int]:
    """Return the part of a line that holds a column, and the column in it."""
    if len(line) <= _WIDTH:
        return line, column
    start = max(min(column - _WIDTH // 2, len(line) - _WIDTH), 0)
    before, after = "..." if start else "", "..." if start + _WIDTH < len(line) else ""
    return f"{before}{line[start : start + _WIDTH]}{after}", column and column - start + len(before)


def _under(text: str, column: int) -> str:
    """Return what stands before a caret: as wide as the text above, tabs and wide letters too."""
    return "".join("\t" if char == "\t" else " " * cells(char) for char in text[: column - 1].ljust(column - 1))


def cells(char: str) -> int:
    """Return how many columns a character takes on a terminal."""
    if char.isascii():
        return 1
    from unicodedata import combining, east_asian_width

    return 0 if combining(char) else 1 + (east_asian_width(char) in "WF")
