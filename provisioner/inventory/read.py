"""From files to an Inventory: groups and hosts as written, then members, loops and vars, once per group."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.document import Caution, ListNode, MapNode, Node, ScalarNode, load, lossy, near, parse, raise_all
from provisioner.errors import InputError, InputErrors, Source
from provisioner.inventory.merge import Group, Merger
from provisioner.inventory.model import Inventory
from provisioner.inventory.ranges import expand
from provisioner.inventory.varfiles import VarFiles, listed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_SECTIONS = ("hosts", "children", "vars")
_SKIPPED = (".pyc", ".pyo", ".swp", ".bak", "~", ".rpm", ".md", ".txt", ".rst", ".orig", ".ini", ".cfg", ".retry")
_WANTED = {"hosts": "a mapping of host names", "children": "a mapping of group names", "vars": "a mapping of variables"}
_LINE = {"hosts": "write one `name:` per line", "children": "write one `name:` per line", "vars": None}


def load_inventory(spec: str, *, vars_dirs: Sequence[Path] = (), errors: list[InputError] | None = None) -> Inventory:
    """Read a YAML inventory file, a folder of them, or a list of names that holds a comma.

    `vars_dirs` are folders of playbooks, whose group_vars and host_vars count after the inventory's own.
    With `errors`, mistakes go there and what could be read is returned, unless that is no host or a loop of groups.
    """
    reader = _Reader()
    path = None if "," in spec else Path(spec)
    with _uncollected():
        if path is None:
            reader.names(spec)
            home: tuple[Path, ...] = ()
        else:
            for file in inventory_files(path):
                reader.file(file)
            home = (path if path.is_dir() else path.parent,)
        inventory = reader.finish(path, VarFiles((home, vars_dirs), reader.errors, reader.warnings))
    if errors is None or not inventory.hosts:
        raise_all(reader.errors)
    else:
        errors.extend(InputErrors(reader.errors).errors)
    return inventory


def inventory_of(text: str, path: Path) -> Inventory:
    """Return what the text of one inventory file says by itself, without variables of other files; it may be empty."""
    reader = _Reader()
    root = parse(text, str(path), errors=reader.errors, empty=True)
    if not _is_null(root):
        reader.take(root)
    inventory = reader.finish(path, VarFiles((), reader.errors, reader.warnings), may_be_empty=True)
    raise_all(reader.errors)
    return inventory


def inventory_files(path: Path) -> Iterator[Path]:
    """Yield the inventory files below a path, in alphabetical order."""
    if not path.exists():
        hint = f"to reach a host without an inventory, write its name with a comma: {path},"
        raise InputError(f"there is no inventory {str(path)!r}", hint=hint)
    if not path.is_dir():
        yield path
        return
    for item in sorted(listed(path)):
        if item.name.startswith(".") or item.name in ("group_vars", "host_vars") or item.name.endswith(_SKIPPED):
            continue
        yield from inventory_files(item)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Keep Python from looking for garbage meanwhile: all that is read stays, and each look would go through it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Reader:
    """Collects groups and hosts from any number of files, and every mistake in them."""

    def __init__(self) -> None:
        self.errors: list[InputError] = []
        self.warnings: list[Caution] = []
        self.groups: dict[str, Group] = {"all": Group("all"), "ungrouped": Group("ungrouped")}
        self.hosts: dict[str, Source] = {}
        self.host_layers: dict[str, list[MapNode]] = {}

    def names(self, spec: str) -> None:
        """Take hosts from `user@name:port,name`."""
        place = Source("command line")
        for written in filter(None, (part.strip() for part in spec.split(","))):
            user, _, name = written.rpartition("@")
            extra = {"ansible_user": user} if user else {}
            self._host(self.groups["all"], ScalarNode(place, name, name), extra, fresh=True)

    def file(self, path: Path) -> None:
        """Take the groups of one YAML file."""
        try:
            root = load(path, errors=self.errors)
        except InputError as error:
            self.errors.append(_maybe_ini(path, error))
            return
        self.take(root)

    def take(self, root: Node) -> None:
        """Take the groups of a document."""
        if not isinstance(root, MapNode):
            kind = "a list" if isinstance(root, ListNode) else "text"
            self._error(f"an inventory is a mapping of groups, not {kind}", root.source, _ini_hint(root))
            return
        for key, value in root.entries:
            self._group(key, value)

    def _error(self, message: str, place: Source, hint: str | None = None) -> None:
        self.errors.append(InputError(message, source=place, hint=hint))

    def _group(self, key: ScalarNode, value: Node) -> Group | None:
        if not isinstance(key.value, str):
            self._error(f"a group name has to be text; quote {key.text!r}", key.source)
            return None
        group = self.groups.setdefault(key.value, Group(key.value))
        if isinstance(value, MapNode):
            for section, part in value.entries:
                self._section(group, section, part)
        elif not _is_null(value):
            self._error(f"the group {group.name!r} has to be a mapping of hosts, children and vars", value.source)
        return group

    def _section(self, group: Group, key: ScalarNode, value: Node) -> None:
        if key.value not in _SECTIONS:
            guess = near(key.text, _SECTIONS) or "; a group holds hosts, children and vars"
            hint = f"to make {key.text!r} a group or a host, put it under children or hosts"
            self._error(f"unknown key {key.text!r} in the group {group.name!r}{guess}", key.source, hint)
            return
        section = str(key.value)
        if isinstance(value, ScalarNode) and isinstance(value.value, str) and section != "vars":
            value = MapNode(value.source, ((value, ScalarNode(value.source, None)),))
        if _is_null(value):
            return
        if not isinstance(value, MapNode):
            self._error(
                f"{section} of the group {group.name!r} has to be {_WANTED[section]}", value.source, _LINE[section]
            )
        elif section == "vars":
            self._layer(group.layers, value)
        elif section == "hosts":
            for host, variables in value.entries:
                self._host(group, host, variables)
        else:
            for child, content in value.entries:
                if (below := self._group(child, content)) is not None:
                    group.children.setdefault(below.name, child.source)

    def _layer(self, layers: list[MapNode], node: MapNode) -> None:
        for key, _ in node.entries:
            if not isinstance(key.value, str):
                self._error(f"a variable name has to be text; quote {key.text!r}", key.source)
        self.warnings.extend(lossy(node))
        layers.append(node)

    def _host(self, group: Group, key: ScalarNode, variables: Node | Mapping[str, str], *, fresh: bool = False) -> None:
        if not isinstance(key.value, str):
            self._error(f"a host name has to be text; quote {key.text!r}", key.source)
            return
        try:
            names = expand(key.value)
        except ValueError as error:
            self._error(str(error), key.source)
            return
        if isinstance(variables, Node) and not isinstance(variables, MapNode) and not _is_null(variables):
            self._error(f"the vars of the host {key.text!r} have to be a mapping", variables.source)
            return
        for name, port in names:
            if fresh and name in self.hosts:
                self._error(f"the host {name!r} is named twice", key.source)
            group.hosts[name] = None
            self.hosts.setdefault(name, key.source)
            extra: dict[str, object] = {"ansible_port": port} if port else {}
            if isinstance(variables, MapNode):
                self._layer(self.host_layers.setdefault(name, []), variables)
            elif not isinstance(variables, Node):
                extra |= variables
            if extra:
                self.host_layers.setdefault(name, []).insert(0, _made(key.source, extra))

    def finish(self, path: Path | None, files: VarFiles, *, may_be_empty: bool = False) -> Inventory:
        """Resolve members and vars, or raise everything that is wrong."""
        self._link()
        for name in self.groups.keys() & self.hosts.keys():
            self.warnings.append(Caution(self.hosts[name], f"{name!r} is both a host and a group"))
        if not self.hosts and not self.errors and not may_be_empty:
            self._error("the inventory names no host", Source(str(path)) if path else Source("command line"))
        if self._looped():
            files.read(self.groups, self.hosts)
            raise_all(self.errors)
        self._depths()
        members = {name: self._members(group) for name, group in self.groups.items()}
        hosts, layers, group_layers = Merger(self.groups, self.hosts, self.host_layers, files).merged()
        return Inventory(
            path=path,
            hosts=MappingProxyType(hosts),
            groups=MappingProxyType(members),
            warnings=tuple(self.warnings),
            layers=layers,
            group_layers=group_layers,
            incomplete=bool(self.errors),
        )

    def _link(self) -> None:
        """Hang every group that has no parent below all, and every host that has no group into ungrouped."""
        for group in self.groups.values():
            for child in group.children:
                self.groups[child].parents[group.name] = None
        everything = self.groups["all"]
        grouped = {
            host for group in self.groups.values() if group.name not in ("all", "ungrouped") for host in group.hosts
        }
        self.groups["ungrouped"].hosts |= dict.fromkeys(host for host in self.hosts if host not in grouped)
        for group in self.groups.values():
            if group is not everything and not group.parents:
                group.parents["all"] = None
                everything.children.setdefault(group.name, Source(""))

    def _looped(self) -> bool:
        """Report every child that closes a loop."""
        done: set[str] = set()
        count = len(self.errors)

        def visit(name: str, trail: tuple[str, ...]) -> None:
            for child, place in self.groups[name].children.items():
                if child in (*trail, name):
                    loop = (*trail, name)[(*trail, name).index(child) :]
                    self._error(f"the groups contain each other: {' -> '.join((*loop, child))}", place)
                elif child not in done:
                    visit(child, (*trail, name))
            done.add(name)

        for name in self.groups:
            if name not in done:
                visit(name, ())
        return len(self.errors) > count

    def _depths(self) -> None:
        """Give each group its longest way from all: deeper groups win over those above them."""
        todo = ["all"]
        while todo:
            group = self.groups[todo.pop()]
            for child in group.children:
                if self.groups[child].depth <= group.depth:
                    self.groups[child].depth = group.depth + 1
                    todo.append(child)

    def _members(self, group: Group) -> tuple[str, ...]:
        if group.name == "all":
            return tuple(self.hosts)
        found = dict(group.hosts)
        todo = list(group.children)
        seen: set[str] = set()
        while todo:
            name = todo.pop(0)
            if name not in seen:
                seen.add(name)
                found |= self.groups[name].hosts
                todo.extend(self.groups[name].children)
        return tuple(found)


def _made(place: Source, values: Mapping[str, object]) -> MapNode:
    """Return a mapping that nobody wrote."""
    pairs = ((ScalarNode(place, key, key), ScalarNode(place, value, str(value))) for key, value in values.items())
    return MapNode(place, tuple(pairs))


def _is_null(node: Node) -> bool:
    return isinstance(node, ScalarNode) and node.value is None


def _ini_hint(node: Node) -> str | None:
    written = node.items[0] if isinstance(node, ListNode) and node.items else node
    is_ini = isinstance(node, ScalarNode) or isinstance(written, ScalarNode)
    return (
        "INI inventories are not supported; `ansible-inventory -i FILE --list -y` makes YAML of one" if is_ini else None
    )


def _maybe_ini(path: Path, error: InputError) -> InputError:
    """Say that a file is an INI inventory, or a program, where that is why it is not YAML."""
    try:
        start = path.read_text(errors="replace").lstrip()
    except OSError:
        return error
    if start.startswith("#!"):
        return InputError("inventory programs are not supported; save their output as YAML", source=error.source)
    if any(line.startswith("[") and line.rstrip().endswith("]") for line in start.splitlines()):
        return InputError(error.message, source=error.source, hint=_ini_hint(ScalarNode(Source(""), "")))
    return error
