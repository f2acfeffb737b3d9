"""Host keys taken out of a known_hosts file of ours."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.files import locked, replace
from provisioner.transport import sshconfig
from provisioner.transport.hostkeys import SSH_PORT, host_name, lock_of
from provisioner.transport.knownhosts import hash_matches

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from provisioner.transport.target import Target


def filed_as(target: Target) -> str:
    """Return the name under which the device's host key is filed, as ssh_config has it."""
    settings = sshconfig.load(target.ssh_config, user=target.user, port=target.port).lookup(target.address)
    host = settings.get("hostkeyalias") or settings.get("hostname") or target.address
    return host_name(host, int(settings.get("port") or target.port or SSH_PORT))


def forget(path: Path, names: Iterable[str]) -> list[str]:
    """Take the keys of these names out of a known_hosts file, in one step; return the names that it held."""
    if not path.is_file():
        return []
    wanted = {name.lower() for name in names}
    with locked(lock_of(path)):
        before = _read(path)
        after, found = without(before, wanted)
        if found:
            replace(path, after.encode("utf-8", "surrogateescape"))
    return sorted(found)


def held(path: Path, names: Iterable[str]) -> list[str]:
    """Return which of these names a known_hosts file holds keys of that `forget` would take out."""
    return sorted(without(_read(path), {name.lower() for name in names})[1]) if path.is_file() else []


def _read(path: Path) -> str:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return file.read()


def without(text: str, names: set[str]) -> tuple[str, set[str]]:
    """Return the text of a known_hosts file without these names, and those that were in it.

    Other names of a line stay, and so do patterns, and what is @revoked or a @cert-authority: these speak of more
    than one device, or were written so that they outlast one.
    """
    kept: list[str] = []
    found: set[str] = set()
    for line in text.splitlines(keepends=True):
        left, gone = _less(line, names)
        found |= gone
        kept.append(left)
    return "".join(kept), found


def _less(line: str, names: set[str]) -> tuple[str, set[str]]:
    words = line.split(maxsplit=1)
    if len(words) < 2 or words[0].startswith(("#", "@")):  # noqa: PLR2004 - names, and the key
        return line, set()
    if words[0].startswith("|1|"):
        gone = {name for name in names if hash_matches(words[0], name)}
        return ("" if gone else line), gone
    filed = words[0].split(",")
    gone = {name.lower() for name in filed} & names
    if not gone:
        return line, set()
    rest = [name for name in filed if name.lower() not in names]
    return (line.replace(words[0], ",".join(rest), 1) if rest else ""), gone
