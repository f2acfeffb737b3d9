"""copy: files and folders of the controller, given content, or a file that is on the device already."""

from __future__ import annotations

import json
import posixpath
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from provisioner.errors import InputError
from provisioner.model import Context, Observable, Plan, View, known, task
from provisioner.observables.file import CONTENT, METADATA, UNREADABLE, File, FileState, follow
from provisioner.observables.file_set import FileSet
from provisioner.records import dataclass
from provisioner.tasks.content import Content
from provisioner.tasks.listing import listed
from provisioner.tasks.modes import digits
from provisioner.tasks.writing import (
    Access,
    CannotPlan,
    Draft,
    FileTask,
    Untouched,
    absolute,
    ancestors,
    make_folders,
    read,
    registered,
    set_access,
    write,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from provisioner.tasks.listing import Listing, Source


@dataclass(frozen=True, kw_only=True)
class CopyTask(FileTask):
    """What copy and template share: a content, and the place where it goes."""

    dest: str
    backup: bool = False
    force: bool = True
    follow: bool = False
    validate: str | None = None
    directory_mode: str | int | None = None

    @property
    def folder_access(self) -> Access:
        """Return whom new folders on the way belong to."""
        return Access(self.owner, self.group, self.directory_mode)

    def places(self, ctx: Context, name: str | None, want: str) -> Iterator[Observable[Any]]:
        """Yield where a file of that name may go, as far as it can be told before a look."""
        dest = absolute(self.dest, ctx, "dest")
        slash = self.dest.endswith("/")
        yield File(dest, METADATA if slash else want)
        yield from ancestors(dest) if slash else (File(dest).parent,)
        # A dest without a dot may well be a folder: its file rides in the first look, which is cheaper than a second.
        if name is not None and (slash or "." not in posixpath.basename(dest)):
            yield File(posixpath.join(dest, name), want)

    def place(self, draft: Draft, name: str | None, want: str) -> tuple[File, FileState]:
        """Return where a file goes and what is there; dest may be a folder, and one with a slash is made."""
        dest = File(absolute(self.dest, draft.ctx, "dest"), want)
        _, there = follow(draft, File(dest.path, METADATA))
        if there.type == "directory" or self.dest.endswith("/"):
            if name is None:
                raise CannotPlan("can not use content with a dir as dest")
            make_folders(draft, dest, self.folder_access)
            dest = File(posixpath.join(dest.path, name), want)
        return read(draft, dest, links=self.follow)

    def put(self, draft: Draft, place: tuple[File, FileState], content: Content, access: Access) -> Mapping[str, Any]:
        """Plan a content at a place, and return what is registered."""
        file, state = place
        if state.exists and not self.force:
            return {"dest": file.path, "msg": "file already exists"}
        written = write(draft, file, state, content, access, backup=self.backup, validate=self.validate)
        return registered(file.path, written, content)


@task
@dataclass(frozen=True, kw_only=True)
class Copy(CopyTask):
    """Copies a file or a folder to the device."""

    src: str | None = None
    content: Any = None
    remote_src: bool = False
    force: bool = field(default=True, metadata={"aliases": ("thirsty",)})

    name: ClassVar[str] = "copy"
    example: ClassVar[str] = "copy: {src: daemon.json, dest: /etc/docker/daemon.json, mode: '0644', backup: yes}"

    def __post_init__(self) -> None:
        """Check that there is one thing to copy."""
        if self.src is None and self.content is None:
            raise InputError("src (or content) is required")
        if self.src is not None and self.content is not None:
            raise InputError("src and content are mutually exclusive")

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the destination, with the content where it is not the wanted one, and the folder that holds it."""
        if self.src is None:
            return self.places(ctx, None, self._content().sha256)
        if self.remote_src:
            source = File(absolute(self.src, ctx, "src"), CONTENT)
            return (source, *self.places(ctx, posixpath.basename(source.path), CONTENT))
        local = _local(ctx, self.src)
        if local.is_dir():
            return self._tree_places(ctx, local)
        return self.places(ctx, local.name, Content.of_file(str(local)).sha256)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return the draft's effects, files and folders of a tree together."""
        plan = super().plan(view, ctx)
        if not plan.effects[1:]:
            return plan
        from provisioner.tasks.bundle import bundled

        return replace(plan, effects=bundled(plan.effects, ctx.user))

    def draft(self, draft: Draft) -> Mapping[str, Any]:
        """Plan by what is copied."""
        if self.src is None:
            content = self._content()
            return self.put(draft, self.place(draft, None, content.sha256), content, self.access)
        if self.remote_src:
            return self._remote(draft, absolute(self.src, draft.ctx, "src"))
        local = _local(draft.ctx, self.src)
        if local.is_dir():
            return self._tree(draft, local)
        content = Content.of_file(str(local))
        result = self.put(draft, self.place(draft, local.name, content.sha256), content, self._access(local.stat()))
        return {**result, "src": str(local)}

    def _content(self) -> Content:
        """Return the given content as Ansible writes it: text as it is, anything else as JSON."""
        return Content.of(_as_text(self.content).encode())

    def _access(self, facts: os.stat_result | None) -> Access:
        if self.mode != "preserve" or facts is None:
            return self.access
        return Access(self.owner, self.group, digits(facts.st_mode))

    def _remote(self, draft: Draft, source: str) -> Mapping[str, Any]:
        file, origin = read(draft, File(source, CONTENT), links=True)
        if origin.type != "file":
            why = {"absent": "not found", "directory": "is a folder; only files are copied on a device"}
            raise CannotPlan(f"Source {source} {why.get(origin.type, 'is no regular file')}")
        if origin.sha256 == UNREADABLE:
            raise CannotPlan(f"Source {source} not readable")
        data = None if origin.large else origin.content
        size = len(data) if data is not None else origin.stat().get("size", 0)
        content = Content(known(origin.sha256) or "", size, data, remote=file.path)
        mode = known(origin.mode) if self.mode == "preserve" else self.mode
        place = self.place(draft, posixpath.basename(source), CONTENT)
        return {**self.put(draft, place, content, Access(self.owner, self.group, mode)), "src": source}

    def _tree_places(self, ctx: Context, local: Path) -> Iterator[Observable[Any]]:
        top = absolute(self.dest, ctx, "dest")
        yield File(top, METADATA)
        yield from ancestors(top)
        base, folders, listing = self._walk(local, top)
        yield from (File.at(folder, METADATA) for folder in folders)
        if self._is_set(listing):
            yield FileSet(base, listing.names, listing.combined)
        else:
            yield from (File.at(f"{base}/{source.name}", source.content.sha256) for source in listing.files)

    def _is_set(self, listing: Listing) -> bool:
        """Tell whether all files are looked at as one; that tells names of owners, and no numbers."""
        numbered = any(name and name.isdigit() for name in (self.owner, self.group))
        return listing.is_set and self.force and not (self.validate or self.follow or self.backup or numbered)

    def _tree(self, draft: Draft, local: Path) -> Mapping[str, Any]:
        """Plan a folder with all that is in it: the folders first."""
        top = absolute(self.dest, draft.ctx, "dest")
        base, folders, listing = self._walk(local, top)
        for path in (top, *folders):
            self._folder(draft, File.at(path, METADATA), inner=path != top)
        left: Sequence[Source] = listing.files
        if self._is_set(listing):
            from provisioner.tasks.whole import Whole

            left = Whole(draft, base, listing, self.access).left()
        untouched = Untouched(draft, self.access) if self.validate is None else None
        for source in left:
            content, access = source.content, self._access(source.facts)
            file = File.at(f"{base}/{source.name}", content.sha256)
            if untouched is None or not untouched.settles(file, content, access.mode):
                self.put(draft, read(draft, file, links=self.follow), content, access)
        return {"dest": f"{top}/", "src": str(local)}

    def _folder(self, draft: Draft, file: File, *, inner: bool) -> None:
        """Plan a folder; those below dest get their owner and mode also where they are there already, as in Ansible."""
        target, state = follow(draft, file)
        if state.type != "directory":
            make_folders(draft, file, self.folder_access)
        elif inner:
            set_access(draft, target, state, self.folder_access)

    def _walk(self, local: Path, top: str) -> tuple[str, list[str], Listing]:
        """Return where what is below a local folder goes, its folders, and all there is; src/ means what is in it."""
        listing = listed(str(local))
        inner = [] if (self.src or "").endswith("/") else [posixpath.join(top, local.name)]
        base = (inner or [top])[0].rstrip("/")
        return base, [*inner, *(f"{base}/{name}" for name in listing.folders)], listing


def _local(ctx: Context, name: str) -> Path:
    if ctx.find is None:
        raise InputError(f"there is no place to look for {name}")
    return ctx.find("files", name)


def _as_text(content: object) -> str:
    return json.dumps(content) if isinstance(content, (dict, list)) else str(content)
