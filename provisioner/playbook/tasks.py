"""Reading tasks: blocks and task files are laid flat, and what they say is handed down to their tasks."""

from __future__ import annotations

import dataclasses
from dataclasses import field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from provisioner.document import ListNode, MapNode, Node, ScalarNode, beside, is_template, load, lossy, near, searched
from provisioner.errors import InputError
from provisioner.playbook import keywords
from provisioner.playbook.arguments import Arguments
from provisioner.playbook.model import Flag, Loop, Task
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from provisioner.playbook.words import Words


@dataclass(frozen=True, kw_only=True)
class Scope:
    """What a block, or an import, hands down to its tasks."""

    when: tuple[ScalarNode, ...] = ()
    tags: tuple[str, ...] = ()
    notify: tuple[ScalarNode, ...] = ()
    become: Flag | None = None
    become_user: ScalarNode | None = None
    vars: Mapping[str, Node] = field(default_factory=dict)
    ignore_errors: Flag = False
    no_log: Flag = False
    check_mode: Flag | None = None


_FLAGS = ("become", "ignore_errors", "no_log", "check_mode")


class TaskReader:
    """Reads lists of tasks in one playbook."""

    def __init__(self, words: Words, modules: Mapping[str, type], path: Path) -> None:
        self.words = words
        self.arguments = Arguments(words, modules)
        self.base_dir = path.parent
        self.modules = modules
        self.trail: tuple[Path, ...] = ()

    def tasks(self, node: Node, name: str, scope: Scope) -> Iterator[Task]:
        """Yield the tasks of a list, in order."""
        for item in self.words.items(node, name):
            if not isinstance(item, MapNode):
                self.words.wrong("a task has to be a mapping such as `copy: {src: a, dest: b}`", item.source, lost=True)
            elif item.get("block") is not None:
                yield from self._block(item, scope)
            elif any(_short(key.text) in keywords.IMPORTS for key, _ in item.entries):
                yield from self._import(item, scope)
            else:
                yield self._task(item, scope)

    def _block(self, item: MapNode, scope: Scope) -> Iterator[Task]:
        self._known(item, keywords.BLOCK, "a block")
        body = item.get("block")
        if body is not None:
            yield from self.tasks(body, "block", self._scope(item, scope))

    def _import(self, item: MapNode, scope: Scope) -> Iterator[Task]:
        """Read a file of tasks in place; include_tasks is taken for import_tasks where that makes no difference."""
        key, value = next((k, v) for k, v in item.entries if _short(k.text) in keywords.IMPORTS)
        kind = _short(key.text)
        self._known(item.without([key.value]), keywords.SHARED | {"when"}, kind)
        if kind == "include_tasks":
            for word in ("tags", "when"):
                if (found := item.key(word)) is not None:
                    message = f"{word!r} is not supported on include_tasks"
                    self.words.wrong(message, found.source, "import_tasks gives it to each task of the file")
        if isinstance(value, MapNode):
            value = value.get("file") or value
        name = self.words.text(value, kind)
        if name is not None and is_template(name.text):
            self.words.wrong(f"{kind} cannot hold a template", name.source, lost=True)
        elif name is not None:
            yield from self._file(name, Path(key.source.path), self._scope(item, scope))

    def _file(self, name: ScalarNode, origin: Path, scope: Scope) -> Iterator[Task]:
        tried = [origin.parent / name.text, self.base_dir / name.text, self.base_dir / "tasks" / name.text]
        path = next((path for path in tried if path.is_file()), None)
        if path is None:
            guess = near(Path(name.text).name, beside(tried))
            self.words.wrong(f"there is no file of tasks {name.text!r}{guess}", name.source, searched(tried), lost=True)
            return
        if path.resolve() in self.trail:
            self.words.wrong(f"the file {name.text!r} imports itself", name.source)
            return
        outer = self.trail
        self.trail = (*outer, path.resolve())
        try:
            yield from self.tasks(load(path, errors=self.words.errors, empty=True), "a file of tasks", scope)
        except InputError as error:
            self.words.failed(error, lost=True)
        finally:
            self.trail = outer

    def _known(self, item: MapNode, known: frozenset[str], what: str) -> None:
        for key, value in item.entries:
            if key.value in known:
                self.method(key, value)
            elif key.text in keywords.UNSUPPORTED:
                self.unsupported(key)
            else:
                self.words.wrong(f"unknown keyword {key.text!r} in {what}{near(key.text, known)}", key.source)

    def unsupported(self, key: ScalarNode) -> None:
        """Report a keyword of Ansible that we do not have."""
        self.words.wrong(f"{key.text!r} is not supported yet", key.source, keywords.UNSUPPORTED[key.text])

    def method(self, key: ScalarNode, value: Node) -> None:
        """Report a become_method that is not sudo."""
        if key.value == "become_method" and not (isinstance(value, ScalarNode) and value.value == "sudo"):
            self.words.wrong("the only become_method is sudo", value.source)

    def _scope(self, item: MapNode, outer: Scope) -> Scope:
        """Return what applies inside an item: its own words over, or after, those around it."""
        words = self.words
        flags = {name: self._flag(item, name, getattr(outer, name)) for name in _FLAGS}
        return Scope(
            when=(*outer.when, *self._read(item, "when", words.conditions)),
            tags=tuple(dict.fromkeys((*outer.tags, *self._read(item, "tags", words.names)))),
            notify=(*outer.notify, *self._read(item, "notify", words.scalars)),
            become_user=self._read(item, "become_user", words.text, outer.become_user),
            vars={**outer.vars, **self._read(item, "vars", words.mapping, {})},
            **flags,
        )

    def _read(self, item: MapNode, name: str, read: Any, default: Any = ()) -> Any:
        node = item.get(name)
        return default if node is None else read(node, name)

    def _flag(self, item: MapNode, name: str, default: Flag | None) -> Any:
        node = item.get(name)
        found = None if node is None else self.words.flag(node, name)
        return default if found is None else found

    def _task(self, item: MapNode, scope: Scope) -> Task:
        key = self._module(item)
        module = _short(key.text) if key else ""
        arguments = self.arguments.read(module, key, item) if key else _unread(item)
        own = self._scope(item, scope)
        inherited = {part.name: getattr(own, part.name) for part in dataclasses.fields(own)}
        task = Task(
            name=self._name(item) or module,
            module=module,
            args=MappingProxyType(arguments),
            source=item.source,
            base_dir=self.base_dir,
            loop=self._loop(item),
            register=self._read(item, "register", self.words.identifier, None),
            listen=self._read(item, "listen", self.words.names),
            changed_when=self._read(item, "changed_when", self.words.conditions, None),
            failed_when=self._read(item, "failed_when", self.words.conditions, None),
            **inherited,
        )
        self.arguments.files(task)
        return task

    def _name(self, item: MapNode) -> str:
        node = item.get("name")
        found = None if node is None else self.words.text(node, "name")
        return found.text if found else ""

    def _module(self, item: MapNode) -> ScalarNode | None:
        """Return the key that names the module; report the keys that name nothing."""
        found: list[ScalarNode] = []
        count = len(self.words.errors)
        for key, value in item.entries:
            name = _short(key.text)
            if key.value in keywords.TASK:
                self.method(key, value)
            elif name in self.modules or name == "meta":
                found.append(key)
            elif key.text in keywords.UNSUPPORTED or name in keywords.UNSUPPORTED:
                self.words.wrong(f"{key.text!r} is not supported yet", key.source, keywords.UNSUPPORTED[name])
            else:
                self._unknown(key, value)
        if len(found) > 1:
            names = " and ".join(repr(key.text) for key in found)
            self.words.wrong(f"a task has one module, and this has {names}", found[1].source)
        elif not found and len(self.words.errors) == count:
            self.words.wrong("the task names no module", item.source)
        return found[0] if len(found) == 1 else None

    def _unknown(self, key: ScalarNode, value: Node) -> None:
        """Report a key: a module if it could only be one, a keyword if it is near to one."""
        name = _short(key.text)
        guess = near(name, (*self.modules, *keywords.TASK, "block"))
        what = "module" if isinstance(value, MapNode) or "." in key.text or near(name, self.modules) else "keyword"
        what = "module or keyword" if not guess and what == "keyword" else what
        self.words.wrong(f"unknown {what} {key.text!r}{guess}", key.source)

    def _loop(self, item: MapNode) -> Loop | None:
        loop, items, control = item.get("loop"), item.get("with_items"), item.get("loop_control")
        node = loop or items
        if loop is not None and items is not None:
            self.words.wrong("give loop or with_items, not both", items.source)
        if node is None:
            if control is not None:
                self.words.wrong("loop_control has no loop to control", control.source)
            return None
        self.words.warnings.extend(lossy(node))
        literal = isinstance(node, ScalarNode) and not is_template(node.text)
        if isinstance(node, MapNode) or (literal and loop is not None):
            self.words.wrong(
                "a loop has to be a list, or a template that gives one",
                node.source,
                "`dict2items` makes a list of a mapping",
            )
        given = self.words.mapping(control, "loop_control") if control is not None else {}
        for key in given.keys() - {"loop_var", "index_var", "label"}:
            guess = near(key, ("loop_var", "index_var", "label"))
            self.words.wrong(f"{key!r} is not supported in loop_control{guess}", given[key].source)
        return Loop(
            items=node if not literal else ListNode(node.source, (node,)),
            flatten=loop is None,
            var=self._variable(given, "loop_var") or "item",
            index_var=self._variable(given, "index_var"),
            label=given.get("label"),
        )

    def _variable(self, given: Mapping[str, Node], name: str) -> str | None:
        return self.words.identifier(given[name], name) if name in given else None


def _unread(item: MapNode) -> dict[str, Node]:
    """Return what may be the arguments of a task whose module nobody knows."""
    unknown = [value for key, value in item.entries if key.value not in keywords.TASK]
    pairs = [pair for value in unknown if isinstance(value, MapNode) for pair in value.entries]
    lines = {f"_{n}": value for n, value in enumerate(unknown) if not isinstance(value, MapNode)}
    return {**lines, **{str(key.value): value for key, value in pairs}}


def _short(name: str) -> str:
    return name.removeprefix("ansible.builtin.").removeprefix("ansible.legacy.")
