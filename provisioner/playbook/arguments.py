"""Reading a module's arguments, and checking what of them is literal."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Literal

from provisioner.document import Caution, MapNode, Mode, Node, ScalarNode, check, decode, is_template, lossy
from provisioner.errors import InputError
from provisioner.playbook import freeform
from provisioner.playbook.model import Task, find_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.playbook.words import Words

_MODES = ("mode", "directory_mode")
_PATTERNS = ("regexp", "regex", "insertafter", "insertbefore")
_META = ("flush_handlers", "noop")
_SEARCHED: dict[str, Literal["files", "templates"]] = {"template": "templates", "copy": "files"}


class Arguments:
    """Reads arguments by the dataclasses of the modules."""

    def __init__(self, words: Words, modules: Mapping[str, type]) -> None:
        self.words = words
        self.modules = modules

    def read(self, module: str, key: ScalarNode, item: MapNode) -> dict[str, Node]:
        """Return the arguments of a task, and check them as far as they hold no templates."""
        value = item.get(key.value)
        given = None if value is None else self._given(module, key, value)
        if given is None:
            self.words.lost = self.words.lost or getattr(self.modules.get(module), "any_argument", False)
            return {}
        node = self._merged(given, item.get("args"))
        if module != "meta" or module in self.modules:
            self._check(node, self.modules[module], module)
        return {str(name.value): part for name, part in node.entries}

    def _check(self, node: MapNode, cls: type, module: str) -> None:
        """Report what is wrong with arguments as far as they are literal."""
        is_free = getattr(cls, "any_argument", False)
        whole = MapNode(node.source, ((ScalarNode(node.source, "free", "free"), node),)) if is_free else node
        found: list[Caution] = []
        try:
            check(whole, cls, name=module, warnings=found)
        except InputError as error:
            self.words.failed(error)
        for key, value in () if is_free else node.entries:
            self._literal(module, key.text, value, found)
        warned = {caution.source for caution in found}
        self.words.warnings.extend((*found, *(one for one in lossy(node) if one.source not in warned)))

    def _literal(self, module: str, key: str, node: Node, warnings: list[Caution]) -> None:
        """Report a literal mode, or regular expression, that is none."""
        if not isinstance(node, ScalarNode) or node.value is None or is_template(node.text):
            return
        name = f"{module}: {key}"
        if key in _MODES:
            try:
                decode(node, Mode, name=name, warnings=warnings)
            except InputError as error:
                self.words.failed(error)
        elif key in _PATTERNS:
            try:
                re.compile(node.text.encode())
            except re.error as error:
                message = f"{name}: {node.text!r} is no regular expression: {error.msg}"
                self.words.wrong(message, node.source)

    def _given(self, module: str, key: ScalarNode, value: Node) -> MapNode | None:
        if isinstance(value, MapNode):
            return value
        if not isinstance(value, ScalarNode):
            self.words.wrong(f"{module}: its arguments have to be a mapping", value.source)
            return None
        if module == "meta" and module not in self.modules:
            return self._meta(value)
        if value.value is None:
            return MapNode(key.source)
        return self._line(module, value)

    def _line(self, module: str, value: ScalarNode) -> MapNode | None:
        """Read arguments that were written in one line."""
        cls = self.modules[module]
        raw = getattr(cls, "free_form", None)
        names = {name for field in dataclasses.fields(cls) for name in (field.name, *field.metadata.get("aliases", ()))}
        given, rest = freeform.arguments(value, raw, names - {raw})
        if rest:
            hint = None if not is_template(value.text) else "arguments that come from a variable are not supported"
            self.words.wrong(
                f"{module}: {rest[0]!r} is no argument; write key: value, or key=value", value.source, hint
            )
            return None
        return given

    def _meta(self, value: ScalarNode) -> MapNode | None:
        if value.value not in _META:
            self.words.wrong(f"meta: {value.text!r} is not supported; there are: {', '.join(_META)}", value.source)
            return None
        return MapNode(value.source, ((ScalarNode(value.source, "action", "action"), value),))

    def _merged(self, given: MapNode, extra: Node | None) -> MapNode:
        """Return the arguments with those of `args` below them."""
        if extra is None or (isinstance(extra, ScalarNode) and extra.value is None):
            return given
        if not isinstance(extra, MapNode):
            self.words.wrong("args has to be a mapping", extra.source)
            return given
        own = {key.value for key, _ in given.entries}
        return MapNode(given.source, (*given.entries, *extra.without(own).entries))

    def files(self, task: Task) -> None:
        """Report a local file that a task names literally and that is not there."""
        kind, source = _SEARCHED.get(task.module), task.args.get("src")
        remote = task.args.get("remote_src")
        if kind is None or not isinstance(source, ScalarNode) or not isinstance(source.value, str):
            return
        if is_template(source.value) or (isinstance(remote, ScalarNode) and remote.value not in (None, False, "no")):
            return
        try:
            find_file(task, kind, source.value)
        except InputError as error:
            self.words.errors.append(error)
