"""Which digest a band of devices gets: asked once, written beside the inventory, kept until somebody moves it.

The lock file is for people to commit. Two runs may write it at once: each adds its own pins to what is there then.
"""

from __future__ import annotations

import fcntl
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import field, fields, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from provisioner.errors import HostError, InputError, Source
from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.compatibility import FAMILY, phantom
from provisioner.jetson.registry import Platform, PlatformNotFound, Resolved, TagNotFound, parse_reference
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import yaml

    from provisioner.jetson.compatibility import Candidates

VERSION = "1"
HEADER = """\
# Which image each band of devices gets, by digest. Written by `provision`; commit it, so that every device and
# every colleague gets the same bytes. `provision pin --update` moves the pins, `provision pin --rollback` goes back.
"""
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TIME = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Pin:
    """An image by digest for one band and family; size in bytes, compressed; when in UTC, ISO 8601."""

    family: str
    band: str
    reference: str
    index_digest: str
    platform_digest: str
    platform: str
    size: int
    when: str
    previous: Pin | None = field(default=None, repr=False)

    @property
    def key(self) -> tuple[str, str]:
        """What there is one pin for."""
        return self.band, self.family

    @property
    def repository(self) -> str:
        """The image's name without tag, with its registry."""
        name = parse_reference(self.reference)
        return f"{name.host}/{name.repository}"

    @property
    def pinned(self) -> str:
        """The name to pull and run by: it means the same bytes for ever."""
        return f"{self.repository}@{self.index_digest}"

    def same_image(self, other: Pin | None) -> bool:
        """Tell whether both are the same tag with the same bytes; when they were asked does not matter."""
        return other is not None and _image(self) == _image(other)


def _image(pin: Pin) -> tuple[str, str, str, str]:
    return pin.reference, pin.index_digest, pin.platform_digest, pin.platform


Key = tuple[str, str]


def lock_path(inventory: Path) -> Path:
    """Return where the pins of an inventory are kept: inventory/.provision/lab.lock.yaml for inventory/lab.yaml."""
    return inventory.parent / ".provision" / f"{inventory.stem}.lock.yaml"


@dataclass(frozen=True)
class LockFile:
    """The pins of one inventory, and which of them were changed since they were read."""

    path: Path
    pins: Mapping[Key, Pin] = field(default_factory=dict)
    changed: frozenset[Key] = frozenset()

    @classmethod
    def load(cls, path: Path) -> LockFile:
        """Return the pins in a file; one that is not there has none, one that is broken is an error with its line."""
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return cls(path)
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", source=Source(str(path))) from error
        return cls(path, {pin.key: pin for pin in _parse(text, str(path))})

    def pin_for(self, band: str, family: str = FAMILY) -> Pin | None:
        """Return the pin of a band and family."""
        return self.pins.get((band, family))

    def with_pin(self, pin: Pin) -> LockFile:
        """Return the file with a pin set and the one that it replaces remembered; the same image changes nothing."""
        current = self.pins.get(pin.key)
        if pin.same_image(current):
            return self
        return self._set(replace(pin, previous=_alone(current)))

    def rollback(self, band: str, family: str = FAMILY) -> LockFile:
        """Return the file with the previous pin in force again; a second rollback goes forward again."""
        current = self.pin_for(band, family)
        if current is None or current.previous is None:
            raise InputError(f"there is no earlier pin of {family} for band {band}", source=Source(str(self.path)))
        return self._set(replace(current.previous, previous=_alone(current)))

    def _set(self, pin: Pin) -> LockFile:
        return LockFile(self.path, {**self.pins, pin.key: pin}, self.changed | {pin.key})

    def save(self) -> LockFile:
        """Write what was changed into the file as it is now, atomically, and return what it then holds."""
        if not self.changed:
            return self
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path):
            there = LockFile.load(self.path).pins
            merged = {**there, **{key: self.pins[key] for key in self.changed}}
            _write(self.path, _render(merged))
        return LockFile(self.path, merged)


def _alone(pin: Pin | None) -> Pin | None:
    return replace(pin, previous=None) if pin else None


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock beside the file, which itself is replaced and therefore cannot be locked."""
    handle = os.open(path.with_name(f".{path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _write(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        with suppress(FileNotFoundError):
            aside.unlink()
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _render(pins: Mapping[Key, Pin]) -> str:
    import yaml

    body = {"version": VERSION, "pins": [_plain(pins[key]) for key in sorted(pins)]}
    return HEADER + yaml.safe_dump(body, sort_keys=False, width=200)


def _plain(pin: Pin) -> dict[str, Any]:
    row = {item.name: getattr(pin, item.name) for item in fields(pin) if item.name != "previous"}
    return {**row, "previous": _plain(pin.previous)} if pin.previous else row


def _parse(text: str, path: str) -> list[Pin]:
    import yaml

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, path) from error
    if root is None:
        return []
    top = _mapping(root, path)
    _check_version(top, root, path)
    rows = top.get("pins")
    if not isinstance(rows, yaml.SequenceNode):
        raise _broken("expected a list of pins", rows or root, path)
    return _distinct([(row, _pin(row, path)) for row in rows.value], path)


def _distinct(rows: list[tuple[yaml.Node, Pin]], path: str) -> list[Pin]:
    seen: set[Key] = set()
    for node, pin in rows:
        if pin.key in seen:
            raise _broken(f"a second pin of {pin.family} for band {pin.band}", node, path, hint="keep one of them")
        seen.add(pin.key)
    return [pin for _, pin in rows]


def _check_version(top: dict[str, yaml.Node], root: yaml.Node, path: str) -> None:
    node = top.get("version")
    if node is None or node.value != VERSION:
        raise _broken(
            f"not a lock file of version {VERSION}", node or root, path, hint="was it written by a newer version?"
        )
    if unknown := set(top) - {"version", "pins"}:
        raise _broken(f"unknown key: {', '.join(sorted(unknown))}", top[min(unknown)], path)


def _pin(node: yaml.Node, path: str) -> Pin:
    row = _mapping(node, path)
    names = [item.name for item in fields(Pin)]
    if unknown := [key for key in row if key not in names]:
        raise _broken(f"unknown key: {', '.join(unknown)}", row[unknown[0]], path, hint=f"known: {', '.join(names)}")
    if missing := [name for name in names if name not in row and name != "previous"]:
        raise _broken(f"missing key: {', '.join(missing)}", node, path)
    return Pin(**{key: _field(key, value, path) for key, value in row.items()})


def _field(key: str, node: yaml.Node, path: str) -> Any:
    if key == "previous":
        return _pin(node, path)
    text = node.value
    if not isinstance(text, str):
        raise _broken(f"{key}: expected one value", node, path)
    if key == "size":
        return _size(text, node, path)
    if key.endswith("_digest") and not _DIGEST.fullmatch(text):
        raise _broken(f"{key}: expected sha256: and 64 hexadecimal digits, got {text!r}", node, path)
    if key == "reference":
        _reference(text, node, path)
    return text


def _size(text: str, node: yaml.Node, path: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise _broken(f"size: expected a number of bytes, got {text!r}", node, path)
    return int(text)


def _reference(text: str, node: yaml.Node, path: str) -> None:
    try:
        parse_reference(text)
    except InputError as error:
        raise _broken(error.message, node, path, hint=error.hint) from error


def _mapping(node: yaml.Node, path: str) -> dict[str, yaml.Node]:
    if not isinstance(node.value, list) or not all(isinstance(pair, tuple) for pair in node.value):
        raise _broken("expected a mapping", node, path)
    return {str(key.value): value for key, value in node.value}


def _broken(message: str, node: yaml.Node, path: str, *, hint: str | None = None) -> InputError:
    mark = node.start_mark
    return InputError(message, source=Source(path, mark.line + 1, mark.column + 1), hint=hint)


def _not_yaml(error: yaml.YAMLError, text: str, path: str) -> InputError:
    mark = getattr(error, "problem_mark", None)
    conflict = re.search(r"^(<{7}|={7}|>{7})", text, re.MULTILINE)
    hint = "a merge left its markers: keep one side" if conflict else "`git checkout` brings the last good one back"
    source = Source(path, mark.line + 1, mark.column + 1) if mark else Source(path)
    return InputError(f"not YAML: {getattr(error, 'problem', None) or 'broken'}", source=source, hint=hint)


class Resolver(Protocol):
    """Whoever can tell what a tag means now; `Registry` does."""

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return what the tag means for a platform."""
        ...


@dataclass(frozen=True)
class Choice:
    """The pin to use, what people should know about how it was chosen, and whether a registry was asked for it."""

    pin: Pin
    notes: tuple[str, ...] = ()
    asked: bool = False


def choose(
    candidates: Candidates,
    registry: Resolver,
    lock: LockFile,
    *,
    update: bool = False,
    platform: Platform | None = None,
) -> Choice:
    """Return the pin for a host: the one in the lock without asking, else the first candidate that exists."""
    if candidates.refusal or candidates.band is None:
        raise HostError(candidates.refusal or "no image fits this host", hint=candidates.hint)
    platform = platform or Platform(architecture=candidates.architecture)
    pin = lock.pin_for(candidates.band.id, candidates.family)
    if pin is not None and not update:
        _check_pin(pin, platform, lock.path)
        return Choice(pin, (*candidates.warnings, *_passed_wish(candidates, pin)))
    return _ask(candidates, registry, platform, candidates.band.id)


def _passed_wish(candidates: Candidates, pin: Pin) -> tuple[str, ...]:
    if candidates.wanted in (None, pin.reference):
        return ()
    return (f"{candidates.wanted} was asked for, {pin.reference} is pinned: `provision pin --update` asks anew",)


def _check_pin(pin: Pin, platform: Platform, path: Path) -> None:
    """Refuse a pin that was edited into another band: it would be exactly the mistake that bands are there against."""
    named = next((row for row in catalogue().images if str(parse_reference(row.reference)) == pin.reference), None)
    if named and pin.band not in named.bands:
        told = f"{pin.reference} belongs to band {named.band}, and is pinned for {pin.band}"
        raise InputError(told, source=Source(str(path)), hint="`provision pin --update` chooses anew")
    if pin.platform != str(platform):
        told = f"{pin.reference} is pinned for {pin.platform}, the devices need {platform}"
        raise InputError(told, source=Source(str(path)), hint="`provision pin --update` chooses anew")


def _ask(candidates: Candidates, registry: Resolver, platform: Platform, band: str) -> Choice:
    notes = list(candidates.warnings)
    for image in candidates.images:
        try:
            found = registry.resolve(image.reference, platform)
        except (TagNotFound, PlatformNotFound) as error:
            notes.append(f"passed over: {error.message}")
            continue
        return Choice(_pin_of(found, candidates.family, band), tuple(notes), asked=True)
    raise TagNotFound(
        f"none of the {candidates.family} images for band {band} is there: "
        + "; ".join(notes[len(candidates.warnings) :]),
        hint="is a mirror in use that does not have them?",
    )


def _pin_of(found: Resolved, family: str, band: str) -> Pin:
    return Pin(
        family=family,
        band=band,
        reference=found.reference,
        index_digest=found.tag_digest,
        platform_digest=found.platform_digest,
        platform=str(found.platform),
        size=found.compressed_size,
        when=datetime.now(UTC).strftime(_TIME),
    )


def told_about(reference: str) -> str | None:
    """Return a warning about a tag that somebody asked for by name, if it is one that only exists in copies."""
    row = phantom(str(parse_reference(reference)))
    return f"{row.reference}: {row.note}" if row else None
