"""How Ansible makes a value fit the type of an argument; ValueError where it cannot."""

from __future__ import annotations

import datetime as dt
import json
import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_TRUE = {"y", "yes", "on", "1", "true", "t", "1.0"}
_FALSE = {"n", "no", "off", "0", "false", "f", "0.0"}
_CLAUSE = r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+"
_SYMBOLIC = re.compile(f"{_CLAUSE}(?:,{_CLAUSE})*")
_PAIR = re.compile(r"\s*([^=,\s]+)=((?:\"[^\"]*\"|'[^']*'|[^,])*)(?:,|$)")
_MOST = 0o7777


def to_text(value: object) -> str:
    """Return a number, boolean or date as text."""
    if isinstance(value, (str, int, float, dt.date)):
        return str(value)
    raise ValueError


def to_bool(value: object) -> bool:
    """Return yes, on, true, 1 and their opposites as a boolean."""
    text = str(value).strip().lower() if isinstance(value, (str, int, float)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError


def to_int(value: object) -> int:
    """Return a number, or its decimal text, if it is a whole one."""
    if isinstance(value, int):
        return int(value)
    if not isinstance(value, (str, float)):
        raise ValueError  # noqa: TRY004 - the caller knows one exception
    try:
        number = Decimal(str(value).strip())
        if number == int(number):
            return int(number)
    except (InvalidOperation, OverflowError):
        pass
    raise ValueError


def to_float(value: object) -> float:
    """Return a number, or its text, as a float."""
    if isinstance(value, (str, int, float)):
        return float(value)
    raise ValueError


SCALARS: Mapping[object, Callable[[object], object]] = {str: to_text, bool: to_bool, int: to_int, float: to_float}


def to_list(value: object) -> object:
    """Return "a,b" and single values as a list; anything else as it is."""
    if isinstance(value, str):
        return [part.strip() for part in value.split(",")]
    return [value] if isinstance(value, (int, float)) else value


def to_dict(value: object) -> object:
    """Return JSON text and "a=1, b=2" as a mapping; anything else as it is."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    pairs = {}
    at = 0
    while found := _PAIR.match(value, at):
        pairs[found[1]] = found[2].strip().strip("'\"")
        at = found.end()
    return pairs if pairs and at == len(value) else value


def as_texts(value: object) -> tuple[str, ...]:
    """Return the words that a value may stand for among choices: YAML reads yes, no, on and off as booleans."""
    if value is True:
        return "yes", "on", "true", "True"
    if value is False:
        return "no", "off", "false", "False"
    return (str(value),) if isinstance(value, (str, int, float)) else ()


def mode(value: object) -> str:
    """Return a file mode as four octal digits, or the symbolic text that it is."""
    if type(value) is int and 0 <= value <= _MOST:
        return f"{value:04o}"
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"0*o?[0-7]{1,4}", text):
            return f"{int(text.replace('o', ''), 8):04o}"
        if text == "preserve" or (text and _SYMBOLIC.fullmatch(text)):
            return text
    raise ValueError("expected a file mode such as '0644', 'u=rw,g=r' or 'preserve'")
