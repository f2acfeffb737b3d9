"""Effects as data: what they leave is kept, what a device would refuse is refused, what only a shell could tell too."""

from __future__ import annotations

import posixpath
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from provisioner.model import Line
from provisioner.observables.file import File, FileState
from provisioner.observables.file_set import FileSet, FileSetState
from provisioner.observables.image import ContainerImage, ImageState
from provisioner.observables.package import Package, PackageState
from provisioner.observables.user import Group, User
from provisioner.records import dataclass
from provisioner.tasks.tree import Tree

from . import verdict
from .apt import Market, NoWay, base
from .device import CannotBe
from .files import WRITE, may, stamped
from .fill import filled
from .looks import COMPUTED, look
from .rules import Change, follow_up, happen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from provisioner.model import Effect, Observable, State

    from .device import Device

NOT_SIMULATED = 96
APT_FAILED = 100
VALIDATE = 5
"""Where write_file and put_file have the command that is to judge a content."""


@dataclass(frozen=True)
class Ended:
    """How an effect ended."""

    rc: int = 0
    stdout: str = ""
    stderr: str = ""


def carry_out(device: Device, effect: Effect, user: str) -> Ended:
    """Do an effect as a user, wholly or not at all."""
    before = device.snapshot()
    try:
        if verdict.is_check(effect):
            return Ended(stdout=verdict.checked(device, effect), stderr=verdict.SAID)
        _refuse(effect)
        _do(device, effect, user)
    except CannotBe as no:
        device.disk = before
        return Ended(no.rc, stderr=f"{no}\n")
    return Ended()


def _refuse(effect: Effect) -> None:
    """Raise CannotBe for what is more than states: a program to run, or a content that only the device knows."""
    if effect.opaque or not (effect.leaves or effect.witness):
        raise CannotBe(f"{_called(effect)}: not simulated: the model has no shell", NOT_SIMULATED)
    if effect.script.name in ("put_file", "write_file") and effect.values[VALIDATE]:
        raise CannotBe(f"{effect.values[VALIDATE]!s}: not simulated: the model has no shell", NOT_SIMULATED)
    if any(isinstance(state, FileState) and "sha256" in state.open_fields() for state in effect.leaves.values()):
        raise CannotBe(f"{_called(effect)}: not simulated: only a device can tell the content", NOT_SIMULATED)


def _called(effect: Effect) -> str:
    line = next((shown.text for shown in effect.shows if isinstance(shown, Line)), effect.script.name)
    return line.removeprefix("run: ")


def _do(device: Device, effect: Effect, user: str) -> None:
    if effect.script.name == "tree_access":
        _grant_below(device, effect)
    changes = [_leave(device, effect, thing, state, user) for thing, state in _parts(effect.leaves)]
    for change in changes:
        follow_up(change)
    if effect.witness is not None:
        _need_root(user, effect)
        happen(device, effect.witness)


def _parts(leaves: Mapping[Observable[Any], State]) -> Iterator[tuple[Observable[Any], State]]:
    """Yield what is left of each thing, of a set of files each of them."""
    for thing, state in leaves.items():
        if isinstance(thing, FileSet) and isinstance(state, FileSetState):
            yield from ((file, state.file(number, file.path)) for number, file in enumerate(thing.files))
        else:
            yield thing, state


def _leave(device: Device, effect: Effect, thing: Observable[Any], state: State, user: str) -> Change:
    """Keep what an effect leaves of one thing, the fields that were open filled in."""
    if isinstance(thing, File):
        thing = File(device.real(thing.path))
        before: State = device.standing(thing.path)
    else:
        before = look(device, thing)
    after = filled(device, effect, thing, before, state)
    change = Change(device, effect, thing, before, after)
    check = _CHECKS.get(type(thing))
    if check is not None:
        check(change, user)
    elif not isinstance(thing, Tree):
        _need_root(user, effect)
    if isinstance(thing, File):
        after = _kept(change)
    if not isinstance(thing, COMPUTED):
        device.keep(thing, after)
    return replace(change, after=after)


def _need_root(user: str, effect: Effect) -> None:
    if user != "root":
        raise CannotBe(f"{_called(effect)}: permission denied, are you root?")


# What a device would not do.


def _check_file(change: Change, user: str) -> None:
    state, device = cast("FileState", change.after), change.device
    path = cast("File", change.thing).path
    parent = device.standing(posixpath.dirname(path))
    if state.exists and path != "/" and parent.type != "directory":
        why = "Not a directory" if parent.exists else "No such file or directory"
        raise CannotBe(f"cannot create '{path}': {why}")
    _check_place(change, path)
    _check_right(change, parent, user)
    if state.exists:
        _check_names(device, str(state.owner), str(state.group))


def _check_names(device: Device, owner: str, group: str) -> None:
    if not owner.isdigit() and device.held(User(owner)) is None:
        raise CannotBe(f"chown: invalid user: '{owner}'")
    if not group.isdigit() and device.held(Group(group)) is None:
        raise CannotBe(f"chown: invalid group: '{group}'")


def _check_place(change: Change, path: str) -> None:
    """A file or link does not take the place of a folder that holds something."""
    state, before = cast("FileState", change.after), cast("FileState", change.before)
    if before.type == "directory" and state.type not in ("directory", "absent"):
        if any(change.device.below(path)):
            raise CannotBe(f"rmdir: failed to remove '{path}': Directory not empty")
        if state.type == "file":
            raise CannotBe(f"cannot put {path} in its place: Is a directory")


def _check_right(change: Change, parent: FileState, user: str) -> None:
    state, before = cast("FileState", change.after), cast("FileState", change.before)
    own = before.exists and before.owner == user
    if not own and not may(change.device, user, parent, WRITE):
        raise CannotBe(f"cannot change '{cast('File', change.thing).path}': Permission denied")
    if user != "root" and state.exists and state.owner not in (user, before.owner):
        raise CannotBe(f"changing ownership of '{cast('File', change.thing).path}': Operation not permitted")


def _check_package(change: Change, user: str) -> None:
    _need_root(user, change.effect)
    state, before = cast("PackageState", change.after), cast("PackageState", change.before)
    if not state.installed or (before.installed and before.version == state.version):
        return
    name = base(cast("Package", change.thing).name)
    try:
        offers = Market(change.device).offers(name)
    except NoWay as no:
        raise CannotBe(str(no), APT_FAILED) from None
    if state.version not in offers:
        raise CannotBe(f"E: Version '{state.version}' for '{name}' was not found", APT_FAILED)


def _check_image(change: Change, user: str) -> None:
    _need_root(user, change.effect)
    if cast("ImageState", change.after).present and change.device.disk.docker is None:
        raise CannotBe(
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?"
        )


_CHECKS: Mapping[type[Observable[Any]], Callable[[Change, str], None]] = {
    ContainerImage: _check_image,
    File: _check_file,
    Package: _check_package,
}


# Files.


def _kept(change: Change) -> FileState:
    """Return a file as it is kept: with its content, and the numbers that stat tells."""
    device, state, before = change.device, cast("FileState", change.after), cast("FileState", change.before)
    state = replace(state, real=cast("File", change.thing).path)
    if not state.exists:
        return state
    if state.type == "file":
        state = _with_content(device, state, before)
    if change.effect.script.name == "make_hard_link":
        # Two names of one file have one inode.
        return replace(state, facts=device.standing(str(change.effect.values[0])).facts)
    if state.facts is not None:
        return state
    return stamped(device, state, before, touched=change.effect.script.name == "touch_path")


def _with_content(device: Device, state: FileState, before: FileState) -> FileState:
    if state.sha256 is None:
        return replace(state, sha256=before.sha256, content=before.content, large=before.large)
    if state.content is not None:
        return replace(state, large=None)
    content = device.content_of(str(state.sha256))
    return replace(state, content=content, large=True if content is None else None)


def _grant_below(device: Device, effect: Effect) -> None:
    """Give all that is below a folder its owner and group, then change modes: kind, old and new, three by three."""
    path, owner, group, *rest = (str(value) for value in effect.values)
    modes = {(kind, old): new for kind, old, new in zip(rest[::3], rest[1::3], rest[2::3], strict=True)}
    for file in tuple(device.below(device.real(path))):
        state = device.standing(file.path)
        mode = modes.get((state.type, str(state.mode)), state.mode)
        after = replace(state, owner=owner or state.owner, group=group or state.group, mode=mode)
        device.keep(file, stamped(device, after, state))
