"""lineinfile: one line of a text file is there, or is not."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.errors import InputError
from provisioner.model import Context, Observable, task
from provisioner.observables.file import CONTENT, File
from provisioner.records import dataclass
from provisioner.tasks.content import Content
from provisioner.tasks.writing import (
    Access,
    CannotPlan,
    Draft,
    FileTask,
    absolute,
    ancestors,
    editable,
    make_folders,
    read,
    registered,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

BOF, EOF = "BOF", "EOF"


@dataclass(frozen=True, kw_only=True)
class EditTask(FileTask):
    """What lineinfile and blockinfile share: a text file that is read, changed and put back."""

    path: str = field(metadata={"aliases": ("dest", "destfile", "name")})
    state: Literal["present", "absent"] = "present"
    insertafter: str | None = None
    insertbefore: str | None = None
    create: bool = False
    backup: bool = False
    validate: str | None = None

    missing: ClassVar[str]

    def __post_init__(self) -> None:
        """Check that the place is named once."""
        if self.insertafter is not None and self.insertbefore is not None:
            raise InputError("insertbefore and insertafter are mutually exclusive")

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the file with its content, and the folder that holds it."""
        file = self._file(ctx)
        yield file
        if self.create:
            yield from ancestors(file.path)
        else:
            yield file.parent

    def draft(self, draft: Draft) -> Mapping[str, Any]:
        """Plan the file as it is to be; a link is followed, as the edit of a link is one of what it leads to."""
        named = self._file(draft.ctx)
        file, state = read(draft, named, links=True)
        before = editable(state, named.path)
        if before is None and self.state == "absent":
            return {"msg": "file not present"}
        if before is None and not self.create:
            raise CannotPlan(self.missing.format(named.path), rc=257)
        if before is None:
            make_folders(draft, file.parent, Access())
        after, message, more = self.edited(before)
        content = Content.of(after)
        written = write(draft, file, state, content, self.access, backup=self.backup, validate=self.validate)
        return {**registered(named.path, written), **more, "backup": written.backup, "msg": message}

    def _file(self, ctx: Context) -> File:
        return File(absolute(self.path, ctx), CONTENT)

    def edited(self, before: bytes | None) -> tuple[bytes, str, dict[str, Any]]:
        """Return the new content, Ansible's word for the change, and what else is registered."""
        raise NotImplementedError


def pattern(text: str | None) -> re.Pattern[bytes] | None:
    """Return a regular expression over bytes; a plan fails where it is none."""
    if text is None:
        return None
    try:
        return re.compile(text.encode())
    except re.error as error:
        raise CannotPlan(f"bad regular expression {text!r}: {error}") from error


@task
@dataclass(frozen=True, kw_only=True)
class LineInFile(EditTask):
    """Makes sure of one line of a text file, or that no such line is there."""

    line: str | None = field(default=None, metadata={"aliases": ("value",)})
    regexp: str | None = field(default=None, metadata={"aliases": ("regex",)})
    search_string: str | None = None
    backrefs: bool = False
    firstmatch: bool = False

    name: ClassVar[str] = "lineinfile"
    missing: ClassVar[str] = "Destination {} does not exist !"
    example: ClassVar[str] = "lineinfile: {path: /etc/hosts, regexp: '^127\\.0\\.1\\.1', line: 127.0.1.1 jetson}"

    def __post_init__(self) -> None:
        """Check which arguments go together."""
        super().__post_init__()
        if self.regexp is not None and self.search_string is not None:
            raise InputError("regexp and search_string are mutually exclusive")
        if self.backrefs and self.search_string is not None:
            raise InputError("backrefs and search_string are mutually exclusive")
        if self.state == "absent" and (self.line, self.regexp, self.search_string) == (None, None, None):
            raise InputError("one of line, search_string, or regexp is required with state=absent")
        if self.state == "present" and self.line is None:
            raise InputError("line is required with state=present")
        if self.state == "present" and self.backrefs and self.regexp is None:
            raise InputError("regexp is required with backrefs=true")

    def edited(self, before: bytes | None) -> tuple[bytes, str, dict[str, Any]]:
        """Return the content with, or without, the line."""
        lines = re.findall(rb"[^\n]*\n|[^\n]+", before or b"")
        if self.state == "absent":
            kept = [line for line in lines if not self._is_meant(line)]
            found = len(lines) - len(kept)
            return b"".join(kept), f"{found} line(s) removed" if found else "", {"found": found}
        message = self._present(lines)
        return b"".join(lines), message, {}

    @property
    def _wanted(self) -> bytes:
        return (self.line or "").encode()

    def _match(self, line: bytes) -> re.Match[bytes] | bool | None:
        """Tell whether regexp or search_string finds a line."""
        regexp = pattern(self.regexp)
        if regexp is not None:
            return regexp.search(line)
        return self.search_string is not None and self.search_string.encode() in line

    def _is_meant(self, line: bytes) -> bool:
        """Tell whether a line has to go."""
        if self.regexp is None and self.search_string is None:
            return _bare(line) == self._wanted
        return bool(self._match(line))

    def _present(self, lines: list[bytes]) -> str:
        """Change the lines in place and return what was done: a line that is found is replaced, else one is added."""
        found = [(n, match) for n, line in enumerate(lines) if (match := self._match(line))]
        if found:
            at, match = found[0 if self.firstmatch else -1]
            expands = self.backrefs and isinstance(match, re.Match)
            return _replace(lines, at, self._expanded(match) if expands else self._wanted)
        exact, anchor = self._anchors(lines)
        if exact is not None:
            return _replace(lines, exact, self._wanted)
        return "" if self.backrefs else self._insert(lines, anchor)

    def _expanded(self, match: re.Match[bytes] | bool | None) -> bytes:
        try:
            return match.expand(self._wanted) if isinstance(match, re.Match) else self._wanted
        except (re.error, IndexError) as error:
            raise CannotPlan(f"cannot fill the groups of regexp into line: {error}") from error

    def _anchors(self, lines: list[bytes]) -> tuple[int | None, int | None]:
        """Return where the line itself stands, and where insertafter or insertbefore would have it."""
        after = self.insertafter not in (None, BOF, EOF)
        text = self.insertafter if after else self.insertbefore
        regexp = pattern(text) if text not in (None, BOF, EOF) else None
        exact = anchor = None
        for n, line in enumerate(lines):
            if _bare(line) == self._wanted:
                exact = n
            elif regexp is not None and regexp.search(line):
                anchor = n + 1 if after else n
                if self.firstmatch:
                    break
        return exact, anchor

    def _insert(self, lines: list[bytes], anchor: int | None) -> str:
        """Add the line where it belongs, at the end by default."""
        if BOF in (self.insertbefore, self.insertafter):
            anchor = 0
        elif anchor is None:
            anchor = len(lines)
        elif self.insertafter and anchor < len(lines) and _bare(lines[anchor]) == self._wanted:
            return ""
        if anchor == len(lines) and lines and not lines[-1].endswith((b"\n", b"\r")):
            lines[-1] += b"\n"
        lines.insert(anchor, self._wanted + b"\n")
        return "line added"


def _bare(line: bytes) -> bytes:
    return line.rstrip(b"\r\n")


def _replace(lines: list[bytes], at: int, new: bytes) -> str:
    """Put a line in the place of another, and say whether that changed it."""
    whole = new if new.endswith(b"\n") else new + b"\n"
    if lines[at] == whole:
        return ""
    lines[at] = whole
    return "line replaced"
