"""Keys and values as YAML text that reads back as exactly these, in the style of what stands around them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

_WIDEST = 10**9
_LAST_SHORT = 0xFFFF


class Tree(dict[str, Any]):
    """A mapping to be written with a line for each key; any other mapping is written in braces."""


def flow(value: object, *, as_json: bool = False) -> str:
    """Return a value on one line, fit to stand within braces too."""
    if isinstance(value, Mapping):
        inner = (f"{flow(str(key), as_json=as_json)}: {flow(item, as_json=as_json)}" for key, item in value.items())
        return "{" + ", ".join(inner) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return "[" + ", ".join(flow(item, as_json=as_json) for item in value) + "]"
    return _as_json(value) if as_json else scalar(value)


def _as_json(value: object) -> str:
    """Return a scalar as JSON that YAML reads alike: raw, some characters would be line ends there."""
    written = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else _escaped(ord(char)) for char in written)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code <= _LAST_SHORT else f"\\U{code:08x}"


def scalar(value: object, style: str = "") -> str:
    """Return a scalar, in quotes of this style if it is text, and quoted anyhow where it has to be."""
    import yaml

    wished = None
    if isinstance(value, str):
        quotes = style if style in ("'", '"') else "'" if _is_number(value) else None
        wished = quotes if value.isprintable() else '"'
    # In a list, so that what is safe within braces only is quoted too.
    made = yaml.safe_dump([value], default_flow_style=True, default_style=wished, width=_WIDEST, allow_unicode=True)
    written = str(made).strip()[1:-1]
    return written.removeprefix("!!int ").removeprefix("!!bool ").strip()


def _is_number(text: str) -> bool:
    # YAML 1.2 reads 12e3 and 0o17 as numbers, YAML 1.1 as text: quoted they are text for all.
    try:
        float(text)
    except ValueError:
        return text.startswith(("0o", "0x", "0b"))
    return True


def lines(key: str, value: object, column: int, step: int) -> list[str]:
    """Return an entry of an indented mapping as lines without their ends; a Tree takes one more level."""
    head = f"{' ' * column}{scalar(key)}:"
    if isinstance(value, Tree):
        below = [line for name, item in value.items() for line in lines(name, item, column + step, step)]
        return [head, *below]
    return [head] if value is None else [f"{head} {flow(value)}"]


def pair(key: str, value: object, *, as_json: bool) -> str:
    """Return an entry of a mapping in braces."""
    if as_json:
        return f"{flow(key, as_json=True)}: {flow({} if value is None else value, as_json=True)}"
    return f"{scalar(key)}:" if value is None else f"{scalar(key)}: {flow(value)}"
