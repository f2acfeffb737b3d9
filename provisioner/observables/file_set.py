"""Many files below one folder, seen as one thing: to look at it costs a device and the controller little."""

from __future__ import annotations

import hashlib
from dataclasses import field
from functools import cached_property
from itertools import groupby
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.model import Observable, State, Unknown, attached, observable
from provisioner.observables.file import HASHED, METADATA, File, FileState
from provisioner.observables.file_many import FILE_CHOICE, FILE_FACTS, FILE_HASHES, FILE_OWNERS
from provisioner.records import dataclass
from provisioner.shell import Script

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

ABSENT = "-"
"""In the place of a file's kind and mode, of its owner, its group and its hash."""

_FORBIDDEN = frozenset("\n\\|")
_TYPES = {ABSENT: "absent", "f": "file", "d": "directory", "l": "link", "o": "other"}
_LETTERS = {kind: letter for letter, kind in _TYPES.items()}

FILE_SET_REPORT = Script(
    "file_set_report",
    r"""
# Out of names, //, the choice, //, owners, //, facts, // and hashes: kinds, owners and groups, and a line of hashes.
awk '
  function runs(head, value, line, number, last, count) {
    for (number = 1; number <= names; number++) {
      if (value[number] ~ /[ *%]/) exit_with = 1
      if (number > 1 && value[number] != last) { line = line last "*" count " "; count = 0 }
      last = value[number]
      count++
    }
    print head "=" line last "*" count
  }
  $0 == "//" { part++; next }
  part == 0 { name[++names] = $0; next }
  part == 2 || part == 7 { sum[substr($0, 67)] = substr($0, 1, 64); next }
  part == 5 { split($0, f, "|"); owner[f[1]] = f[2] == "UNKNOWN" ? f[1] : f[2]
    group[f[3]] = f[4] == "UNKNOWN" ? f[3] : f[4]; next }
  part == 6 { split($0, f, "|"); type[f[13]] = substr(f[1], 1, 3); uid[f[13]] = f[2]; gid[f[13]] = f[3]
    mode[f[13]] = substr("000", length(f[4])) f[4]; next }
  END {
    for (number = 1; number <= names; number++) {
      one = name[number]
      kinds[number] = owners[number] = groups[number] = hash[number] = "-"
      if (one in type) {
        owners[number] = owner[uid[one]]
        groups[number] = group[gid[one]]
        if (owners[number] == "" || groups[number] == "") exit_with = 1
        kind = type[one]
        kinds[number] = (kind == "reg" ? "f" : kind == "dir" ? "d" : kind == "sym" ? "l" : "o") mode[one]
        if (kind == "reg") { hash[number] = one in sum ? sum[one] : "unreadable"; there = 1 }
      }
    }
    runs("kinds", kinds)
    runs("owners", owners)
    runs("groups", groups)
    # One by one: a line that grows is copied whole for each.
    for (number = 1; there && number <= names; number++) printf "%s%s", hash[number], (number < names ? " " : "\n")
    exit exit_with
  }'
""",
)

FILE_SET_TEXT = Script(
    "file_set_text",
    r"""
# top count wanted names: the text of one set; nothing where lines cannot hold what there is to tell.
if [ ! -d "$1/" ]; then
  [ -e "$1" ] || [ -L "$1" ] || printf 'kinds=-*%s\nowners=-*%s\ngroups=-*%s\n' "$2" "$2" "$2"
  return
fi
cd -- "$1" || return
stats=$(file_facts "//
$4")
known=
[ -z "$guarding" ] || [ -z "$work" ] || known=$work/hashed
choice=$({ printf '%s\n' "$4" | sed G; echo //; cat -- "$known"; printf '%s\n' // "$stats"; } 2>/dev/null |
  file_choice) || return
owners=$(file_owners "$choice")
hashes=$(file_hashes "$choice")
told=$(printf '%s\n' "$4" // "$choice" // "$owners" // "$stats" // "$hashes" | file_set_report) || return
printf '%s\n' "$told" | head -n 3
case $told in *"
"*"
"*"
"*) ;; *) return ;; esac
# What shells cut off long lines takes quadratic time.
sum=$(printf '%s\n' "$told" | sed 1,3d | sha256sum)
sum=${sum%% *}
printf 'sums=%s\n' "$sum"
[ -n "$guarding" ] || [ "$sum" = "$3" ] || printf '%s\n' "$told" | sed -e 1,3d -e 's/^/.hashes=/'
""",
    (FILE_FACTS, FILE_CHOICE, FILE_OWNERS, FILE_HASHES, FILE_SET_REPORT),
)

PROBE_FILES = Script(
    "probe_files",
    r"""
# top count wanted names ...: the hashes of a set are told where together they are not the wanted ones.
while [ $# -gt 0 ]; do
  next
  (file_set_text "$1" "$2" "$3" "$4")
  shift 4
done
""",
    (FILE_SET_TEXT,),
)


def runs(values: Iterable[str]) -> str:
    """Return values, of which many in a row are the same, in few words."""
    return " ".join(f"{value}*{sum(1 for _ in same)}" for value, same in groupby(values))


def spread(text: str) -> list[str]:
    """Return the values that `runs` was given."""
    found: list[str] = []
    for word in text.split(" ") if text else ():
        value, _, count = word.rpartition("*")
        found += [value] * int(count)
    return found


def combined(hashes: Sequence[str]) -> str:
    """Return one hash for all."""
    return hashlib.sha256(" ".join(hashes).encode() + b"\n").hexdigest()


@dataclass(frozen=True)
class FileNames:
    """The names of the files of a set, below its folder; a fleet has them once."""

    names: tuple[str, ...]

    def __hash__(self) -> int:
        """Hash them once."""
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash(self.names)

    @staticmethod
    def can_hold(name: str) -> bool:
        """Tell whether a name can be asked for and told of in lines."""
        return not (name.startswith(("-", "/")) or _FORBIDDEN & set(name))

    @cached_property
    def text(self) -> str:
        """Return them as the probe is given them."""
        return "\n".join(self.names)

    @cached_property
    def places(self) -> dict[str, int]:
        """Return where each is."""
        return {name: number for number, name in enumerate(self.names)}


@dataclass(frozen=True, kw_only=True)
class FileSetState(State):
    """What stands at the names of a set, in their order, as `runs` of words.

    `kinds` are a letter (f, d, l, o; - is absent) and a mode of four digits, `sums` is `combined` of the hashes of
    files, None where there is no file; `hashes` are those, where they are not the wanted ones. All are None where it
    cannot be told. `contents` gives fields of FileState for the file of a number, where they are planned.
    """

    kinds: str | None = None
    owners: str | Unknown | None = None
    groups: str | Unknown | None = None
    sums: str | None = None
    hashes: str | None = attached()
    contents: Any = attached()

    @classmethod
    def of(cls, states: Sequence[FileState]) -> FileSetState:
        """Return what a look tells of files that are so, with their hashes."""
        hashes = [str(one.sha256 or ABSENT) for one in states]
        return cls(
            kinds=runs(f"{_LETTERS[one.type]}{one.mode or '0777'}" if one.exists else ABSENT for one in states),
            owners=runs(str(one.owner or ABSENT) for one in states),
            groups=runs(str(one.group or ABSENT) for one in states),
            sums=combined(hashes) if any(one.type == "file" for one in states) else None,
            hashes=" ".join(hashes),
        )

    @property
    def is_absent(self) -> bool:
        """Tell whether nothing stands at any of them."""
        return self.kinds is not None and self.kinds.startswith(f"{ABSENT}*") and " " not in self.kinds

    @cached_property
    def _columns(self) -> tuple[list[str] | Unknown | None, ...]:
        words = (self.kinds, self.owners, self.groups)
        return tuple(spread(one) if isinstance(one, str) else one for one in words)

    def file(self, number: int, path: str) -> FileState:
        """Return the state of one file of a planned set, which has it at this path."""
        kind, owner, group = (one[number] if isinstance(one, list) else one for one in self._columns)
        found = FileState(type=_TYPES[str(kind)[0]], real=path, owner=owner, group=group, mode=str(kind)[1:])
        return found.but(**self.contents(number)) if self.contents is not None else found


@observable
@dataclass(frozen=True)
class FileSet(Observable[FileSetState]):
    """What stands at many names below an absolute path in normal form; `wanted` is the `combined` hash hoped for."""

    top: str
    below: FileNames
    wanted: str = field(default="", compare=False, repr=False)

    kind: ClassVar[str] = "files"
    state: ClassVar[type[State]] = FileSetState
    probe: ClassVar[Script] = PROBE_FILES
    arity: ClassVar[int] = 4
    holds_others: ClassVar[bool] = True

    def arguments(self) -> tuple[str, ...]:
        """Return the folder, how many names there are, the hash that is hoped for, and the names."""
        return self.top, str(len(self.below.names)), self.wanted, self.below.text

    def part(self, state: State, other: Observable[Any]) -> FileState | None:
        """Return the state of a file that belongs to it."""
        if not isinstance(other, File) or not isinstance(state, FileSetState) or not other.path.startswith(self.top):
            return None
        number = self.below.places.get(other.path[len(self.top.rstrip("/")) + 1 :])
        return None if number is None else state.file(number, other.path)

    @property
    def files(self) -> list[File]:
        """Return the files that it is made of."""
        return [File.at(f"{self.top.rstrip('/')}/{name}", HASHED) for name in self.below.names]

    def is_absent(self, state: State) -> bool:
        """Tell whether nothing stands at any of the names."""
        return isinstance(state, FileSetState) and state.is_absent

    def follows_from(self, state: State, reads: Mapping[Observable[Any], State]) -> bool:
        """Below a folder that is not there is nothing."""
        above = File.at(self.top, METADATA)
        return self.is_absent(state) and above in reads and above.is_absent(reads[above])

    def __str__(self) -> str:
        """Return the kind and the folder."""
        return f"{self.kind} {self.top}"
