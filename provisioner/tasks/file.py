"""file: files, folders and links, whom they belong to, and that they are not there."""

from __future__ import annotations

import posixpath
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.model import Context, Effect, Line, Observable, Pattern, known, task
from provisioner.observables.file import CONTENT, METADATA, File, FileState, follow, real_path
from provisioner.records import dataclass
from provisioner.shell import NEW_TEMP, SETTLE, Script
from provisioner.tasks.content import Content
from provisioner.tasks.tree import TREE_ACCESS, Regranted, Tree, TreeState, nameable
from provisioner.tasks.writing import (
    SET_ACCESS,
    CannotPlan,
    Draft,
    FileTask,
    Leaves,
    absolute,
    access_lines,
    ancestors,
    born_line,
    folder_of,
    fresh,
    granted,
    make_folders,
    set_access,
    write,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REMOVE = Script(
    "remove_path",
    r"""
# path: removes what is there, a folder with all that is in it.
case $1 in
  /*[!/.]*) ;;
  *) printf 'refusing to remove "%s"\n' "$1" >&2; return 1 ;;
esac
rm -rf -- "$1" || return 1
settle_file "${1%/*}/"
""",
    (SETTLE,),
)

PUT_IN_PLACE = Script(
    "put_in_place",
    r"""
# temp dest: renames a new link over what is there; an empty folder makes room for it.
if [ -d "$2" ] && [ ! -L "$2" ]; then rmdir -- "$2" || { rm -f -- "$1"; return 1; }; fi
if mv -f -T -- "$1" "$2" 2>/dev/null || { [ ! -d "$2" ] && mv -f -- "$1" "$2"; }; then
  settle_file "${2%/*}/"
else
  rm -f -- "$1"
  printf 'cannot put %s in its place\n' "$2" >&2
  return 1
fi
""",
    (SETTLE,),
)

MAKE_LINK = Script(
    "make_link",
    r"""
# target dest: puts a symbolic link in place, made aside so that the name never points nowhere.
new_temp "${2%/*}" -u || return 1
ln -s -- "$1" "$temp" || return 1
put_in_place "$temp" "$2"
""",
    (NEW_TEMP, PUT_IN_PLACE),
)

MAKE_HARD_LINK = Script(
    "make_hard_link",
    r"""
# src dest: gives a file a second name.
new_temp "${2%/*}" -u || return 1
ln -- "$1" "$temp" || return 1
put_in_place "$temp" "$2"
""",
    (NEW_TEMP, PUT_IN_PLACE),
)

TOUCH = Script(
    "touch_path",
    r"""
# path which: sets the times of a path to now, both of them or the one that -a or -m names.
if [ -n "$2" ]; then touch -c "$2" -- "$1"; else touch -c -- "$1"; fi
""",
)


@task
@dataclass(frozen=True, kw_only=True)
class FileType(FileTask):
    """Makes a path a file, a folder, a link or nothing, and gives it its owner and mode."""

    path: str = field(metadata={"aliases": ("dest", "name")})
    state: Literal["file", "directory", "absent", "link", "hard", "touch"] | None = None
    src: str | None = None
    recurse: bool = False
    force: bool = False
    follow: bool = True
    modification_time: Literal["preserve", "now"] | None = None
    access_time: Literal["preserve", "now"] | None = None

    name: ClassVar[str] = "file"
    example: ClassVar[str] = "file: {path: /opt/app, state: directory, owner: nvidia, mode: '0755'}"

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the path, the folders above where one may have to be made, and what a link points to."""
        file = self._file(ctx)
        yield file
        if self.state == "directory" or self.recurse:
            yield from ancestors(file.path)
        elif self.state in ("link", "hard", "touch"):
            yield file.parent
        if self.src is not None and self.state in ("link", "hard"):
            yield self._source(file, ctx)
        if self.recurse:
            yield Tree(file.path)

    def draft(self, draft: Draft) -> Mapping[str, Any]:
        """Plan by the state that is asked for; without one, that which is there."""
        file = self._file(draft.ctx)
        state = draft.get(file)
        wanted = self._wanted(state)
        if self.recurse:
            nameable(self.access)
        self._check(wanted)
        steps = {
            "absent": self._absent,
            "directory": self._directory,
            "file": self._as_file,
            "hard": self._hard,
            "link": self._link,
            "touch": self._touch,
        }
        result = steps[wanted](draft, file, state)
        key = "dest" if wanted in ("link", "hard", "touch") else "path"
        return {key: file.path, "state": wanted, **_facts(result)}

    def _file(self, ctx: Context) -> File:
        return File(absolute(self.path, ctx), METADATA)

    def _source(self, file: File, ctx: Context) -> File:
        """Return what a link points to, as it lies from where the link is."""
        source = self.src or ""
        if self.state == "hard":
            return File(absolute(source, ctx, "src"), CONTENT)
        return File(posixpath.join(posixpath.dirname(file.path), source), METADATA)

    def _wanted(self, state: FileState) -> str:
        if self.state is not None:
            return self.state
        if state.exists:
            return state.type if state.type in ("directory", "link") else "file"
        return "directory" if self.recurse else "file"

    def _check(self, wanted: str) -> None:
        if self.recurse and wanted != "directory":
            raise CannotPlan("recurse option requires state to be 'directory'", path=self.path)
        if self.src is not None and wanted not in ("link", "hard"):
            raise CannotPlan("src option requires state to be 'link' or 'hard'", path=self.path)

    def _absent(self, draft: Draft, file: File, state: FileState) -> FileState:
        if not state.exists:
            return state
        if file.path == "/":
            raise CannotPlan("refusing to remove /")
        gone = FileState(real=state.real)
        also = " with all that is in it" if state.type == "directory" else ""
        shows = (Line(f"{file.path}: {state.type}{also} -> absent"),)
        leaves: Leaves = {**_planned_below(draft, state.real), file: gone}
        draft.add(Effect(script=REMOVE, values=(file.path,), shows=shows, leaves=leaves))
        return gone

    def _directory(self, draft: Draft, file: File, state: FileState) -> FileState:
        if self.follow:
            file, state = follow(draft, file)
        if not state.exists:
            return make_folders(draft, file, self.access)
        if state.type != "directory":
            raise CannotPlan(f"{file.path} already exists as a {state.type}", path=file.path)
        new = set_access(draft, file, state, self.access)
        if self.recurse:
            self._recurse(draft, file)
        return new

    def _recurse(self, draft: Draft, file: File) -> None:
        tree = Tree(file.path)
        change = Regranted.of(draft, tree, self.access)
        if change.after == change.before:
            return
        values = (file.path, self.owner or "", self.group or "", *change.rules())
        leaves: Leaves = {**change.files(draft, tree), tree: TreeState(sorts=change.after)}
        shows = tuple(Line(f"below {file.path}: {line}") for line in change.lines())
        disturbs = (Pattern("file", f"{file.path}/*"),)
        draft.add(Effect(script=TREE_ACCESS, values=values, shows=shows, leaves=leaves, disturbs=disturbs))

    def _as_file(self, draft: Draft, file: File, state: FileState) -> FileState:
        if self.follow:
            file, state = follow(draft, file)
        if state.type != "file":
            raise CannotPlan(f"file ({file.path}) is {state.type}, cannot continue", path=file.path)
        return set_access(draft, file, state, self.access)

    def _link(self, draft: Draft, file: File, state: FileState) -> FileState:
        if self.src is None and state.type != "link":
            raise CannotPlan("src is required for creating new symlinks", path=file.path)
        if self.src is not None and state.target != self.src:
            state = self._replace(draft, file, state)
        if not self.follow:
            return set_access(draft, file, state, self.access)
        if self.owner or self.group or self.mode is not None:
            self._target(draft, file)
        return state

    def _target(self, draft: Draft, file: File) -> None:
        """Plan the access of what a link leads to."""
        target, state = follow(draft, file)
        if state.exists:
            set_access(draft, target, state, self.access)
        else:
            draft.warnings.append(f"{file.path} leads nowhere: owner, group and mode are not set (see follow)")

    def _replace(self, draft: Draft, file: File, state: FileState) -> FileState:
        """Plan a symbolic link where there is none, or another."""
        to = posixpath.join(posixpath.dirname(state.real), self.src or "")
        source = File(real_path(draft, to), METADATA)
        target, there = follow(draft, source)
        if target.path == state.real and there.exists:
            raise CannotPlan(f"refusing to make {file.path} a link that leads to itself", path=file.path, src=self.src)
        if not self.force and not there.exists:
            message = 'src file does not exist, use "force=yes" if you really want to create the link'
            raise CannotPlan(f"{message}: {source.path}", path=file.path, src=self.src)
        self._may_replace(draft, file, state)
        new = fresh(draft, state, folder_of(draft, file), "link")
        new = replace(new, target=self.src)
        was = f"link to {state.target}" if state.type == "link" else state.type
        shows = (Line(f"{file.path}: {was} -> link to {self.src}"),)
        draft.add(Effect(script=MAKE_LINK, values=(self.src or "", file.path), shows=shows, leaves={file: new}))
        return new

    def _may_replace(self, draft: Draft, file: File, state: FileState) -> None:
        if state.type not in ("absent", "link") and not self.force:
            raise CannotPlan(f"refusing to convert from {state.type} to symlink for {file.path}", path=file.path)
        _is_empty(draft, file, state)

    def _hard(self, draft: Draft, file: File, state: FileState) -> FileState:
        if self.src is None:
            raise CannotPlan("src is required for creating new hardlinks", path=file.path)
        source = self._source(file, draft.ctx)
        origin = draft.get(source)
        if not origin.exists:
            raise CannotPlan("src does not exist", dest=file.path, src=self.src)
        if origin.type == "directory":
            raise CannotPlan("a folder cannot have a second name", dest=file.path, src=self.src)
        if source.located(draft) != file.located(draft) and not _is_same(origin, state):
            if state.type not in ("absent", "link") and not self.force:
                raise CannotPlan(f"Cannot link, {state.type} exists at destination", dest=file.path, src=self.src)
            _is_empty(draft, file, state)
            folder_of(draft, file)
            state = replace(origin, real=state.real)
            values = (source.path, file.path)
            shows = (Line(f"{file.path}: hard link to {source.path}"), born_line(state))
            draft.add(Effect(script=MAKE_HARD_LINK, values=values, shows=shows, leaves={file: state}))
        return self._both(draft, file, state, source)

    def _both(self, draft: Draft, file: File, state: FileState, source: File) -> FileState:
        """Plan the access of a file with two names: what is done to one is seen under both."""
        new = granted(state, self.access)
        if new == state:
            return new
        values = (file.path, self.owner or "", self.group or "", f"0{known(new.mode)}")
        leaves: Leaves = {file: new, source: replace(new, real=draft.peek(source).real)}
        draft.add(Effect(script=SET_ACCESS, values=values, shows=access_lines(state, new), leaves=leaves))
        return new

    def _touch(self, draft: Draft, file: File, state: FileState) -> FileState:
        if self.follow:
            file, state = follow(draft, file)
        if not state.exists:
            return write(draft, file, state, Content.of(b""), self.access).state
        new = set_access(draft, file, state, self.access)
        preserved = (self.access_time == "preserve", self.modification_time == "preserve")
        if preserved != (True, True):
            which = {(True, False): "-m", (False, True): "-a"}.get(preserved, "")
            new = replace(new, facts=None)
            shows = (Line(f"{file.path}: touch"),)
            draft.add(Effect(script=TOUCH, values=(file.path, which), shows=shows, leaves={file: new}))
        return new


def _facts(state: FileState) -> dict[str, Any]:
    facts = {"owner": state.owner, "group": state.group, "mode": state.mode, "src": state.target}
    return {name: value for name, value in facts.items() if value is not None}


def _is_empty(draft: Draft, file: File, state: FileState) -> None:
    """See that a folder which is to make room has nothing in it."""
    if state.type == "directory" and known(draft.get(Tree(state.real)).sorts):
        raise CannotPlan(f"the directory {file.path} is not empty, refusing to convert it", path=file.path)


def _planned_below(draft: Draft, real: str) -> Leaves:
    """Return as absent what earlier tasks plan below a folder that goes away."""
    paths = [seen.path for seen in draft.planned if isinstance(seen, File) and seen.path.startswith(f"{real}/")]
    return {File(path, METADATA): FileState(real=path) for path in paths}


def _is_same(one: FileState, other: FileState) -> bool:
    """Tell whether two names are of one file."""
    if not other.exists:
        return False
    a, b = one.stat(), other.stat()
    return bool(a) and bool(b) and (a["inode"], a["dev"]) == (b["inode"], b["dev"])
