"""One simulated device: the states of what is on it, by kind and name, kept as JSON."""

from __future__ import annotations

import base64
import dataclasses
import posixpath
import time
import uuid
from dataclasses import field
from typing import TYPE_CHECKING, Any, TypeVar

from provisioner.lab import catalogue, places
from provisioner.model import Observable, State, Unknown, escape
from provisioner.observables.file import File, FileState, normal
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

S = TypeVar("S", bound=State)
Things = dict[str, dict[str, str]]

HOPS = 40
"""Links that are followed before they count as a loop."""


class CannotBe(Exception):  # noqa: N818 - what a device says instead of doing it
    """Why an effect fails on a device, and the rc that it ends with."""

    def __init__(self, message: str, rc: int = 1) -> None:
        super().__init__(message)
        self.rc = rc


def told(state: State) -> str:
    """Return what a probe prints of a state: the canonical text, and a line with a dot for each attached field."""
    lines = [state.render()] if state.render() else []
    for f in dataclasses.fields(state):
        value = getattr(state, f.name)
        if not f.metadata.get("attached") or value is None or isinstance(value, Unknown):
            continue
        named = {f"{f.name}_{key}": one for key, one in value.items()} if isinstance(value, dict) else {f.name: value}
        lines += [f".{name}={_word(one)}" for name, one in named.items()]
    return "\n".join(lines)


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple):
        return " ".join(escape(str(item)).replace(" ", "%20") for item in value)
    return escape(str(value))


def name_of(thing: Observable[Any]) -> str:
    """Return what tells a thing from others of its kind."""
    return " ".join(str(getattr(thing, f.name)) for f in dataclasses.fields(thing) if f.compare)


def token() -> str:
    """Return a name that was never used, as kernel and systemd give to boots and runs."""
    return uuid.uuid4().hex


@dataclass
class Disk:
    """What outlives a run: states as text, the boot, the birth (seconds since 1970), and the handlers owed, by user.

    `docker` is what the daemon runs with, None where it does not; `masked` what units were before they were masked.
    """

    simulate: str
    born: int
    boot: str = field(default_factory=lambda: str(uuid.uuid4()))
    things: Things = field(default_factory=dict)
    owed: dict[str, list[str]] = field(default_factory=dict)
    docker: dict[str, Any] | None = None
    masked: dict[str, str] = field(default_factory=dict)


class Device:
    """A device that is data; `load` and `save` are between it and its file. Images come from the lab's registry."""

    def __init__(self, folder: Path, host: str, simulate: str, registry: str | None = None) -> None:
        self.host = host
        self.registry = registry
        self.found = catalogue.model(simulate)
        self.packages = catalogue.packages(self.found)
        self.lock = folder / "model.lock"
        self._path = folder / "model.json"
        self.disk = Disk(self.found.id, int(time.time()))

    def load(self) -> None:
        """Read what the last run left, or be born."""
        kept = places.read_json(self._path)
        if kept.get("simulate") == self.found.id:
            self.disk = Disk(**{f.name: kept[f.name] for f in dataclasses.fields(Disk) if f.name in kept})
            return
        from .birth import be_born

        self.disk = Disk(self.found.id, int(time.time()))
        be_born(self)
        self.save()

    def save(self) -> None:
        """Write all of it in one step."""
        places.write_json(self._path, dataclasses.asdict(self.disk))

    def snapshot(self) -> Disk:
        """Return a copy to go back to."""
        things = {kind: dict(named) for kind, named in self.disk.things.items()}
        owed = {user: list(names) for user, names in self.disk.owed.items()}
        return dataclasses.replace(self.disk, things=things, owed=owed, masked=dict(self.disk.masked))

    # Things.

    def held(self, thing: Observable[S]) -> S | None:
        """Return the state that is kept of a thing, None where there never was one."""
        text = self.disk.things.get(thing.kind, {}).get(name_of(thing))
        return None if text is None else thing.state.parse(text)  # type: ignore[return-value]

    def keep(self, thing: Observable[Any], state: State) -> None:
        """Keep a state."""
        self.disk.things.setdefault(thing.kind, {})[name_of(thing)] = told(state)

    def drop(self, thing: Observable[Any]) -> None:
        """Forget a thing."""
        self.disk.things.get(thing.kind, {}).pop(name_of(thing), None)

    def names(self, kind: str) -> tuple[str, ...]:
        """Return the names of all that is kept of a kind."""
        return tuple(self.disk.things.get(kind, {}))

    # Files.

    def followed(self, path: str, hops: int = HOPS) -> str:
        """Return a path with its links followed, the last part's too."""
        at, parts = "/", [part for part in path.split("/") if part]
        for index, part in enumerate(parts):
            here = posixpath.join(at, part)
            state = self.held(File(here))
            if state is not None and state.type == "link" and state.target and hops:
                rest = posixpath.join(at, state.target, *parts[index + 1 :])
                return self.followed(normal(rest), hops - 1)
            at = here
        return at

    def real(self, path: str) -> str:
        """Return a path with the links of its folders followed."""
        folder, name = posixpath.split(path)
        return posixpath.join(self.followed(folder), name)

    def standing(self, path: str) -> FileState:
        """Return what stands at a path."""
        real = self.real(path)
        return self.held(File(real)) or FileState(real=real)

    def below(self, real: str) -> Iterator[File]:
        """Yield what is below a folder."""
        start = real.rstrip("/") + "/"
        yield from (File(path) for path in self.names(File.kind) if path.startswith(start) and path != "/")

    def content(self, path: str) -> bytes | None:
        """Return what a file holds, links followed; None where there is no such file."""
        return self.standing(self.followed(path)).content

    def text(self, path: str) -> str:
        """Return what a file holds as text, nothing where there is none."""
        return (self.content(path) or b"").decode("utf-8", "replace")

    def content_of(self, sha256: str) -> bytes | None:
        """Return the bytes of a hash, where any file has them."""
        for path in self.names(File.kind):
            state = self.held(File(path))
            if state is not None and state.sha256 == sha256 and state.content is not None:
                return state.content
        return None
