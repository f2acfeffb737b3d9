"""Names in a play that nothing can define, and templates that cannot be parsed: found before any connection."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from provisioner.document import Node, ScalarNode, UnsafeText, is_template, near, read_text, walk
from provisioner.errors import InputError, Source
from provisioner.playbook import find_file
from provisioner.records import dataclass
from provisioner.templating import guarded_names, syntax_error, used_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.inventory import Host
    from provisioner.playbook import Play, Task

_MAGIC = frozenset(
    {
        "inventory_hostname", "inventory_hostname_short", "inventory_dir", "inventory_file", "groups", "group_names",
        "hostvars", "playbook_dir", "play_hosts", "omit", "vars", "environment", "role_name", "role_path",
    }
)  # fmt: skip
_EXPRESSIONS = {"assert": "that", "debug": "var"}
_PREFIXES = ("ansible_", "template_")


@dataclass(frozen=True, slots=True)
class _Text:
    """A string with a template in it, or a bare expression."""

    text: str
    source: Source
    expression: bool = False
    file: bool = False


def undefined_names(play: Play, inventory_hosts: Iterable[Host] | None, known: frozenset[str]) -> list[InputError]:
    """Return an error for each use of a name that no host, play, task or `known` (facts, extra vars) can define.

    Templates that cannot be parsed are reported too; where hosts are None, or a part of the play could not be read,
    nobody knows which names there are, and these are all that is.
    """
    knows_names = inventory_hosts is not None and not play.incomplete
    errors = list(_mistakes(play, inventory_hosts or (), known))
    return errors if knows_names else [error for error in errors if not isinstance(error, UndefinedName)]


class UndefinedName(InputError):  # noqa: N818 - the field's word for it
    """A name that nothing defines."""


def _mistakes(play: Play, inventory_hosts: Iterable[Host], known: frozenset[str]) -> list[InputError]:
    defined = known | defined_names(play) | frozenset().union(*_host_names(inventory_hosts))
    errors: list[InputError] = []
    used: set[str] = set()
    loose: set[str] = set()
    for task in play.everything():
        guards = frozenset().union(*(guarded_names(str(one.value), expression=True) for one in task.when))
        local = defined | task.vars.keys() | _loop_names(task)
        loose |= guards | local
        for text in _texts(task):
            used |= _names(text)
            errors.extend(_wrong(text, local, guards))
    errors.extend(_in_play_vars(play, used, frozenset(loose)))
    return errors


def defined_names(play: Play) -> frozenset[str]:
    """Return the names that a play defines: its vars, what its tasks register, and the facts that they set."""
    return handed_on(play) | play.vars.keys() | play.vars_files.keys()


def handed_on(play: Play) -> frozenset[str]:
    """Return the names that the plays after this one know too: what its tasks register, and the facts they set."""
    names: set[str] = set()
    for task in play.everything():
        if task.register:
            names.add(task.register)
        if task.module in ("set_fact", ""):  # an unknown module may be meant to set facts
            names.update(task.args)
    return frozenset(names)


def _host_names(hosts: Iterable[Host]) -> list[frozenset[str]]:
    """Return the names of the hosts' variables; hosts that share all of them are asked once."""
    return [frozenset(variables) for variables in {id(host.vars): host.vars for host in hosts}.values()]


def _loop_names(task: Task) -> frozenset[str]:
    return frozenset(filter(None, (task.loop.var, task.loop.index_var))) if task.loop else frozenset()


def _texts(task: Task) -> Iterator[_Text]:
    """Yield everything in a task that is rendered or evaluated."""
    bare = task.args.get(_EXPRESSIONS.get(task.module, ""))
    conditions = (*task.when, *(task.changed_when or ()), *(task.failed_when or ()), *(walk(bare) if bare else ()))
    for condition in conditions:
        if isinstance(condition.value, str) and not is_template(condition.value):
            yield _Text(condition.value, condition.source, expression=True)
    loop = (task.loop.items, task.loop.label) if task.loop else ()
    flags = (task.become, task.ignore_errors, task.no_log, task.check_mode)
    braced = (*task.when, *(task.changed_when or ()), *(task.failed_when or ()))
    parts = (*braced, *task.args.values(), *task.vars.values(), *task.notify, *loop)
    for part in (*parts, task.become_user, *flags):
        if isinstance(part, Node):
            yield from _strings(part)
    if is_template(task.name):
        yield _Text(task.name, task.source)
    yield from _template_file(task)


def _strings(node: Node) -> Iterator[_Text]:
    for scalar in walk(node):
        if isinstance(scalar.value, str) and not isinstance(scalar.value, UnsafeText) and is_template(scalar.value):
            yield _Text(scalar.value, scalar.source)


def _template_file(task: Task) -> Iterator[_Text]:
    """Yield the text of the file that a template task names literally."""
    source = task.args.get("src")
    if task.module != "template" or not isinstance(source, ScalarNode) or is_template(source.text):
        return
    try:
        path = find_file(task, "templates", source.text)
        yield _Text(read_text(path), Source(str(path)), file=True)
    except InputError:
        return  # the playbook was loaded, so that has been reported


def _names(text: _Text) -> frozenset[str]:
    return used_names(text.text, expression=text.expression)


def _wrong(text: _Text, defined: frozenset[str], guards: frozenset[str]) -> Iterator[InputError]:
    if (found := syntax_error(text.text, expression=text.expression)) is not None:
        place = Source(text.source.path, found[1]) if text.file else text.source
        yield InputError(f"is not a valid template: {found[0]}", source=place)
        return
    missing = _names(text) - defined - guards - _MAGIC
    for name in sorted(missing - guarded_names(text.text, expression=text.expression) if missing else missing):
        if not name.startswith(_PREFIXES):
            hint = "define it in the inventory or the play, or give it a default: {{ NAME | default('') }}"
            message = f"nothing defines the variable {name!r}{near(name, defined | _MAGIC)}"
            yield UndefinedName(message, source=_place(text, name), hint=hint.replace("NAME", name))


def _place(text: _Text, name: str) -> Source:
    """Return where the string stands, or in a file the first line that holds the name inside braces."""
    if not text.file:
        return text.source
    pattern = re.compile(rf"(?<![\w.]){re.escape(name)}\b")
    lines = list(enumerate(text.text.split("\n"), 1))
    for braced in (True, False):
        for number, line in lines:
            found = pattern.search(line, max(line.find("{"), 0)) if braced and "{" in line else None
            found = found or (None if braced else pattern.search(line))
            if found:
                return Source(text.source.path, number, found.start() + 1)
    return text.source


def _in_play_vars(play: Play, used: set[str], loose: frozenset[str]) -> Iterator[InputError]:
    """Yield what is wrong in the play's variables that its tasks use, directly or through each other."""
    variables = {**play.vars, **play.vars_files}
    todo = [name for name in variables if name in used]
    seen = set(todo)
    while todo:
        for text in _strings(variables[todo.pop()]):
            yield from _wrong(text, loose, frozenset())
            more = (_names(text) & variables.keys()) - seen
            seen |= more
            todo.extend(more)
