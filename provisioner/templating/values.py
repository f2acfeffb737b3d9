"""Values with a meaning of their own: pending, omitted, verbatim, undefined."""

from __future__ import annotations

from typing import Any, Final, NoReturn

from provisioner.errors import InputError, NotYetKnown
from provisioner.records import dataclass


class UndefinedVariable(InputError):  # noqa: N818 - the field's word for it
    """A template uses a variable, or a part of one, that does not exist."""

    name = ""


def _observed(self: Pending, *_args: object, **_options: object) -> NoReturn:
    raise NotYetKnown(self._reason)


class Pending:
    """The value of a name that is not known yet: whatever observes it raises NotYetKnown; its parts are pending too."""

    __slots__ = ("_name", "_reason")

    def __init__(self, reason: str, name: str) -> None:
        self._reason = reason
        self._name = name

    def __getattr__(self, name: str) -> Pending:
        if name.startswith("__"):
            raise AttributeError(name)
        return Pending(self._reason, f"{self._name}.{name}")

    def __getitem__(self, key: object) -> Pending:
        return Pending(self._reason, f"{self._name}[{key!r}]")

    def __repr__(self) -> str:
        return f"Pending({self._reason!r}, {self._name!r})"

    __eq__ = __ne__ = __hash__ = _observed
    __str__ = __format__ = __bool__ = __len__ = __iter__ = __contains__ = __call__ = _observed
    __int__ = __float__ = __index__ = __complex__ = __neg__ = __pos__ = __invert__ = _observed
    __lt__ = __le__ = __gt__ = __ge__ = _observed
    __add__ = __sub__ = __mul__ = __truediv__ = __floordiv__ = __mod__ = __pow__ = _observed
    __radd__ = __rsub__ = __rmul__ = __rtruediv__ = __rfloordiv__ = __rmod__ = __rpow__ = _observed
    __and__ = __or__ = __xor__ = __rand__ = __ror__ = __rxor__ = __html__ = _observed


class _Omit:
    """What `omit` stands for: the argument was not given."""

    def __repr__(self) -> str:
        return "OMIT"


OMIT: Final = _Omit()


@dataclass(frozen=True, slots=True, eq=False)
class Verbatim:
    """The value of a variable that came from a device: it is data, and never rendered."""

    value: Any


def settle(value: object, *, pending: bool = False) -> object:
    """Return a value once no part of it is undefined, or (unless allowed) pending; otherwise raise what it is."""
    if isinstance(value, Pending):
        return value if pending else _observed(value)
    if isinstance(value, dict):
        for part in value.values():
            settle(part, pending=pending)
    elif isinstance(value, (list, tuple)):
        for part in value:
            settle(part, pending=pending)
    elif hasattr(value, "_fail_with_undefined_error"):
        value._fail_with_undefined_error()  # noqa: SLF001 - Jinja's Undefined has no public way
    return value
