"""blockinfile: a block of lines between two markers."""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, ClassVar

from provisioner.model import task
from provisioner.records import dataclass
from provisioner.tasks.lineinfile import BOF, EOF, EditTask, pattern


@task
@dataclass(frozen=True, kw_only=True)
class BlockInFile(EditTask):
    """Makes sure of a block of lines in a text file, which markers tell from the rest."""

    block: str = field(default="", metadata={"aliases": ("content",)})
    marker: str = "# {mark} ANSIBLE MANAGED BLOCK"
    marker_begin: str = "BEGIN"
    marker_end: str = "END"
    append_newline: bool = False
    prepend_newline: bool = False

    name: ClassVar[str] = "blockinfile"
    missing: ClassVar[str] = "Path {} does not exist !"
    example: ClassVar[str] = "blockinfile: {path: /etc/hosts, block: '10.0.0.1 build', create: yes}"

    def edited(self, before: bytes | None) -> tuple[bytes, str, dict[str, Any]]:
        """Return the content with the block in its place."""
        lines = (before or b"").splitlines(keepends=True)
        block = self._lines()
        at = self._take_out(lines)
        if at is None:
            at = self._anchor(lines, before or b"")
        self._put_in(lines, at, block)
        after = b"".join(lines)
        if before is None:
            return after, "File created", {}
        message = "Block inserted" if block else "Block removed"
        return after, message if after != before else "", {}

    def _markers(self) -> tuple[bytes, bytes]:
        begin, end = (self.marker.replace("{mark}", word) for word in (self.marker_begin, self.marker_end))
        return f"{begin}\n".encode(), f"{end}\n".encode()

    def _lines(self) -> list[bytes]:
        """Return the lines of the block and its markers; none where it has to go."""
        if self.state == "absent" or not self.block:
            return []
        begin, end = self._markers()
        text = self.block if self.block.endswith("\n") else self.block + "\n"
        return [begin, *text.encode().splitlines(keepends=True), end]

    def _take_out(self, lines: list[bytes]) -> int | None:
        """Remove the block that is there, and return where it was."""
        begin, end = self._markers()
        places = [max((n for n, line in enumerate(lines) if line == marker), default=-1) for marker in (begin, end)]
        if -1 in places:
            return None
        first, last = sorted(places)
        del lines[first : last + 1]
        return first

    def _anchor(self, lines: list[bytes], whole: bytes) -> int:
        """Return where a new block goes: at the end, unless insertafter or insertbefore say otherwise."""
        if self.insertbefore == BOF:
            return 0
        text = self.insertafter if self.insertafter is not None else self.insertbefore
        regexp = pattern(text) if text not in (None, EOF) else None
        if regexp is None:
            return len(lines)
        after = self.insertafter is not None
        if regexp.flags & re.MULTILINE:
            match = regexp.search(whole)
            found = [whole.count(b"\n", 0, match.end() if after else match.start())] if match else []
        else:
            found = [n for n, line in enumerate(lines) if regexp.search(line)]
        return min(found[-1] + after, len(lines)) if found else len(lines)

    def _put_in(self, lines: list[bytes], at: int, block: list[bytes]) -> None:
        """Insert the block on a line of its own, with blank lines around it where asked."""
        present = self.state == "present"
        if block and at > 0 and not lines[at - 1].endswith(b"\n"):
            lines[at - 1] += b"\n"
        if present and self.prepend_newline and at > 0 and lines[at - 1] != b"\n":
            lines.insert(at, b"\n")
            at += 1
        lines[at:at] = block
        end = at + len(block)
        if present and self.append_newline and end < len(lines) and lines[end] != b"\n":
            lines.insert(end, b"\n")
