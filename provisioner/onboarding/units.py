"""A unit on its way into the fleet, and the addresses that people write."""

from __future__ import annotations

import re
from dataclasses import field
from typing import TYPE_CHECKING

from provisioner.errors import HostError, InputError, Unreachable
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from provisioner.jetson.observed import FactsState
    from provisioner.transport import Secret
    from provisioner.transport.greeting import Greeting

SSH_PORT = 22
LAST_PORT = 65535
_ADDRESS = re.compile(
    r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<six>[0-9A-Fa-f:.%\w]+)\]|(?P<host>[^@:\s\[\]]+))(?::(?P<port>\d+))?"
)
_BARE_SIX = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?P<six>[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(?:%\w+)?)")


@dataclass(frozen=True)
class Place:
    """Where a unit is: user, address and port, as far as they were said."""

    address: str
    port: int = SSH_PORT
    user: str | None = None

    def __str__(self) -> str:
        """Return the address, with the port where it is another than 22."""
        if self.port == SSH_PORT:
            return self.address
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


def place_of(text: str, port: int | None = None) -> Place:
    """Return the place that `user@host:port` names; raises InputError."""
    match = _BARE_SIX.fullmatch(text) or _ADDRESS.fullmatch(text)
    if match is None or text.startswith("-"):
        raise InputError(
            f"{text!r} is no address", hint="a name or an IP address, as in 192.168.55.1 or nvidia@orin:22"
        )
    parts = match.groupdict()
    number = int(parts.get("port") or port or SSH_PORT)
    if not 1 <= number <= LAST_PORT:
        raise InputError(f"{text!r}: the port {number} is not between 1 and {LAST_PORT}")
    return Place(parts.get("six") or parts.get("host") or "", number, parts.get("user"))


@dataclass
class Unit:
    """One unit, and how far it has come; `existing` is the host of the inventory that it is, if it is one already."""

    place: Place
    user: str
    existing: str | None = None
    lab: bool = False
    patience: float = 10
    name: str = ""
    group: str = ""
    hostname: str = ""
    greeting: Greeting | None = None
    password: Secret | None = None
    by_key: bool = False
    facts: FactsState | None = None
    serial: str | None = None
    machine: str | None = None
    warnings: list[str] = field(default_factory=list)
    error: HostError | None = None
    told: bool = False
    done: bool = False
    key_file: Path | None = None

    @property
    def label(self) -> str:
        """Return what the unit is called before it has a name."""
        return str(self.place)

    @property
    def alive(self) -> bool:
        """Tell whether nothing has gone wrong so far."""
        return self.error is None

    def fail(self, error: HostError, *, told: bool = False) -> None:
        """Take note of what ended it; `told` where a report has shown it already."""
        self.error, self.told = error, told


def alive(units: Iterable[Unit]) -> list[Unit]:
    """Return the units that are still on their way."""
    return [unit for unit in units if unit.alive and not unit.done]


def exit_code(units: Sequence[Unit]) -> int:
    """Return 0 where all units are in the fleet, 2 where one failed, 4 where one did not answer, 6 for both."""
    lost = any(isinstance(unit.error, Unreachable) for unit in units)
    failed = any(unit.error is not None and not isinstance(unit.error, Unreachable) for unit in units)
    return 2 * failed + 4 * lost
