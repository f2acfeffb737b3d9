"""What lies below a folder, as far as `recurse` needs it: the sorts of access that things there have."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from provisioner.model import Observable, State, Unknown, known, observable
from provisioner.observables.file import File, FileState
from provisioner.records import dataclass
from provisioner.shell import Script
from provisioner.tasks.writing import Access, CannotPlan, Draft, Leaves, granted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import View

PROBE_TREE = Script(
    "probe_tree",
    r"""
# path ...: kind|owner|group|mode of all that lies below, each sort once.
while [ $# -gt 0 ]; do
  next
  sorts=$(find "$1" -mindepth 1 -exec stat -c '%F|%U|%u|%G|%g|%a' -- '{}' + 2>/dev/null | sort -u |
    while IFS='|' read -r kind owner uid group gid mode; do
      [ "$owner" != UNKNOWN ] || owner=$uid
      [ "$group" != UNKNOWN ] || group=$gid
      case $mode in ?) mode=000$mode ;; ??) mode=00$mode ;; ???) mode=0$mode ;; esac
      case $kind in reg*) kind='file' ;; dir*) kind=directory ;; sym*) kind=link mode= ;; *) kind=other ;; esac
      printf '%s|%s|%s|%s\n' "$kind" "$owner" "$group" "$mode"
    done | sort -u | tr '\n' ' ')
  printf 'sorts=%s\n' "${sorts% }"
  shift
done
""",
)

TREE_ACCESS = Script(
    "tree_access",
    r"""
# path owner group [kind old new]...: gives away what is below and not there yet, then changes modes old to new.
path=$1
if [ -n "$2" ]; then find "$path" -mindepth 1 ! -user "$2" -exec chown -h -- "$2" '{}' + || return 1; fi
if [ -n "$3" ]; then find "$path" -mindepth 1 ! -group "$3" -exec chgrp -h -- "$3" '{}' + || return 1; fi
shift 3
while [ $# -gt 0 ]; do
  case $1 in
    directory) find "$path" -mindepth 1 -type d -perm "$2" -exec chmod -- "0$3" '{}' + || return 1 ;;
    file) find "$path" -mindepth 1 -type f -perm "$2" -exec chmod -- "0$3" '{}' + || return 1 ;;
    *) find "$path" -mindepth 1 ! -type f ! -type d ! -type l -perm "$2" -exec chmod -- "0$3" '{}' + || return 1 ;;
  esac
  shift 3
done
""",
)


@dataclass(frozen=True, kw_only=True)
class TreeState(State):
    """The sorts of things below a folder: each a kind|owner|group|mode that at least one of them has."""

    sorts: tuple[str, ...] | Unknown = ()


@observable
@dataclass(frozen=True)
class Tree(Observable[TreeState]):
    """All that lies below a folder."""

    path: str

    kind: ClassVar[str] = "tree"
    state: ClassVar[type[State]] = TreeState
    probe: ClassVar[Script] = PROBE_TREE

    def located(self, view: View) -> Self:
        """Follow the links of the folders above."""
        return replace(self, path=File(self.path).located(view).path)

    def implied(self, view: View) -> TreeState | None:
        """Count in what earlier tasks make here; what they change may leave a sort without its last thing."""
        planned = {seen: state for seen, state in view.planned.items() if self.holds(seen)}
        if not planned and File(self.path) not in view.born:
            return None
        if any(_was_other(view, seen, state) for seen, state in planned.items()):
            return TreeState(sorts=Unknown(f"known after the changes below {self.path}"))
        before = () if File(self.path) in view.born else known(view.raw(self).sorts)
        return TreeState(sorts=_sorted((*before, *_sorts(planned.values()))))

    def holds(self, seen: Observable[Any]) -> bool:
        """Tell whether a thing is a file below this folder."""
        return isinstance(seen, File) and seen.path.startswith(self.path.rstrip("/") + "/")


def _was_other(view: View, seen: Observable[Any], state: State) -> bool:
    before = view.probed.get(seen)
    if seen in view.born or not isinstance(before, FileState) or not before.exists:
        return False
    return not isinstance(state, FileState) or not state.exists or _sort(before) != _sort(state)


def _sort(state: FileState) -> str:
    return "|".join((state.type, known(state.owner) or "", known(state.group) or "", known(state.mode) or ""))


def _sorts(states: Iterable[State]) -> Iterator[str]:
    return (_sort(state) for state in states if isinstance(state, FileState) and state.exists)


def _sorted(sorts: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(sorts)))


def nameable(access: Access) -> None:
    """See that an access for a tree names whom it is given to: of a number nobody can tell the name before."""
    if any(name and name.isdigit() and int(name) for name in (access.owner, access.group)):
        raise CannotPlan("recurse needs the owner and group by name; numbers cannot be told before")


@dataclass(frozen=True)
class Regranted:
    """What becomes of a tree whose things all get a new access."""

    before: tuple[str, ...]
    access: Access

    @classmethod
    def of(cls, draft: Draft, tree: Tree, access: Access) -> Regranted:
        """Read a tree as the plan so far leaves it."""
        here = tree.located(draft)
        planned = (state for seen, state in draft.planned.items() if here.holds(seen))
        return cls(_sorted((*known(draft.get(tree).sorts), *_sorts(planned))), access)

    @property
    def after(self) -> tuple[str, ...]:
        """Return the sorts that there will be."""
        return _sorted(_sort(granted(_state(sort), self.access)) for sort in self.before)

    def rules(self) -> Iterator[str]:
        """Yield kind, old mode and new mode of what needs another mode once it has its owner."""
        given = replace(self.access, mode=None)
        modes = {(s.type, known(s.mode) or "") for s in (granted(_state(sort), given) for sort in self.before)}
        for kind, mode in sorted(modes):
            new = self._mode(kind, mode)
            if kind != "link" and new != mode:
                if self._mode(kind, new) != new:
                    raise CannotPlan(f"mode {self.access.mode} cannot be applied twice, so not with recurse")
                yield from (kind, mode, new)

    def _mode(self, kind: str, mode: str) -> str:
        return known(granted(FileState(type=kind, mode=mode), Access(mode=self.access.mode)).mode) or ""

    def lines(self) -> Iterator[str]:
        """Yield what changes, a line for each sort."""
        for sort in self.before:
            new = _sort(granted(_state(sort), self.access))
            if new != sort:
                yield f"{sort.rstrip('|').replace('|', ' ')} -> {new.rstrip('|').partition('|')[2].replace('|', ' ')}"

    def files(self, draft: Draft, tree: Tree) -> Leaves:
        """Return the files below that were looked at or planned, as they will be."""
        here = tree.located(draft)
        seen = {file: state for file, state in {**draft.probed, **draft.planned}.items() if here.holds(file)}
        now = {file.located(draft): draft.peek(file) for file in seen if isinstance(file, File)}
        return {
            file: granted(state, self.access)
            for file, state in now.items()
            if state.exists and here.holds(file) and granted(state, self.access) != state
        }


def _state(sort: str) -> FileState:
    kind, owner, group, mode = sort.split("|")
    return FileState(type=kind, owner=owner, group=group, mode=mode or None)
