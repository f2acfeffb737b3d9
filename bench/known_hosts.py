"""What a large known_hosts costs: to read it once, and to look a host up; ours, and paramiko's own."""

from __future__ import annotations

import base64
import hmac
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LINES = 10_000
FEWER = 1_000
"""Lines for paramiko's own reader, whose time grows with their square."""

_LOOKUPS = 20


def notes() -> list[str]:
    """Return a sentence for plain and one for hashed names."""
    with tempfile.TemporaryDirectory() as folder:
        return [_note(Path(folder) / kind, kind) for kind in ("plain", "hashed")]


def _note(path: Path, kind: str) -> str:
    from paramiko.hostkeys import HostKeys

    from provisioner.transport.hostkeys import KnownHosts
    from provisioner.transport.knownhosts import HostKey

    keys = {f"10.0.{number // 250}.{number % 250}": _key() for number in range(LINES)}
    names = {name: _hashed(name) if kind == "hashed" else name for name in keys}
    lines = [HostKey("ssh-ed25519", key).line_for(names[name]) + "\n" for name, key in keys.items()]
    path.write_text("".join(lines))
    few = path.with_name("few")
    few.write_text("".join(lines[:FEWER]))

    def ours(name: str) -> object:
        return KnownHosts((path,), name, 22, thorough=False).is_known(HostKey("ssh-ed25519", keys[name]))

    some = list(keys)[:: LINES // _LOOKUPS]
    known = HostKeys()
    read = _milliseconds(lambda: KnownHosts((path,), "nobody", 22, thorough=False))
    look = sum(_milliseconds(lambda name=name: ours(name)) for name in some) / len(some)
    theirs = _milliseconds(lambda: known.load(str(few)))
    their_look = sum(_milliseconds(lambda name=name: known.lookup(name)) for name in some) / len(some)
    return (
        f"known_hosts with {kind} names: ours reads {LINES} lines in {read:.0f} ms once and looks a host up in "
        f"{look:.2f} ms; paramiko's own reads {FEWER} lines in {theirs:.0f} ms and looks a host up in "
        f"{their_look:.1f} ms"
    )


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1000


def _key() -> bytes:
    return b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + os.urandom(32)


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


if __name__ == "__main__":
    print(*notes(), sep="\n")
