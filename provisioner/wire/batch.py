"""What the engine asks of a device in one round trip."""

from __future__ import annotations

import secrets
from dataclasses import field
from typing import TYPE_CHECKING, Any, NamedTuple

from provisioner.records import dataclass
from provisioner.shell import Upload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Effect, Observable, State


class Place(NamedTuple):
    """An upload on a device: whom it belongs to (as `Step.user`), and its hash."""

    user: str | None
    sha256: str


@dataclass(frozen=True)
class Guard:
    """An observable, and the state that the plan assumed of it; Unknown fields are not compared."""

    observable: Observable[Any]
    expected: State


@dataclass(frozen=True)
class Check:
    """An observable, and the state that an effect has to have left."""

    observable: Observable[Any]
    expected: State


@dataclass(frozen=True, kw_only=True)
class Step:
    """One task as a compare-and-swap: guards, then effects, then checks.

    `owes` are handlers to note down before the effects, `settles` those to strike out after them. `user` is who the
    effects run as, None for the owner of the shell. `goes_on` tells the device not to stop after a failure.
    """

    number: int
    guards: tuple[Guard, ...] = ()
    effects: tuple[Effect, ...] = ()
    checks: tuple[Check, ...] = ()
    owes: tuple[str, ...] = ()
    settles: tuple[str, ...] = ()
    user: str | None = None
    goes_on: bool = False
    secret: bool = False

    def uploads(self) -> Iterator[tuple[Place, Upload]]:
        """Yield the contents that travel beside the script, as often as they are needed, and for whom."""
        for effect in self.effects:
            for value in effect.values:
                if isinstance(value, Upload):
                    yield Place(self.user, value.sha256), value

    @property
    def ends_session(self) -> bool:
        """Tell whether the device goes away after it."""
        return any(effect.ends_session for effect in self.effects)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One round trip: looks; or steps, and the looks that follow them or the first surprise.

    `more` asks for the looks also when all went well. `attach` names an earlier batch whose end is waited for and
    whose journal is read instead. `reconnect` (seconds) tells that the device is going away, and to wait for it.
    """

    looks: tuple[Observable[Any], ...] = ()
    steps: tuple[Step, ...] = ()
    relook: tuple[Observable[Any], ...] = ()
    more: bool = False
    attach: str | None = None
    reconnect: float | None = None
    name: str = field(default_factory=lambda: secrets.token_hex(8))

    def __post_init__(self) -> None:
        object.__setattr__(self, "looks", _by_kind(self.looks))
        object.__setattr__(self, "relook", _by_kind(self.relook))

    def uploads(self) -> Iterator[tuple[Place, Upload]]:
        """Yield the contents that travel beside the script, as often as they are needed, and for whom."""
        for step in self.steps:
            yield from step.uploads()


def _by_kind(observables: tuple[Observable[Any], ...]) -> tuple[Observable[Any], ...]:
    merged: dict[Observable[Any], Observable[Any]] = {}
    for one in observables:
        kept = merged.setdefault(one, one)
        if kept is not one:
            merged[one] = kept.merged(one)
    kinds: dict[str, list[Observable[Any]]] = {}
    for one in merged.values():
        kinds.setdefault(one.kind, []).append(one)
    return tuple(one for group in kinds.values() for one in group)
