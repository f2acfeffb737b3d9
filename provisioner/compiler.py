"""Task x host x what is known -> items with their values; raises NotYetKnown where a value is still to come."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from provisioner.records import dataclass

from .document import Node, ScalarNode, decode, is_template, plain
from .errors import InputError, NotYetKnown
from .model import Context, TaskType
from .playbook import find_file
from .templating import OMIT, Templar, Verbatim, hides_names, is_plain, used_names

if TYPE_CHECKING:
    from .playbook import Play, Task

_TASKS = 4096  # tasks of which it is kept what they ask for: a fleet has the same
ANY = "*"
"""Among the names that something asks for: there are others, which show only when it is rendered."""
TRUE = frozenset({"yes", "on", "true", "y", "t", "1"})


@dataclass
class Memory:
    """What a host's run has learnt so far: facts, registered values, set facts, and notified handlers in order."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    values: dict[str, Any] = field(default_factory=dict)
    notified: dict[str, None] = field(default_factory=dict)

    def copy(self) -> Memory:
        """Return a copy that can be changed on its own."""
        return Memory(self.facts, dict(self.values), dict(self.notified))


@dataclass(frozen=True, kw_only=True)
class Item:
    """A task, or one item of its loop, with its values; `skipped` is the condition that was false.

    `item` is how the loop's item is shown, and `value` what it is.
    """

    task: Task
    label: str
    ctx: Context
    action: TaskType | None = None
    item: str | None = None
    value: object = None
    skipped: str | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    ignore_errors: bool = False
    read_only: bool = False
    notify: tuple[str, ...] = ()
    handler: bool = False

    @property
    def no_log(self) -> bool:
        """Tell whether nothing of it may be shown."""
        return self.ctx.no_log


@dataclass(frozen=True, kw_only=True)
class HostScope:
    """What the compiler knows of a host besides what its run learns.

    `variables` are the inventory's, `extra` those of the command line, `magic` the names that Ansible always has.
    `become` and `become_user` are what the command line and the inventory say.
    """

    host: str
    play: Play
    modules: Mapping[str, type[TaskType]]
    variables: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    magic: Mapping[str, Any] = field(default_factory=dict)
    become: bool = False
    become_user: str | None = None
    login_user: str | None = None
    check: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)


class Compiler:
    """Resolves the tasks of one play for one host."""

    def __init__(self, scope: HostScope) -> None:
        self.scope = scope
        play = scope.play
        self._play_vars: dict[str, Any] = {**play.vars, **play.vars_files}
        self._frozen: dict[int, list[Item]] = {}
        self._shared: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
        self._learnt = self._dependent({task.register for task in play.everything() if task.register})
        self._set = any(task.module == "set_fact" for task in play.everything())

    def resolve(self, task: Task, memory: Memory, *, handler: bool = False) -> list[Item]:
        """Return the items of a task; raises NotYetKnown, or InputError for what the user has to mend.

        Values are rendered once for each task and host, unless they depend on what the run learns.
        """
        key = id(task)
        if key not in self._frozen:
            items = list(self._resolve(task, memory))
            if self._learns_nothing(task):
                self._frozen[key] = items
        else:
            items = self._frozen[key]
        return [replace(item, handler=True) for item in items] if handler else items

    def log_in(self, user: object) -> bool:
        """Take note of whom the connection belongs to; tell whether it is another user than was known."""
        if not user or user == self.scope.login_user:
            return False
        self.scope = replace(self.scope, login_user=str(user))
        self._frozen.clear()
        return True

    def thaw(self) -> None:
        """Forget the rendered values: the facts turned out to be others."""
        self._frozen.clear()

    def prefetch(self, task: Task, memory: Memory) -> list[Item]:
        """Return the items of a task as far as they are known, whether or not its conditions are."""
        try:
            return self.resolve(task, memory)
        except (NotYetKnown, InputError):
            pass
        try:
            return list(self._resolve(_unconditional(task), memory))
        except (NotYetKnown, InputError):
            return []

    def partly(self, task: Task, memory: Memory) -> tuple[type[TaskType], Mapping[str, object], Context] | None:
        """Return a task's type, and those of its arguments that are known, where not all of them are."""
        if task.loop is not None or task.module not in self.scope.modules:
            return None
        variables = self.variables(task, memory)
        templar = self._templar(task, variables)
        known: dict[str, object] = {}
        for name, node in task.args.items():
            with suppress(NotYetKnown, InputError):
                known[name] = templar.render(node)
        try:
            context = self._context(task, templar, variables, task.name, memory.facts)
        except (NotYetKnown, InputError):
            return None
        return self.scope.modules[task.module], known, context

    def variables(self, task: Task, memory: Memory, item: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Return what templates see, the strongest first."""
        known = self._known(memory.facts)
        if not (task.vars or memory.values or item):
            return known
        strong = {**self.scope.magic, **(item or {}), **self.scope.extra}
        return {**known, **task.vars, **memory.values, **strong}

    def _known(self, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what the templates of every task see, which is the same until other facts are known."""
        if self._shared is None or self._shared[0] is not facts:
            scope = self.scope
            verbatim = {name: Verbatim(value) for name, value in facts.items()}
            merged = {**scope.variables, **verbatim, **self._play_vars, **scope.magic, **scope.extra}
            self._shared = facts, merged
        return self._shared[1]

    @staticmethod
    def _templar(task: Task, variables: Mapping[str, Any]) -> Templar:
        return Templar(variables, base_dirs=(task.folder, task.base_dir))

    def _dependent(self, names: set[str]) -> frozenset[str]:
        """Return these names, and those of the variables that are made of them."""
        texts = {**self.scope.variables, **{name: plain(node) for name, node in self._play_vars.items()}}
        uses = {name: used for name, value in texts.items() if (used := used_in(value))} if names else {}
        while more := {name for name, used in uses.items() if used & {ANY, *names}} - names:
            names |= more
        return frozenset(names)

    def bare(self, task: Task, *, handler: bool = False) -> Item:
        """Return a task whose values are not known, to tell of it by its name."""
        ctx = Context(host=self.scope.host, label=task.name, no_log=task.no_log is not False)
        return Item(task=task, label=task.name, ctx=ctx, handler=handler, ignore_errors=task.ignore_errors is True)

    def uses(self, task: Task, names: Iterable[str]) -> frozenset[str]:
        """Return those of the names on whose values a task's own depend, through other variables too."""
        names = tuple(names)
        if not names:
            return frozenset()
        used = self._used_by(task) | _judged_by(task)
        return frozenset(name for name in names if ANY in used or used & self._dependent({name}))

    def _learns_nothing(self, task: Task) -> bool:
        if self._set or not self._learnt:
            return not self._set
        return not self._used_by(task) & {ANY, *self._learnt}

    def _used_by(self, task: Task) -> frozenset[str]:
        return _names_of(task, self.scope.modules.get(task.module))

    def _resolve(self, task: Task, memory: Memory) -> Iterator[Item]:
        if task.loop is None:
            yield self._item(task, memory, {}, None)
            return
        for variables, label in self._loop(task, memory):
            yield self._item(task, memory, variables, label)

    def _loop(self, task: Task, memory: Memory) -> Iterator[tuple[dict[str, Any], str]]:
        loop = task.loop
        assert loop is not None
        templar = self._templar(task, self.variables(task, memory))
        try:
            items = templar.render(loop.items)
        except InputError:
            if self._skipped(task, templar):
                return
            raise
        if not isinstance(items, Sequence) or isinstance(items, str):
            raise InputError(f"a loop wants a list, and got {items!r}", source=loop.items.source)
        flat = [x for item in items for x in (item if isinstance(item, list) else [item])] if loop.flatten else items
        for index, item in enumerate(flat):
            variables = {loop.var: Verbatim(item), **({loop.index_var: index} if loop.index_var else {})}
            label = str(item)
            if loop.label is not None:
                label = str(self._templar(task, self.variables(task, memory, variables)).render(loop.label))
            yield variables, label

    def _item(self, task: Task, memory: Memory, item: Mapping[str, Any], item_label: str | None) -> Item:
        variables = self.variables(task, memory, item)
        templar = self._templar(task, variables)
        name = str(templar.render(task.name)) if "{{" in task.name else task.name
        label = f"{name} ({item_label})" if item_label is not None else name
        ctx = self._context(task, templar, variables, label, memory.facts)
        notify = tuple([str(templar.render(one)) for one in task.notify])
        skipped = self._skipped(task, templar) if task.when else None
        return Item(
            task=task,
            label=name,
            item=item_label,
            value=item[task.loop.var].value if task.loop else None,
            ctx=ctx,
            variables=variables,
            ignore_errors=self._flag(task.ignore_errors, templar),
            read_only=task.check_mode is not None and not self._flag(task.check_mode, templar),
            notify=notify,
            skipped=skipped,
            action=None if skipped else self._action(task, templar),
        )

    def _skipped(self, task: Task, templar: Templar) -> str | None:
        for condition in task.when:
            if not _truth(templar.evaluate(condition)):
                return condition.text or str(condition.value)
        return None

    def _flag(self, flag: bool | ScalarNode | None, templar: Templar) -> bool:
        if flag is None or isinstance(flag, bool):
            return bool(flag)
        return _truth(templar.render(flag))

    def _context(
        self, task: Task, templar: Templar, variables: Mapping[str, Any], label: str, facts: Mapping[str, Any]
    ) -> Context:
        scope = self.scope
        login = scope.login_user or "root"

        rendered: dict[tuple[str, str], Any] = {}

        def render(kind: str, text: str) -> Any:
            """Render once: what is volatile must be the same in the plan and in the run."""
            if (kind, text) not in rendered:
                value = templar.evaluate(text) if kind == "expression" else templar.text(text, label)
                rendered[kind, text] = value
            return rendered[kind, text]

        return Context(
            host=scope.host,
            label=label,
            user=self._user(task, templar, login),
            login_user=login,
            variables=variables,
            facts=facts,
            render=render,
            find=lambda kind, name: find_file(task, kind, name),
            check=scope.check,
            no_log=self._flag(task.no_log, templar),
            options=scope.options,
            services=scope.services,
        )

    def _user(self, task: Task, templar: Templar, login: str) -> str:
        play = self.scope.play
        become = self.scope.become
        for flag in (play.become, task.become):
            become = become if flag is None else self._flag(flag, templar)
        if not become:
            return login
        node = task.become_user or play.become_user
        return str(templar.render(node)) if node is not None else self.scope.become_user or "root"

    def _action(self, task: Task, templar: Templar) -> TaskType:
        rendered, still_open = _written_out(task)
        rendered = dict(rendered)
        for name in still_open:
            value = templar.render(task.args[name])
            if value is OMIT:
                del rendered[name]
            else:
                rendered[name] = value
        cls = self.scope.modules[task.module]
        if cls.any_argument:
            rendered = {"free": rendered}
        return decode(rendered, cls, task.place, name=task.module)


@lru_cache(_TASKS)
def _unconditional(task: Task) -> Task:
    """Return a task without its conditions."""
    return replace(task, when=())


@lru_cache(_TASKS)
def _written_out(task: Task) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """Return a task's arguments as far as they are written out, and the names of those that have to be rendered."""
    values = {name: node.value if isinstance(node, ScalarNode) else node for name, node in task.args.items()}
    return values, tuple(name for name, value in values.items() if not is_plain(value))


def _truth(value: object) -> bool:
    return value.strip().lower() in TRUE if isinstance(value, str) else bool(value)


def verdict(item: Item, conditions: tuple[ScalarNode, ...] | None, registered: object, otherwise: bool) -> bool:
    """Evaluate changed_when or failed_when with what is registered; where the task has none, take the other answer.

    Raises NotYetKnown where that depends on output that is still to come.
    """
    if conditions is None:
        return otherwise
    extra = {item.task.register: registered} if item.task.register else {}
    templar = Templar(ChainMap(extra, dict(item.variables)))
    return all(_truth(templar.evaluate(one)) for one in conditions)


def asked_by(play: Play, modules: Mapping[str, type[TaskType]]) -> frozenset[str]:
    """Return the names that a play's own text asks for."""
    nodes = (*play.vars.values(), *play.vars_files.values(), play.become, play.become_user)
    names = used_in([_written(node) for node in nodes])
    for task in play.everything():
        names |= _names_of(task, modules.get(task.module)) | _judged_by(task)
    return names


def used_in(value: object) -> frozenset[str]:
    """Return the names that the texts in a value ask for."""
    return frozenset(name for text in _strings(value) if is_template(text) for name in _asked(text))


def _asked(text: str, *, expression: bool = False) -> frozenset[str]:
    names = used_names(text, expression=expression)
    return names | {ANY} if hides_names(text, expression=expression) else names


def _written(value: object) -> object:
    return plain(value) if isinstance(value, Node) else value


def _names_of(task: Task, cls: type[TaskType] | None) -> frozenset[str]:
    """Return the names that a task's values are made of."""
    names = _names(task, cls.expressions if cls else ())
    return names if cls is None or cls.template is None else names | _names_in_template(task, cls.template)


@lru_cache(_TASKS)
def _names_in_template(task: Task, argument: str) -> frozenset[str]:
    """Return the names that the template file asks for which a task's argument names."""
    source = plain(task.args[argument]) if argument in task.args else None
    if not isinstance(source, str) or "{{" in source:
        return frozenset({ANY})
    try:
        return _asked(find_file(task, "templates", source).read_text("utf-8"))
    except (InputError, OSError, UnicodeDecodeError):
        return frozenset({ANY})


def _judged_by(task: Task) -> frozenset[str]:
    """Return the names that changed_when and failed_when ask for."""
    verdicts = (*(task.changed_when or ()), *(task.failed_when or ()))
    return frozenset().union(*(_asked(str(one.value), expression=True) for one in verdicts))


@lru_cache(_TASKS)
def _names(task: Task, expressions: tuple[str, ...]) -> frozenset[str]:
    """Return the names that a task's values are made of, less those that a template file asks for."""
    flags = (task.become, task.become_user, task.ignore_errors, task.no_log, task.check_mode)
    loop = (task.loop.items, task.loop.label) if task.loop else ()
    nodes = (*task.args.values(), *task.vars.values(), *task.notify, *flags, *loop)
    names = used_in([task.name, *map(_written, nodes)])
    for node in (task.args[name] for name in expressions if name in task.args):
        names = names.union(*(_asked(text, expression=True) for text in _strings(plain(node))))
    return names.union(*(_asked(str(one.value), expression=True) for one in task.when))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _strings(one)
