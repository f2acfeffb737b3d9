"""What can be said of a template without rendering it; each answer is cached by the template's text."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

from provisioner.document import is_template
from provisioner.templating.plain import names_in, pieces

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.templating.library import nodes

_MAYBE_VOLATILE = re.compile(r"\bnow\b|\brandom|\bshuffle\b|\bpassword|\bpipe\b|ansible_date_time|\burl\b")
_VOLATILE_FILTERS = {"random", "shuffle", "password_hash"}
_VOLATILE_LOOKUPS = {"password", "pipe", "random_choice", "url", "random_string"}
_MAYBE_HIDING = re.compile(r"\b(?:vars|lookup|query|q)\b")
_GUARDS = {"default", "d", "defined", "undefined"}
_OWN = frozenset({"lookup", "query", "q", "omit", "vars"})
_NAMING = {
    "map": ("filter", 0),
    **dict.fromkeys(("select", "reject"), ("test", 0)),
    **dict.fromkeys(("selectattr", "rejectattr"), ("test", 1)),
}
"""Filters that take the name of a filter or test, and where."""
_CACHED = 8192


def used_names(text: str, *, expression: bool = False) -> frozenset[str]:
    """Return the variables that a template (or a bare expression) asks for."""
    if not expression and (plain := names_in(text)) is not None:
        return plain
    return _used(text, expression) if expression or is_template(text) else frozenset()


@functools.lru_cache(_CACHED)
def _used(text: str, expression: bool) -> frozenset[str]:
    from provisioner.templating.environment import environment
    from provisioner.templating.library import meta

    if _syntax(text, expression) is not None:
        return frozenset()
    tree = _tree(text, expression)
    return frozenset(meta.find_undeclared_variables(tree)) - environment().globals.keys() - _OWN


def guarded_names(text: str, *, expression: bool = False) -> frozenset[str]:
    """Return the variables that a template may find undefined: `x | default`, `x is defined`."""
    if not expression and pieces(text) is not None:
        return frozenset()
    return _guarded(text, expression) if expression or is_template(text) else frozenset()


@functools.lru_cache(_CACHED)
def _guarded(text: str, expression: bool) -> frozenset[str]:
    from provisioner.templating.library import nodes

    tree = _tree(text, expression)
    found: set[str] = set()
    for guard in tree.find_all((nodes.Filter, nodes.Test)):
        if guard.name.removeprefix("ansible.builtin.") in _GUARDS and guard.node is not None:
            found.update(name.name for name in _within(guard.node, nodes.Name))
    return frozenset(found)


def is_volatile(text: str, *, expression: bool = False) -> bool:
    """Tell whether a template gives something else each time: now(), random, passwords, commands."""
    return bool(_MAYBE_VOLATILE.search(text)) and (expression or is_template(text)) and _volatile(text, expression)


@functools.lru_cache(_CACHED)
def _volatile(text: str, expression: bool) -> bool:
    from provisioner.templating.library import nodes

    tree = _tree(text, expression)
    if any(item.name in _VOLATILE_FILTERS for item in tree.find_all(nodes.Filter)):
        return True
    if any(item.name == "ansible_date_time" for item in tree.find_all(nodes.Name)):
        return True
    return any(_volatile_call(call) for call in tree.find_all(nodes.Call))


def _volatile_call(call: Any) -> bool:
    return getattr(call.node, "name", "") == "now" or _looked_up(call) in _VOLATILE_LOOKUPS


def _looked_up(call: Any) -> str | None:
    """Return what a call looks up by, "" where that shows only when it is rendered; None for any other call."""
    if getattr(call.node, "name", "") not in ("lookup", "query", "q"):
        return None
    first = getattr(call.args[0], "value", "") if call.args else ""
    return str(first).removeprefix("ansible.builtin.").removeprefix("community.general.")


def hides_names(text: str, *, expression: bool = False) -> bool:
    """Tell whether a template asks for variables whose names show only when it is rendered: vars[x], lookup('vars')."""
    return bool(_MAYBE_HIDING.search(text)) and (expression or is_template(text)) and _hiding(text, expression)


@functools.lru_cache(_CACHED)
def _hiding(text: str, expression: bool) -> bool:
    from provisioner.templating.library import nodes

    tree = _tree(text, expression)
    by = {_looked_up(call) for call in tree.find_all(nodes.Call)}
    return any(name.name == "vars" for name in tree.find_all(nodes.Name)) or bool(by & {"", "vars"})


def syntax_error(text: str, *, expression: bool = False) -> tuple[str, int] | None:
    """Return what is wrong with a template's syntax, and in which of its lines."""
    if not expression and pieces(text) is not None:
        return None
    return _syntax(text, expression) if expression or is_template(text) else None


@functools.lru_cache(_CACHED)
def _syntax(text: str, expression: bool) -> tuple[str, int] | None:
    from provisioner.templating.environment import compiled, parse
    from provisioner.templating.library import jinja2

    try:
        unknown = next(_unknown(parse(text, expression=expression)), None)
        if unknown is None:
            compiled(text, expression=expression)
    except jinja2.TemplateSyntaxError as error:
        return explain(error), error.lineno
    except Exception as error:  # noqa: BLE001 - whatever Python has against a template is its author's to mend
        return explain(error), 1
    return unknown


def _unknown(tree: nodes.Template) -> Iterator[tuple[str, int]]:
    """Yield the filters and tests that there are not, also where Jinja itself would only see it in a run."""
    from provisioner.templating.environment import environment
    from provisioner.templating.library import nodes

    known = {"filter": environment().filters, "test": environment().tests}
    for use in tree.find_all((nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(use, nodes.Filter) else "test"
        if kind == "test" and use.name in known:
            return  # the template asks what there is
    for use in tree.find_all((nodes.Filter, nodes.Test)):
        kind = "filter" if isinstance(use, nodes.Filter) else "test"
        if use.name not in known[kind]:
            yield _no_such(kind, use.name), use.lineno
        elif kind == "filter" and (named := _NAMING.get(use.name.removeprefix("ansible.builtin."))) is not None:
            kind, at = named
            given = use.args[at] if len(use.args) > at else None
            if isinstance(given, nodes.Const) and isinstance(given.value, str) and given.value not in known[kind]:
                yield _no_such(kind, given.value), use.lineno


def explain(error: Any) -> str:
    """Return a syntax error's message, with a guess at a misspelt filter or test."""
    if isinstance(error, (RecursionError, MemoryError)):
        return "it is nested too deeply"
    message = (getattr(error, "message", None) or str(error) or "syntax error").rstrip(".")
    found = re.match(r"No (filter|test) named '(.*)'", message)
    return _no_such(found[1], found[2]) if found else message[:1].lower() + message[1:]


def _no_such(kind: str, name: str) -> str:
    from provisioner.document import near
    from provisioner.templating.environment import environment

    known = environment().filters if kind == "filter" else environment().tests
    return f"there is no {kind} {name!r}{near(name, known)}"


def _tree(text: str, expression: bool) -> nodes.Template:
    """Return the tree of a template; that of one that cannot be parsed is empty."""
    from provisioner.templating.environment import parse
    from provisioner.templating.library import nodes

    try:
        return parse(text, expression=expression)
    except Exception:  # noqa: BLE001 - `syntax_error` tells of it
        return nodes.Template([], lineno=1)


def _within(node: Any, kind: type) -> Iterator[Any]:
    if isinstance(node, kind):
        yield node
    yield from node.find_all(kind)
