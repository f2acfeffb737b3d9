"""The verdict on a key that a server shows, by what the known_hosts files hold."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.errors import Refused
from provisioner.files import locked
from provisioner.transport.knownhosts import FILES, Entry, HostKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SSH_PORT = 22
ALGORITHMS = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


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


class KnownHosts:
    """What the known_hosts files say about one host.

    Unless it is `thorough`, hashed names are not looked through for the host: whether a key is known is told all the
    same, for then only the lines with that key are tried. Any other question wants a `complete` answer.
    """

    def __init__(self, files: Sequence[Path], host: str, port: int, *, thorough: bool = True) -> None:
        self._files = files
        self._indexes = [FILES.get(path) for path in files]
        self.complete = thorough or not any(index.hashed_kinds for index in self._indexes)
        self.name = host_name(host, port)
        self._plain_name = host.lower()
        found = self._find(self.name)
        self._keys = [entry for entry in found if not entry.marker]
        self._revoked = [entry for entry in found if entry.marker == "revoked"]
        self._authorities = [entry for entry in found if entry.marker == "cert-authority"]
        self._portless = [] if port == SSH_PORT else self._without_port()

    def _find(self, name: str) -> list[Entry]:
        return [entry for index in self._indexes for entry in index.find(name, hashed=self.complete)]

    def _without_port(self) -> list[Entry]:
        # ssh takes a key that is filed without a port, if it is the very same key.
        found = self._find(self._plain_name)
        self._revoked += [entry for entry in found if entry.marker == "revoked"]
        return [entry for entry in found if not entry.marker]

    @property
    def kinds(self) -> tuple[str, ...]:
        """Return the key types that the files hold for the host."""
        return tuple(dict.fromkeys(entry.key.kind for entry in self._keys))

    def algorithms(self) -> tuple[str, ...]:
        """Return what to offer, the quickest first: what the files hold, or all where that is nothing."""
        everything = [name for names in ALGORITHMS.values() for name in names]
        known = [name for kind, names in ALGORITHMS.items() if kind in self.kinds for name in names]
        if known:
            return tuple(known)
        kinds = [entry.key.kind for entry in self._portless]
        if not self.complete:
            kinds += [kind for index in self._indexes for kind in index.hashed_kinds]
        likely = [name for kind in kinds for name in ALGORITHMS.get(kind, ())]
        return tuple(dict.fromkeys([*likely, *everything]))

    def is_known(self, key: HostKey) -> bool:
        """Return whether this very key is on file and not revoked."""
        found = [entry for entry in [*self._keys, *self._portless, *self._revoked] if entry.key == key]
        if not self.complete:
            names = dict.fromkeys((self.name, self._plain_name))
            found += [entry for index in self._indexes for name in names for entry in index.find_hashed(name, key)]
        markers = {entry.marker for entry in found if entry.key == key}
        return "" in markers and "revoked" not in markers

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
