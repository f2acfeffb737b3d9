"""The parts of a playbook as data."""

from __future__ import annotations

from dataclasses import field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from provisioner.document import Caution, Node, ScalarNode, beside, near, places, searched
from provisioner.errors import InputError, Source
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

Flag = bool | ScalarNode
"""A keyword that is on or off, or an expression in braces that says so on each host."""

_SHIPPED = Path(__file__).parent.parent / "shipped"
_FILES = 4096  # that tasks name, and which were found: the hosts of a fleet mostly name the same


@dataclass(frozen=True, kw_only=True, eq=False)
class Loop:
    """What a task is repeated over; `flatten` is with_items, which opens lists within the list."""

    items: Node
    flatten: bool = False
    var: str = "item"
    index_var: str | None = None
    label: Node | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """One task or handler; arguments, conditions and names may hold templates.

    A task of no known module has none; it is in no playbook that was read without mistakes.
    """

    name: str
    module: str
    args: Mapping[str, Node]
    source: Source
    base_dir: Path
    when: tuple[ScalarNode, ...] = ()
    loop: Loop | None = None
    register: str | None = None
    notify: tuple[ScalarNode, ...] = ()
    listen: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    become: Flag | None = None
    become_user: ScalarNode | None = None
    vars: Mapping[str, Node] = field(default_factory=dict)
    ignore_errors: Flag = False
    changed_when: tuple[ScalarNode, ...] | None = None
    failed_when: tuple[ScalarNode, ...] | None = None
    no_log: Flag = False
    check_mode: Flag | None = None

    def place(self, path: tuple[object, ...] = ()) -> Source:
        """Return where an argument, or a part of one, was written."""
        if not path or path[0] not in self.args:
            return self.source
        return places(self.args[str(path[0])])(path[1:])

    @cached_property
    def folder(self) -> Path:
        """Return the folder of the file that the task stands in."""
        return Path(self.source.path).parent


@dataclass(frozen=True, kw_only=True, eq=False)
class Play:
    """Tasks for the hosts of a pattern; blocks and task files are laid flat."""

    name: str
    hosts: str
    hosts_source: Source
    source: Source
    tasks: tuple[Task, ...] = ()
    handlers: tuple[Task, ...] = ()
    vars: Mapping[str, Node] = field(default_factory=dict)
    vars_files: Mapping[str, Node] = field(default_factory=dict)
    become: Flag | None = None
    become_user: ScalarNode | None = None
    gather_facts: bool = True
    serial: tuple[int | str, ...] = ()
    any_errors_fatal: bool = False
    max_fail_percentage: float | None = None
    tags: tuple[str, ...] = ()
    force_handlers: bool = False
    incomplete: bool = False
    """Some part that may define names could not be read."""

    def everything(self) -> Iterator[Task]:
        """Yield the tasks, then the handlers."""
        yield from self.tasks
        yield from self.handlers


@dataclass(frozen=True, kw_only=True, eq=False)
class Playbook:
    """A file of plays."""

    path: Path
    plays: tuple[Play, ...]
    warnings: tuple[Caution, ...] = ()


def selected(task: Task, tags: Collection[str] = (), skip_tags: Collection[str] = ()) -> bool:
    """Tell whether --tags and --skip-tags leave a task in, with Ansible's always, never, tagged, untagged and all."""
    if not (task.tags or tags or skip_tags):
        return True
    own = set(task.tags) or {"untagged"}
    is_tagged = bool(task.tags)
    wanted = set(tags) or {"all"}
    broadly = "never" not in own and ("all" in wanted or ("tagged" in wanted and is_tagged))
    if not ("always" in own or own & wanted or broadly):
        return False
    skipped = set(skip_tags)
    if "all" in skipped:
        return "always" in own and "always" not in skipped
    return not (own & skipped or ("tagged" in skipped and is_tagged))


@lru_cache(maxsize=_FILES)
def find_file(task: Task, kind: Literal["files", "templates"], name: str) -> Path:
    """Return the local file that a task names, or say where it was looked for."""
    tried = _candidates(task.folder, task.base_dir, kind, name)
    for path in tried:
        if path.exists():
            return path
    what = "template" if kind == "templates" else "file"
    raise InputError(
        f"there is no {what} {name!r}{near(Path(name).name, beside(tried))}",
        source=task.place(("src",)),
        hint=searched(tried),
    )


@lru_cache(maxsize=1024)
def _candidates(own: Path, base: Path, kind: str, name: str) -> tuple[Path, ...]:
    """Return where Ansible looks, then beside the folder of the playbooks, then in what we ship."""
    given = Path(name).expanduser()
    if given.is_absolute():
        return (given,)
    beside_base = (base / ".." if base.name in ("", "..") else base.parent) / kind / given
    near_by = (place for folder in (own, base) for place in (folder / kind / given, folder / given))
    return (*near_by, beside_base, _SHIPPED / kind / given)
