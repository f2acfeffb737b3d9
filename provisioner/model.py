"""The model: what can be looked at on a device, what is known of it, and what a task plans to do about it.

Observable   a thing on a device that can be looked at, with its probe
State        what a look at it told, or what a plan predicts
View         what was probed, with the effects planned so far laid over it
Effect       a script, the states that it leaves, and what else it may disturb
Plan         what one task makes of a view: effects, and the result that is registered
TaskType     looks_at() names observables, plan() reads the view; neither touches a device
"""

from __future__ import annotations

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from fnmatch import fnmatchcase
from functools import cache, cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, Self, TypeVar, get_args, get_type_hints, overload

from provisioner.records import dataclass

from .errors import NotYetKnown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .shell import Script, Value


@dataclass(frozen=True)
class Unknown:
    """A field that only an apply can tell, with the reason for people."""

    reason: str = "known after apply"

    def __str__(self) -> str:
        """Return what the dry run shows in its place."""
        return f"({self.reason})"


T = TypeVar("T")


def known(value: T | Unknown) -> T:
    """Return a value that a plan relies on; raises NotYetKnown where only an apply can tell it."""
    if isinstance(value, Unknown):
        raise NotYetKnown(value.reason)
    return value


ATTACHED = {"attached": True}


def attached(default: Any = None) -> Any:
    """Declare a field that travels with a state but is never compared: content, times, free space."""
    return field(default=default, compare=False, metadata=ATTACHED, repr=False)


def escape(text: str) -> str:
    """Return text on one line, as the probes print it."""
    return text.replace("%", "%25").replace("\n", "%0A")


def unescape(text: str) -> str:
    """Return what `escape` was given."""
    return text.replace("%0A", "\n").replace("%25", "%")


def _to_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, tuple):
        return " ".join(escape(str(item)).replace(" ", "%20") for item in value)
    return escape(str(value))


def _from_text(text: str, kind: type) -> object:
    if kind is str:
        return unescape(text) if "%" in text else text
    if kind is bool:
        return text == "yes"
    if kind is bytes:
        return base64.b64decode(text)
    if kind is tuple:
        return tuple(unescape(item.replace("%20", " ")) for item in text.split(" ") if item)
    return kind(unescape(text))


@cache
def _kinds(cls: Any) -> dict[str, type]:
    """Return the plain type behind each field's annotation: str, int, bool, bytes or tuple."""
    hints = get_type_hints(cls, globalns=vars(__import__(cls.__module__, fromlist=["_"])))
    kinds = {}
    for f in dataclasses.fields(cls):
        hint = hints[f.name]
        plain = [a for a in get_args(hint) if a not in (type(None), Unknown)] or [hint]
        if hint in (str, int, bool, bytes) or getattr(hint, "__origin__", None) is tuple:
            plain = [hint]
        kind = getattr(plain[0], "__origin__", plain[0])
        kinds[f.name] = kind if kind in (int, bool, bytes, tuple) else str
    return kinds


@cache
def _fields(cls: Any) -> tuple[str, ...]:
    """Return the names of a state's fields."""
    return tuple(f.name for f in dataclasses.fields(cls))


@cache
def _compared(cls: Any) -> tuple[str, ...]:
    """Return the names of a state's fields that are no attached ones."""
    return tuple(f.name for f in dataclasses.fields(cls) if not f.metadata.get("attached"))


@dataclass(frozen=True, kw_only=True)
class State:
    """What is known of an observable: fields of str, int, bool or tuple[str, ...]; None is absent, Unknown is open.

    The canonical text has one `field=value` line for each field that is known and there, in the order of the
    fields; attached fields have lines that begin with a dot, and are no part of it. `parse` and `render` are inverse.
    """

    def render(self) -> str:
        """Return the canonical text, as the probe prints it."""
        lines = []
        for name in _compared(type(self)):  # type: ignore[arg-type]
            value = getattr(self, name)
            if value is not None and not isinstance(value, Unknown):
                lines.append(f"{name}={_to_text(value)}")
        return "\n".join(lines)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the state that a probe's text tells; a field that it does not name is None."""
        kinds = _kinds(cls)  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        for line in text.split("\n"):
            name, equals, value = line.removeprefix(".").partition("=")
            if equals and name in kinds:
                values[name] = _from_text(value, kinds[name])
        return cls(**values)

    def open_fields(self) -> tuple[str, ...]:
        """Return the names of the fields that are Unknown."""
        names = _fields(type(self))  # type: ignore[arg-type]
        return tuple([name for name in names if isinstance(getattr(self, name), Unknown)])

    def known_fields(self) -> tuple[str, ...]:
        """Return the names of the compared fields that are not Unknown."""
        names = _compared(type(self))  # type: ignore[arg-type]
        return tuple([name for name in names if not isinstance(getattr(self, name), Unknown)])


S = TypeVar("S", bound=State)


@dataclass(frozen=True)
class Observable(Generic[S]):
    """A thing on a device that can be looked at, named by what follows.

    Subclasses give `kind` (the word that people read), `state` (its State), `probe` (a Script that takes the
    arguments of many observables one after the other, `arity` each and `together` at most, calls `next` before it
    prints the text of each, and writes nothing to the device). Where nothing is compared, a probe may call `next_all`
    with their number instead, and print anything that `surveyed` understands. `many` is what it calls where there are
    at least `a_crowd` of them, or some that were hashed as they came; a batch without such is spared its length. What
    is planned of one that `holds_others` is planned of its parts too.
    """

    kind: ClassVar[str]
    state: ClassVar[type[State]]
    probe: ClassVar[Script]
    arity: ClassVar[int] = 1
    many: ClassVar[Script | None] = None
    a_crowd: ClassVar[int] = 32
    together: ClassVar[int] = 100  # what shells do with lists is quadratic
    guarded: ClassVar[bool] = True
    holds_others: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return the probe's arguments for this one."""
        return tuple([str(getattr(self, name)) for name in _fields(type(self))[: self.arity]])  # type: ignore[arg-type]

    @classmethod
    def surveyed(cls, text: str, members: Sequence[Any]) -> Iterable[tuple[Observable[Any], State]]:
        """Return what a probe that called `next_all` told of these, each with its state; who is left out is unclear."""
        raise NotImplementedError(f"{cls.kind} is told one by one: {len(members)} in {len(text)} characters")

    def guard_arguments(self, expected: State) -> tuple[str, ...]:
        """Return the probe's arguments where only the fields that `expected` knows are compared."""
        del expected
        return self.arguments()

    def merged(self, other: Self) -> Self:
        """Return an equal observable whose look tells what both ask for."""
        del other
        return self

    def satisfied_by(self, state: State) -> bool:
        """Tell whether a state holds all that this look asks for."""
        del state
        return True

    def located(self, view: View) -> Self:
        """Return the observable under which planned effects are kept: the one name of a thing that has several."""
        del view
        return self

    def implied(self, view: View) -> S | None:
        """Return the state that effects planned for other things imply for this one, if they imply one."""
        del view
        return None

    def part(self, state: State, other: Observable[Any]) -> State | None:
        """Return the state of another thing of which this one's state tells too."""
        del state, other
        return None

    def aliases(self, state: State) -> Iterable[Self]:
        """Return the other names under which a look at this one tells of the same thing."""
        del state
        return ()

    def is_absent(self, state: State) -> bool:
        """Tell whether a state says that the thing is not there."""
        del state
        return False

    def reroutes(self, before: State | None, after: State) -> bool:
        """Tell whether such a change of this thing may change where other things are found."""
        del before, after
        return False

    def follows_from(self, state: State, reads: Mapping[Observable[Any], State]) -> bool:
        """Tell whether this state is certain where all others that were read are as they were."""
        del state, reads
        return False

    def __str__(self) -> str:
        """Return the kind and the name."""
        return " ".join([self.kind, *(str(getattr(self, f.name)) for f in dataclasses.fields(self) if f.compare)])


@dataclass(frozen=True)
class Pattern:
    """Observables that an effect may change besides what it leaves: a kind, and a glob over the name."""

    kind: str = "*"
    name: str = "*"

    def matches(self, observable: Observable[Any]) -> bool:
        """Tell whether an observable may be changed."""
        name = str(observable).partition(" ")[2]
        return fnmatchcase(observable.kind, self.kind) and (self.name == "*" or fnmatchcase(name, self.name))


ANYTHING = Pattern()


@dataclass(frozen=True)
class Line:
    """One line that tells people what an effect does."""

    text: str


@dataclass(frozen=True)
class Diff:
    """A file's content before and after; None is 'not there'; secret content is announced and never shown."""

    path: str
    before: bytes | None
    after: bytes | None
    secret: bool = False


Shown = Line | Diff


class Shows(Sequence[Shown]):
    """What an effect on many things shows, made only for who wants to see it."""

    def __init__(self, make: Callable[[], Iterable[Shown]]) -> None:
        self._make = make

    @cached_property
    def _all(self) -> tuple[Shown, ...]:
        return tuple(self._make())

    def __len__(self) -> int:
        """Return how much there is to show."""
        return len(self._all)

    @overload
    def __getitem__(self, index: int) -> Shown: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Shown, ...]: ...
    def __getitem__(self, index: int | slice) -> Shown | tuple[Shown, ...]:
        """Return a part of it."""
        return self._all[index]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A change of a device: the script that makes it, what it shows, leaves, and may disturb.

    `leaves` is checked after the script ran: the observable has then to be in that state, Unknown fields aside.
    `witness` has to differ afterwards (a restart's InvocationID). `timeout` is in seconds, for its long commands.
    `opaque` says that nothing can be told of what it does. `ends_session` says that the device goes away (a reboot).
    """

    script: Script
    values: tuple[Value, ...] = ()
    shows: Sequence[Shown] = ()
    leaves: Mapping[Observable[Any], State] = field(default_factory=dict)
    disturbs: tuple[Pattern, ...] = ()
    witness: Observable[Any] | None = None
    timeout: int = 3600
    opaque: bool = False
    ends_session: bool = False


@dataclass(frozen=True)
class Ran:
    """What the device said of a task's effects: the last one's rc, stdout and stderr, and seconds that they took."""

    rc: int
    stdout: str
    stderr: str
    seconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one task makes of a view: effects in order, and what is registered.

    `result` has the module's return values; `finish` adds those that only the device can tell. A `failed` plan says
    why and has no effects. `sets` are the facts that set_fact gives. `message` is printed (debug).
    """

    effects: tuple[Effect, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    finish: Callable[[Ran], Mapping[str, Any]] | None = None
    failed: str | None = None
    hint: str | None = None
    skipped: str | None = None
    message: str | None = None
    sets: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def changes(self) -> bool:
        """Tell whether there is anything to do."""
        return bool(self.effects)


class NeedLook(Exception):  # noqa: N818 - the engine's signal for one more look
    """A plan read an observable that was not looked at yet, and will read others."""

    def __init__(self, observable: Observable[Any], *others: Observable[Any]) -> None:
        super().__init__(str(observable))
        self.observable = observable
        self.others = others


@dataclass
class View:
    """What is known of one device at one point of a play: what was probed, under what was planned.

    Reads are recorded: what a plan read is what its guard compares. So are assumptions: the labels of tasks whose
    effects may have changed what was read; `rests` keeps them for what was planned on such a read. `born` are the
    things that were absent until an effect made them. `rerouted` tells that some things may be found elsewhere now.
    `wide` are the planned things that hold others.
    """

    probed: dict[Observable[Any], State] = field(default_factory=dict)
    planned: dict[Observable[Any], State] = field(default_factory=dict)
    disturbances: list[tuple[Pattern, str]] = field(default_factory=list)
    laid: dict[Observable[Any], int] = field(default_factory=dict)
    born: set[Observable[Any]] = field(default_factory=set)
    rests: dict[Observable[Any], tuple[str, ...]] = field(default_factory=dict)
    reads: dict[Observable[Any], State] = field(default_factory=dict)
    assumed: dict[str, None] = field(default_factory=dict)
    rerouted: bool = False
    wide: dict[Observable[Any], None] = field(default_factory=dict)

    def learn(self, observable: Observable[Any], state: State) -> None:
        """Take in what a look told."""
        self.probed[observable] = state
        for alias in observable.aliases(state):
            self.probed.setdefault(alias, state)

    def has(self, observable: Observable[Any]) -> bool:
        """Tell whether a look has told all that this one asks for."""
        state = self.probed.get(observable)
        return state is not None and observable.satisfied_by(state)

    def get(self, observable: Observable[S]) -> S:
        """Return the state of an observable as the task that asks will find it; raises NeedLook."""
        state = self.peek(observable)
        self.reads[observable] = state
        return state

    def peek(self, observable: Observable[S]) -> S:
        """Return the state of an observable without making it part of the guard; raises NeedLook."""
        where = observable.located(self)
        # Most runs plan nothing, and each question here costs a hash.
        planned = (self.planned.get(where) or where.implied(self)) if self.planned else None
        state = planned or self.raw(where)
        self.lean(where)
        return state  # type: ignore[return-value]

    def lean(self, where: Observable[Any]) -> None:
        """Take note of the tasks that may have changed a thing, or on which what was planned of it rests."""
        if self.rests and where in self.rests:
            self.assumed.update(dict.fromkeys(self.rests[where]))
        if not self.disturbances:
            return
        for pattern, label in self.disturbances[self.laid.get(where, 0) :]:
            if label not in self.assumed and pattern.matches(where):
                self.assumed[label] = None

    def raw(self, observable: Observable[S]) -> S:
        """Return what the last look told; raises NeedLook."""
        state = self.probed.get(observable)
        if state is None or not observable.satisfied_by(state):
            raise NeedLook(observable)
        return state  # type: ignore[return-value]

    def lay(self, effect: Effect, label: str, assumed: tuple[str, ...] = ()) -> None:
        """Lay what an effect leaves and disturbs over what is known; `assumed` are the tasks on which that rests."""
        self.disturbances.extend((pattern, label) for pattern in effect.disturbs)
        for observable, state in effect.leaves.items():
            where = observable.located(self)
            if not where.is_absent(state) and self._was_absent(where):
                self.born.add(where)
            self.rerouted = self.rerouted or where.reroutes(self.planned.get(where) or self.probed.get(where), state)
            self.planned[where] = state
            if where.holds_others:
                self.wide[where] = None
            self.laid[where] = len(self.disturbances)
            self.rests[where] = assumed

    def _was_absent(self, where: Observable[Any]) -> bool:
        try:
            return where.is_absent(self.planned.get(where) or where.implied(self) or self.raw(where))
        except NeedLook:
            return False

    def begin(self) -> None:
        """Forget the reads of the task before."""
        self.reads = {}
        self.assumed = {}


class Finder(Protocol):
    """Finds a file of the controller that a task names: kind is 'files' or 'templates'."""

    def __call__(self, kind: str, name: str) -> Path:
        """Return the path; raises InputError that lists where it was looked for."""
        ...


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a task may know besides the view: who it runs as, the host's facts, and the controller's files.

    `user` is whom its effects run as, `login_user` whom the connection belongs to. `check` tells that nothing will be
    applied. `services` are the controller's own: the image catalogue. `variables` are as written, not rendered.
    """

    host: str
    label: str
    user: str = "root"
    login_user: str = "root"
    variables: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    render: Callable[[str, str], Any] | None = None
    find: Finder | None = None
    check: bool = False
    no_log: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TaskType:
    """A module in Ansible's sense: its fields are its arguments; a required one has no default.

    `free_form` names the field that a bare string fills, `any_argument` lets any name be an argument. `expressions`
    are the fields that hold bare expressions, and `template` the one that names a template file: what those use is
    known to be used. `services` names what it asks of the controller, as `images`, and of the run, as `facts`.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    free_form: ClassVar[str | None] = None
    any_argument: ClassVar[bool] = False
    expressions: ClassVar[tuple[str, ...]] = ()
    template: ClassVar[str | None] = None
    services: ClassVar[tuple[str, ...]] = ()
    example: ClassVar[str] = ""

    @classmethod
    def foresees(cls, arguments: Mapping[str, Any], ctx: Context) -> Iterable[Observable[Any]]:
        """Name observables that `plan` will read, from those arguments whose values are known already."""
        del arguments, ctx
        return ()

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Name the observables that `plan` will read, as far as they are known before a look."""
        del ctx
        return ()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Return what there is to do, purely."""
        raise NotImplementedError


class _TaskTypes(Mapping[str, "type[TaskType]"]):
    """Task types by name; a type that was only announced is imported when it is asked for."""

    def __init__(self) -> None:
        self.types: dict[str, type[TaskType]] = {}
        self.announced: dict[str, str] = {}
        self._whole: set[str] = set()

    def __getitem__(self, name: str) -> type[TaskType]:
        # A type registers before the rest of its module has run: another thread has to wait for that.
        if name in self.announced and name not in self._whole:
            import_module(self.announced[name])
            self._whole.add(name)
        return self.types[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**self.announced, **self.types})

    def __len__(self) -> int:
        return len(self.announced.keys() | self.types.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.types or name in self.announced


_TASKS = _TaskTypes()


def task(cls: type[TaskType]) -> type[TaskType]:
    """Register a task type under its name and aliases."""
    for name in (cls.name, *cls.aliases):
        _TASKS.types[name] = cls
    return cls


def announce_tasks(modules: Mapping[str, str]) -> None:
    """Tell in which modules the task types of these names are registered; they are imported when first used."""
    _TASKS.announced.update(modules)


def task_types() -> Mapping[str, type[TaskType]]:
    """Return every task type by name; importing `provisioner.tasks` announces those of this package."""
    return _TASKS


_OBSERVABLES: dict[str, type[Observable[Any]]] = {}


def observable(cls: type[Observable[Any]]) -> type[Observable[Any]]:
    """Register an observable under its kind, so that the contract suite and the shell check find it."""
    _OBSERVABLES[cls.kind] = cls
    return cls


def observable_types() -> Mapping[str, type[Observable[Any]]]:
    """Return every registered observable by kind."""
    return _OBSERVABLES
