"""known_hosts files, read once per process and indexed: an inventory of thousands costs each host a look-up.

paramiko's own reader knows neither wildcards nor @revoked, and reads the file again for every connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import threading
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_MARKERS = ("@revoked", "@cert-authority")
_HASHED = "|1|"
_PATTERN = frozenset("*?!|")


@dataclass(frozen=True)
class HostKey:
    """A public key as a server shows it or a file holds it."""

    kind: str
    blob: bytes

    @property
    def fingerprint(self) -> str:
        """Return the key's fingerprint as ssh-keygen -l prints it."""
        digest = base64.b64encode(hashlib.sha256(self.blob).digest()).decode()
        return "SHA256:" + digest.rstrip("=")

    def line_for(self, name: str) -> str:
        """Return the known_hosts line that would accept this key for the name."""
        return f"{name} {self.kind} {base64.b64encode(self.blob).decode()}"

    def __str__(self) -> str:
        """Return type and fingerprint."""
        return f"{self.kind} {self.fingerprint}"


@dataclass(frozen=True)
class Entry:
    """One line of a known_hosts file."""

    patterns: str
    key: HostKey
    marker: str
    path: Path
    line: int

    @cached_property
    def _names(self) -> tuple[tuple[bool, re.Pattern[str]], ...]:
        return tuple((p.startswith("!"), _wildcard(p.removeprefix("!"))) for p in self.patterns.split(",") if p)

    def matches(self, name: str) -> bool:
        """Return whether the line speaks of this name (a host, or [host]:port)."""
        if self.patterns.startswith(_HASHED):
            return hash_matches(self.patterns, name)
        hits = [negated for negated, pattern in self._names if pattern.fullmatch(name)]
        return bool(hits) and not any(hits)

    def __str__(self) -> str:
        """Return the place of the line."""
        return f"{self.path}:{self.line}"


def parse(path: Path, text: str) -> Iterator[Entry]:
    """Yield the entries of a known_hosts file; lines that are none are passed over, as ssh does."""
    for row in _rows(text):
        if (entry := _entry(path, row)) is not None:
            yield entry


class _Row(NamedTuple):
    """A line that may be an entry; its key is decoded once somebody asks for it."""

    line: int
    marker: str
    names: str
    kind: str
    blob: str


def _rows(text: str) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split(None, 4)
        marker = words.pop(0)[1:] if words and words[0] in _MARKERS else ""
        if len(words) >= 3 and not words[0].startswith(("#", "@")):  # noqa: PLR2004 - names, type, key
            names = words[0] if words[0].startswith(_HASHED) else words[0].lower()
            yield _Row(number, marker, names, words[1], words[2])


def _entry(path: Path, row: _Row) -> Entry | None:
    try:
        blob = base64.b64decode(row.blob, validate=True)
    except (binascii.Error, ValueError):
        return None
    return Entry(row.names, HostKey(row.kind, blob), row.marker, path, row.line)


class Index:
    """The lines of a file by plain name; those with patterns; and those with hashed names, by key.

    Each hashed name has a salt of its own, so that to look for a name costs a digest for every line.
    """

    def __init__(self, path: Path, text: str = "") -> None:
        self._path = path
        self._plain: dict[str, list[_Row]] = {}
        self._patterns: list[Entry] = []
        self._hashed: dict[str, list[_Row]] = {}
        for row in _rows(text):
            if row.names.startswith(_HASHED):
                self._hashed.setdefault(row.blob, []).append(row)
            elif not _PATTERN.isdisjoint(row.names):
                self._patterns += self._entries([row])
            else:
                for name in row.names.split(","):
                    self._plain.setdefault(name, []).append(row)

    @cached_property
    def hashed_kinds(self) -> tuple[str, ...]:
        """Return the types of the keys with hashed names, most frequent first."""
        return tuple(kind for kind, _ in Counter(row.kind for row in self._hashed_rows()).most_common())

    def _hashed_rows(self) -> Iterator[_Row]:
        return (row for rows in self._hashed.values() for row in rows)

    def find(self, name: str, *, hashed: bool) -> list[Entry]:
        """Return the entries of a name; those with a hashed name only if asked for."""
        found = self._entries(self._plain.get(name, ()))
        found += [entry for entry in self._patterns if entry.matches(name)]
        if hashed:
            found += self._matching(name, self._hashed_rows())
        return sorted(found, key=lambda entry: entry.line)

    def find_hashed(self, name: str, key: HostKey) -> list[Entry]:
        """Return the entries with a hashed name that have this very key."""
        return self._matching(name, self._hashed.get(base64.b64encode(key.blob).decode(), ()))

    def _matching(self, name: str, rows: Iterable[_Row]) -> list[Entry]:
        return self._entries(row for row in rows if hash_matches(row.names, name))

    def _entries(self, rows: Iterable[_Row]) -> list[Entry]:
        return [entry for row in rows if (entry := _entry(self._path, row))]


class _Files:
    """The parsed files of this process, by path; a file that changed is read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, int] | None, Index]] = {}

    def get(self, path: Path) -> Index:
        """Return the entries of a file; a file that is not there has none."""
        stamp = _stamp(path)
        with self._lock:
            if path not in self._read or self._read[path][0] != stamp:
                text = path.read_text(encoding="utf-8", errors="surrogateescape") if stamp else ""
                self._read[path] = (stamp, Index(path, text))
            return self._read[path][1]


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size


FILES = _Files()


def _wildcard(pattern: str) -> re.Pattern[str]:
    # Not fnmatch: the brackets of [host]:port are no character class.
    body = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in pattern)
    return re.compile(body)


def hash_matches(field: str, name: str) -> bool:
    """Return whether a name field that ssh has hashed stands for this name."""
    try:
        salt, digest = (base64.b64decode(part) for part in field.split("|")[2:4])
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(hmac.digest(salt, name.encode(), "sha1"), digest)
