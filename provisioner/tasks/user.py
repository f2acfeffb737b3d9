"""user: an account of the device's own."""

from __future__ import annotations

import hashlib
import posixpath
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from provisioner.errors import InputError
from provisioner.model import Context, Effect, Line, Observable, Pattern, Plan, State, TaskType, Unknown, known, task
from provisioner.observables.file import METADATA, File, FileState, normal
from provisioner.observables.user import Group, GroupState, User, UserPassword, UserPasswordState, UserState
from provisioner.records import dataclass
from provisioner.shell import Script
from provisioner.tasks.group import ACCOUNT_COMMAND, ACCOUNT_FILES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from provisioner.model import View

LOCKED = "locked"
Leaves = dict[Observable[Any], State]

SET_PASSWORD = Script(
    "set_password",
    r"""
# name hash: printf is the shell's own, so the hash is in no process's arguments.
printf '%s:%s\n' "$1" "$2" | chpasswd -e
""",
)

MAKE_HOME = Script(
    "make_home",
    r"""
# name group home mode: a home as useradd makes it, for a user who is there already.
[ ! -d "$3" ] || return 0
parent=${3%/*}
mkdir -p -- "${parent:-/}" || return
(umask 077 && mkdir -- "$3") || return
if [ -d /etc/skel ]; then cp -a -- /etc/skel/. "$3/" || return; fi
chown -R -h -- "$1:$2" "$3" || return
chmod -- "$4" "$3"
""",
)


@task
@dataclass(frozen=True, kw_only=True)
class UserTask(TaskType):
    """Makes, changes or removes a user.

    Ansible's arguments, and these differences: the user's own group is made whatever USERGROUPS_ENAB says; a password
    is a hash, and is compared by its digest. Neither is ever shown, or in a process's arguments.
    """

    name: ClassVar[str] = "user"
    example: ClassVar[str] = "user: { name: nvidia, groups: docker, append: yes }"

    user: str = field(metadata={"key": "name", "aliases": ("user",)})
    state: Literal["present", "absent"] = "present"
    uid: int | None = None
    non_unique: bool = False
    group: str | None = None
    groups: tuple[str, ...] | None = None
    append: bool = False
    comment: str | None = None
    home: str | None = None
    move_home: bool = False
    create_home: bool = field(default=True, metadata={"aliases": ("createhome",)})
    shell: str | None = None
    system: bool = False
    password: str | None = field(default=None, repr=False, metadata={"secret": True})
    update_password: Literal["always", "on_create"] = "always"  # noqa: S105 - no password
    remove: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        if self.password is not None and set(self.password) & set(":\n"):
            raise InputError("a password hash has neither : nor a new line", hint="password_hash('sha512') makes one")
        for name in self.groups or ():
            if "," in name:
                raise InputError(f"{name!r} is no name of a group")

    @property
    def renews_password(self) -> bool:
        """Tell whether the password of a user who is there is set."""
        return self.update_password == "always"  # noqa: S105 - no password

    @property
    def _groups(self) -> tuple[str, ...] | None:
        return None if self.groups is None else tuple(name for name in dict.fromkeys(self.groups) if name)

    @property
    def _password(self) -> UserPassword | None:
        if self.password is None:
            return None
        return UserPassword(self.user, hashlib.sha256(self.password.encode()).hexdigest())

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the user, the groups, and the home that a new one gets."""
        del ctx
        yield User(self.user)
        if self.state == "absent":
            return
        yield Group(self.user)
        yield from (Group(name) for name in (*(self._groups or ()), *([self.group] if self.group else [])))
        if self._password:
            yield self._password
        if self.create_home:
            yield File(self.home or f"/home/{self.user}", METADATA)

    def plan(self, view: View, ctx: Context) -> Plan:
        """Plan one call of useradd, usermod or userdel, and what follows from it."""
        del ctx
        now = view.get(User(self.user))
        result = {"name": self.user, "state": self.state}
        if self.state == "absent":
            return Plan(effects=(self._remove(now),) if now.present else (), result=result)
        missing = [name for name in self._named_groups() if not view.get(Group(name)).present]
        if missing:
            hint = "make it with `group` first, or install the package that brings it"
            return Plan(failed=f"Group {', '.join(missing)} does not exist", hint=hint)
        change = _Change(self, view, now)
        change.make() if not now.present else change.modify()
        return Plan(effects=tuple(change.effects), result={**result, **_registered(change.state)})

    def _named_groups(self) -> Iterator[str]:
        yield from self._groups or ()
        if self.group:
            yield self.group

    def _remove(self, now: UserState) -> Effect:
        line = "remove" + (f" with {now.home}" if self.remove else "")
        return Effect(
            script=ACCOUNT_COMMAND,
            values=("userdel", *["-r"] * self.remove, *["-f"] * self.force, "--", self.user),
            shows=(Line(f"user {self.user}: {line}"),),
            leaves={User(self.user): UserState(present=False)},
            # Its own group goes too where nobody else is in it, and files lose the name of their owner.
            disturbs=(Pattern("group"), Pattern("password"), Pattern("file")),
        )


def _registered(state: UserState) -> Mapping[str, Any]:
    """Return what the module registers of a user, as far as it is known."""
    fields = {name: getattr(state, name) for name in ("uid", "group", "comment", "home", "shell")}
    told = {key: value for key, value in fields.items() if value is not None and not isinstance(value, Unknown)}
    if isinstance(state.groups, tuple):
        told["groups"] = ",".join(state.groups)
    return told


def _lock_state(password: str) -> str:
    """Return what a look tells of a password hash."""
    if not password:
        return "none"
    return LOCKED if password.startswith(("!", "*")) else "set"


class _Change:
    """The effects that bring one user from a state to what a task asks for."""

    def __init__(self, task: UserTask, view: View, now: UserState) -> None:
        self.task = task
        self.view = view
        self.now = now
        self.state = now
        self.effects: list[Effect] = []
        self.leaves: Leaves = {}

    @property
    def name(self) -> str:
        return self.task.user

    def make(self) -> None:
        """Plan a new user."""
        task = self.task
        home = task.home or posixpath.join(self.now.base or "/home", self.name)
        self.state = UserState(
            present=True,
            uid=Unknown("known once the user is made") if task.uid is None else task.uid,
            group=self._new_group(),
            groups=(),
            comment=task.comment or "",
            home=home,
            shell=task.shell or self.now.login_shell or Unknown("known once the user is made"),
            password=LOCKED,
            home_there=task.create_home,
        )
        self._join(())
        switches = [*self._new_switches(), "-m" if task.create_home else "-M"]
        made = self._leave_home(home)
        # A home that is there already is left as it is.
        disturbs = (Pattern("file", f"{home}/*"), Pattern("file", f"/var/mail/{self.name}")) if made else ()
        self._add("useradd", switches, self._new_lines(), disturbs)
        self._set_password()

    def _new_group(self) -> str | Unknown:
        if self.task.group:
            return self._real_name(self.task.group)
        if self.view.get(Group(self.name)).present:
            return Unknown("useradd's default group")
        unknown = Unknown("known once the user is made")
        self.leaves[Group(self.name)] = GroupState(present=True, gid=unknown, members=())
        return self.name

    def _new_switches(self) -> list[str]:
        task = self.task
        own = "-N" if isinstance(self.state.group, Unknown) else "-U"
        switches = ["-g", task.group] if task.group else [own]
        switches += ["-r"] * task.system
        switches += [] if task.uid is None else ["-u", str(task.uid), *["-o"] * task.non_unique]
        for flag, value in (("-c", task.comment), ("-d", task.home), ("-s", task.shell)):
            switches += [] if not value else [flag, value]
        return switches + (["-G", ",".join(self.task._groups or ())] if self.task._groups else [])  # noqa: SLF001

    def _new_lines(self) -> Iterator[str]:
        numbered = "" if self.task.uid is None else f" with uid {self.task.uid}"
        where = f", home {self.state.home}" if self.task.create_home else ""
        yield f"add{numbered}{where}"
        if self.state.groups:
            yield f"groups {', '.join(self._groups_of(self.state))}"

    def _leave_home(self, home: str) -> bool:
        """Predict the home of a new user; tell whether one is made."""
        if not self.task.create_home:
            return False
        file = File(home, METADATA)
        there = self.view.get(file)
        if not there.exists:
            self.leaves[file] = self._new_home(home, there)
        return not there.exists

    def _new_home(self, home: str, there: FileState) -> FileState:
        mode = self.now.home_mode or Unknown("useradd's default mode")
        real = there.real or normal(home)
        return FileState(type="directory", real=real, owner=self.name, group=self.state.group, mode=mode)

    def modify(self) -> None:
        """Plan what has to change of a user who is there."""
        task, now = self.task, self.now
        switches: list[str] = []
        lines: list[str] = []
        disturbs: list[Pattern] = []
        wanted: dict[str, Any] = {"uid": task.uid, "comment": task.comment, "shell": task.shell, "home": task.home}
        flags = {"uid": "-u", "comment": "-c", "shell": "-s", "home": "-d"}
        for key, value in wanted.items():
            if value is not None and known(getattr(now, key)) != value:
                switches += [flags[key], str(value)]
                lines.append(f"{key} {getattr(now, key)} -> {value}")
                self.state = replace(self.state, **{key: value})
                disturbs += self._moved(key)
        switches += ["-o"] * (task.non_unique and "-u" in switches)
        switches += ["-m"] * (task.move_home and "-d" in switches)
        self._change_group(switches, lines)
        self._change_groups(switches, lines)
        if switches:
            self._add("usermod", switches, lines, tuple(disturbs))
        self._give_home()
        self._set_password()

    def _moved(self, key: str) -> Iterator[Pattern]:
        """Yield what else changes with a field: owners with the uid, and files with the home."""
        if key == "uid":
            yield Pattern("file")
        elif key == "home":
            yield from (Pattern("file", f"{home}*") for home in (self.now.home, self.task.home))
            self.state = replace(self.state, home_there=self.task.move_home or None)

    def _change_group(self, switches: list[str], lines: list[str]) -> None:
        if self.task.group is None or self._real_name(self.task.group) == known(self.now.group):
            return
        name = self._real_name(self.task.group)
        switches += ["-g", self.task.group]
        lines.append(f"group {self.now.group} -> {name}")
        # Whether the user is also listed in a group only shows while it is not the primary one.
        self.state = replace(self.state, group=name, groups=Unknown("known after apply"))

    def _change_groups(self, switches: list[str], lines: list[str]) -> None:
        wanted = self.task._groups  # noqa: SLF001
        if wanted is None:
            return
        before = known(self.now.groups) or ()
        self._join(before)
        after = self._groups_of(self.state)
        added, gone = [n for n in after if n not in before], [n for n in before if n not in after]
        if not added and not gone:
            return
        switches += ["-a", "-G", ",".join(added)] if self.task.append else ["-G", ",".join(wanted)]
        lines.append("groups " + ", ".join([*(f"+{name}" for name in added), *(f"-{name}" for name in gone)]))
        for name in gone:
            self._lay_members(name, joined=False)

    def _join(self, before: tuple[str, ...]) -> None:
        """Predict the groups besides the primary one."""
        wanted = self.task._groups  # noqa: SLF001
        if wanted is None:
            return
        names = {self._real_name(name) for name in wanted} | (set(before) if self.task.append else set())
        self.state = replace(self.state, groups=tuple(sorted(names - {str(self.state.group)})))
        for name in wanted:
            if self._real_name(name) not in before:
                self._lay_members(name, joined=True)

    def _lay_members(self, name: str, *, joined: bool) -> None:
        group = self.view.peek(Group(name))
        others = {member for member in known(group.members or ()) if member != self.name}
        self.leaves[Group(name)] = replace(group, members=tuple(sorted(others | ({self.name} if joined else set()))))

    def _real_name(self, group: str) -> str:
        """Return a group's name where it was given by its number."""
        return self.view.get(Group(group)).name or group

    @staticmethod
    def _groups_of(state: UserState) -> tuple[str, ...]:
        return state.groups if isinstance(state.groups, tuple) else ()

    def _add(self, command: str, switches: list[str], lines: Iterable[str], disturbs: tuple[Pattern, ...]) -> None:
        self.effects.append(
            Effect(
                script=ACCOUNT_COMMAND,
                values=(command, *switches, "--", self.name),
                shows=tuple(Line(f"user {self.name}: {line}") for line in lines),
                leaves={User(self.name): self.state, **self.leaves},
                disturbs=(*ACCOUNT_FILES, *disturbs),
            )
        )

    def _give_home(self) -> None:
        """Plan the home of a user who has none, as Ansible does."""
        home = known(self.state.home) or "/"
        if not self.task.create_home or self.state.home_there:
            return
        file = File(home, METADATA)
        there = self.view.get(file)
        if there.exists:
            return
        self.effects.append(
            Effect(
                script=MAKE_HOME,
                values=(self.name, str(known(self.state.group)), home, self.now.home_mode or "0755"),
                shows=(Line(f"user {self.name}: make the home {home}"),),
                leaves={file: self._new_home(home, there)},
                disturbs=(Pattern("file", f"{home}/*"),),
            )
        )

    def _set_password(self) -> None:
        wanted = self.task._password  # noqa: SLF001
        if wanted is None or self.task.password is None:
            return
        if self.now.present and (not self.task.renews_password or self._has(wanted)):
            return
        self.state = replace(self.state, password=_lock_state(self.task.password))
        self.effects.append(
            Effect(
                script=SET_PASSWORD,
                values=(self.name, self.task.password),
                shows=(Line(f"user {self.name}: set the password"),),
                leaves={User(self.name): self.state, wanted: UserPasswordState(matches=True)},
                disturbs=(*ACCOUNT_FILES, Pattern("password", self.name)),
            )
        )

    def _has(self, wanted: UserPassword) -> bool:
        return bool(self.view.get(wanted).matches)
