"""Files, folders and links: what stands at a path."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, ClassVar, Self

from provisioner.errors import NotYetKnown
from provisioner.model import NeedLook, Observable, State, Unknown, attached, observable
from provisioner.shell import ESCAPE, Script

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.model import View

METADATA = "."
HASHED = "-"
CONTENT = "+"

CONTENT_LIMIT = 4 * 1024 * 1024
"""Bytes of a file that is edited in place; a larger one is an error."""

LINKS_LIMIT = 40
"""Links that are followed on the way to one thing, as the kernel has it."""

FILE_FLAGS = Script(
    "file_flags",
    r"""
# path want ...: one letter each: - absent, f a file to hash, e anything else.
while [ $# -gt 0 ]; do
  if [ -L "$1" ]; then printf e
  elif [ -f "$1" ] && [ "$2" != . ]; then printf f
  elif [ -e "$1" ]; then printf e
  else printf -- -
  fi
  shift 2
done
""",
)

FILE_STATS = Script(
    "file_stats",
    r"""
# flags path want ...: one line of facts for each path that is there, in order, from one process.
flags=$1
shift
while [ -n "$flags" ]; do
  case $flags in [ef]*) set -- "$@" "$1" ;; esac
  flags=${flags#?}
  shift 2
done
[ $# -eq 0 ] || stat -c '%F|%U|%u|%G|%g|%a|%s|%Y|%X|%Z|%i|%h|%d' -- "$@" 2>/dev/null
""",
)

FILE_SUMS = Script(
    "file_sums",
    r"""
# flags path want ...: the SHA-256 of each path whose flag is f, in order, from one process.
flags=$1
shift
while [ -n "$flags" ]; do
  case $flags in f*) set -- "$@" "$1" ;; esac
  flags=${flags#?}
  shift 2
done
[ $# -eq 0 ] || sha256sum -- "$@" 2>/dev/null | sed -e 's/^\\//' -e 's/ .*//'
""",
)

REAL_PATH = Script(
    "real_path",
    r"""
# Sets real to the canonical form of $1: links in its folders followed, dangling ones too, the last part left as it is.
# Where those lead in a circle there is none.
case $1 in /?*/*) dir=${1%/*} ;; *) dir=/ ;; esac
if [ "$dir" != "$last_dir" ]; then
  last_dir=$dir
  rest='' up=0 hops=0
  while [ ! -d "$dir" ] && [ $hops -lt 40 ]; do
    if [ -L "$dir" ]; then
      hops=$((hops + 1))
      target=$(readlink -- "$dir")
      case $target in /*) dir=$target ;; *) dir=${dir%/*}/$target ;; esac
    else
      part=${dir##*/}
      case $dir in /?*/*) dir=${dir%/*} ;; *) dir=/ ;; esac
      case $part in
        '' | .) ;;
        ..) up=$((up + 1)) ;;
        *) if [ $up -gt 0 ]; then up=$((up - 1)); else rest=/$part$rest; fi ;;
      esac
    fi
  done
  while [ $up -gt 0 ]; do dir=$dir/.. up=$((up - 1)); done
  if [ $hops -lt 40 ]; then
    last_real=$(cd -P -- "$dir" 2>/dev/null && pwd -P) || last_real=$dir
    last_real=${last_real%/}$rest
  else
    last_real=.
  fi
fi
case $last_real in .) real= ;; *) real=${last_real%/}/${1##*/} ;; esac
""",
)

FILE_LINES = Script(
    "file_lines",
    r"""
# facts sum path want: the text of one path that is there.
line=$1
kind=${line%%|*} line=${line#*|}
owner=${line%%|*} line=${line#*|}
uid=${line%%|*} line=${line#*|}
group=${line%%|*} line=${line#*|}
gid=${line%%|*} line=${line#*|}
mode=${line%%|*} line=${line#*|}
size=${line%%|*}
[ "$owner" != UNKNOWN ] || owner=$uid
[ "$group" != UNKNOWN ] || group=$gid
case $mode in ?) mode=000$mode ;; ??) mode=00$mode ;; ???) mode=0$mode ;; esac
case $kind in reg*) kind='file' ;; dir*) kind='directory' ;; sym*) kind='link' mode= ;; *) kind='other' ;; esac
printf 'type=%s\n' "$kind"
printf 'real=%s\n' "$(escape "$real")"
printf 'owner=%s\ngroup=%s\n' "$owner" "$group"
[ -z "$mode" ] || printf 'mode=%s\n' "$mode"
[ "$kind" != file ] || [ "$4" = . ] || printf 'sha256=%s\n' "${2:-unreadable}"
[ "$kind" != link ] || printf 'target=%s\n' "$(escape "$(readlink -- "$3")")"
printf '.facts=%s\n' "$uid|$gid|$line"
case $kind$4 in file. | file- | "file$2") ;; file*)
  if [ "$size" -gt 4194304 ]; then printf '.large=yes\n'
  else
    printf .content=
    base64 <"$3" | tr -d '\n'
    printf '\n'
  fi ;;
esac
""",
    (ESCAPE,),
)

PROBE_FILE = Script(
    "probe_file",
    r"""
# path want ...: want is . (no hash), - (hash), + (hash and content), or a hash (content unless it is that one).
last_dir=
flags=$(file_flags "$@")
stats=$(file_stats "$flags" "$@")
sums=$(file_sums "$flags" "$@")
there=$(printf %s "$flags" | tr -d -)
hashed=$(printf %s "$flags" | tr -dc f)
if [ $# -gt 2 ] && { [ "$(printf '%s' "${stats:+$stats
}" | wc -l)" -ne ${#there} ] || [ "$(printf '%s' "${sums:+$sums
}" | wc -l)" -ne ${#hashed} ]; }; then
  # Something came or went between two processes, or cannot be read: one by one, then.
  while [ $# -gt 0 ]; do probe_file "$1" "$2"; shift 2; done
  return
fi
while [ $# -gt 0 ]; do
  next
  real_path "$1"
  flag=${flags%"${flags#?}"}
  flags=${flags#?}
  line=${stats%%"
"*}
  case $flag$line in
    - | e | f) printf 'type=absent\nreal=%s\n' "$(escape "$real")" ;;
    -*) printf 'type=absent\nreal=%s\n' "$(escape "$real")" ;;
    *)
      stats=${stats#*"
"}
      sum=
      if [ "$flag" = f ]; then
        sum=${sums%%"
"*}
        sums=${sums#*"
"}
      fi
      file_lines "$line" "$sum" "$1" "$2" ;;
  esac
  shift 2
done
""",
    (FILE_FLAGS, FILE_STATS, FILE_SUMS, REAL_PATH, FILE_LINES, ESCAPE),
)


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

    def known_fields(self) -> tuple[str, ...]:
        """Leave the hash out where nobody asked for it."""
        names = super().known_fields()
        unhashed = self.type == "file" and self.sha256 is None
        return tuple(name for name in names if name != "sha256") if unhashed else names

    def stat(self) -> dict[str, int]:
        """Return what stat says: sizes in bytes, times in seconds since 1970."""
        names = ("uid", "gid", "size", "mtime", "atime", "ctime", "inode", "nlink", "dev")
        return {name: int(value) for name, value in zip(names, (self.facts or "").split("|"), strict=False) if value}

    def with_content(self, content: bytes) -> FileState:
        """Return this as a file of that content."""
        digest = hashlib.sha256(content).hexdigest()
        return replace(self, type="file", sha256=digest, content=content, target=None, facts=None, large=None)


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", normal(self.path))

    @property
    def parent(self) -> File:
        """Return the folder that holds it."""
        return File(posixpath.dirname(self.path), METADATA)

    def guard_arguments(self, expected: State) -> tuple[str, ...]:
        """Hash only where a hash is compared."""
        return (self.path, HASHED if "sha256" in expected.known_fields() else METADATA)

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
        if isinstance(probed, FileState) and probed.real not in ("", self.path) and not _relinked(view):
            view.lean(self)
            return replace(self, path=probed.real)
        return replace(self, path=real_path(view, self.path))

    def aliases(self, state: State) -> Iterable[Self]:
        """A path through a link to a folder is also the path that it leads to."""
        real = state.real if isinstance(state, FileState) else ""
        return (replace(self, path=real),) if real and real != self.path else ()

    def implied(self, view: View) -> FileState | None:
        """Below a thing that is absent, no folder, or newly made, nothing is there."""
        path = self.path
        while path != "/":
            path = posixpath.dirname(path)
            above = File(path)
            state = view.planned.get(above)
            if above in view.born or (isinstance(state, FileState) and state.type != "directory"):
                view.assumed.update(dict.fromkeys(view.rests.get(above, ())))
                return FileState(type="absent", real=self.path)
        return None

    def is_absent(self, state: State) -> bool:
        """Tell whether nothing stands there."""
        return isinstance(state, FileState) and not state.exists


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
            if _relinked(view):
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


def _relinked(view: View) -> bool:
    """Tell whether any link is planned, or planned away."""
    return any(_is_link(state) or _is_link(view.probed.get(seen)) for seen, state in view.planned.items())


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
