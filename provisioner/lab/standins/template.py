"""The part of Go's templates that people give to docker's --format."""

from __future__ import annotations

import json
import shlex

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any


class Unknown(Exception):  # noqa: N818
    """A template that is not simulated."""


def render(template: str, value: Any) -> str:
    """Return the template filled with value."""
    text, rest = _block(template.replace("\\t", "\t").replace("\\n", "\n"), value, value)
    if rest:
        raise Unknown(rest)
    return text


def _block(template: str, dot: Any, root: Any) -> tuple[str, str]:
    """Fill until {{end}} or {{else}} or the end; return the text, and what follows (the closing action first)."""
    out, rest = "", template
    while "{{" in rest:
        before, _, tail = rest.partition("{{")
        action, _, rest = tail.partition("}}")
        out += before
        action = action.strip().strip("-").strip()
        if action in ("end", "else"):
            return out, action + "\0" + rest
        if action.startswith(("range ", "if ")):
            text, rest = _compound(action, rest, dot, root)
            out += text
        else:
            out += _text(_pipeline(action, dot))
    return out + rest, ""


def _compound(action: str, body: str, dot: Any, root: Any) -> tuple[str, str]:
    word, _, expression = action.partition(" ")
    value = _pipeline(expression, dot)
    items = (list(value.values()) if isinstance(value, dict) else list(value or [])) if word == "range" else [dot]
    shown = [_block(body, item, root) for item in items] or [_block(body, {}, root)]
    out = "".join(text for text, _ in shown) if (items and (word == "range" or value)) else ""
    closing, _, rest = shown[-1][1].partition("\0")
    if closing == "else":
        text, after = _block(rest, dot, root)
        closing, _, rest = after.partition("\0")
        if not out and not (items and (word == "range" or value)):
            out = text
    if closing != "end":
        raise Unknown(action)
    return out, rest


def _pipeline(action: str, dot: Any) -> Any:
    parts = [part.strip() for part in action.split("|")]
    value = _call(parts[0], dot)
    for part in parts[1:]:
        value = _function(part, [value])
    return value


def _call(expression: str, dot: Any) -> Any:
    words = _words(expression)
    if len(words) == 1 and words[0][0] in '."':
        return _argument(words[0], dot)
    return _function(words[0], [_argument(word, dot) for word in words[1:]])


def _words(expression: str) -> list[str]:
    lexer = shlex.shlex(expression, posix=False)
    lexer.whitespace_split = True
    found = list(lexer)
    if not found:
        raise Unknown(expression)
    return found


def _argument(word: str, dot: Any) -> Any:
    if word.startswith('"'):
        return word[1:-1]
    if word.lstrip("-").isdigit():
        return int(word)
    if not word.startswith("."):
        raise Unknown(word)
    for name in filter(None, word.split(".")):
        if not isinstance(dot, dict) or name not in dot:
            raise Unknown(word)
        dot = dot[name]
    return dot


def _function(name: str, arguments: list[Any]) -> Any:
    if name == "json" and len(arguments) == 1:
        return json.dumps(arguments[0], separators=(",", ":"))
    if name == "len" and len(arguments) == 1:
        return len(arguments[0] or [])
    if name == "index" and len(arguments) == 2:  # noqa: PLR2004
        return arguments[0][arguments[1]]
    if name == "println":
        return " ".join(_text(a) for a in arguments) + "\n"
    if name == "join" and len(arguments) == 2:  # noqa: PLR2004
        return arguments[1].join(arguments[0])
    raise Unknown(name)


def _text(value: Any) -> str:
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text(item)}" for key, item in sorted(value.items())) + "]"
    return str(value)
