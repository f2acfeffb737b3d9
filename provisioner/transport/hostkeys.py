"""known_hosts, read once per file and process, and the verdict on a key that a server shows.

paramiko's own reader knows neither wildcards nor @revoked, and reads the file again for every connection.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from provisioner.errors import Refused
from provisioner.files import locked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SSH_PORT = 22
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}
_MARKERS = ("@revoked", "@cert-authority")


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
        if self.patterns.startswith("|1|"):
            return hash_matches(self.patterns, name)
        hits = [negated for negated, pattern in self._names if pattern.fullmatch(name)]
        return bool(hits) and not any(hits)

    def __str__(self) -> str:
        """Return the place of the line."""
        return f"{self.path}:{self.line}"


class UnknownHostKey(Refused):
    """A key that no known_hosts file holds; onboarding shows it, and on a yes remembers `line`."""

    def __init__(self, name: str, key: HostKey, files: Sequence[Path], *, note: str = "") -> None:
        self.key = key
        self.line = key.line_for(name)
        host, port = split_name(name)
        store = files[0] if files else "known_hosts"
        make = f"mkdir -p {files[0].parent} && " if files and not files[0].parent.is_dir() else ""
        scan = f"{make}ssh-keyscan -t {key.kind.removeprefix('ssh-')} -p {port} {host} >> {store}"
        super().__init__(
            f"the host key of {name} is not known: {key}{note}",
            hint=f"`provision onboard {host}{'' if port == SSH_PORT else f' -p {port}'} -i INVENTORY` asks about it; "
            f"or compare the fingerprint on the device, then `{scan}`",
        )


class ChangedHostKey(Refused):
    """A key other than the one on file: the device was set up anew, or somebody is in between."""

    def __init__(self, name: str, key: HostKey, entry: Entry) -> None:
        self.key = key
        self.entry = entry
        super().__init__(
            f"the host key of {name} has changed: known is {entry.key} ({entry}), shown was {key}",
            hint=_removal(name, entry),
        )


def _removal(name: str, entry: Entry) -> str:
    host, port = split_name(name)
    return (
        "somebody may be listening in. If the device was set up anew, compare the fingerprint on it, then "
        f"`provision onboard {host}{'' if port == SSH_PORT else f' -p {port}'} -i INVENTORY --replace NAME`, "
        f"or `ssh-keygen -R '{name}' -f {entry.path}` and accept the new key"
    )


def host_name(host: str, port: int) -> str:
    """Return the name under which known_hosts files a host and port."""
    return host.lower() if port == SSH_PORT else f"[{host.lower()}]:{port}"


def split_name(name: str) -> tuple[str, int]:
    """Return host and port of a known_hosts name."""
    found = re.fullmatch(r"\[(.*)\]:(\d+)", name)
    return (found[1], int(found[2])) if found else (name, SSH_PORT)


def parse(path: Path, text: str) -> Iterator[Entry]:
    """Yield the entries of a known_hosts file; lines that are none are passed over, as ssh does."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        marker = words.pop(0)[1:] if words and words[0] in _MARKERS else ""
        if len(words) < 3 or words[0].startswith(("#", "@")):  # noqa: PLR2004 - names, type, key
            continue
        try:
            blob = base64.b64decode(words[2], validate=True)
        except (binascii.Error, ValueError):
            continue
        patterns = words[0] if words[0].startswith("|1|") else words[0].lower()
        yield Entry(patterns, HostKey(words[1], blob), marker, path, number)


class _Files:
    """The parsed files of this process, by path; a file that changed is read again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._read: dict[Path, tuple[tuple[int, int], _Index]] = {}

    def get(self, path: Path) -> _Index:
        """Return the entries of a file; a file that is not there has none."""
        with self._lock:
            try:
                stat = path.stat()
            except OSError:
                return _Index(())
            stamp = (stat.st_mtime_ns, stat.st_size)
            if path not in self._read or self._read[path][0] != stamp:
                text = path.read_text(encoding="utf-8", errors="surrogateescape")
                self._read[path] = (stamp, _Index(parse(path, text)))
            return self._read[path][1]


class _Index:
    """Entries by plain name, and apart those that must be tried one by one."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._plain: dict[str, list[Entry]] = {}
        self._others: list[Entry] = []
        for entry in entries:
            if re.search(r"[*?!|]", entry.patterns):
                self._others.append(entry)
                continue
            for name in entry.patterns.split(","):
                self._plain.setdefault(name, []).append(entry)

    def find(self, name: str) -> list[Entry]:
        found = self._plain.get(name, []) + [entry for entry in self._others if entry.matches(name)]
        return sorted(found, key=lambda entry: entry.line)


_FILES = _Files()


class KnownHosts:
    """What the known_hosts files say about one host."""

    def __init__(self, files: Sequence[Path], host: str, port: int) -> None:
        self._files = files
        self.name = host_name(host, port)
        found = [entry for path in files for entry in _FILES.get(path).find(self.name)]
        self._keys = [entry for entry in found if not entry.marker]
        self._revoked = [entry for entry in found if entry.marker == "revoked"]
        self._authorities = [entry for entry in found if entry.marker == "cert-authority"]
        self._portless = [] if port == SSH_PORT else self._without_port(host)

    def _without_port(self, host: str) -> list[Entry]:
        # ssh takes a key that is filed without a port, if it is the very same key.
        found = [entry for path in self._files for entry in _FILES.get(path).find(host.lower())]
        self._revoked += [entry for entry in found if entry.marker == "revoked"]
        return [entry for entry in found if not entry.marker]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the key types that the files hold for the host."""
        return tuple(dict.fromkeys(entry.key.kind for entry in self._keys))

    def algorithms(self) -> tuple[str, ...]:
        """Return what to offer: only what the files hold, or everything for a host that they do not know."""
        everything = [name for names in ALGORITHMS.values() for name in names]
        known = [name for kind in self.kinds for name in ALGORITHMS.get(kind, ())]
        if known:
            return tuple(known)
        likely = [name for entry in self._portless for name in ALGORITHMS.get(entry.key.kind, ())]
        return tuple(dict.fromkeys([*likely, *everything]))

    def is_known(self, key: HostKey) -> bool:
        """Return whether this very key is on file and not revoked."""
        revoked = any(entry.key == key for entry in self._revoked)
        return not revoked and any(entry.key == key for entry in [*self._keys, *self._portless])

    def check(self, key: HostKey) -> None:
        """Raise Refused unless the key is the host's known key."""
        self._check_revoked(key)
        if self.is_known(key):
            return
        for entry in self._keys:
            if entry.key.kind == key.kind:
                raise ChangedHostKey(self.name, key, entry)
        raise UnknownHostKey(self.name, key, self._files, note=self._note())

    def mismatch(self) -> Refused:
        """Return the refusal of a server that has none of the known key types."""
        first = self._keys[0] if self._keys else None
        known = f"; known is {first.key} ({first})" if first else ""
        return Refused(
            f"{self.name} no longer has a host key of the known type{known}",
            hint=_removal(self.name, first) if first else None,
        )

    def _check_revoked(self, key: HostKey) -> None:
        for entry in self._revoked:
            if entry.key == key:
                raise Refused(f"the host key of {self.name} is revoked: {key} ({entry})")

    def _note(self) -> str:
        if self._keys:
            return f" (known_hosts holds only {', '.join(self.kinds)} for it)"
        if self._authorities:
            return f" (an authority vouches for it in {self._authorities[0]}, which cannot be checked here)"
        return ""


def remember(path: Path, line: str) -> None:
    """Add a line to a known_hosts file of ours, making the file if there is none."""
    with locked(lock_of(path)):
        old = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
        gap = "" if not old or old.endswith("\n") else "\n"
        with path.open("a", encoding="utf-8") as file:
            file.write(f"{gap}{line}\n")


def lock_of(path: Path) -> Path:
    """Return the lock of a known_hosts file of ours."""
    return path.with_name(f".{path.name}.lock")


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
