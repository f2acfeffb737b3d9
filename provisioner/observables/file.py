"""Files, folders and links: what stands at a path."""

from __future__ import annotations

import base64
import functools
import hashlib
import posixpath
from dataclasses import field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from provisioner.errors import NotYetKnown
from provisioner.model import NeedLook, Observable, State, Unknown, attached, observable, unescape
from provisioner.observables.file_many import FILE_MANY
from provisioner.observables.file_probe import PROBE_FILE
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provisioner.model import View
    from provisioner.shell import Script

METADATA = "."
HASHED = "-"
CONTENT = "+"
UNREADABLE = "unreadable"
"""In the place of a hash."""

CONTENT_LIMIT = 4 * 1024 * 1024
"""Bytes of a file that is edited in place; a larger one is an error."""

LINKS_LIMIT = 40
"""Links that are followed on the way to one thing, as the kernel has it."""

_FACTS = 13
_DECODERS = {"": lambda _: b"", "hex": bytes.fromhex, "base64": base64.b64decode}
_KINDS = {"reg": "file", "dir": "directory", "sym": "link", "f": "file", "d": "directory", "l": "link"}
_PATHS = 1 << 16  # paths that are kept in their normal form: those of a fleet differ little


@dataclass(frozen=True, kw_only=True)
class FileState(State):
    """What stands at a path: type is absent, file, directory, link or other; mode is four octal digits.

    An owner or group is its name where passwd has one, else its number. `real` is the path with the links of its
    folders followed, "" where they lead in a circle. `sha256` is None where it was not asked for. A content over
    4 MiB is not read: `large`.
    """

    type: str = "absent"
    real: str = ""
    owner: str | Unknown | None = None
    group: str | Unknown | None = None
    mode: str | Unknown | None = None
    sha256: str | Unknown | None = None
    target: str | None = None
    facts: str | None = attached()
    large: bool | None = attached()
    content: bytes | None = attached()

    @property
    def exists(self) -> bool:
        """Tell whether anything stands there."""
        return self.type != "absent"

    def but(self, **fields: Any) -> FileState:
        """Return this with other fields: what `dataclasses.replace` does, in a third of its time."""
        return FileState(**{**self.__dict__, **fields})

    def render(self) -> str:
        """Return the canonical text; plain files are thousands at a time, so theirs is made without a loop."""
        told = (self.real, self.owner, self.group, self.mode, self.sha256)
        if self.type == "file" and self.target is None and all(isinstance(one, str) for one in told):
            text = "type=file\nreal={}\nowner={}\ngroup={}\nmode={}\nsha256={}".format(*told)
            if "%" not in text and text.count("\n") == len(told):
                return text
        return super().render()

    def known_fields(self) -> tuple[str, ...]:
        """Leave the hash out where nobody asked for it."""
        open_ones = (self.owner, self.group, self.mode, self.sha256)
        names = super().known_fields() if any(isinstance(one, Unknown) for one in open_ones) else _COMPARED
        unhashed = self.type == "file" and self.sha256 is None
        return tuple(name for name in names if name != "sha256") if unhashed else names

    def stat(self) -> dict[str, int]:
        """Return what stat says: sizes in bytes, times in seconds since 1970."""
        if self.facts is None:
            return {}
        names = ("uid", "gid", "size", "mtime", "atime", "ctime", "inode", "nlink", "dev")
        return {name: int(value) for name, value in zip(names, self.facts.split("|"), strict=False) if value}

    @property
    def size(self) -> int:
        """Return the bytes that it has."""
        return self.stat().get("size", 0)

    def with_content(self, content: bytes) -> FileState:
        """Return this as a file of that content."""
        digest = hashlib.sha256(content).hexdigest()
        return replace(self, type="file", sha256=digest, content=content, target=None, facts=None, large=None)


_COMPARED = tuple(one.name for one in fields(FileState) if one.compare)


@functools.lru_cache(_PATHS)
def normal(path: str) -> str:
    """Return an absolute path without doubled or trailing slashes, and without . and .. parts."""
    clean = posixpath.normpath("/" + path)
    return clean.replace("//", "/", 1) if clean.startswith("//") else clean


@observable
@dataclass(frozen=True)
class File(Observable[FileState]):
    """What stands at an absolute path; `want` says how much of a file's content the look brings along."""

    path: str
    want: str = field(default=HASHED, compare=False)

    kind: ClassVar[str] = "file"
    state: ClassVar[type[State]] = FileState
    probe: ClassVar[Script] = PROBE_FILE
    arity: ClassVar[int] = 2
    many: ClassVar[Script | None] = FILE_MANY
    together: ClassVar[int] = 2500

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", normal(self.path))

    def __hash__(self) -> int:
        """Hash the path: files are looked up by the thousand."""
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        """Compare the paths alone."""
        return other.__class__ is self.__class__ and self.path == other.path

    @classmethod
    def at(cls, path: str, want: str) -> File:
        """Return the file at a path that is in its normal form already."""
        file = object.__new__(cls)
        object.__setattr__(file, "path", path)
        object.__setattr__(file, "want", want)
        return file

    def arguments(self) -> tuple[str, ...]:
        """Return the path, and what is wanted of it."""
        return self.path, self.want

    @property
    def parent(self) -> File:
        """Return the folder that holds it."""
        return folders_above(self.path)[0]

    def guard_arguments(self, expected: State) -> tuple[str, ...]:
        """Hash only where a hash is compared."""
        return (self.path, HASHED if "sha256" in expected.known_fields() else METADATA)

    @classmethod
    def surveyed(cls, text: str, members: Sequence[Any]) -> Iterator[tuple[File, FileState]]:
        """Yield each file with what `file_survey` told of it."""
        return surveyed(text, members)

    def merged(self, other: Self) -> Self:
        """Ask for the more of both."""
        order = {METADATA: 0, HASHED: 1, CONTENT: 3}
        mine, theirs = order.get(self.want, 2), order.get(other.want, 2)
        if mine == theirs:
            return self if self.want == other.want else replace(self, want=CONTENT)
        return self if mine > theirs else other

    def satisfied_by(self, state: State) -> bool:
        """Tell whether a look brought the hash and the content that this one asks for."""
        if not isinstance(state, FileState) or state.type != "file" or self.want == METADATA:
            return True
        if state.sha256 is None:
            return False
        return self.want in (HASHED, state.sha256) or state.content is not None or bool(state.large)

    def located(self, view: View) -> Self:
        """Follow the links, probed and planned, of the folders above; raises NeedLook where one has to be known."""
        probed = view.probed.get(self)
        if isinstance(probed, FileState) and probed.real and not view.rerouted:
            if probed.real == self.path:
                return self
            view.lean(self)
            return replace(self, path=probed.real)
        path = real_path(view, self.path)
        return self if path == self.path else replace(self, path=path)

    def aliases(self, state: State) -> Iterable[Self]:
        """A path through a link to a folder is also the path that it leads to."""
        real = state.real if isinstance(state, FileState) else ""
        return (replace(self, path=real),) if real and real != self.path else ()

    def implied(self, view: View) -> FileState | None:
        """Below a thing that is absent, no folder, or newly made, nothing is there but what was planned with others."""
        if not view.planned:
            return None
        for others in view.wide:
            if (part := others.part(view.planned[others], self)) is not None:
                view.lean(others)
                return part  # type: ignore[return-value]
        for above in folders_above(self.path) if self.path != "/" else ():
            state = view.planned.get(above)
            if above in view.born or (isinstance(state, FileState) and state.type != "directory"):
                view.assumed.update(dict.fromkeys(view.rests.get(above, ())))
                return FileState(type="absent", real=self.path)
        return None

    def is_absent(self, state: State) -> bool:
        """Tell whether nothing stands there."""
        return isinstance(state, FileState) and not state.exists

    def follows_from(self, state: State, reads: Mapping[Observable[Any], State]) -> bool:
        """Below a folder that is not there is nothing."""
        if self.path == "/" or not self.is_absent(state) or not isinstance(state, FileState) or state.real != self.path:
            return False
        return any(above in reads and above.is_absent(reads[above]) for above in folders_above(self.path))

    def reroutes(self, before: State | None, after: State) -> bool:
        """A link that comes or goes leads what is below it elsewhere."""
        return _is_link(before) or _is_link(after)


def surveyed(text: str, members: Sequence[File]) -> Iterator[tuple[File, FileState]]:
    """Yield the states of files out of a survey: flags, letters, real paths, facts, hashes, targets, contents.

    A real path or a hash of = is the one that was asked for.
    """
    flags, letters, *lines = text.split("\n")
    reals = lines[: len(members)]
    told = iter(lines[len(members) :])
    facts = [_facts(next(told, "") if flag != "-" else "") for flag in flags]
    hashes = [next(told, "").removeprefix("\\").partition(" ")[0] if flag == "f" else UNREADABLE for flag in flags]
    targets = [
        unescape(next(told, "")) if letter == "l" and led is None else led
        for (_, led), letter in zip(facts, letters, strict=False)
    ]
    contents = _DECODERS[next(told, "")]("".join(told))
    at = 0
    for file, real, (words, _), sha256, target, letter in zip(
        members, reals, facts, hashes, targets, letters, strict=False
    ):
        digest = file.want if sha256 == "=" else sha256
        where = file.path if real == "=" else unescape(real)
        state = _state_of(file.want, where, words, digest, target)
        if letter == "y":
            content = contents[at : at + state.size]
            at += state.size
            if hashlib.sha256(content).hexdigest() != digest:
                continue  # it changed while it was read: who needs it looks again
            state = replace(state, content=content)
        yield file, state


def _facts(line: str) -> tuple[list[str], str | None]:
    """Return the fields of stat's line; of find's, which has the target of a link before the size, the target too."""
    if line[1:2] != "|":
        return line.split("|"), None
    *fields, rest = line.split("|", _FACTS - 1)
    target, _, size = rest.rpartition("|")
    return [*fields, size], target if fields[0] == "l" else None


def _state_of(want: str, real: str, facts: list[str], sha256: str, target: str | None) -> FileState:
    """Return the state of a path, contents aside, out of stat's fields."""
    if len(facts) < _FACTS:
        return FileState(type="absent", real=real)
    kind, owner, uid, group, gid, mode, *rest, size = facts
    kind = _KINDS.get(kind[:3], "other")
    hashed = kind == "file" and want != METADATA
    wanted = hashed and want not in (HASHED, sha256)
    return FileState(
        type=kind,
        real=real,
        owner=uid if owner == "UNKNOWN" else owner,
        group=gid if group == "UNKNOWN" else group,
        mode=None if kind == "link" else mode.zfill(4),
        sha256=sha256 if hashed else None,
        target=target,
        facts="|".join((uid, gid, size, *rest)),
        large=True if wanted and int(size) > CONTENT_LIMIT else None,
        content=b"" if wanted and sha256 == UNREADABLE else None,
    )


@functools.lru_cache(_PATHS)
def folders_above(path: str) -> tuple[File, ...]:
    """Return the folders that a normal path lies in, the nearest first; the root lies in itself."""
    above = File(posixpath.dirname(path), METADATA)
    return (above,) if above.path == "/" else (above, *folders_above(above.path))


def real_path(view: View, path: str) -> str:
    """Return a path with the links of its folders followed, probed and planned; its last part is left as it is."""
    done, todo, hops = "/", path.split("/"), 0
    while todo:
        part, *todo = todo
        if part in ("", "."):
            continue
        here = posixpath.join(done, part)
        if part == "..":
            done = posixpath.dirname(done)
        elif not todo:
            return here
        elif (target := _leads_to(view, here, posixpath.join(here, *todo))) is None:
            done = here
        elif (hops := hops + 1) > LINKS_LIMIT:
            if view.rerouted:
                raise NotYetKnown(f"the links on the way to {path} will lead in a circle")
            return path
        else:
            done = "/" if target.startswith("/") else done
            todo = [*target.split("/"), *todo]
    return done


def _leads_to(view: View, here: str, whole: str) -> str | None:
    """Return the target of what stands at a canonical path, if that is a link; `whole` is the way that goes on there.

    What nobody looked at is a link only if a look at the whole way told of another one.
    """
    file = File(here, METADATA)
    state = view.planned.get(file) or file.implied(view) or view.probed.get(file)
    if isinstance(state, FileState):
        if state.type == "link":
            view.lean(file)
        return state.target if state.type == "link" else None
    beyond = view.probed.get(File(whole))
    if isinstance(beyond, FileState) and beyond.real != normal(whole):
        raise NeedLook(file)
    return None


def _is_link(state: State | None) -> bool:
    return isinstance(state, FileState) and state.type == "link"


def follow(view: View, file: File) -> tuple[File, FileState]:
    """Return the file that a path leads to, links followed, and its state; a dangling link leads to an absent one."""
    state = view.get(file)
    for _ in range(LINKS_LIMIT):
        if state.type != "link" or not state.target:
            return file, state
        to = posixpath.join(posixpath.dirname(state.real), state.target)
        file = File(real_path(view, to), file.want)
        state = view.get(file)
    return file, state
