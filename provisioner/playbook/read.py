"""From a file to a Playbook; every mistake in it and in the files it names is reported at once."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from provisioner.document import MapNode, Node, ScalarNode, beside, is_template, load, near, raise_all, searched
from provisioner.errors import InputError, InputErrors
from provisioner.playbook import keywords
from provisioner.playbook.model import Play, Playbook, Task
from provisioner.playbook.tasks import Scope, TaskReader
from provisioner.playbook.words import Words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


def load_playbook(path: Path, modules: Mapping[str, type], *, errors: list[InputError] | None = None) -> Playbook:
    """Read a playbook for these modules (short name: the dataclass of its arguments).

    With `errors`, mistakes go there and what could be read is returned: it serves to find more mistakes, not to be run.
    """
    words = Words()
    plays = tuple(_PlaysReader(words, modules, path).file(path, ()))
    if errors is None:
        raise_all(words.errors)
    else:
        errors.extend(InputErrors(words.errors).errors)
    if words.lost:
        plays = tuple(replace(play, incomplete=True) for play in plays)
    return Playbook(path=path, plays=plays, warnings=tuple(dict.fromkeys(words.warnings)))


class _PlaysReader:
    """Reads the plays of one file and of those that it imports."""

    def __init__(self, words: Words, modules: Mapping[str, type], path: Path) -> None:
        self.words = words
        self.modules = modules
        self.path = path

    def file(self, path: Path, trail: tuple[Path, ...]) -> Iterator[Play]:
        try:
            root = load(path, errors=self.words.errors)
        except InputError as error:
            self.words.failed(error, lost=True)
            return
        for item in self.words.items(root, "a playbook"):
            if not isinstance(item, MapNode):
                self.words.wrong("a play has to be a mapping with `hosts` and `tasks`", item.source, lost=True)
            elif (other := item.get("import_playbook")) is not None:
                yield from self._imported(item, other, path, trail)
            else:
                yield _PlayReader(self.words, self.modules, path, item).play()

    def _imported(self, item: MapNode, other: Node, path: Path, trail: tuple[Path, ...]) -> Iterator[Play]:
        for key, _ in item.entries:
            if key.value not in ("name", "import_playbook"):
                self.words.wrong(f"{key.text!r} is not supported beside import_playbook", key.source)
        name = self.words.text(other, "import_playbook")
        if name is None:
            return
        target = path.parent / name.text
        if target in (*trail, path):
            self.words.wrong("the playbooks import each other", other.source)
        elif not target.is_file():
            self.words.wrong(f"there is no playbook {name.text!r}", other.source, searched([target]), lost=True)
        else:
            yield from self.file(target, (*trail, path))


class _PlayReader:
    """Reads one play."""

    def __init__(self, words: Words, modules: Mapping[str, type], path: Path, node: MapNode) -> None:
        self.words = words
        self.path = path
        self.node = node
        self.tasks = TaskReader(words, modules, path)

    def play(self) -> Play:
        """Return the play; mistakes are with the words."""
        self._keys()
        hosts = self.node.get("hosts")
        scope = Scope(tags=self._get("tags", self.words.names, ()))
        tasks = [task for part in ("pre_tasks", "tasks", "post_tasks") for task in self._tasks(part, scope)]
        handlers = self._tasks("handlers", scope)
        self._notified((*tasks, *handlers), handlers)
        pattern = self._hosts(hosts)
        return Play(
            name=str(self._take("name", str, pattern)),
            hosts=pattern,
            hosts_source=hosts.source if hosts else self.node.source,
            source=self.node.source,
            tasks=tuple(tasks),
            handlers=tuple(handlers),
            vars=self._mapping("vars"),
            vars_files=self._vars_files(),
            become=self._get("become", self.words.flag),
            become_user=self._get("become_user", self.words.text),
            gather_facts=self._take("gather_facts", bool, default=True),
            serial=self._serial(),
            any_errors_fatal=self._take("any_errors_fatal", bool, default=False),
            max_fail_percentage=self._take("max_fail_percentage", float, None),
            tags=scope.tags,
            force_handlers=self._take("force_handlers", bool, default=False),
        )

    def _get(self, name: str, read: Any, default: Any = None) -> Any:
        node = self.node.get(name)
        return default if node is None else read(node, name)

    def _take(self, name: str, into: Any, default: Any) -> Any:
        node = self.node.get(name)
        return default if node is None else self.words.take(node, into, name, default)

    def _mapping(self, name: str) -> dict[str, Node]:
        found: dict[str, Node] = self._get(name, self.words.mapping, {})
        return found

    def _tasks(self, name: str, scope: Scope) -> list[Task]:
        node = self.node.get(name)
        return [] if node is None else list(self.tasks.tasks(node, name, scope))

    def _keys(self) -> None:
        for key, value in self.node.entries:
            if key.value in keywords.PLAY:
                self.tasks.method(key, value)
            elif key.value in keywords.UNSUPPORTED:
                hint = keywords.UNSUPPORTED[key.text]
                self.words.wrong(f"{key.text!r} is not supported yet", key.source, hint)
            else:
                guess = near(key.text, keywords.PLAY)
                self.words.wrong(f"unknown keyword {key.text!r} in a play{guess}", key.source)

    def _hosts(self, node: Node | None) -> str:
        if node is None:
            guess = any(near("hosts", [key.text]) for key, _ in self.node.entries)
            if not guess:
                self.words.wrong("a play needs `hosts`", self.node.source)
            return ""
        found = self.words.scalars(node, "hosts")
        if not found:
            self.words.wrong("`hosts` is empty", node.source)
        return ",".join(item.text for item in found)

    def _serial(self) -> tuple[int | str, ...]:
        node = self.node.get("serial")
        sizes: list[int | str] = []
        for item in self.words.scalars(node, "serial") if node else ():
            if re.fullmatch(r"[1-9]\d*", item.text):
                sizes.append(int(item.text))
            elif re.fullmatch(r"(?:100|[1-9]\d?)%", item.text):
                sizes.append(item.text)
            else:
                self.words.wrong(
                    f"serial has to be a number from 1 on, or a percentage, not {item.text!r}", item.source
                )
        return tuple(sizes)

    def _vars_files(self) -> dict[str, Node]:
        node = self.node.get("vars_files")
        merged: dict[str, Node] = {}
        for item in self.words.scalars(node, "vars_files") if node else ():
            merged |= self._vars_file(item)
        return merged

    def _vars_file(self, item: ScalarNode) -> dict[str, Node]:
        if is_template(item.text):
            self.words.wrong("a template is not supported in vars_files", item.source, lost=True)
            return {}
        tried = [self.path.parent / item.text, self.path.parent / "vars" / item.text]
        found = next((path for path in tried if path.is_file()), None)
        if found is None:
            guess = near(PurePath(item.text).name, beside(tried))
            self.words.wrong(f"there is no file {item.text!r}{guess}", item.source, searched(tried), lost=True)
            return {}
        try:
            return self.words.mapping(load(found, errors=self.words.errors, empty=True), "a file of variables")
        except InputError as error:
            self.words.failed(error, lost=True)
            return {}

    def _notified(self, tasks: tuple[Task, ...], handlers: list[Task]) -> None:
        """Report every notify that no handler answers to."""
        names = {handler.name for handler in handlers} | {topic for handler in handlers for topic in handler.listen}
        if any(is_template(name) for name in names):
            return
        for task in tasks:
            for item in task.notify:
                if item.text not in names and not is_template(item.text):
                    guess = near(item.text, names) or (f"; there are: {', '.join(sorted(names))}" if names else "")
                    self.words.wrong(f"there is no handler {item.text!r}{guess}", item.source)
