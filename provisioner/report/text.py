"""Text on its way to people: cleaned of what a terminal would obey, styled by meaning, measured for reading."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_BIDI = "\u202a-\u202e\u2066-\u2069"
_CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}]")
_SEQUENCE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\n\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, SOS, PM, APC
    r"|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b[ -/]*[0-~]"  # any other escape
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def clean(text: str) -> str:
    """Return text without control sequences, control characters and bidi overrides; newline and tab stay.

    A string sequence (a window title) is taken out whole only where it ends on its line: a device cannot hide the
    lines that follow by leaving one open.
    """
    if text.isascii() and text.isprintable():
        return text
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", _SEQUENCE.sub("", text)))


def one_line(text: str) -> str:
    """Return cleaned text on a single line, as what a carriage return leaves standing."""
    kept = text.replace("\r\n", "\n").rstrip("\r").rpartition("\r")[2]
    return " ".join(clean(kept).split())


def visible(text: str) -> str:
    r"""Return text with what `clean` would take away written out as \x1b, so that two lines never look the same."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub(lambda m: _written(m[0]), text))


def masked(text: str) -> str:
    """Return text with one replacement for each character that `clean` would take away: columns stay where they are."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("\ufffd", text))


def _written(char: str) -> str:
    known = {"\r": "\\r", "\b": "\\b", "\x1b": "\\x1b"}
    return known.get(char) or (f"\\x{ord(char):02x}" if ord(char) <= 0xFF else f"\\u{ord(char):04x}")  # noqa: PLR2004


class Span(NamedTuple):
    """A piece of a row, with a style that says what it means and not how it looks."""

    text: str
    style: str = ""


Row = tuple[Span, ...]

# What a style looks like: SGR codes for the renderers without rich, the same words for rich.
SGR = {
    "ok": "32",
    "changed": "33",
    "failed": "1;31",
    "skipped": "36",
    "unknown": "35",
    "warning": "33",
    "add": "32",
    "remove": "31",
    "hunk": "36",
    "head": "1",
    "strong": "1",
    "dim": "2",
    "simulation": "1;36",
}
RICH = {"31": "red", "32": "green", "33": "yellow", "35": "magenta", "36": "cyan", "1": "bold", "2": "dim"}


def row(*pieces: str | tuple[str, str]) -> Row:
    """Return a row of strings and (text, style) pairs."""
    return tuple(Span(piece) if isinstance(piece, str) else Span(*piece) for piece in pieces)


def shown(span: Span) -> str:
    """Return what of a span reaches a stream: clean, and on one line."""
    return clean(span.text).replace("\n", " ")


def to_plain(line: Row) -> str:
    """Return a row without colour."""
    return "".join(shown(span) for span in line)


def to_ansi(line: Row) -> str:
    """Return a row in a terminal's colours."""
    return "".join(f"\x1b[{SGR[s.style]}m{shown(s)}\x1b[0m" if s.style in SGR else shown(s) for s in line)


def rich_style(style: str) -> str:
    """Return rich's words for a style."""
    return " ".join(RICH[code] for code in SGR.get(style, "").split(";") if code)


def indented(rows: Iterable[Row], by: int = 4) -> Iterator[Row]:
    """Yield rows moved to the right."""
    for line in rows:
        yield (Span(" " * by), *line)


def paragraph(text: str, style: str = "", *, lead: str = "", width: int = 0) -> list[Row]:
    """Return text as rows behind a lead that later rows stand under, folded at a width where one is given."""
    lines = clean(text).rstrip("\n").split("\n")
    if width:
        import textwrap

        room = max(width - len(lead), 20)
        lines = [part for line in lines for part in (textwrap.wrap(line, room, break_on_hyphens=False) or [""])]
    return [row(lead if n == 0 else " " * len(lead), (line, style)) for n, line in enumerate(lines)]


def tail(text: str, count: int) -> list[str]:
    """Return the last lines of a device's output that are not empty, cleaned."""
    return [line.rstrip() for line in clean(text).split("\n") if line.strip()][-count:]


def listed(names: Iterable[str], limit: int = 8) -> str:
    """Return names with commas, the ones beyond a limit as a count."""
    every = [one_line(name) for name in names]
    extra = len(every) - limit
    return ", ".join(every[:limit]) + (f" and {extra} more" if extra > 0 else "")


def count(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it has to be."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def size(amount: float) -> str:
    """Return a number of bytes as people say it: 812 B, 1.2 KB, 412 MB."""
    units = ("B", "KB", "MB", "GB", "TB")
    value, unit = float(amount), 0
    while round(value) >= 1000 and unit < len(units) - 1:  # noqa: PLR2004
        value, unit = value / 1000, unit + 1
    digits = 1 if unit and round(value, 1) < 10 else 0  # noqa: PLR2004
    return f"{value:.{digits}f} {units[unit]}"


def duration(seconds: float) -> str:
    """Return a time as people say it: 3.2 s, 45 s, 2:05, 1:02:05."""
    if seconds < 10 and round(seconds, 1) < 10:  # noqa: PLR2004
        return f"{max(seconds, 0):.1f} s"
    whole = round(seconds)
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def encodable(text: str, stream: TextIO) -> str:
    """Return text with what a stream's encoding lacks as question marks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    return text.encode(encoding, "replace").decode(encoding)


def wants_colour(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal with colours that nobody has declined."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
