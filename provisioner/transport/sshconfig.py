"""ssh_config with its Include lines expanded, which paramiko does not know."""

from __future__ import annotations

import os
import re
import shlex
import stat
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InputError, Source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.transport.settings import Settings

_MAX_DEPTH = 16
_READING = threading.Lock()
# What says where a connection leads, or for whom; of Match only the library can tell whether it is written right.
_LEADING = frozenset(
    {"hostname", "port", "proxyjump", "proxycommand", "addressfamily", "canonicalizehostname", "match"}
)
_SETTING = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.+?)\s*$")
SYSTEM = Path("/etc/ssh/ssh_config")


def load(path: Path | None, *, user: str | None = None, port: int | None = None) -> Settings:
    """Return the parsed configuration, to be read only; user and port, if given, win over what the files say."""
    from paramiko.ssh_exception import ConfigParseError

    files = _files(path)
    try:
        with _READING:  # the many that begin together wait for one that reads
            return _parsed(_given(user, port), files)
    except (ConfigParseError, ValueError) as error:
        where = path or Path("~/.ssh/config")
        raise InputError(f"ssh_config: {error}", source=Source(str(where))) from error


def may_lead_elsewhere(path: Path | None) -> bool:
    """Tell whether a line of the files could change where a connection leads, for whatever host, or is a mistake."""
    files = _files(path)
    with _READING:
        return not all(_is_plain(file, stamp) for file, stamp in files)


@lru_cache(maxsize=32)
def _is_plain(path: Path, stamp: int) -> bool:
    try:
        lines = [line.strip() for line in _text(path, stamp).splitlines()]
    except (InputError, OSError, ValueError):
        return False  # `load` tells why
    settings = [_SETTING.match(line) for line in lines if line and not line.startswith("#")]
    return all(found and found[1].lower() not in _LEADING for found in settings)


@lru_cache(maxsize=256)
def _parsed(given: str, files: tuple[tuple[Path, int], ...]) -> Settings:
    from provisioner.transport.settings import Settings

    return Settings.from_text(given + "".join(f"{_text(file, stamp)}\n" for file, stamp in files))


def _files(path: Path | None) -> tuple[tuple[Path, int], ...]:
    """Return the files that count, each with the time of its last change."""
    if path is None:
        stamped = (_stamped(file) for file in (_own(os.environ.get("HOME")), SYSTEM))
        return tuple(one for one in stamped if one is not None)
    if path == Path(os.devnull):
        return ()
    found = _stamped(path)
    if found is None:
        raise InputError("no such ssh_config", source=Source(str(path)))
    return (found,)


@lru_cache
def _own(_home: str | None) -> Path:
    return Path.home() / ".ssh" / "config"


def _stamped(file: Path) -> tuple[Path, int] | None:
    try:
        facts = file.stat()
    except OSError:
        return None
    return (file, facts.st_mtime_ns) if stat.S_ISREG(facts.st_mode) else None


def _given(user: str | None, port: int | None) -> str:
    lines = [f"User {user}" if user and not re.search(r"\s", user) else "", f"Port {port}" if port else ""]
    return "Host *\n" + "\n".join(lines) + "\n"


@lru_cache(maxsize=32)
def _text(path: Path, _stamp: int) -> str:
    home = SYSTEM.parent if path == SYSTEM else Path.home() / ".ssh"
    # Each file starts outside any Host block, whatever the file before it ended in.
    return "\n".join(["Host *", *expand(path, home)])


def expand(path: Path, home: Path, outer: str = "", depth: int = 0) -> Iterator[str]:
    """Yield the lines of a file with its Include lines replaced; `outer` are the criteria around it."""
    if depth > _MAX_DEPTH:
        raise InputError("ssh_config: Include lines go round in a circle", source=Source(str(path)))
    current = outer
    for line in path.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        found = _SETTING.match(line)
        keyword = found[1].lower() if found else ""
        if found and keyword == "include":
            for file in _included(found[2], home):
                yield from expand(file, home, current, depth + 1)
            yield _header(current)
        elif found and keyword in ("host", "match"):
            current = " ".join(filter(None, [outer, _criteria(keyword, found[2])]))
            yield _header(current)
        else:
            yield line


def _criteria(keyword: str, value: str) -> str:
    """Return a Host or Match line as Match criteria, so that nested blocks can be joined."""
    if keyword == "host":
        return f"originalhost {shlex.quote(','.join(shlex.split(value)))}"
    words = shlex.split(value)
    # `all` adds nothing, and paramiko refuses it beside others (`Match final all` is in Fedora's file).
    return " ".join(shlex.quote(word) for word in words if word != "all")


def _header(criteria: str) -> str:
    words = shlex.split(criteria)
    if len(words) == 2 and words[0] == "originalhost":  # noqa: PLR2004
        # The same as a Match, for which paramiko asks who runs this, each time that it looks a host up.
        return f"Host {shlex.join(words[1].split(','))}"
    return f"Match {criteria}" if criteria else "Host *"


def _included(value: str, home: Path) -> Iterator[Path]:
    for pattern in shlex.split(value):
        full = home / Path(pattern).expanduser()
        anchor = Path(full.anchor)
        yield from sorted(file for file in anchor.glob(str(full.relative_to(anchor))) if file.is_file())
