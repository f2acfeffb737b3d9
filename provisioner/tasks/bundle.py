"""Many files at once: what a task would do file by file becomes a few effects that do as much with few processes."""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
import tempfile
import threading
from collections import OrderedDict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from provisioner.model import Effect, Shown, State, Unknown, known
from provisioner.observables.file import FileState
from provisioner.records import dataclass
from provisioner.shell import NEW_TEMP, NOTE_HASHED, SETTLE, Part, Script, Upload, Value
from provisioner.tasks.content import TEXT
from provisioner.tasks.writing import KEPT, MAKE_FOLDER, PUT_FILE, SET_ACCESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provisioner.model import Observable

MOST = 500
"""Names that one process is given."""

INLINE_ARCHIVE = 128 * 1024
"""Bytes of an archive that travels in the script."""

LARGEST = 4 << 20
"""Bytes of a file that goes with others; a larger one goes alone."""

_BLOCK = 512
_SHORT = 99
_SPECIAL = 0o7000
_READABLE = 0o400
_KEPT = 4

SETTLE_DISK = Script(
    "settle_disk",
    r"""
# Flushes the disk that holds a folder, where sync takes names (coreutils 8.24 and later), else all.
sync -f -- "$1" 2>/dev/null || sync
""",
)

GIVE_ACCESS = Script(
    "give_access",
    r"""
# owner group mode path...: the owner first, for chown takes mode bits away; what is empty is left as it is.
owner=$1 group=$2 mode=$3
shift 3
if [ -n "$owner$group" ]; then chown -h -- "$owner${group:+:$group}" "$@" || return 1; fi
[ -z "$mode" ] || chmod -- "$mode" "$@"
""",
)

MAKE_FOLDERS = Script(
    "make_folders",
    r"""
# owner group mode path...: new folders, each after the one that holds it; nobody else can enter one before it is so.
owner=$1 group=$2 mode=$3
shift 3
(umask 077 && mkdir -- "$@") && give_access "$owner" "$group" "$mode" "$@" && settle_disk "${1%/*}/"
""",
    (GIVE_ACCESS, SETTLE_DISK),
)

MOVE_ALL = Script(
    "move_all",
    r"""
# from to: all files of a folder into another one, those too whose names begin with a dot.
from=$1 to=${2%/}/
set -- "$from"/*
if [ -e "$1" ]; then mv -f -- "$@" "$to" || return 1; fi
set -- "$from"/.[!.]*
if [ -e "$1" ]; then mv -f -- "$@" "$to" || return 1; fi
set -- "$from"/..?*
if [ -e "$1" ]; then mv -f -- "$@" "$to"; fi
""",
)

UNPACK = Script(
    "unpack",
    r"""
# archive sha256 near: sets bundle to a new folder in near with an archive's files, compared with their hashes.
new_temp "$3" -d || return 1
bundle=$temp
printf %s "$1" | base64 -d | tar -C "$bundle" -xpmof - &&
  sum=$(sha256sum <"$bundle/sums") && [ "${sum%% *}" = "$2" ] &&
  (cd -- "$bundle" && sha256sum -c sums) >/dev/null && return
rm -rf -- "$bundle"
printf 'what was to go to %s was damaged on its way\n' "$3" >&2
return 1
""",
    (NEW_TEMP,),
)

PLACE_ALL = Script(
    "place_all",
    r"""
# from to: move_all, by way of a folder of its own where to lies on another disk than what is moved.
if [ "$several_disks" = no ] || [ "$(stat -c %d -- "$1")" = "$(stat -c %d -- "$2/")" ]; then
  move_all "$1" "$2"
  return
fi
new_temp "$2" -d || return 1
aside=$temp
cp -pR -- "$1/." "$aside/" && settle_disk "$aside" && move_all "$aside" "$2"
placed=$?
rm -rf -- "$aside"
return $placed
""",
    (NEW_TEMP, MOVE_ALL, SETTLE_DISK),
)

OPEN_BUNDLE = Script(
    "open_bundle",
    r"""
# data sha256 near: sets bundle to a folder of ours with the files of an archive or an upload.
case $1 in
  move:*) bundle=${1#move:}; note_hashed "$bundle" ;;
  copy:*)
    new_temp "$3" -d || return 1
    bundle=$temp
    cp -pR -- "${1#copy:}/." "$bundle/" || { rm -rf -- "$bundle"; return 1; } ;;
  *) unpack "$1" "$2" "$3" ;;
esac
""",
    (NEW_TEMP, UNPACK, NOTE_HASHED),
)

PLACE_TREE = Script(
    "place_tree",
    r"""
# from owner group to: a folder gets its owner, is flushed, and becomes a new one beside where it lies, or by way of
# that disk.
if [ -n "$2$3" ]; then chown -R -- "$2${3:+:$3}" "$1" || return 1; fi
if [ -e "$4" ] || [ -L "$4" ]; then printf '%s is there already\n' "$4" >&2; return 1; fi
if [ "$(stat -c %d -- "$1")" = "$(stat -c %d -- "${4%/*}/")" ]; then
  settle_disk "$1" && mv -f -- "$1" "$4" && settle_file "${4%/*}/"
  return
fi
new_temp "${4%/*}" -d || return 1
cp -pR -- "$1" "$temp/" && settle_disk "$temp" && mv -f -- "$temp/${1##*/}" "$4" && settle_file "${4%/*}/"
placed=$?
rm -rf -- "$temp"
return $placed
""",
    (NEW_TEMP, SETTLE_DISK, SETTLE),
)

PUT_TREE = Script(
    "put_tree",
    r"""
# data sha256 near owner group to: an archive's folder becomes a new one: it is there as a whole, or not at all.
open_bundle "$1" "$2" "$3" || return 1
place_tree "$bundle"/tree-* "$4" "$5" "$6"
placed=$?
rm -rf -- "$bundle"
return $placed
""",
    (OPEN_BUNDLE, PLACE_TREE),
)

PUT_FILES = Script(
    "put_files",
    r"""
# data sha256 near owners [owner group]... [folder]...: the files of an archive or an upload, in numbered folders
# (number-mode) within numbered ones (for each owner). They get their owner, are flushed, and only then moved: in each
# place is the old file, or the whole new one.
open_bundle "$1" "$2" "$3" || return 1
owners=$4 number=0
shift 4
while [ "$number" -lt "$owners" ]; do
  [ -z "$1$2" ] || chown -R -- "$1${2:+:$2}" "$bundle/$number" || { rm -rf -- "$bundle"; return 1; }
  number=$((number + 1))
  shift 2
done
settle_disk "$bundle"
several_disks=yes number=0
[ "$(stat -c %d -- "$bundle" "$@" | sort -u | wc -l)" -ne 1 ] || several_disks=no
for folder in "$@"; do
  place_all "$bundle"/*/"$number"-* "$folder" || { rm -rf -- "$bundle"; return 1; }
  number=$((number + 1))
done
if [ "$several_disks" = no ]; then settle_disk "$bundle"; else sync; fi
rm -rf -- "$bundle"
""",
    (OPEN_BUNDLE, PLACE_ALL, SETTLE_DISK),
)


def bundled(effects: Sequence[Effect], user: str) -> tuple[Effect, ...]:
    """Return effects that do what these do, of which those of one kind became one; `user` is who runs them."""
    written = [effect.values[0] for effect in effects if effect.script is PUT_FILE]
    if len(set(written)) < len(written):
        return tuple(effects)  # through links, two lead to one file: the last has to come last
    kinds = [(_kind(effect, user), effect) for effect in effects]
    done: list[Effect] = []
    for kind, group in groupby(_in_order(kinds), key=lambda pair: pair[0]):
        several = [effect for _, effect in group]
        if kind is None or len(several) == 1:
            done += several
        elif kind == PUT_FILE.name:
            done.append(_put(several))
        else:
            done += _with_one_access(MAKE_FOLDERS if kind == MAKE_FOLDER.name else GIVE_ACCESS, several)
    return tuple(done)


def _in_order(effects: Iterable[tuple[str | None, Effect]]) -> Iterator[tuple[str | None, Effect]]:
    """Yield what is done to files with those first that are put together, but nothing before its folder is there."""
    for is_file, group in groupby(effects, key=lambda pair: pair[1].script is PUT_FILE):
        several = list(group)
        yield from sorted(several, key=lambda pair: pair[0] is None) if is_file else several


def _kind(effect: Effect, user: str) -> str | None:
    """Return as what an effect may be done together with others, or None."""
    if effect.script in (MAKE_FOLDER, SET_ACCESS):
        return effect.script.name
    return PUT_FILE.name if effect.script is PUT_FILE and _is_plain(effect, user) else None


def _is_plain(effect: Effect, user: str) -> bool:
    """Tell whether an effect does no more than to put a content that the controller has to a place."""
    path, _, group, mode, saved, validate, sha256, data = effect.values
    bits = int(_text(mode), 8)
    if saved or validate or bits & _SPECIAL or len(effect.leaves) > 1 or "\\" in _text(path) or "\n" in _text(path):
        return False
    if sha256 not in ("", TEXT) and not (isinstance(data, Upload) and data.size <= LARGEST):
        return False
    return suits(_left(effect), _text(group), user)


def suits(state: FileState, group: str, user: str) -> bool:
    """Tell whether a new file may come in an archive; `group` is what is asked for, if any."""
    bits = int(known(state.mode) or "0", 8)
    # Where a folder's setgid bit is to give the group, the file has to be born there; and it is read to be compared.
    own = bool(bits & _READABLE) and (bool(group) or isinstance(state.group, Unknown))
    return not bits & _SPECIAL and (user == "root" or own)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""


def _left(effect: Effect) -> FileState:
    state = next(iter(effect.leaves.values()))
    assert isinstance(state, FileState)
    return state


def _together(script: Script, values: tuple[Value, ...], effects: Iterable[Effect]) -> Effect:
    shows, leaves = _gathered(effects)
    return Effect(script=script, values=values, shows=shows, leaves=leaves)


def _gathered(effects: Iterable[Effect]) -> tuple[tuple[Shown, ...], dict[Observable[Any], State]]:
    shows: list[Shown] = []
    leaves: dict[Observable[Any], State] = {}
    for effect in effects:
        shows += effect.shows
        leaves.update(effect.leaves)
    return tuple(shows), leaves


def _with_one_access(script: Script, effects: Sequence[Effect]) -> Iterator[Effect]:
    """Yield an effect for each run of paths that get the same owner, group and mode."""
    for access, group in groupby(effects, key=lambda effect: effect.values[1:4]):
        several = list(group)
        for at in range(0, len(several), MOST):
            part = several[at : at + MOST]
            paths = [effect.values[0] for effect in part]
            yield _together(script, (*access, *paths), part)


def _put(effects: Sequence[Effect]) -> Effect:
    """Return the effect that puts all of these files."""
    owners: dict[tuple[str, str], int] = {}
    shelves = Shelves()
    members = []
    for effect in effects:
        number = owners.setdefault(_owner(effect), len(owners))
        folder, name = posixpath.split(str(effect.values[0]))
        mode = str(effect.values[3])
        sha256 = _left(effect).sha256
        assert isinstance(sha256, str)
        place = shelves.place(number, folder, mode, name)
        members.append(Member(place, int(mode, 8), sha256, _source(effect.values[-1])))
    shows, leaves = _gathered(effects)
    return put_all(packed(members), owners, shelves.folders, shows, leaves)


class Shelves:
    """The numbered folders of an archive, and where on the device what is in each of them goes."""

    def __init__(self) -> None:
        self.folders: list[str] = []
        self._open: dict[tuple[int, str, str], tuple[str, int]] = {}

    def place(self, owner: int, folder: str, mode: str, name: str) -> str:
        """Return the name in an archive of a file that goes into a folder."""
        within, names = self._open.get((owner, folder, mode), ("", MOST))
        if names == MOST:
            within, names = f"{owner}/{len(self.folders)}-{mode}", 0
            self.folders.append(folder)
        self._open[owner, folder, mode] = within, names + 1
        return f"{within}/{name}"


def put_all(
    archive: Archive,
    owners: Iterable[tuple[str, str]],
    folders: Sequence[str],
    shows: Sequence[Shown],
    leaves: Mapping[Observable[Any], State],
) -> Effect:
    """Return the effect that puts the files of an archive into folders, and gives each its owner and group."""
    near = posixpath.commonpath(folders)
    pairs = [word for owner in owners for word in owner]
    values = (archive.value(near), archive.sha256, near, str(len(pairs) // 2), *pairs, *folders)
    return Effect(script=PUT_FILES, values=values, shows=shows, leaves=leaves)


def put_tree(
    archive: Archive, owner: tuple[str, str], to: str, shows: Sequence[Shown], leaves: Mapping[Observable[Any], State]
) -> Effect:
    """Return the effect that makes a new folder of an archive's."""
    near = posixpath.dirname(to)
    values = (archive.value(near), archive.sha256, near, *owner, to)
    return Effect(script=PUT_TREE, values=values, shows=shows, leaves=leaves)


def _source(data: Value) -> Part | bytes:
    if isinstance(data, str):
        return data.encode("ascii")
    return data.parts[0] if isinstance(data, Upload) else data


def _owner(effect: Effect) -> tuple[str, str]:
    owner, group = map(_text, effect.values[1:3])
    return owner_of(_left(effect), owner, group)


def owner_of(state: FileState, owner: str, group: str) -> tuple[str, str]:
    """Return the owner and group to give: as they will be, or by number as they were asked for; "" is whoever runs."""
    return _given(owner, state.owner), _given(group, state.group)


def _given(asked: str, will: str | Unknown | None) -> str:
    if isinstance(will, Unknown):
        return "" if asked == KEPT else asked
    return will or ""


@dataclass(frozen=True)
class Member:
    """A file in an archive, or, without a hash, a folder."""

    name: str
    mode: int
    sha256: str = ""
    part: Part | bytes = b""

    @property
    def size(self) -> int:
        """Return its bytes."""
        return len(self.part) if isinstance(self.part, bytes) else self.part.size

    def header(self) -> bytes:
        """Return what stands before it in an archive."""
        if self.sha256 and len(self.name) <= _SHORT and self.name.isascii():
            return _header(self.name, self.mode, self.size)
        info = tarfile.TarInfo(self.name)
        info.size, info.mode = self.size, self.mode
        info.type = tarfile.REGTYPE if self.sha256 else tarfile.DIRTYPE
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")


def _header(name: str, mode: int, size: int) -> bytes:
    """Return what tarfile makes of a plain file with a short name, in a tenth of its time."""
    place = name.encode("ascii").ljust(100, b"\0")
    facts = place + b"%07o\0%b%011o\0%011o\0" % (mode, b"0000000\0" * 2, size, 0)
    rest = b"0".ljust(101, b"\0") + b"ustar  ".ljust(255, b"\0")
    return facts + b"%06o\0 " % (sum(facts) + sum(rest) + 8 * ord(" ")) + rest


@dataclass(frozen=True)
class Archive:
    """A tar of files and of their hashes; its own hash is that of the hashes, whose names tell the modes too."""

    sha256: str
    parts: tuple[Part | bytes, ...]
    spool: Any = None

    def value(self, near: str) -> Value:
        """Return it as a script gets it, which puts it somewhere near."""
        whole = self._inline
        return Upload(self.sha256, self.parts, near, archive=True, holds=self) if whole is None else whole

    @property
    def _inline(self) -> bytes | None:
        """Return it whole, where it is small enough to travel in the script."""
        sizes = [len(part) if isinstance(part, bytes) else INLINE_ARCHIVE + 1 for part in self.parts]
        return (
            b"".join(part for part in self.parts if isinstance(part, bytes)) if sum(sizes) <= INLINE_ARCHIVE else None
        )


class _Archives:
    """The last archives that were made: hosts that lack the same files get the same one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, Archive] = OrderedDict()
        self._packing = threading.Lock()

    def packed(self, members: Sequence[Member]) -> Archive:
        """Return an archive of these."""
        lines = "".join(f"{member.sha256}  ./{member.name}\n" for member in members if member.sha256)
        sums = lines.encode("utf-8", "surrogateescape")
        with self._packing:
            if sums not in self._kept:
                self._kept[sums] = _pack(members, sums)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(sums)
            return self._kept[sums]


def _pack(members: Sequence[Member], sums: bytes) -> Archive:
    """Return an archive, which is in a file of our own unless it is small."""
    listed = Member("sums", 0o600, hashlib.sha256(sums).hexdigest(), sums)
    total = sum(member.size + 2 * _BLOCK for member in (*members, listed))
    if total <= INLINE_ARCHIVE:
        whole = b"".join(piece for member in (*members, listed) for piece in _whole(member))
        return Archive(listed.sha256, (whole + bytes(2 * _BLOCK),))
    spool = tempfile.NamedTemporaryFile(prefix="provision-")  # noqa: SIM115 - it lives as long as the archive
    for member in (*members, listed):
        spool.writelines(_whole(member))
    spool.write(bytes(2 * _BLOCK))
    spool.flush()
    return Archive(listed.sha256, (Part(spool.name, 0, spool.tell()),), spool)


def _whole(member: Member) -> Iterator[bytes]:
    part = member.part
    data = part if isinstance(part, bytes) else b"".join(part.pieces(LARGEST))
    yield member.header()
    yield data.ljust(member.size + -member.size % _BLOCK, b"\0")


_ARCHIVES = _Archives()


def packed(members: Sequence[Member]) -> Archive:
    """Return an archive of these files, and folders before what is in them."""
    return _ARCHIVES.packed(members)
