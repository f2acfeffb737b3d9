"""Templar: values and expressions rendered for one host."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from provisioner.document import ListNode, MapNode, Node, ScalarNode, UnsafeText, Vault, is_template, near
from provisioner.errors import InputError, NotYetKnown, Source
from provisioner.templating.lookups import Lookups
from provisioner.templating.names import explain
from provisioner.templating.plain import pieces
from provisioner.templating.values import OMIT, UndefinedVariable, Verbatim, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from provisioner.templating.plain import Pieces


class Templar:
    """Renders with the variables of one host; variables may hold templates themselves, and are rendered when used.

    A variable's value may be a Node, ordinary Python, Verbatim (data from a device, never rendered) or Pending.
    """

    def __init__(self, variables: Mapping[str, object], *, base_dirs: Sequence[Path] = ()) -> None:
        self.variables = variables
        self.base_dirs = tuple(base_dirs)

    @cached_property
    def _scope(self) -> _Scope:
        # Most templars never need it: what they render is text and names.
        return _Scope(self)

    def with_vars(self, extra: Mapping[str, object]) -> Templar:
        """Return a templar in which these variables come before the others."""
        return Templar({**self.variables, **extra}, base_dirs=self.base_dirs)

    def render(self, value: object, *, source: Source | None = None) -> Any:
        """Return a value with every string in it rendered; what was omitted is gone, and nothing in it is pending.

        A string that is one expression gives that expression's own type.
        """
        written = value.value if isinstance(value, ScalarNode) else value
        if is_plain(written):
            return written
        if type(written) is str and (cut := pieces(written)) is not None:
            values = [self.variables.get(name, self) for name in cut.names]
            if all(map(is_plain, values)):
                return cut.joined(values)
            place = value.source if isinstance(value, ScalarNode) else source
            return self._guarded(lambda: settle(self._joined(cut)), place)
        return self._guarded(lambda: settle(self._any(value, source)), source)

    def evaluate(self, expression: object, *, source: Source | None = None) -> Any:
        """Return the value of a bare expression, as in when; a literal that is no text is its own value."""
        if isinstance(expression, ScalarNode):
            return self.evaluate(expression.value, source=expression.source)
        if not isinstance(expression, str) or isinstance(expression, UnsafeText):
            return expression
        if is_template(expression):
            rendered = self.render(expression, source=source)
            return self.evaluate(rendered, source=source) if type(rendered) is str else rendered
        return self._guarded(lambda: settle(self._compiled(expression, expression=True)), source)

    def holds(self, conditions: Iterable[object]) -> bool:
        """Tell whether every condition is true; those behind the first false one are not looked at."""
        return all(bool(self.evaluate(condition)) for condition in conditions)

    def flag(self, value: bool | ScalarNode | None) -> bool | None:
        """Return a keyword's yes or no."""
        if not isinstance(value, ScalarNode):
            return value
        from provisioner.document import decode

        return decode(self.render(value), bool, value.source)

    def text(
        self,
        template_source: str,
        name: str,
        *,
        trim_blocks: bool = True,
        lstrip_blocks: bool = False,
        newline_sequence: str = "\n",
    ) -> str:
        """Return the text that a template file makes; `name` is its path, for messages."""
        from provisioner.templating import environment as jinja

        head = Source(name, 1)
        options, template_source, skipped = self._guarded(
            lambda: _header(template_source, trim_blocks, lstrip_blocks), head
        )
        template: Any = None

        def run() -> str:
            nonlocal template
            template = jinja.compiled_file(template_source, *options)
            return jinja.render_file(template, self._scope)

        def place(error: BaseException) -> Source:
            line = jinja.line_of(template, error) if template else getattr(error, "lineno", 0)
            return Source(name, line + skipped if line else 0)

        rendered: str = self._guarded(run, place)
        return rendered if newline_sequence == "\n" else rendered.replace("\n", newline_sequence)

    def _any(self, value: object, source: Source | None) -> Any:
        if isinstance(value, Node):
            return self._node(value)
        if isinstance(value, str):
            return self._string(value, source)
        if isinstance(value, Vault):
            raise InputError("vault is not supported yet", source=value.source)
        if isinstance(value, Verbatim):
            return value.value
        if type(value) is dict:
            return _given((key, self._any(part, source)) for key, part in value.items())
        if type(value) in (list, tuple):
            return [item for item in (self._any(part, source) for part in value) if item is not OMIT]  # type: ignore[attr-defined]
        return value

    def _node(self, node: Node) -> Any:
        if isinstance(node, MapNode):
            return _given((key.value, self._node(value)) for key, value in node.entries)
        if isinstance(node, ListNode):
            return [item for item in (self._node(part) for part in node.items) if item is not OMIT]
        value = node.value if isinstance(node, ScalarNode) else None
        if is_plain(value):
            return value
        return self._guarded(lambda: self._any(value, node.source), node.source)

    def _string(self, text: str, source: Source | None) -> Any:
        if not is_template(text) or isinstance(text, UnsafeText):
            return text
        return self._guarded(lambda: settle(self._compiled(text), pending=True), source)

    def _compiled(self, text: str, *, expression: bool = False) -> Any:
        cut = None if expression else pieces(text)
        if cut is not None:
            return self._joined(cut)
        from provisioner.templating.environment import compiled

        return compiled(text, expression=expression)(self._scope)

    def _joined(self, cut: Pieces) -> Any:
        return cut.joined([self._named(name) for name in cut.names])

    def _named(self, name: str) -> Any:
        if is_plain(value := self.variables.get(name, self)):
            return value
        return self._scope[name] if name in self._scope else _undefined(name)

    def _guarded(self, run: Callable[[], Any], source: Source | Callable[[BaseException], Source] | None) -> Any:
        """Run something of Jinja's; whatever goes wrong in it is the user's to mend, and gets its place."""
        try:
            return run()
        except InputError as error:
            if error.source is None:
                error.source = source(error) if callable(source) else source
            raise
        except NotYetKnown:
            raise
        except Exception as error:
            raise self._explained(error, source(error) if callable(source) else source) from error

    def _explained(self, error: Exception, place: Source | None) -> InputError:
        """Return an error of Jinja's, or of a filter, as ours."""
        from provisioner.templating.environment import MissingError
        from provisioner.templating.library import jinja2

        if isinstance(error, MissingError):
            return self._undefined(error, place)
        if isinstance(error, jinja2.TemplateSyntaxError):
            return InputError(f"is not a valid template: {explain(error)}", source=place)
        return InputError(f"cannot be rendered: {_said(error)}", source=place)

    def _undefined(self, error: Any, place: Source | None) -> UndefinedVariable:
        if error.is_variable:
            written = error.message if error.message and "mandatory" in error.message else None
            message = written or f"the variable {error.name!r} is undefined{near(error.name, self.variables)}"
        else:
            keys = [str(key) for key in error.owner] if isinstance(error.owner, Mapping) else []
            guess = near(error.name, keys)
            what = {"dict": "mapping", "str": "text"}.get(kind := type(error.owner).__name__, kind)
            message = f"this {what} has no {error.name!r}{guess}"
        result = UndefinedVariable(message, source=place)
        result.name = error.name
        return result


_PLAIN = (bool, int, float, type(None))


class _Scope(Mapping[str, Any]):
    """The variables as Jinja sees them: each rendered when it is first asked for."""

    def __init__(self, templar: Templar) -> None:
        self.templar = templar
        self.done: dict[str, Any] = {}
        self.open: list[str] = []

    def __contains__(self, name: object) -> bool:
        return name in self.templar.variables or name in _BUILT_IN or name in _globals()

    def __iter__(self) -> Iterator[str]:
        return iter(self.templar.variables)

    def __len__(self) -> int:
        return len(self.templar.variables)

    def __getitem__(self, name: str) -> Any:
        if name not in self.done:
            self.done[name] = self._made(name)
        return self.done[name]

    def _made(self, name: str) -> Any:
        if name in self.templar.variables:
            return self._variable(name)
        if name in _BUILT_IN:
            return _BUILT_IN[name](self)
        return _globals()[name]

    def _variable(self, name: str) -> Any:
        if name in self.open:
            loop = " -> ".join((*self.open[self.open.index(name) :], name))
            raise InputError(f"the variables need each other: {loop}")
        self.open.append(name)
        try:
            return self.templar._any(self.templar.variables[name], None)  # noqa: SLF001 - two halves of one thing
        except UndefinedVariable as error:
            # as in Ansible: a variable that needs an undefined one is undefined itself, and may have a default
            return _undefined(name, error)
        finally:
            self.open.pop()

    def lookups(self) -> Lookups:
        return Lookups(self, self.templar.base_dirs)


_BUILT_IN: Mapping[str, Callable[[_Scope], Any]] = {
    "omit": lambda _: OMIT,
    "vars": lambda scope: scope,
    "lookup": lambda scope: scope.lookups().lookup,
    "query": lambda scope: scope.lookups().query,
    "q": lambda scope: scope.lookups().query,
}


def _globals() -> Mapping[str, Any]:
    from provisioner.templating.environment import environment

    return environment().globals


def _undefined(name: str, error: UndefinedVariable | None = None) -> Any:
    from provisioner.templating.environment import Undefined

    return Undefined(name=name, exc=(lambda _: error) if error else None)


def is_plain(value: object) -> bool:
    """Tell whether a value is its own rendering, whatever the variables are."""
    return type(value) in _PLAIN or (type(value) is str and not is_template(value))


def _given(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    return {key: value for key, value in pairs if value is not OMIT}


def _said(error: Exception) -> str:
    from provisioner.templating.library import jinja2

    if isinstance(error, re.error):
        return f"{_text(error.pattern)!r} is no regular expression: {error.msg}"
    if isinstance(error, (RecursionError, MemoryError)):
        return "it is nested too deeply"
    if isinstance(error, KeyError) and error.args:
        return f"it has no {error.args[0]!r}"
    if isinstance(error, (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError)) and str(error):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _text(pattern: object) -> str:
    return pattern.decode(errors="replace") if isinstance(pattern, bytes) else str(pattern)


def _header(text: str, trim_blocks: bool, lstrip_blocks: bool) -> tuple[tuple[bool, bool], str, int]:
    """Take Ansible's first line `#jinja2: lstrip_blocks: True` off a template."""
    options = {"trim_blocks": trim_blocks, "lstrip_blocks": lstrip_blocks}
    line, _, rest = text.partition("\n")
    if not line.startswith("#jinja2:"):
        return (trim_blocks, lstrip_blocks), text, 0
    for pair in line.removeprefix("#jinja2:").split(","):
        name, _, value = (part.strip() for part in pair.partition(":"))
        if name not in options:
            raise InputError(f"the template option {name!r} is not supported{near(name, options)}")
        options[name] = value.lower() in ("true", "yes", "on", "1")
    return (options["trim_blocks"], options["lstrip_blocks"]), rest, 1
