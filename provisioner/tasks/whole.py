"""The files of a copied folder as one set: which of them are right already, and the one effect that brings new ones."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import replace
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

from provisioner.model import ANYTHING, Effect, NeedLook, Shows, Unknown
from provisioner.observables.file import METADATA, File, FileState
from provisioner.observables.file_set import ABSENT, FileSet, FileSetState, runs, spread
from provisioner.tasks.bundle import LARGEST, Archive, Member, Shelves, owner_of, packed, put_all, put_tree, suits
from provisioner.tasks.modes import digits
from provisioner.tasks.writing import MAKE_FOLDER, Access, Draft, folder_of, fresh, granted, shown

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from provisioner.model import Shown
    from provisioner.tasks.listing import Listing, Source

_KEPT = 4

Asked = tuple[str, str | int | None]
"""A folder below the top, and the mode that is asked for files in it."""

Folder = tuple[str, str]
"""A new folder below the top, and its mode."""

Shape = tuple[tuple[Asked, tuple[int, str]], ...]
"""What files get by what is asked of them: the number of their owner, and their mode."""


class Whole:
    """A folder's files on one device, where nothing that was planned before bears on them."""

    def __init__(self, draft: Draft, base: str, listing: Listing, access: Access) -> None:
        self._draft = draft
        self._base = base
        self._listing = listing
        self._access = access
        self._set = FileSet(base, listing.names, listing.combined)

    def left(self) -> Sequence[Source]:
        """Plan all new files in one effect, and return those that have to be planned one by one.

        Raises NeedLook for those of them of which not all is known.
        """
        files = self._listing.files
        state = self._draft.get(self._set) if self._is_calm() else FileSetState()
        if state.kinds is None or (self._is_born() and not state.is_absent):
            return self._looked_at(files)
        new, odd = self._sorted_out(state)
        effect = self._bring(new, state) if new and not odd else None
        if effect is None:
            return self._looked_at([files[number] for number in sorted((*new, *odd))])
        self._draft.add(effect)
        return ()

    def _looked_at(self, files: Sequence[Source]) -> Sequence[Source]:
        there = (File.at(f"{self._base}/{source.name}", source.content.sha256) for source in files)
        missing = [file for file in there if not self._draft.has(file) and file not in self._draft.planned]
        if missing:
            raise NeedLook(*missing)
        return files

    # What is there.

    def _is_calm(self) -> bool:
        """Tell whether nothing planned before makes another thing of a path here, new folders aside."""
        before = self._draft.base
        if before.rerouted or any(map(self._is_near, before.wide)) or not all(map(self._is_plain, self._folders())):
            return False
        if any(pattern != ANYTHING and pattern.kind in ("file", "*") for pattern, _ in before.disturbances):
            return False
        near = (state for one, state in before.planned.items() if self._is_near(one))
        return all(isinstance(state, FileState) and state.type == "directory" for state in near)

    def _folders(self) -> Iterator[File]:
        yield File.at(self._base, METADATA)
        yield from (File.at(f"{self._base}/{name}", METADATA) for name in self._listing.folders)

    def _is_plain(self, folder: File) -> bool:
        """Tell whether a folder is one, or nothing, and no link leads there."""
        state = self._draft.probed.get(folder)
        return isinstance(state, FileState) and state.real == folder.path and state.type in ("absent", "directory")

    def _is_near(self, one: object) -> bool:
        """Tell whether something is a path here, or on the way here."""
        path = one.path if isinstance(one, File) else one.top if isinstance(one, FileSet) else None
        within = f"{self._base}/"
        return path is not None and (path.startswith(within) or within.startswith(f"{path.rstrip('/')}/"))

    def _is_born(self) -> bool:
        return any(map(self._is_near, self._draft.base.born))

    def _sorted_out(self, state: FileSetState) -> tuple[list[int], list[int]]:
        """Return the numbers of the files that are not there, and of those that are there and not right."""
        hashes = self._listing.hashes
        if state.is_absent:
            return list(range(len(hashes))), []
        same = state.sums == self._listing.combined
        if same and self._access == Access():
            return [], []
        found = hashes if same else (state.hashes or "").split(" ") if state.hashes else [ABSENT] * len(hashes)
        new: list[int] = []
        odd: list[int] = []
        right: dict[tuple[object, ...], bool] = {}
        columns = (spread(str(column)) for column in (state.kinds, state.owners, state.groups))
        for number, row in enumerate(zip(*columns, strict=True)):
            if row[0] == ABSENT:
                new.append(number)
            elif found[number] != hashes[number] or not self._is_given(row, self._asked(number)[1], right):
                odd.append(number)
        return new, odd

    def _is_given(self, row: tuple[str, ...], mode: str | int | None, right: dict[tuple[object, ...], bool]) -> bool:
        """Tell whether it is a file, with its owner, group and mode."""
        key = (row, mode)
        if key not in right:
            state = FileState(type="file", mode=row[0][1:], owner=row[1], group=row[2])
            right[key] = row[0][0] == "f" and granted(state, self._given(mode)) is state
        return right[key]

    def _given(self, mode: str | int | None) -> Access:
        return replace(self._access, mode=mode)

    def _asked(self, number: int) -> Asked:
        mode = self._access.mode
        if mode == "preserve":
            mode = digits(self._listing.files[number].facts.st_mode)
        return self._listing.within[number], mode

    # What is brought.

    def _bring(self, new: Sequence[int], before: FileSetState) -> Effect | None:
        """Return the effect that brings new files; None where some of them cannot go with others."""
        asked = [self._asked(number) for number in new]
        born = {one: self._born(one) for one in dict.fromkeys(asked)}
        too_large = any(self._listing.files[number].content.size > LARGEST for number in new)
        if too_large or not all(map(self._suits, born.values())) or set(self._base) & {"\\", "\n"}:
            return None
        owners: dict[tuple[str, str], int] = {}
        shape = tuple(
            (one, (owners.setdefault(self._owner(state), len(owners)), str(state.mode))) for one, state in born.items()
        )
        after = self._after(before, {number: born[one] for number, one in zip(new, asked, strict=True)})
        files = partial(self._shown, new, [born[one] for one in asked])
        folders = self._folders_of_a_new_tree(owners)
        pack = _PACKS.packed(self._listing, tuple(new), tuple(asked), shape, tuple(map(self._folder, folders)))
        if not folders:
            places = [f"{self._base}/{folder}".rstrip("/") for folder in pack.folders]
            return put_all(pack.archive, owners, places, Shows(files), {self._set: after})
        for effect in folders:
            self._draft.effects.remove(effect)
        shows = Shows(lambda: (*(one for effect in folders for one in effect.shows), *files()))
        leaves = {place: state for effect in folders for place, state in effect.leaves.items()}
        return put_tree(pack.archive, next(iter(owners)), self._base, shows, {**leaves, self._set: after})

    def _suits(self, state: FileState) -> bool:
        return suits(state, self._access.group or "", self._draft.ctx.user)

    def _owner(self, state: FileState) -> tuple[str, str]:
        return owner_of(state, self._access.owner or "", self._access.group or "")

    def _folders_of_a_new_tree(self, owners: Collection[tuple[str, str]]) -> list[Effect]:
        """Return what this draft does to make all folders here, if they can come in one piece with what is in them."""
        within = f"{self._base}/"
        made = [
            effect
            for effect in self._draft.effects
            if effect.script is MAKE_FOLDER and f"{effect.values[0]!s}/".startswith(within)
        ]
        states = [state for effect in made for state in effect.leaves.values() if isinstance(state, FileState)]
        whole = len(made) == 1 + len(self._listing.folders) and all(map(self._suits, states))
        return made if whole and len({*owners, *map(self._owner, states)}) == 1 else []

    def _folder(self, effect: Effect) -> Folder:
        return str(effect.values[0])[len(self._base) + 1 :], str(effect.values[3])

    def _born(self, asked: Asked) -> FileState:
        """Return what a new file is like."""
        folder, mode = asked
        above = folder_of(self._draft, File.at(f"{self._base}/{folder}/-".replace("//", "/"), METADATA))
        return granted(fresh(self._draft, FileState(), above, "file"), self._given(mode), new=True)

    def _after(self, before: FileSetState, born: Mapping[int, FileState]) -> FileSetState:
        kinds, owners, groups = (spread(str(column)) for column in (before.kinds, before.owners, before.groups))
        opened: dict[str, Unknown] = {}
        for number, state in born.items():
            kinds[number] = f"f{state.mode}"
            for name, value, column in (("owner", state.owner, owners), ("group", state.group, groups)):
                if isinstance(value, Unknown):
                    opened[name] = value
                else:
                    column[number] = value or ""
        files = self._listing.files
        return FileSetState(
            kinds=runs(kinds),
            owners=opened.get("owner") or runs(owners),
            groups=opened.get("group") or runs(groups),
            sums=self._listing.combined,
            contents=lambda number: files[number].content.fields(),
        )

    def _shown(self, new: Sequence[int], born: Sequence[FileState]) -> Iterator[Shown]:
        for number, state in zip(new, born, strict=True):
            source = self._listing.files[number]
            file = File.at(f"{self._base}/{source.name}", METADATA)
            after = state.but(real=file.path, **source.content.fields())
            yield from shown(self._draft.ctx, file, FileState(real=file.path), after)


class Pack(NamedTuple):
    """An archive of new files, and the folders below the top where its numbered ones go."""

    archive: Archive
    folders: tuple[str, ...]
    listing: Listing


class _Packs:
    """The last archives that were made: devices that lack the same files get the same one."""

    def __init__(self) -> None:
        self._kept: OrderedDict[object, Pack] = OrderedDict()
        self._packing = Lock()

    def packed(
        self,
        listing: Listing,
        numbers: tuple[int, ...],
        asked: Sequence[Asked],
        shape: Shape,
        folders: tuple[Folder, ...],
    ) -> Pack:
        """Return the archive of some files of a listing, in numbered folders, or in these."""
        key = (id(listing), numbers, shape, folders)
        with self._packing:
            if key not in self._kept:
                sources = [listing.files[number] for number in numbers]
                rows = [(source, *dict(shape)[one]) for source, one in zip(sources, asked, strict=True)]
                self._kept[key] = Pack(*(_tree(rows, folders) if folders else _shelves(rows)), listing)
                while len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(key)
            return self._kept[key]


Row = tuple["Source", int, str]
"""A file, the number of its owner, and its mode."""


def _shelves(rows: Sequence[Row]) -> tuple[Archive, tuple[str, ...]]:
    shelves = Shelves()
    members = []
    for source, owner, mode in rows:
        folder, _, name = source.name.rpartition("/")
        members.append(_member(shelves.place(owner, folder, mode, name), source, mode))
    return packed(members), tuple(shelves.folders)


def _tree(rows: Sequence[Row], folders: Sequence[Folder]) -> tuple[Archive, tuple[str, ...]]:
    modes = hashlib.sha256(repr((folders, [mode for _, _, mode in rows])).encode("utf-8", "surrogateescape"))
    top = f"tree-{modes.hexdigest()[:16]}"  # the archive's hash is that of names and contents
    members = [Member(f"{top}/{name}".rstrip("/"), int(mode, 8)) for name, mode in folders]
    members += [_member(f"{top}/{source.name}", source, mode) for source, _, mode in rows]
    return packed(members), ()


def _member(place: str, source: Source, mode: str) -> Member:
    return Member(place, int(mode, 8), source.content.sha256, source.content.part)


_PACKS = _Packs()
