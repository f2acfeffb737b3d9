"""Docker's daemon.json: a runtime is set in it, and every other byte stays as it is."""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any, NoReturn

from provisioner.records import dataclass

_SPACE = re.compile(r"[ \t\r\n]*")
_FIRST_INDENT = re.compile(r"\{[ \t\r]*\n([ \t]+)\"")
DEFAULT_INDENT = "    "


class BadConfig(Exception):  # noqa: N818 - no error of ours: the plan says failed
    """Why a daemon.json cannot be worked on, with the next step."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


def parsed(content: bytes | None) -> dict[str, Any]:
    """Return what a daemon.json says; one that is absent or empty says nothing."""
    text = _decoded(content)
    if not text.strip():
        return {}
    try:
        config = json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise _no_json(text, error) from error
    except ValueError as error:
        raise BadConfig(f"it is no JSON: {error}", "Docker does not start with it either") from error
    if not isinstance(config, dict):
        raise BadConfig("it holds no JSON object", "Docker does not start with it either")
    return config


def _decoded(content: bytes | None) -> str:
    try:
        return (content or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadConfig(f"it is no UTF-8, from byte {error.start} on") from error


def _no_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number")


def _no_json(text: str, error: json.JSONDecodeError) -> BadConfig:
    line = text.split("\n")[error.lineno - 1].strip()
    hint = "JSON has no comments: take them out" if line.startswith(("#", "//", "/*")) else "mend it, and apply again"
    told = f"it is no JSON: line {error.lineno}, column {error.colno}: {error.msg}: {line[:60]!r}"
    return BadConfig(told, f"{hint}; Docker does not start with it either")


def with_runtime(content: bytes | None, runtime: str, path: str, *, default: bool) -> bytes:
    """Return a daemon.json in which a runtime is registered and, if asked, the default one."""
    before = parsed(content)
    text = _decoded(content)
    for keys, value in _changes(before, runtime, path, default=default):
        text = _set(text if text.strip() else "{}\n", keys, value)
    if text.strip():
        json.loads(text)
    return text.encode("utf-8")


def _changes(config: dict[str, Any], runtime: str, path: str, *, default: bool) -> list[tuple[tuple[str, ...], Any]]:
    """Return the keys that have to be set, and to what."""
    entry = {"path": path, "runtimeArgs": []}
    changes: list[tuple[tuple[str, ...], Any]] = []
    runtimes = _object(config, "runtimes", "runtimes")
    if runtimes is None:
        changes.append((("runtimes",), {runtime: entry}))
    elif (own := _object(runtimes, runtime, f"runtimes.{runtime}")) is None:
        changes.append((("runtimes", runtime), entry))
    elif not _same_program(own.get("path"), path):
        changes.append((("runtimes", runtime, "path"), path))
    if default and config.get("default-runtime") != runtime:
        changes.append((("default-runtime",), runtime))
    return changes


def _object(config: dict[str, Any], key: str, name: str) -> dict[str, Any] | None:
    value = config.get(key)
    if value is not None and not isinstance(value, dict):
        raise BadConfig(f"{name} is no JSON object", "Docker does not start with it either")
    return value


def _same_program(there: object, wanted: str) -> bool:
    """Tell whether two paths name one program: Docker looks a bare name up in PATH."""
    if not isinstance(there, str) or "/" in wanted:
        return there == wanted
    return posixpath.basename(there) == wanted


@dataclass(frozen=True)
class _Member:
    """Where a key and its value stand in a text; `lead` is the white space before the key."""

    key: str
    key_end: int
    start: int
    end: int
    lead: str


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _members(text: str, at: int) -> tuple[list[_Member], int]:
    """Return the members of the object that begins at a place, and where its closing brace stands."""
    decoder = json.JSONDecoder()
    members: list[_Member] = []
    at += 1
    while text[_skip(text, at)] != "}":
        key_start = _skip(text, at)
        key, key_end = decoder.raw_decode(text, key_start)
        start = _skip(text, _skip(text, key_end) + 1)
        _, end = decoder.raw_decode(text, start)
        members.append(_Member(key, key_end, start, end, text[at:key_start]))
        at = _skip(text, end)
        at += text[at] == ","
    return members, _skip(text, at)


def _set(text: str, keys: tuple[str, ...], value: Any) -> str:
    """Return a JSON text with the value at the end of a path of keys set."""
    at = _skip(text, 0)
    for key in keys[:-1]:
        # of two members with one name the last counts
        at = next(one.start for one in reversed(_members(text, at)[0]) if one.key == key)
    members, close = _members(text, at)
    there = next((one for one in reversed(members) if one.key == keys[-1]), None)
    if there is not None:
        return text[: there.start] + _dumped(text, value, _indent_of(there.lead)) + text[there.end :]
    if members:
        last = members[-1]
        colon = text[last.key_end : last.start]
        alone = len(members) == 1 and not last.lead
        lead = (" " if colon.endswith(" ") else "") if alone else last.lead
        new = f",{lead}{json.dumps(keys[-1])}{colon}{_dumped(text, value, _indent_of(last.lead))}"
        return text[: last.end] + new + text[last.end :]
    return text[:at] + _filled(text, at, keys[-1], value) + text[close + 1 :]


def _filled(text: str, at: int, key: str, value: Any) -> str:
    """Return an empty object with its first member."""
    if _on_one_line(text):
        return f"{{{json.dumps(key)}: {json.dumps(value)}}}"
    line = text[text.rfind("\n", 0, at) + 1 : at]
    outer = line[: len(line) - len(line.lstrip())]
    inner = outer + _unit(text)
    newline = _newline(text)
    return f"{{{newline}{inner}{json.dumps(key)}: {_dumped(text, value, inner)}{newline}{outer}}}"


def _dumped(text: str, value: Any, indent: str | None) -> str:
    """Return a value in the style of a text, at an indentation; None stands for a member on the same line."""
    if indent is None or not isinstance(value, dict):
        return json.dumps(value)
    lines = json.dumps(value, indent=_unit(text)).split("\n")
    return (_newline(text) + indent).join(lines)


def _indent_of(lead: str) -> str | None:
    return lead.rpartition("\n")[2] if "\n" in lead else None


def _unit(text: str) -> str:
    found = _FIRST_INDENT.search(text)
    return found[1] if found else DEFAULT_INDENT


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _on_one_line(text: str) -> bool:
    return "\n" not in text.strip() and text.strip() not in ("{}", "{ }")
