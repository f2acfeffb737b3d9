"""What an effect shows."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.model import Diff, Line
from provisioner.report import diff as module
from provisioner.report.diff import LONGEST, WIDEST, diff_rows, diff_text, show_rows
from provisioner.report.text import to_plain

LINES = st.lists(st.sampled_from(["a", "b", "c", "", " x", "-y"]), max_size=30)


def rows(before: bytes | None, after: bytes | None, **more: bool) -> list[str]:
    """Return the diff of /etc/x as plain lines."""
    return [to_plain(line) for line in diff_rows(Diff("/etc/x", before, after, **more))]


def test_a_change_is_a_unified_diff() -> None:
    """Three lines of context, and both names at the top."""
    before = "".join(f"line {n}\n" for n in range(10)).encode()
    assert rows(before, before.replace(b"line 5\n", b"five\n")) == [
        "--- before: /etc/x",
        "+++ after: /etc/x",
        "@@ -3,7 +3,7 @@",
        " line 2",
        " line 3",
        " line 4",
        "-line 5",
        "+five",
        " line 6",
        " line 7",
        " line 8",
    ]


def test_created_and_removed_files() -> None:
    """A file that was not there, or will not be, is called absent; an empty one is called empty."""
    assert rows(None, b"a\n") == ["--- before: (absent)", "+++ after: /etc/x", "@@ -0,0 +1 @@", "+a"]
    assert rows(b"a\n", None) == ["--- before: /etc/x", "+++ after: (absent)", "@@ -1 +0,0 @@", "-a"]
    assert rows(None, b"")[2:] == ["(an empty file)"]
    assert rows(b"a", b"a") == rows(None, None) == []


def test_a_missing_final_newline_is_told() -> None:
    """A newline at the end is a byte like any other."""
    assert rows(b"a\nb", b"a\nb\n")[3:] == [" a", "-b", "\\ No newline at end of file", "+b"]
    assert rows(b"a\n", b"b")[3:] == ["-a", "+b", "\\ No newline at end of file"]


def test_trailing_blanks_and_control_characters_show() -> None:
    """Two lines that differ never look the same."""
    assert rows(b"a\n", b"a \n")[3:] == ["-a", "+a "]
    assert rows(b"a\n", b"a\r\n")[3:] == ["-a", "+a\\r"]
    assert rows(b"a\n", b"\x1b[31ma\n")[3:] == ["-a", "+\\x1b[31ma"]


def test_only_newlines_end_lines() -> None:
    """A form feed or a Unicode separator is part of its line, as it is for the device."""
    assert rows("a\x0cb\u2028c\n".encode(), b"x\n")[3:] == ["-a\\x0cb\u2028c", "+x"]


def test_binary_content_is_summed_up() -> None:
    """What is no text is told by size and digest."""
    told = rows(b"\0" * 1200, b"\xff\xfe" * 650)[2]
    assert told.startswith("binary, 1.2 KB -> 1.3 KB, sha256 ")
    assert rows(None, b"\0")[2].startswith("binary, 1 B, sha256 6e340b9cffb3")


def test_secret_content_is_never_shown() -> None:
    """A secret diff tells that there is one, to people and to programs."""
    assert rows(b"old-password", b"new-password", secret=True)[2:] == ["(content hidden)"]
    assert diff_text(Diff("/etc/x", b"old", b"new", secret=True)) is None


def test_lines_of_effects() -> None:
    """An effect's line is marked, and its further lines stand below."""
    told = [to_plain(line) for line in show_rows([Line("mode 0644 -> 0600"), Line("~ a\nb")])]
    assert told == ["~ mode 0644 -> 0600", "~ a", "  b"]


def test_a_long_diff_is_cut_with_a_count() -> None:
    """Nobody reads ten thousand lines, unless they ask for them."""
    diff = Diff("/x", None, b"".join(b"%d\n" % n for n in range(1000)))
    cut = [to_plain(line) for line in show_rows([diff])]
    assert len(cut) == LONGEST + 1
    assert cut[-1] == f"... {1003 - LONGEST} more lines; -vv shows all"
    assert len(show_rows([diff], whole=True)) == 1003
    wide = to_plain(show_rows([Diff("/x", None, b"x" * 1000)])[3])
    assert wide.endswith(f" ... {1001 - WIDEST} more characters")


def test_a_vast_change_is_told_without_searching(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the smallest diff would take too long, one that is right is given."""
    monkeypatch.setattr(module, "_COMPARED", 2)
    assert rows(b"0\na\nb\n9\n", b"0\nb\nc\n9\n")[2:] == ["@@ -1,4 +1,4 @@", " 0", "-a", "-b", "+b", "+c", " 9"]


@pytest.mark.skipif(not shutil.which("patch"), reason="patch is not installed")
@settings(max_examples=25, deadline=None)
@given(LINES, LINES, st.booleans(), st.booleans())
def test_a_diff_is_what_patch_applies(old: list[str], new: list[str], old_end: bool, new_end: bool) -> None:
    """Every byte of a text diff is true: patch(1) makes the one content of the other with it."""
    before = ("\n".join(old) + "\n" * old_end).encode()
    after = ("\n".join(new) + "\n" * new_end).encode()
    text = diff_text(Diff("/x", before, after))
    if text:
        assert _patched(before, text) == after


def _patched(before: bytes, text: str) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(before)
        body = text.replace("--- before: /x", "--- file").replace("+++ after: /x", "+++ file")
        command = ["patch", "-s", "-f", "--posix", str(path)]
        subprocess.run(command, input=f"{body}\n".encode(), check=True, capture_output=True)
        return path.read_bytes() if path.exists() else b""


@given(LINES, LINES)
def test_a_diff_holds_both_sides(old: list[str], new: list[str]) -> None:
    """What a diff takes away and adds is exactly what the two texts differ by, line for line."""
    before, after = ("".join(f"{line}\n" for line in lines) for lines in (old, new))
    told = rows(before.encode(), after.encode())[2:]
    removed = sorted(line[1:] for line in told if line.startswith("-"))
    added = sorted(line[1:] for line in told if line.startswith("+"))
    assert sorted([*old, *added]) == sorted([*new, *removed])
