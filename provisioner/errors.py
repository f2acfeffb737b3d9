"""What can go wrong before a device is touched, or on the way to it.

    ProvisionError            anything below; the command line prints it and picks the exit code
    ├── InputError            the user must mend something: file, line, column, cause, next step   (exit 1)
    │   └── InputErrors       several of them, reported together                                   (exit 1)
    ├── HostError             one host could not be worked on; the others go on
    │   ├── Unreachable       no answer, no route, no name                                         (exit 4)
    │   └── Refused           reached, and turned away: key, login, sudo, lock                     (exit 2)
    │       └── HungUp        in the middle of a login; while we reconnect, worth another try
    └── LinkLost              the connection broke while a batch may still run on the device

What a device did (a command's rc, a file that did not take) is data in `events`, never an exception.
A bug is a traceback.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, order=True)
class Source:
    """Where a value was written: path, and line and column counted from 1 (0 is unknown)."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Return path:line:column as editors understand it."""
        return ":".join([self.path, *(str(n) for n in (self.line, self.column) if n)])


class ProvisionError(Exception):
    """Something that the user is told in one message, with a hint at the next step."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InputError(ProvisionError):
    """Something in a file or an argument that the user has to mend before anything is touched."""

    def __init__(self, message: str, *, source: Source | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.source = source

    def __str__(self) -> str:
        """Return the message behind its place."""
        return f"{self.source}: {self.message}" if self.source else self.message


class InputErrors(InputError):  # noqa: N818 - several of them
    """Every mistake that was found in the input, reported at once, in order of place."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        flat: list[InputError] = []
        for error in errors:
            flat.extend(error.errors if isinstance(error, InputErrors) else (error,))
        self.errors: tuple[InputError, ...] = tuple(flat)
        super().__init__("\n".join(str(error) for error in self.errors))


class HostError(ProvisionError):
    """One host could not be worked on; the other hosts go on."""


class Unreachable(HostError):  # noqa: N818 - the field's word for it
    """A host that does not answer."""


class Refused(HostError):  # noqa: N818
    """A host that answered and turned us away."""


class HungUp(Refused):
    """A host that ended the connection in the middle of a login: for want of a right key, or because the link broke."""


class LinkLost(ProvisionError):  # noqa: N818
    """The connection broke while a batch may still be running on the device."""


class NotYetKnown(Exception):  # noqa: N818 - not an error: the engine's signal to apply what it has first
    """A value was asked for that only an apply can tell; carries the reason for people."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
