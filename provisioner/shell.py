"""Shell text: scripts with a constant body, values quoted in one place, and the few bodies that many share."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


_HEAD = re.compile(r"\A(#[^\n]*\n)+")


@dataclass(frozen=True)
class Script:
    """A POSIX sh function: its name, its constant body, and the functions that it calls.

    The body sees its values as "$1", "$2", ...; no value is ever spliced into shell text.
    """

    name: str
    body: str
    needs: tuple[Script, ...] = ()

    @cached_property
    def definition(self) -> str:
        """Return the function as shell text, without the comment that its body begins with."""
        return f"{self.name}() {{\n{_HEAD.sub('', self.body.strip())}\n}}\n"


@dataclass(frozen=True)
class Part:
    """A stretch of a file of the controller."""

    path: str
    start: int
    size: int

    def pieces(self, most: int) -> Iterator[bytes]:
        """Yield it in pieces."""
        left = self.size
        with Path(self.path).open("rb", buffering=0) as file:
            file.seek(self.start)
            while left and (piece := file.read(min(most, left))):
                left -= len(piece)
                yield piece
        while left:  # it has become shorter: what stands behind it keeps its place, and its hash will not fit
            yield bytes(min(most, left))
            left -= min(most, left)


@dataclass(frozen=True)
class Upload:
    """Content too large for the script: it travels beside it, into a folder of its own on the disk of `near`.

    The script receives that folder's path, behind what it may do with it (see `take_upload`). The content is there in
    one file; or it is an archive, whose files are there, with their hashes in `sums`. The hash is of the one or the
    other, and was compared. `holds` is what must not go away before it is sent.
    """

    sha256: str
    parts: tuple[Part | bytes, ...] = field(default=(), compare=False, repr=False)
    near: str = field(default="/tmp", compare=False)  # noqa: S108 - where it will lie is a folder of its own
    archive: bool = False
    holds: Any = field(default=None, compare=False, repr=False)

    @property
    def size(self) -> int:
        """Return the bytes that there are to send."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)

    def pieces(self, most: int = 1 << 20) -> Iterator[bytes]:
        """Yield what is to be sent."""
        for part in self.parts:
            if isinstance(part, bytes):
                yield from (part[at : at + most] for at in range(0, len(part), most))
            else:
                yield from part.pieces(most)


Value = str | bytes | Upload
Places = Mapping[str, str]
"""Where uploads lie on a device, by their hash."""


_PLAIN = re.compile(r"[A-Za-z0-9_./:=@,+-]+").fullmatch


def quote(value: str) -> str:
    """Quote one string for sh; NUL cannot be carried and is refused."""
    if "\0" in value:
        raise ValueError("a NUL byte cannot travel in shell text")
    if _PLAIN(value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def encode_value(value: Value, places: Places | None = None) -> str:
    """Return one value as a shell word: text quoted, bytes as base64, an upload as where it lies."""
    if isinstance(value, Upload):
        return quote((places or {}).get(value.sha256, ""))
    if isinstance(value, bytes):
        return quote(base64.b64encode(value).decode("ascii"))
    return quote(value)


def words(values: Iterable[Value], places: Places | None = None) -> str:
    """Return values as the arguments of a shell call."""
    return " ".join(encode_value(value, places) for value in values)


def with_needs(scripts: Iterable[Script]) -> Iterator[Script]:
    """Yield scripts and all that they call, each once, callees first."""
    seen: set[str] = set()

    def visit(script: Script) -> Iterator[Script]:
        if script.name in seen:
            return
        seen.add(script.name)
        for need in script.needs:
            yield from visit(need)
        yield script

    for script in scripts:
        yield from visit(script)


SETTLE = Script(
    "settle_file",
    r"""
# Flushes a file or folder where sync takes names (coreutils 8.24 and later), else everything.
sync -- "$1" 2>/dev/null || sync
""",
)

REPLACE_FILE = Script(
    "replace_file",
    r"""
# temp dest owner group mode: gives temp its final owner, then mode, and renames it over dest.
if [ -n "$3$4" ]; then chown -- "$3${4:+:$4}" "$1" || { rm -f -- "$1"; return 1; }; fi
chmod -- "$5" "$1" || { rm -f -- "$1"; return 1; }
settle_file "$1"
if mv -T -- "$1" "$2" 2>/dev/null || { [ ! -d "$2" ] && mv -f -- "$1" "$2"; }; then
  settle_file "${2%/*}/"
else
  rm -f -- "$1"
  printf 'cannot put %s in its place\n' "$2" >&2
  return 1
fi
""",
    (SETTLE,),
)

NOTE_HASHED = Script(
    "note_hashed",
    r"""
# upload: what was hashed as it came needs no second time when it is compared, as long as it stays as it is.
if [ -n "$work" ]; then cat -- "$1/hashed" >>"$work/hashed"; fi 2>/dev/null
return 0
""",
)

TAKE_UPLOAD = Script(
    "take_upload",
    r"""
# upload temp: an upload's file takes the place of temp, with temp's owner and group; what is needed again is copied.
case $1 in
  move:*)
    upload=${1#move:}
    if chown -- "$(stat -c %u:%g -- "$2")" "$upload/content" 2>/dev/null; then
      mv -f -- "$upload/content" "$2" && note_hashed "$upload"
    else cat -- "$upload/content" >"$2"
    fi && rm -rf -- "$upload" ;;
  *) cat -- "${1#copy:}/content" >"$2" ;;
esac
""",
    (NOTE_HASHED,),
)

FILL_FILE = Script(
    "fill_file",
    r"""
# temp sha256 data: the content of a new file, as write_file gets it.
case $2 in
  # dash tells no reason why its printf could not write: cat does.
  text) printf %s "$3" 2>/dev/null >"$1" || printf %s "$3" | cat >"$1" ;;
  '') printf %s "$3" | base64 -d >"$1" ;;
  *)
    case $3 in
      move:* | copy:*) take_upload "$3" "$1" ;;
      *) cat -- "$3" >"$1" ;;
    esac ;;
esac
""",
    (TAKE_UPLOAD,),
)

NEW_TEMP = Script(
    "new_temp",
    r"""
# folder option...: sets temp to a new file of ours in a folder, or what mktemp's options make of it. Its name tells the
# boot, so that what a power cut left there is known, and goes.
boot=
read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id
boot=${boot%%-*} temp_in=${1%/}
shift
for left in "$temp_in"/.provision.????????.??????; do
  case $left in *"/.provision.$boot."*) continue ;; esac
  if [ -n "$boot" ] && [ -O "$left" ]; then rm -rf -- "$left"; fi
done
temp=$(umask 077; mktemp "$@" "$temp_in/.provision.$boot.XXXXXX")
""",
)

WRITE_FILE = Script(
    "write_file",
    r"""
# dest owner group mode backup validate sha256 data: writes aside, checks, renames. With a sha256, data is an upload,
# or the path of a file, else it is base64, and with `text` itself. The old file is kept at backup, where that is given.
dest=$1
new_temp "${dest%/*}" || return 1
fill_file "$temp" "$7" "$8" || { rm -f -- "$temp"; return 1; }
case $7 in '' | text) ;; *)
  # An upload was compared when it came.
  case $8 in move:*) sum=$7 ;; *) sum=$(sha256sum <"$temp") ;; esac
  if [ "${sum%% *}" != "$7" ]; then
    rm -f -- "$temp"
    printf 'the content of %s was damaged on its way\n' "$dest" >&2
    return 1
  fi ;;
esac
if [ -n "$6" ]; then
  check=$(printf %s "$6" | sed "s|%s|$temp|g")
  if ! sh -c "$check" </dev/null; then
    rm -f -- "$temp"
    printf 'validate refused the new content of %s\n' "$dest" >&2
    return 1
  fi
fi
if [ -n "$5" ] && [ -e "$dest" ]; then cp -p -- "$dest" "$5" || { rm -f -- "$temp"; return 1; }; fi
replace_file "$temp" "$dest" "$2" "$3" "$4"
""",
    (NEW_TEMP, FILL_FILE, REPLACE_FILE),
)

ESCAPE = Script(
    "escape",
    r"""
# Prints $1 on one line: % and newline as %25 and %0A.
case $1 in
*%* | *"
"*) printf '%s\n' "$1" | sed -e 's/%/%25/g' | sed -e ':a' -e 'N' -e '$!ba' -e 's/\n/%0A/g' ;;
*) printf '%s\n' "$1" ;;
esac
""",
)
