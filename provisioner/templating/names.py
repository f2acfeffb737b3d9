"""What can be said of a template without rendering it; each answer is cached by the template's text."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from provisioner.document import is_template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2 import nodes

_MAYBE_VOLATILE = re.compile(r"\bnow\b|\brandom|\bshuffle\b|\bpassword|\bpipe\b|ansible_date_time|\burl\b")
_VOLATILE_FILTERS = {"random", "shuffle", "password_hash"}
_VOLATILE_LOOKUPS = {"password", "pipe", "random_choice", "url", "random_string"}
_GUARDS = {"default", "d", "defined", "undefined"}
_OWN = frozenset({"lookup", "query", "q", "omit", "vars"})
_CACHED = 8192


def used_names(text: str, *, expression: bool = False) -> frozenset[str]:
    """Return the variables that a template (or a bare expression) asks for."""
    return _used(text, expression) if expression or is_template(text) else frozenset()


@functools.lru_cache(_CACHED)
def _used(text: str, expression: bool) -> frozenset[str]:
    from jinja2 import meta

    from provisioner.templating.environment import environment

    tree = _tree(text, expression)
    if tree is None:
        return frozenset()
    return frozenset(meta.find_undeclared_variables(tree)) - environment().globals.keys() - _OWN


def guarded_names(text: str, *, expression: bool = False) -> frozenset[str]:
    """Return the variables that a template may find undefined: `x | default`, `x is defined`."""
    return _guarded(text, expression) if expression or is_template(text) else frozenset()


@functools.lru_cache(_CACHED)
def _guarded(text: str, expression: bool) -> frozenset[str]:
    from jinja2 import nodes

    tree = _tree(text, expression)
    found: set[str] = set()
    for guard in tree.find_all((nodes.Filter, nodes.Test)) if tree else ():
        if guard.name.removeprefix("ansible.builtin.") in _GUARDS and guard.node is not None:
            found.update(name.name for name in _within(guard.node, nodes.Name))
    return frozenset(found)


def is_volatile(text: str, *, expression: bool = False) -> bool:
    """Tell whether a template gives something else each time: now(), random, passwords, commands."""
    return bool(_MAYBE_VOLATILE.search(text)) and (expression or is_template(text)) and _volatile(text, expression)


@functools.lru_cache(_CACHED)
def _volatile(text: str, expression: bool) -> bool:
    from jinja2 import nodes

    tree = _tree(text, expression)
    if tree is None:
        return False
    if any(item.name in _VOLATILE_FILTERS for item in tree.find_all(nodes.Filter)):
        return True
    if any(item.name == "ansible_date_time" for item in tree.find_all(nodes.Name)):
        return True
    return any(_volatile_call(call) for call in tree.find_all(nodes.Call))


def _volatile_call(call: Any) -> bool:
    name = getattr(call.node, "name", "")
    if name == "now":
        return True
    first = getattr(call.args[0], "value", "") if call.args else ""
    lookup = str(first).removeprefix("ansible.builtin.").removeprefix("community.general.")
    return name in ("lookup", "query", "q") and lookup in _VOLATILE_LOOKUPS


def syntax_error(text: str, *, expression: bool = False) -> tuple[str, int] | None:
    """Return what is wrong with a template's syntax, and in which of its lines."""
    return _syntax(text, expression) if expression or is_template(text) else None


@functools.lru_cache(_CACHED)
def _syntax(text: str, expression: bool) -> tuple[str, int] | None:
    import jinja2

    from provisioner.templating.environment import environment, parse

    try:
        environment().compile(parse(text, expression=expression))
    except jinja2.TemplateSyntaxError as error:
        return explain(error), error.lineno
    return None


def explain(error: Any) -> str:
    """Return a syntax error's message, with a guess at a misspelt filter or test."""
    from provisioner.document import near
    from provisioner.templating.environment import environment

    message = (error.message or "syntax error").rstrip(".")
    found = re.match(r"No (filter|test) named '(.*)'", message)
    if found is None:
        return message[:1].lower() + message[1:]
    known = environment().filters if found[1] == "filter" else environment().tests
    return f"there is no {found[1]} {found[2]!r}{near(found[2], known)}"


def _tree(text: str, expression: bool) -> nodes.Template | None:
    import jinja2

    from provisioner.templating.environment import parse

    try:
        return parse(text, expression=expression)
    except jinja2.TemplateSyntaxError:
        return None


def _within(node: Any, kind: type) -> Iterator[Any]:
    if isinstance(node, kind):
        yield node
    yield from node.find_all(kind)
