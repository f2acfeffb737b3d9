"""`provision explain`: cause, fix and source of what was printed somewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from user import User


@pytest.mark.parametrize("how", ["quoted", "words", "stdin"])
def test_a_known_text_is_explained(user: User, how: str) -> None:
    """As one argument, as words, or from stdin among other lines, it has cause, fix and source, and exit code 0."""
    text = "exec /bin/sh: exec format error"
    if how == "stdin":
        ended = user.run("explain", "-", answer=f"Unable to find image locally\n{text}\n")
    else:
        ended = user.run("explain", *([text] if how == "quoted" else text.split()))
    assert (ended.code, ended.err) == (0, "")
    assert [line.split(":")[0] for line in ended.out.splitlines()] == ["cause", "fix", "source"]
    assert "another architecture" in ended.out


def test_an_unknown_text_is_told_as_such(user: User) -> None:
    """Where nothing is known that is said, with exit code 1; nothing is printed that a program could take for more."""
    ended = user.run("explain", "all is well")
    assert (ended.code, ended.out) == (1, "")
    assert "nothing is known" in ended.err
    assert user.run("explain", "-", answer="").code == 1


@pytest.mark.parametrize("after", [0, 15_000])
def test_an_error_in_a_long_log_is_found(user: User, after: int) -> None:
    """At its end or in its middle, and behind more than is kept of its beginning."""
    noise = "time=12:00:00 level=info msg=nothing in particular"
    log = [*[noise] * 30_000, "exec /bin/sh: exec format error", *[noise] * after]
    ended = user.run("explain", "-", answer="\n".join(log) + "\n")
    assert "another architecture" in ended.out


def test_what_is_no_text_does_no_harm(user: User) -> None:
    """Bytes that are no text, and a line without an end, are answered at once and without a traceback."""
    began = time.monotonic()
    ended = user.run("explain", "-", answer="\x1b]0;x\x07" + "lookup x on " * 100_000)
    assert ended.code == 1
    assert "Traceback" not in ended.all
    assert time.monotonic() - began < 30
