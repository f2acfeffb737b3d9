"""An error as people are told of it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from provisioner.errors import InputError, InputErrors, ProvisionError, Source, Unreachable
from provisioner.report.errors import print_error, read_line

if TYPE_CHECKING:
    from pathlib import Path


def printed(error: ProvisionError) -> str:
    """Return what is written to a pipe."""
    stream = io.StringIO()
    print_error(error, stream)
    return stream.getvalue()


@pytest.fixture
def playbook(tmp_path: Path) -> Path:
    """Return a playbook with a mistake in line 3."""
    path = tmp_path / "site.yaml"
    path.write_text("- hosts: all\n  tasks:\n  - copyy: {src: a}\n\t你好 x\n")
    return path


def test_an_error_shows_its_place_the_line_and_the_next_step(playbook: Path) -> None:
    """Message, place, line, caret and hint, each where the eye looks for it."""
    error = InputError("unknown module 'copyy'", source=Source(str(playbook), 3, 5), hint="did you mean 'copy'?")
    assert printed(error) == (
        "error: unknown module 'copyy'\n"
        f" --> {playbook}:3:5\n"
        "  |\n"
        "3 |   - copyy: {src: a}\n"
        "  |     ^\n"
        "hint: did you mean 'copy'?\n"
    )


def test_an_error_without_a_place() -> None:
    """What has no file has a message and a hint, and further lines stand below the first."""
    assert printed(Unreachable("no answer\nfrom nano", hint="ping it")) == (
        "error: no answer\n       from nano\nhint: ping it\n"
    )


def test_all_errors_are_told_and_counted(playbook: Path) -> None:
    """Nobody mends one mistake to be told of the next."""
    errors = InputErrors([InputError("one", source=Source(str(playbook), 1)), InputError("two")])
    assert printed(errors) == (
        f"error: one\n --> {playbook}:1\n  |\n1 | - hosts: all\n\nerror: two\n\n2 errors; nothing was touched\n"
    )


def test_a_caret_stands_under_its_column(playbook: Path) -> None:
    """Tabs and wide letters take the room below that they take above."""
    error = InputError("bad", source=Source(str(playbook), 4, 5))
    assert printed(error).splitlines()[-1] == "  | \t     ^"


@pytest.mark.parametrize(
    "source", [Source("/nowhere/x", 1, 1), Source("/", 1, 1), Source("/dev/zero", 1, 1), Source("\0", 1, 1)]
)
def test_what_cannot_be_read_is_left_out(source: Source) -> None:
    """A file that is gone, or is none, costs the line and not the message."""
    assert read_line(source.path, 1) is None
    assert printed(InputError("bad", source=source)).startswith("error: bad\n")


def test_a_line_that_is_not_there(playbook: Path) -> None:
    """A place beyond the end of a file, or beyond the end of its line, is no failure."""
    assert read_line(str(playbook), 99) is None
    assert "^" in printed(InputError("bad", source=Source(str(playbook), 1, 99)))


def test_a_long_line_is_cut_around_its_column(tmp_path: Path) -> None:
    """The part that holds the mistake is shown, and the caret stands under it."""
    path = tmp_path / "long.yaml"
    path.write_text("a" * 500 + "X" + "b" * 500)
    lines = printed(InputError("bad", source=Source(str(path), 1, 501))).splitlines()
    assert len(lines[3]) < 120
    assert lines[3][lines[4].index("^")] == "X"


def test_nothing_that_a_terminal_obeys_is_written(tmp_path: Path) -> None:
    """Neither a device's message nor a file's line reaches the terminal with control characters."""
    path = tmp_path / "evil.yaml"
    path.write_text("\x1b]0;title\x07X: \u202ey\n")
    lines = printed(InputError("\x1b[2Jbad", source=Source(str(path), 1, 11), hint="\x9b1mhint")).splitlines()
    assert not set("".join(lines)) & set("\x1b\x07\x9b\u202e")
    assert lines[3][lines[4].index("^")] == "X"


def test_colour_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal gets colour unless NO_COLOR is set; a pipe never does."""
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    print_error(ProvisionError("bad"), stream)
    assert stream.getvalue() == "\x1b[1;31merror: \x1b[0m\x1b[1mbad\x1b[0m\n"
    monkeypatch.setenv("NO_COLOR", "1")
    print_error(ProvisionError("worse"), stream)
    assert stream.getvalue().endswith("error: worse\n")
    assert "\x1b" not in printed(ProvisionError("bad"))
