"""Which image each host of a run gets: asked once for each band, kept, and pinned when a device has proved it.

    lab.lock.yaml   the pins; a band that has one needs no registry
    lab.seen.yaml   what a dry run was told; the apply that follows pins exactly that

A run's hosts plan in threads of their own, so that everything here may be called at once.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import field
from typing import TYPE_CHECKING

from provisioner.errors import InputError, ProvisionError
from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.compatibility import FAMILY, Candidates, band_of, candidates, of_route
from provisioner.jetson.pins import Choice, LockFile, choose
from provisioner.jetson.registry import Platform, Registry, parse_reference
from provisioner.jetson.routes import Refused, route_of
from provisioner.jetson.versions import padded, version
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.pins import Key, Pin, Resolver
    from provisioner.jetson.registry import Resolved

Layers = tuple[tuple[str, int], ...]


def familiar(reference: str) -> str:
    """Return an image's name as Docker shows it and people type it: without docker.io and library/."""
    return str(parse_reference(reference)).removeprefix("docker.io/").removeprefix("library/")


def seen_path(lock: Path) -> Path:
    """Return where the pins that a dry run saw are kept: lab.seen.yaml beside lab.lock.yaml."""
    return lock.with_name(f"{lock.name.removesuffix('.yaml').removesuffix('.lock')}.seen.yaml")


@dataclass
class _Answers:
    """Asks a registry, and keeps the layers that it told of."""

    registry: Resolver
    layers: dict[str, Layers] = field(default_factory=dict)

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return what the tag means for a platform."""
        found = self.registry.resolve(reference, platform)
        self.layers[found.platform_digest] = found.layers
        return found


@dataclass
class _Entry:
    """What is known of one band and family in this run: the choice, or why there is none."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    choice: Choice | None = None
    error: ProvisionError | None = None


class ImageCatalogue:
    """The images of one run; `mirrors` maps a registry's host to the base URL that is asked instead."""

    def __init__(
        self,
        lock_path: Path,
        mirrors: Mapping[str, str] | None = None,
        *,
        update: bool = False,
        registry: Resolver | None = None,
    ) -> None:
        self.path = lock_path
        self.update = update
        self._pins = LockFile.load(lock_path)
        self._seen = _seen(lock_path)
        self._answers = _Answers(registry or Registry(mirrors or {}))
        self._entries: dict[Key, _Entry] = {}
        self._taken: dict[Key, Pin] = {}
        self._lock = threading.Lock()

    def choose(
        self, facts: HostFacts, family: str = FAMILY, *, wanted: str | None = None, fresh: bool = False
    ) -> Choice:
        """Return the pin for a host; raises HostError where no image fits, and what a registry says against it.

        `fresh` asks the registry where there is no pin, whatever an earlier dry run saw.
        """
        found = candidates(facts, family, wanted)
        if found.refusal or found.band is None:
            return choose(found, self._answers, self._pins)
        entry = self._entry((found.band.id, family))
        with entry.lock:
            return self._chosen(found, entry, fresh=fresh)

    def known(self, facts: HostFacts, family: str = FAMILY, *, wanted: str | None = None) -> Pin | None:
        """Return the pin for a host as far as it can be told without asking anybody."""
        found = candidates(facts, family, wanted)
        if found.refusal or found.band is None:
            return None
        key = (found.band.id, family)
        choice = self._entry(key).choice
        if choice is not None:
            return choice.pin
        return None if self.update else self._pins.pins.get(key) or self._seen.pins.get(key)

    def expected(self, facts: HostFacts, family: str = FAMILY, *, wanted: str | None = None) -> str | None:
        """Return the name of the image that a host will most likely get, without asking anybody; None where none is."""
        if pin := self.known(facts, family, wanted=wanted):
            return pin.reference
        found = candidates(facts, family, wanted)
        return None if found.refusal or not found.images else found.images[0].reference

    def layers(self, pin: Pin) -> Layers:
        """Return digest and compressed bytes of an image's layers, where a registry told of them in this run."""
        return self._answers.layers.get(pin.platform_digest, ())

    def taken(self, pin: Pin) -> None:
        """Take note that a device has proved this pin: it is there, whole, and built for the device."""
        with self._lock:
            self._taken[pin.key] = pin

    def save(self) -> LockFile:
        """Write the pins that devices have proved, and forget what dry runs saw of them."""
        lock = LockFile.load(self.path)
        with self._lock:
            for pin in self._taken.values():
                lock = lock.with_pin(pin)
        self._pins = lock.save()
        if self._seen.pins and self._seen.pins.keys() <= self._pins.pins.keys():
            with suppress(OSError):
                self._seen.path.unlink(missing_ok=True)
        return self._pins

    def _entry(self, key: Key) -> _Entry:
        with self._lock:
            return self._entries.setdefault(key, _Entry())

    def _chosen(self, found: Candidates, entry: _Entry, *, fresh: bool) -> Choice:
        if entry.error is not None:
            raise entry.error
        if entry.choice is not None:
            return Choice(entry.choice.pin, tuple(dict.fromkeys((*found.warnings, *entry.choice.notes))))
        try:
            choice = self._ask(found, fresh=fresh)
        except ProvisionError as error:
            entry.error = error
            raise
        # Warnings are those of one host; what was passed over on the way is everybody's.
        entry.choice = Choice(choice.pin, tuple(note for note in choice.notes if note not in found.warnings))
        return choice

    def _ask(self, found: Candidates, *, fresh: bool) -> Choice:
        """Return the pin of the lock, else the one that a dry run saw, else ask and remember."""
        key = (found.band.id if found.band else "", found.family)
        if key not in self._pins.pins and key in self._seen.pins and not (fresh or self.update):
            return choose(found, self._answers, self._seen)
        choice = choose(found, self._answers, self._pins, update=self.update)
        if choice.asked:
            self._remember(choice.pin)
        return choice

    def _remember(self, pin: Pin) -> None:
        with self._lock, suppress(OSError, InputError):
            self._seen = self._seen.with_pin(pin).save()


def _seen(lock: Path) -> LockFile:
    """Return what dry runs saw; the file is only a memory, so a broken one is forgotten."""
    path = seen_path(lock)
    try:
        return LockFile.load(path)
    except InputError:
        with suppress(OSError):
            path.unlink()
        return LockFile(path)


@dataclass(frozen=True)
class Move:
    """What becomes of one pin: `before` or `after` may be None; `error` tells why nothing can be said."""

    band: str
    family: str
    before: Pin | None
    after: Pin | None
    notes: tuple[str, ...] = ()
    error: str | None = None

    @property
    def moves(self) -> bool:
        """Tell whether devices would get other bytes than before."""
        return self.after is not None and not self.after.same_image(self.before)


def review(
    lock: LockFile, registry: Resolver, hosts: Iterable[HostFacts] = (), family: str = FAMILY
) -> tuple[Move, ...]:
    """Ask anew for every pin, and for the bands of these hosts that have none; nothing is changed."""
    homes = _homes(hosts)
    keys = {**dict.fromkeys(lock.pins), **dict.fromkeys((band, family) for band in homes)}
    return tuple(_asked(lock, registry, key, homes.get(key[0])) for key in sorted(keys))


def home_of(facts: HostFacts) -> str | None:
    """Return the band, or for a host that is no Jetson the route, that a host's pins are kept under."""
    if facts.kind == "jetson":
        return facts.band
    route = route_of(facts)
    return None if isinstance(route, Refused) else route.id


def _homes(hosts: Iterable[HostFacts]) -> dict[str, str | None]:
    """Return the oldest release of each band among some hosts, for an image must not be newer than any of them.

    A route has none.
    """
    oldest: dict[str, str | None] = {}
    for facts in hosts:
        home = home_of(facts)
        if home is None:
            continue
        now = oldest.setdefault(home, facts.l4t)
        if now and facts.l4t and padded(version(facts.l4t)) < padded(version(now)):
            oldest[home] = facts.l4t
    return oldest


def _asked(lock: LockFile, registry: Resolver, key: Key, l4t: str | None) -> Move:
    band, family = key
    before = lock.pin_for(band, family)
    found = _candidates(band, family, l4t)
    if found is None:
        return Move(band, family, before, None, error=f"no release of Jetson Linux is known for band {band}")
    try:
        choice = choose(found, registry, lock, update=True)
    except ProvisionError as error:
        return Move(band, family, before, None, error=error.message)
    return Move(band, family, before, choice.pin, choice.notes)


def _candidates(band: str, family: str, l4t: str | None) -> Candidates | None:
    route = next((row for row in catalogue().routes if row.id == band), None)
    if route is not None:
        return of_route(route, family)
    release = l4t or _newest(band)
    return None if release is None else candidates(release, family)


def _newest(band: str) -> str | None:
    rows = [row.l4t for row in catalogue().releases.values() if (found := band_of(row.l4t)) and found.id == band]
    return max(rows, key=lambda l4t: padded(version(l4t)), default=None)


def moved(lock: LockFile, moves: Iterable[Move]) -> LockFile:
    """Return the lock file with the pins moved; the caller saves it."""
    for move in moves:
        if move.after is not None and move.moves:
            lock = lock.with_pin(move.after)
    return lock


def rolled_back(lock: LockFile) -> tuple[LockFile, tuple[Move, ...]]:
    """Return the lock file with every pin that has an earlier one gone back to it, and what that moved."""
    moves = []
    for (band, family), pin in sorted(lock.pins.items()):
        if pin.previous is not None:
            lock = lock.rollback(band, family)
            moves.append(Move(band, family, pin, lock.pin_for(band, family)))
    if not moves:
        raise InputError(
            f"{lock.path}: no pin has an earlier one", hint="`provision pin --update` makes one when it moves"
        )
    return lock, tuple(moves)
