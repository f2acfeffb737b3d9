"""Reading a module's arguments, and checking what of them is literal."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from provisioner.document import MapNode, Node, ScalarNode, check, is_template
from provisioner.errors import InputError
from provisioner.playbook import freeform
from provisioner.playbook.model import Task, find_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    from provisioner.playbook.words import Words

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
            return {}
        node = self._merged(given, item.get("args"))
        if module != "meta" or module in self.modules:
            self._check(node, self.modules[module], module)
        return {str(name.value): part for name, part in node.entries}

    def _check(self, node: MapNode, cls: type, module: str) -> None:
        """Report what is wrong with arguments as far as they are literal."""
        if getattr(cls, "any_argument", False):
            node = MapNode(node.source, ((ScalarNode(node.source, "free", "free"), node),))
        try:
            check(node, cls, name=module, warnings=self.words.warnings)
        except InputError as error:
            self.words.errors.append(error)

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
