"""What the tasks that change files share: drafts of plans, content, access, and the effects that bring them about."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from provisioner.errors import InputError, NotYetKnown
from provisioner.model import (
    Context,
    Diff,
    Effect,
    Line,
    NeedLook,
    Observable,
    Plan,
    Shown,
    State,
    TaskType,
    Unknown,
    View,
    known,
)
from provisioner.observables.file import HASHED, METADATA, UNREADABLE, File, FileState, folders_above, follow, normal
from provisioner.records import dataclass
from provisioner.shell import SETTLE, WRITE_FILE, Script
from provisioner.tasks.modes import ANY_EXECUTE, SETGID, SETUID, digits, octal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.tasks.content import Content

KEPT = "="
PLACES = ("dest", "path", "name", "destfile")
GROUP_EXECUTE = 0o010
WORLD_READ = 0o004

KEEP_OWNER = Script(
    "keep_owner",
    r"""
# path owner group: sets owner and group, where = stands for what the path has now.
owner=$2 group=$3
case $owner:$group in *=*)
  ids=$(stat -c %u:%g -- "$1") || return 1
  [ "$owner" != = ] || owner=${ids%:*}
  [ "$group" != = ] || group=${ids#*:} ;;
esac
""",
)

PUT_FILE = Script(
    "put_file",
    r"""
# dest owner group mode backup validate sha256 data: write_file, where an owner or group of = is kept.
keep_owner "$1" "$2" "$3" || return 1
write_file "$1" "$owner" "$group" "$4" "$5" "$6" "$7" "$8"
""",
    (KEEP_OWNER, WRITE_FILE),
)

SET_ACCESS = Script(
    "set_access",
    r"""
# path owner group mode: the owner first, for chown takes mode bits away; what is empty is left as it is.
if [ -n "$2$3" ]; then chown -h -- "$2${3:+:$3}" "$1" || return 1; fi
[ -z "$4" ] || chmod -- "$4" "$1"
""",
)

MAKE_FOLDER = Script(
    "make_folder",
    r"""
# path owner group mode: a new folder, which nobody else can enter before it is as it should be.
(umask 077 && mkdir -- "$1") || return 1
set_access "$1" "$2" "$3" "$4" || { rmdir -- "$1"; return 1; }
settle_file "${1%/*}/"
""",
    (SET_ACCESS, SETTLE),
)

T = TypeVar("T", bound=State)
Leaves = dict[Observable[Any], State]


class CannotPlan(Exception):  # noqa: N818 - no error: the plan says failed
    """Why a task will fail, in the words that it reports, with what it registers then."""

    def __init__(self, reason: str, **result: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.result = result


class Draft(View):
    """A plan in the making: the view of its task, with the effects that the task has planned so far."""

    def __init__(self, view: View, ctx: Context) -> None:
        super().__init__(
            view.probed,
            dict(view.planned),
            list(view.disturbances),
            dict(view.laid),
            set(view.born),
            dict(view.rests),
            rerouted=view.rerouted,
            wide=dict(view.wide),
        )
        self.base = view
        self.ctx = ctx
        self.effects: list[Effect] = []
        self.warnings: list[str] = []
        self.folders: dict[str, FileState] = {}

    def get(self, observable: Observable[T]) -> T:
        """Return a state as the task's own effects leave it; the guard compares what was there before them."""
        if not self.effects:
            return self.base.get(observable)
        try:
            self.base.get(observable)
        except NeedLook:
            # What this draft has made is not in the view below; peek raises again for anything else.
            return self.peek(observable)
        return self.peek(observable)

    def add(self, effect: Effect) -> None:
        """Plan one more effect."""
        if effect.script is not PUT_FILE:
            self.folders.clear()
        self.effects.append(effect)
        self.lay(effect, self.ctx.label)


@dataclass(frozen=True)
class Access:
    """Whom a file belongs to and who may use it, where a task says so."""

    owner: str | None = None
    group: str | None = None
    mode: str | int | None = None


@dataclass(frozen=True, kw_only=True)
class FileTask(TaskType):
    """A task that changes files: the arguments that all of them share, and a plan made as a draft."""

    owner: str | None = None
    group: str | None = None
    mode: str | int | None = None

    @classmethod
    def foresees(cls, arguments: Mapping[str, Any], ctx: Context) -> Iterable[Observable[Any]]:
        """Name the file that is written, and the folder that holds it, when its content is not known yet."""
        del ctx
        named = next((arguments[name] for name in PLACES if isinstance(arguments.get(name), str)), "")
        return (File(named, HASHED), File(named).parent) if named.startswith("/") else ()

    @property
    def access(self) -> Access:
        """Return the owner, group and mode that are asked for."""
        return Access(self.owner, self.group, self.mode)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return the draft's effects, or why there can be none."""
        draft = Draft(view, ctx)
        try:
            result = self.draft(draft)
        except CannotPlan as no:
            return Plan(failed=no.reason, result=no.result)
        return Plan(effects=tuple(draft.effects), result=result, warnings=tuple(draft.warnings))

    def draft(self, draft: Draft) -> Mapping[str, Any]:
        """Add the effects to a draft and return what is registered."""
        raise NotImplementedError


def absolute(path: str, ctx: Context, what: str = "path") -> str:
    """Return a path on the device in its normal form; InputError where it is relative."""
    home, slash, rest = path.partition("/")
    if home in ("~", "~root") and (ctx.user == "root" or home == "~root"):
        return normal("/root" + slash + rest)
    if not path.startswith("/"):
        raise InputError(f"{what} has to be absolute: {path!r}", hint="{{ ansible_user_dir }} is the user's home")
    return normal(path)


def ancestors(path: str) -> Iterator[File]:
    """Yield the folders above a path, the nearest first, without the root."""
    yield from folders_above(normal(path))[:-1]


def read(draft: Draft, file: File, *, links: bool) -> tuple[File, FileState]:
    """Return what stands at a path, links followed if asked, with as much content as the file wants."""
    state = draft.get(file)
    if links:
        file, state = follow(draft, file)
    if state.type == "file" and file.want != METADATA:
        known(state.sha256)
        if not file.satisfied_by(state):
            raise NeedLook(file)
    return file, state


def editable(state: FileState, path: str) -> bytes | None:
    """Return the content of a file that is edited in place, None where there is no file yet."""
    if not state.exists:
        return None
    if state.type == "directory":
        raise CannotPlan(f"Path {path} is a directory !", rc=256)
    if state.type != "file":
        raise CannotPlan(f"Path {path} is no regular file")
    if state.large:
        raise CannotPlan(f"{path} has more than 4 MiB, which is more than is edited in place")
    if state.sha256 == UNREADABLE or state.content is None:
        raise CannotPlan(f"{path} cannot be read")
    return state.content


def folder_of(draft: Draft, file: File) -> FileState:
    """Return the folder in which something is made; a plan fails where there is none."""
    above = file.parent
    if (found := draft.folders.get(above.path)) is not None:
        return found
    _, state = follow(draft, above)
    if not state.exists:
        raise CannotPlan(f"Destination directory {above.path} does not exist")
    if state.type != "directory":
        raise CannotPlan(f"Destination directory {above.path} is a {state.type}, no directory")
    draft.folders[above.path] = state
    return state


def fresh(draft: Draft, state: FileState, parent: FileState, kind: str) -> FileState:
    """Return what a new file, link or folder is like before anybody gives it away."""
    user = draft.ctx.user
    setgid = int(known(parent.mode) or "0", 8) & SETGID
    own = "root" if user == "root" else Unknown(f"the primary group of {user}")
    mode = {"file": "0644", "directory": digits(0o755 | setgid)}.get(kind)
    return FileState(type=kind, real=state.real, owner=user, group=parent.group if setgid else own, mode=mode)


def granted(state: FileState, access: Access, *, new: bool = False) -> FileState:
    """Return a state with the owner, group and mode that are asked for."""
    facts = state.stat() if access.owner or access.group else {}
    owner = _name(access.owner, state.owner, facts.get("uid"), new=new)
    group = _name(access.group, state.group, facts.get("gid"), new=new)
    mode = state.mode
    if state.mode is not None and access.mode is not None:
        mode = _octal(access.mode, known(state.mode) or "0000", folder=state.type == "directory")
    elif state.type == "file" and not new and (owner, group) != (state.owner, state.group):
        mode = _after_chown(known(state.mode) or "0000")
    if (owner, group, mode) == (state.owner, state.group, state.mode):
        return state
    return state.but(owner=owner, group=group, mode=mode, facts=None)


def _octal(mode: str | int, current: str, *, folder: bool) -> str:
    try:
        return octal(mode, current, folder=folder)
    except ValueError as error:
        raise CannotPlan(str(error)) from error


def _after_chown(mode: str) -> str:
    """Return what the kernel leaves of a file's mode when it changes hands."""
    bits = int(mode, 8)
    if bits & ANY_EXECUTE:
        bits &= ~SETUID
    return digits(bits & ~SETGID if bits & GROUP_EXECUTE else bits)


def _name(want: str | None, now: str | Unknown | None, number: int | None, *, new: bool) -> str | Unknown | None:
    """Return the name that the probe will tell of an owner; of a number it is open whether it has one."""
    if want is None or want == now:
        return now
    if not want.isdigit():
        return want if new else _known_other(want, now)
    if int(want) == 0:
        return "root"
    named = Unknown(f"the name of id {want}")
    if number is None and not new and isinstance(now, str) and now != "root" and not now.isdigit():
        raise NotYetKnown(f"whether {now} is number {want} is known after apply")
    return now if number == int(want) or now == named else named


def _known_other(want: str, now: str | Unknown | None) -> str:
    known(now)
    return want


def access_lines(old: FileState, new: FileState) -> tuple[Line, ...]:
    """Return a line for each of owner, group and mode that changes."""
    pairs = ((name, getattr(old, name), getattr(new, name)) for name in ("owner", "group", "mode"))
    return tuple(Line(f"{name}: {a} -> {b}") for name, a, b in pairs if a != b)


def born_line(new: FileState) -> Line:
    """Return the line that says what a new thing is like."""
    mode = f", mode {new.mode}" if new.mode else ""
    return Line(f"new {new.type}: owner {new.owner}, group {new.group}{mode}")


def set_access(draft: Draft, file: File, state: FileState, access: Access) -> FileState:
    """Plan the owner, group and mode of what is there; return the state that it will have."""
    new = granted(state, access)
    if new == state:
        return state
    changed = {name for name in ("owner", "group", "mode") if getattr(new, name) != getattr(state, name)}
    values = (
        file.path,
        (access.owner or "") if "owner" in changed else "",
        (access.group or "") if "group" in changed else "",
        "" if state.type == "link" else f"0{known(new.mode)}",
    )
    draft.add(Effect(script=SET_ACCESS, values=values, shows=access_lines(state, new), leaves={file: new}))
    return new


def make_folders(draft: Draft, file: File, access: Access, trail: tuple[str, ...] = ()) -> FileState:
    """Plan the folder at a path and all above it that are missing; return the state that it will have."""
    file, state = follow(draft, file)
    if file.path in trail:
        raise CannotPlan(f"{trail[0]} cannot be made: the links on the way to it lead in a circle")
    if state.type == "directory":
        return state
    if state.exists:
        raise CannotPlan(f"{file.path} already exists as a {state.type}")
    parent = make_folders(draft, file.parent, access, (*trail, file.path))
    new = granted(fresh(draft, state, parent, "directory"), access, new=True)
    values = (file.path, access.owner or "", access.group or "", f"0{new.mode}")
    shows = (Line(f"{file.path}: absent -> directory"), born_line(new))
    draft.add(Effect(script=MAKE_FOLDER, values=values, shows=shows, leaves={file: new}))
    return new


@dataclass(frozen=True)
class Written:
    """What a file will be, and where its old content will be kept."""

    state: FileState
    backup: str = ""


def write(
    draft: Draft,
    file: File,
    state: FileState,
    content: Content,
    access: Access,
    *,
    backup: bool = False,
    validate: str | None = None,
) -> Written:
    """Plan a file's content, owner, group and mode; what stands there now is `state`."""
    if validate and "%s" not in validate:
        raise CannotPlan(f"validate must contain %s: {validate}")
    if state.type not in ("absent", "file", "link"):
        raise CannotPlan(f"{file.path} is a {state.type}, no regular file")
    if state.type == "file" and known(state.sha256) == content.sha256:
        return Written(set_access(draft, file, state, access))
    new, owner, group = _replacement(draft, file, state, access)
    new = content.state(new)
    saved, kept = _backup(draft, state) if backup and state.type == "file" else ("", {})
    mode = known(new.mode) or "0644"
    values = (file.path, owner, group, mode, saved, validate or "", *content.values(file.path))
    shows = shown(draft.ctx, file, state, new)
    draft.add(Effect(script=PUT_FILE, values=values, shows=shows, leaves={**kept, file: new}))
    return Written(new, saved)


def _replacement(draft: Draft, file: File, state: FileState, access: Access) -> tuple[FileState, str, str]:
    """Return the access that a written file will have, and the owner and group to give it."""
    parent = folder_of(draft, file)
    if state.type != "file":
        new = granted(fresh(draft, state, parent, "file"), access, new=True)
        return new, access.owner or "", access.group or ""
    if draft.ctx.user in ("root", known(state.owner) if draft.ctx.user != "root" else ""):
        return granted(state, access), access.owner or KEPT, access.group or KEPT
    # Only root can give a file away: who replaces another's file owns it, and Ansible lets it be so.
    new = granted(replace(fresh(draft, state, parent, "file"), mode=state.mode), access, new=True)
    return new, access.owner or "", access.group or ""


def _backup(draft: Draft, state: FileState) -> tuple[str, Leaves]:
    """Return the copy that is kept of a file, named by its content so that the name can be told before."""
    file = File(f"{state.real}.{(known(state.sha256) or '')[:8]}~")
    copy = replace(state, real=file.path, facts=None)
    if draft.ctx.user not in ("root", state.owner):
        copy = replace(copy, owner=draft.ctx.user, group=Unknown("the group of a copy"), mode=Unknown("a copy's mode"))
    return file.path, {file: copy}


class Untouched:
    """A tree as nothing planned before has touched it: most files are as they are to be, or new in new folders.

    What is told of those here is what `write` plans, without asking the view for each of them what may have changed.
    """

    def __init__(self, draft: Draft, access: Access) -> None:
        self._draft = draft
        self._access = access
        self._holds = not (draft.base.planned or draft.base.disturbances or draft.rerouted)
        self._given: dict[tuple[object, ...], bool] = {}
        self._new: dict[tuple[str, object], FileState | None] = {}

    def settles(self, file: File, content: Content, mode: str | int | None) -> bool:
        """Tell whether nothing is left to do for a file, or what there is to do is planned now."""
        state = self._draft.probed.get(file) if self._holds else None
        if not isinstance(state, FileState) or state.real != file.path:
            return False
        if state.type == "file":
            settled = state.sha256 == content.sha256 and self._is_given(state, mode)
        else:
            settled = not state.exists and self._put(file, state, content, mode)
        if settled:
            self._draft.base.reads[file] = state
        return settled

    def _is_given(self, state: FileState, mode: str | int | None) -> bool:
        """Tell whether a file has its owner, group and mode; of numbers that has to be asked one by one."""
        if any(name and name.isdigit() for name in (self._access.owner, self._access.group)):
            return False
        key = (state.owner, state.group, state.mode, mode)
        if key not in self._given:
            self._given[key] = granted(state, replace(self._access, mode=mode)) is state
        return self._given[key]

    def _put(self, file: File, state: FileState, content: Content, mode: str | int | None) -> bool:
        """Plan a new file where its folder is new too."""
        folder = posixpath.dirname(file.path)
        if (folder, mode) not in self._new:
            self._new[folder, mode] = self._template(file.parent, mode)
        template = self._new[folder, mode]
        if template is None:
            return False
        new = template.but(real=file.path, **content.fields())
        owner, group = self._access.owner or "", self._access.group or ""
        values = (file.path, owner, group, known(new.mode) or "0644", "", "", *content.values(file.path))
        shows = shown(self._draft.ctx, file, state, new)
        # Nothing else of the task reads it: laying it over the draft would only take time.
        self._draft.effects.append(Effect(script=PUT_FILE, values=values, shows=shows, leaves={file: new}))
        return True

    def _template(self, folder: File, mode: str | int | None) -> FileState | None:
        parent = self._draft.planned.get(folder)
        if folder not in self._draft.born or not isinstance(parent, FileState) or parent.type != "directory":
            return None
        new = fresh(self._draft, FileState(), parent, "file")
        return granted(new, replace(self._access, mode=mode), new=True)


def is_secret(ctx: Context, states: Iterable[FileState]) -> bool:
    """Tell whether a content is not for everybody's eyes: nobody logs it, or others may not read it."""
    modes = [state.mode for state in states if state.type == "file"]
    return ctx.no_log or not all(isinstance(mode, str) and int(mode, 8) & WORLD_READ for mode in modes)


def shown(ctx: Context, file: File, old: FileState, new: FileState) -> tuple[Shown, ...]:
    """Return what a write shows: the content, and what else changes."""
    lines = access_lines(old, new) if old.type == "file" else (born_line(new),)
    if old.type == "link":
        lines = (Line(f"{file.path}: link to {old.target} -> file"), *lines)
    before, after = _text(old), new.content
    if after is None or (old.type == "file" and before is None):
        return (Line(f"{file.path}: content replaced, sha256 {new.sha256}"), *lines)
    return (Diff(file.path, before, after, is_secret(ctx, (old, new))), *lines)


def _text(state: FileState) -> bytes | None:
    return state.content if state.type == "file" and state.sha256 != UNREADABLE else None


def registered(path: str, written: Written, content: Content | None = None) -> dict[str, Any]:
    """Return what Ansible registers of a written file."""
    state = written.state
    facts: dict[str, Any] = {
        "dest": path,
        "state": state.type,
        "owner": state.owner,
        "group": state.group,
        "mode": state.mode,
    }
    if content is not None:
        facts |= {"size": content.size, "checksum": content.sha1}
    if written.backup:
        facts["backup_file"] = written.backup
    return {name: value for name, value in facts.items() if value is not None}
