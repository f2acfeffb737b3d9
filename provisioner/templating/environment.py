"""A strict Jinja environment, and templates that are compiled once per process."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable, ItemsView, KeysView, Mapping, ValuesView
from types import GeneratorType
from typing import Any

from provisioner.templating.comparing import OUTCOMES, TESTS
from provisioner.templating.filters import FILTERS
from provisioner.templating.library import Parser, jinja2, missing, nodes
from provisioner.templating.values import Pending, settle

_VALUE = "provisioner_value"
_CACHED = 8192
_TREES = 1024
_USUAL = (True, False)  # trim_blocks and lstrip_blocks, as they are where nobody asks for others
_LAZY_FILTERS = {"ternary"}  # what is not chosen may be undefined
_LAZY = (GeneratorType, KeysView, ValuesView, ItemsView, range, map, filter, zip)


class MissingError(jinja2.UndefinedError):
    """A name, or a part of a value, that is not there."""

    def __init__(self, message: str | None, *, name: str = "", owner: object = missing) -> None:
        super().__init__(message)
        self.name = name
        self.owner = None if owner is missing else owner
        self.is_variable = owner is missing


class Undefined(jinja2.StrictUndefined):
    """Nothing by that name; as in Ansible its parts are undefined too, so that `a.b.c is defined` can be asked."""

    __slots__ = ()

    def __init__(self, hint: str | None = None, obj: Any = missing, name: str | None = None, exc: Any = None) -> None:
        make: Any = functools.partial(MissingError, name=str(name), owner=obj)
        super().__init__(hint, obj, name, exc or make)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __getitem__(self, key: Any) -> Any:
        return self


def _observing(function: Any, *, ours: bool, whole: bool = True) -> Callable[..., Any]:
    """Make a filter or test observe its arguments: Jinja's own would take some pending values for ordinary ones.

    Not `whole` is one that asks of a mapping for some of its keys: what is pending beside them does not matter.
    """

    @functools.wraps(function)
    def observed(*args: Any, **options: Any) -> Any:
        for arg in (*args, *options.values()):
            if type(arg) is Pending or (ours and (whole or not isinstance(arg, dict))):
                settle(arg)
        return function(*args, **options)

    return observed


def _mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, jinja2.Undefined):
        name = str(value._undefined_name or "")  # noqa: SLF001 - there is no public way
        raise MissingError(msg or f"{name!r} is mandatory, and undefined", name=name)
    return value


def _now(utc: bool = False, fmt: str | None = None) -> Any:
    moment = dt.datetime.now(dt.UTC).replace(tzinfo=None) if utc else dt.datetime.now()  # noqa: DTZ005 - as Ansible
    return moment.strftime(fmt) if fmt else moment


@functools.cache
def environment(trim_blocks: bool = True, lstrip_blocks: bool = False) -> jinja2.Environment:
    """Return the environment for these options."""
    env = jinja2.Environment(  # without autoescape: what is rendered is no HTML
        undefined=Undefined,
        trim_blocks=trim_blocks,
        lstrip_blocks=lstrip_blocks,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
        extensions=["jinja2.ext.do", "jinja2.ext.loopcontrols"],
        cache_size=0,
        optimized=False,  # which writes what is constant into the tree: it is to stay as it was read
    )
    theirs = {name: _observing(function, ours=False) for name, function in env.filters.items()}
    ours = {name: _observing(function, ours=name not in _LAZY_FILTERS) for name, function in FILTERS.items()}
    env.filters = {**theirs, **ours, "mandatory": _observing(_mandatory, ours=False)}
    tests = {name: _observing(function, ours=False) for name, function in env.tests.items()}
    asked = {name: _observing(function, ours=True, whole=name not in OUTCOMES) for name, function in TESTS.items()}
    env.tests = {**tests, **asked}
    for names in (env.filters, env.tests):
        names.update({f"ansible.builtin.{name}": function for name, function in list(names.items())})
    env.globals["now"] = _now
    return env


@functools.lru_cache(_TREES)
def parse(text: str, *, expression: bool) -> nodes.Template:
    """Return the tree of a template, or of a bare expression as a template with one output; nobody may change it."""
    env = environment()
    if not expression:
        return env.parse(text)
    parser = Parser(env, text, state="variable")
    found = parser.parse_expression()
    if not parser.stream.eos:
        raise jinja2.TemplateSyntaxError("the expression goes on after its end", parser.stream.current.lineno)
    tree = nodes.Template([nodes.Output([found], lineno=1)], lineno=1)
    tree.set_environment(env)
    return tree


@functools.lru_cache(_CACHED)
def compiled(text: str, *, expression: bool) -> Callable[[Mapping[str, Any]], Any]:
    """Return a function from variables to the value of a string: native if it is one expression, else text."""
    tree = parse(text, expression=expression)
    single = _single(tree)
    if single is None:
        return functools.partial(render_file, compiled_file(text, *_USUAL))
    target = nodes.Name(_VALUE, "store", lineno=1)
    template = environment().from_string(nodes.Template([nodes.Assign(target, single, lineno=1)], lineno=1))
    return functools.partial(_native, template)


def _native(template: jinja2.Template, scope: Mapping[str, Any]) -> Any:
    context = _context(template, scope)
    for _ in template.root_render_func(context):
        pass
    value = context.vars[_VALUE]
    return list(value) if isinstance(value, _LAZY) else value


def _context(template: jinja2.Template, scope: Mapping[str, Any]) -> jinja2.runtime.Context:
    # shared: the mapping is asked for the names that are used, and never copied
    return template.new_context(scope, shared=True)  # type: ignore[arg-type]


def _single(tree: nodes.Template) -> nodes.Expr | None:
    """Return the expression, if a template is one and nothing else."""
    if len(tree.body) == 1 and isinstance(output := tree.body[0], nodes.Output) and len(output.nodes) == 1:
        only = output.nodes[0]
        return None if isinstance(only, nodes.TemplateData) else only
    return None


@functools.lru_cache(_CACHED)
def compiled_file(text: str, trim_blocks: bool, lstrip_blocks: bool) -> jinja2.Template:
    """Return the template of a file; it has a name of its own in tracebacks, from which `line_of` reads."""
    usual = (trim_blocks, lstrip_blocks) == _USUAL
    env = environment() if usual else environment(trim_blocks, lstrip_blocks)
    tree = parse(text, expression=False) if usual else env.parse(text)
    name = f"<template {hash(text):x}>"
    return env.template_class.from_code(env, env.compile(tree, name, name), env.globals)


def render_file(template: jinja2.Template, scope: Mapping[str, Any]) -> str:
    """Return what a file's template makes of these variables."""
    return "".join(template.root_render_func(_context(template, scope)))


def line_of(template: jinja2.Template, error: BaseException) -> int:
    """Return the line of a file's template in which an error happened, or 0."""
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == template.filename:
            line = template.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return line
