"""Cleaning, measuring and encoding of what people are shown."""

from __future__ import annotations

import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.report.text import (
    Span,
    clean,
    count,
    duration,
    encodable,
    listed,
    masked,
    one_line,
    paragraph,
    size,
    tail,
    to_ansi,
    to_plain,
    visible,
)

HOSTILE = st.text(
    st.one_of(
        st.sampled_from("\x1b[]();?mKHJP\\^_X07\x07\x08\r\n\t\x9b\x9d\x90\x9c\x7f\u202e\u2066\u2069\ud800"),
        st.characters(),
    ),
)


def obeyed(text: str) -> list[str]:
    """Return the characters of a text that a terminal could obey."""
    bidi = {*map(chr, range(0x202A, 0x202F)), *map(chr, range(0x2066, 0x206A))}
    return [c for c in text if (unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t") or c in bidi]


@given(HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    """Cleaned text holds no control character but newline and tab, no bidi override, no surrogate."""
    assert obeyed(clean(text)) == []


@given(HOSTILE)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    """What is taken out never leaves a new sequence behind."""
    assert clean(clean(text)) == clean(text)


@given(HOSTILE)
def test_lines_are_never_hidden(text: str) -> None:
    """No sequence, open or closed, swallows a line."""
    assert clean(text).count("\n") == text.count("\n")


@given(st.text(st.characters(exclude_categories=("Cc", "Cs", "Cf"))))
def test_plain_text_stays_as_it_is(text: str) -> None:
    """Text without control characters passes untouched."""
    assert clean(text) == visible(text) == masked(text) == text


@given(HOSTILE)
def test_visible_text_tells_every_difference_and_obeys_nothing(text: str) -> None:
    """What is written out for a diff passes the cleaning unchanged: it held nothing to take away."""
    assert clean(visible(text)) == visible(text)


@given(HOSTILE)
def test_masking_keeps_columns(text: str) -> None:
    """A masked line is as long as it was, so that a caret stays under its column."""
    assert len(masked(text)) == len(text)
    assert obeyed(masked(text)) == []


@given(HOSTILE, st.sampled_from(["", "failed"]))
def test_a_row_is_one_clean_line(text: str, style: str) -> None:
    """However a span was made, a row leaves as one line without anything to obey."""
    plain = to_plain((Span(text, style),))
    assert "\n" not in plain
    assert obeyed(plain) == []
    assert obeyed(to_ansi((Span(text),))) == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b2Jgone", "gone"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1bPq#0\x1b\\after", "after"),
        ("\x1b]0;open\nnext line", "0;open\nnext line"),
        ("\x1b(Bset", "set"),
        ("\x1b7\x1b8\x1bc", ""),
        ("a\x08b\x7fc", "abc"),
        ("one\r\ntwo\ttab", "one\ntwo\ttab"),
        ("user\u202egnp.exe", "usergnp.exe"),
        ("\x1b\x1b[31m[31mx", "[31mx"),
        ("bad \udcff byte", "bad \ufffd byte"),
        ("[bold]not markup[/bold]", "[bold]not markup[/bold]"),
        ("Grüße 你好 👋", "Grüße 你好 👋"),
    ],
)
def test_known_sequences(text: str, left: str) -> None:
    """Each kind of sequence goes whole where it is whole, and what is text stays."""
    assert clean(text) == left


def test_a_carriage_return_leaves_what_a_terminal_would() -> None:
    """A progress bar that redraws itself counts with its last state."""
    assert one_line("10%\r20%\r\n") == "20%"
    assert one_line("a\n  b\tc ") == "a b c"


@pytest.mark.parametrize(
    ("amount", "words"),
    [
        (0, "0 B"),
        (812, "812 B"),
        (999, "999 B"),
        (1000, "1.0 KB"),
        (1234, "1.2 KB"),
        (9_960, "10 KB"),
        (412_000_000, "412 MB"),
        (999_999, "1.0 MB"),
        (1_190_000_000, "1.2 GB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes(amount: float, words: str) -> None:
    """Bytes have two or three digits and the unit that fits."""
    assert size(amount) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-1, "0.0 s"), (3.21, "3.2 s"), (9.96, "10 s"), (59.4, "59 s"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")],
)
def test_durations(seconds: float, words: str) -> None:
    """Times are as exact as they are short."""
    assert duration(seconds) == words


def test_lists_and_counts() -> None:
    """A long list ends in a count; a number takes its plural; a tail skips empty lines."""
    assert listed(["a", "b", "c"], limit=2) == "a, b and 1 more"
    assert (count(1, "host"), count(0, "host"), count(1200, "line")) == ("1 host", "0 hosts", "1,200 lines")
    assert tail("a\n\n\x1b[1mb\x1b[0m\nc\n\n", 2) == ["b", "c"]


def test_a_paragraph_folds_under_its_lead() -> None:
    """Rows after the first stand below the text, not below the lead."""
    rows = [to_plain(line) for line in paragraph("one two three four five six", lead="hint: ", width=26)]
    assert rows == ["hint: one two three four", "      five six"]


def test_a_poor_stream_gets_question_marks() -> None:
    """A stream that lacks a letter gets '?' and no exception."""
    assert encodable("naïve ✓", io.TextIOWrapper(io.BytesIO(), encoding="ascii")) == "na?ve ?"
