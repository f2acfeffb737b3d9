"""The laws of large fleets: what a host costs does not depend on how many others there are."""

from __future__ import annotations

import sys
import threading
import tracemalloc
from collections import Counter
from dataclasses import field
from typing import TYPE_CHECKING, Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from written import write

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.errors import Unreachable
from provisioner.events import Doing, HostFinished, HostLost, PlayStarted, RunStarted, TaskFinished, TaskResult
from provisioner.inventory import load_inventory
from provisioner.model import Context, Line, Observable, Plan, TaskType, View, task_types
from provisioner.playbook import load_playbook
from provisioner.records import dataclass
from provisioner.report.blocks import Narrator
from provisioner.report.board import Board
from provisioner.report.text import to_plain
from provisioner.runner import KEPT, Runner, Settings
from provisioner.wire import Ended, Probed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from provisioner.events import Event
    from provisioner.inventory import Inventory
    from provisioner.wire import Batch, Reply

FORKS = 4


@dataclass
class Wires:
    """Connections to devices on which there is nothing, and what became of them."""

    opened: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    most: int = 0
    dead: frozenset[str] = frozenset()
    lock: threading.Lock = field(default_factory=threading.Lock)

    def connect(self, host: Any, _become: bool) -> Wire:
        """Open a connection."""
        if host.name in self.dead:
            raise Unreachable("it does not answer")
        with self.lock:
            assert host.name not in self.open
            self.opened.append(host.name)
            self.open.add(host.name)
            self.most = max(self.most, len(self.open))
        return Wire(self, host.name)


@dataclass
class Wire:
    """One connection."""

    wires: Wires
    name: str

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Tell that nothing is there."""
        yield from (Probed(one, type(one).state()) for one in batch.looks)
        yield Ended("done")

    def stop(self, *, now: bool = False) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Hang up."""
        with self.wires.lock:
            self.wires.open.remove(self.name)


@dataclass(frozen=True, kw_only=True)
class Peek(TaskType):
    """Shows its test what templates see."""

    name: ClassVar[str] = "peek"
    example: ClassVar[str] = "peek: {}"
    seen: ClassVar[list[Context]] = []

    def looks_at(self, ctx: Context) -> Iterable[Observable[Any]]:
        """Look at nothing."""
        del ctx
        return ()

    def plan(self, view: View, ctx: Context) -> Plan:
        """Keep what there is to see."""
        del view
        self.seen.append(ctx)
        return Plan()


MODULES = {**task_types(), "peek": Peek}


def fleet(folder: Path, hosts: int, **files: str) -> Inventory:
    text = f"some: {{hosts: 'h[1:{hosts // 2}]'}}\nothers: {{hosts: 'h[{hosts // 2 + 1}:{hosts}]'}}\n"
    return load_inventory(str(write(folder, hosts_yaml=text, **files) / "hosts.yaml"))


def run(inventory: Inventory, wires: Wires, plays: str, heard: Any = lambda _event: None) -> None:
    path = inventory.path
    assert path is not None
    (path.parent / "play.yaml").write_text(plays)
    runner = Runner(inventory, MODULES, wires.connect, heard, Settings(forks=FORKS))
    runner.run([load_playbook(path.parent / "play.yaml", MODULES)], inventory.select("all"))


def play(hosts: str, task: str = "debug: {msg: hello}") -> str:
    return f"- {{name: {hosts}, hosts: {hosts}, gather_facts: no, tasks: [{{name: it, {task}}}]}}\n"


# Connections.


def test_a_host_is_hung_up_on_after_its_last_play(tmp_path: Path) -> None:
    """When a play is over only those hosts are connected that a later one needs; those that failed are not."""
    inventory, wires = fleet(tmp_path, 20), Wires(dead=frozenset({"h1"}))
    open_then: list[set[str]] = []

    def heard(event: Event) -> None:
        if isinstance(event, PlayStarted):
            open_then.append(set(wires.open))

    failing = play("h2", "fail: {msg: no}")
    run(inventory, wires, play("all") + failing + play("some") + play("h3"), heard)
    some = {f"h{n}" for n in range(1, 11)} - {"h1"}
    assert open_then == [set(), some, some - {"h2"}, {"h3"}]
    assert not wires.open
    assert Counter(wires.opened) == Counter({f"h{n}": 1 for n in range(2, 21)})


def test_the_number_of_open_connections_is_limited(tmp_path: Path) -> None:
    """However many hosts wait for a later play, no more than a limit stay connected; the others connect once more."""
    hosts = KEPT + 100
    inventory, wires = fleet(tmp_path, hosts), Wires()
    run(inventory, wires, play("all") + play("all"))
    assert wires.most <= KEPT + FORKS
    assert len(wires.opened) <= hosts + (hosts - KEPT) + FORKS
    assert not wires.open


def test_a_run_remembers_little_of_each_host(tmp_path: Path) -> None:
    """What a run holds grows by a few kilobytes with each host, and not with what its tasks registered."""
    registers = play("all", "debug: {msg: '{{ inventory_hostname * 50000 }}'}, register: much")
    run(fleet(tmp_path / "once", 2), Wires(), registers)

    def peak(hosts: int) -> int:
        inventory = fleet(tmp_path / str(hosts), hosts)
        tracemalloc.start()
        try:
            run(inventory, Wires(), registers)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert (peak(90) - peak(30)) / 60 < 20_000


# What hosts share.


def test_what_grows_with_the_fleet_is_there_once(tmp_path: Path) -> None:
    """All hosts of a play see the very same lists of groups and hosts, and hosts of the same groups the same vars."""
    Peek.seen.clear()
    inventory = fleet(tmp_path, 10, group_vars__all_yml="x: 1\n")
    run(inventory, Wires(), play("all", "peek: {}"))
    assert len(Peek.seen) == 10
    for name in ("groups", "hostvars", "play_hosts", "ansible_play_hosts"):
        assert len({id(ctx.variables[name].value) for ctx in Peek.seen}) == 1
    assert len({id(inventory.hosts[f"h{n}"].vars) for n in range(1, 6)}) == 1
    assert inventory.select("some:!h1") is inventory.select("some:!h1")


def test_templates_see_groups_and_hosts(tmp_path: Path) -> None:
    """Templates see the names of all groups and hosts, and the inventory's variables of every host."""
    inventory = fleet(tmp_path, 4, host_vars__h4_yml="rack: 7\n")
    told: list[str | None] = []

    def heard(event: Event) -> None:
        if isinstance(event, TaskFinished):
            told.append(event.result.message)

    text = (
        "{{ groups.some | join(' ') }}, {{ play_hosts[0] }}, {{ hostvars['h4'].rack }}, {{ group_names | join(' ') }}"
    )
    run(inventory, Wires(), play("h3", f'debug: {{msg: "{text}"}}'), heard)
    assert told == ["h1 h2, h3, 7, others"]


_COUNTED: list[str] = []
_COUNTING = threading.Event()


def _hook(counting: threading.Event, counted: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """Return a hook that outlives this module, as it is called until the interpreter is gone."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if counting.is_set() and event in ("open", "os.listdir", "os.scandir"):
            counted.append(str(arguments[0]))

    return audit


sys.addaudithook(_hook(_COUNTING, _COUNTED))


def test_folders_of_vars_are_not_searched_for_each_host(tmp_path: Path) -> None:
    """Folders and files are opened as often for many hosts as for few: only names that are there are read."""

    def touched(hosts: int) -> int:
        _COUNTED.clear()
        _COUNTING.set()
        try:
            fleet(tmp_path / str(hosts), hosts, host_vars__h1_yml="x: 1\n", group_vars__all_yml="y: 1\n")
        finally:
            _COUNTING.clear()
        return sum(str(tmp_path) in path for path in _COUNTED)

    assert 0 < touched(10) == touched(1000)


def test_a_long_list_of_exceptions_is_no_search_through_all_hosts_for_each(tmp_path: Path) -> None:
    """Naming thousands of hosts, or leaving them out, looks at each a few times only."""

    class Name(str):
        __slots__ = ()
        looked_at = 0

        def __eq__(self, other: object) -> bool:
            Name.looked_at += 1
            return str.__eq__(self, other)

        def __hash__(self) -> int:
            Name.looked_at += 1
            return str.__hash__(self)

    from provisioner.inventory.patterns import select

    names = {Name(f"h{n}"): None for n in range(1000)}
    everyone = {"all": tuple(names)}
    Name.looked_at = 0
    pattern = ",".join(["all", *(f"!h{n}" for n in range(1, 1000))])
    assert select(pattern, names, everyone) == ("h0",)
    assert Name.looked_at < 10 * len(names)


# Reports.

STATES = st.lists(st.tuples(st.integers(0, 29), st.sampled_from(["doing", "lost", "failed", "finished"])), max_size=60)


@given(STATES, st.integers(4, 40))
def test_the_region_counts_every_host(happened: list[tuple[int, str]], height: int) -> None:
    """However hosts move, the headline tells how many are over, and lines and summary together are all hosts."""
    board = Board()
    names = tuple(f"host{n}" for n in range(30))
    board.note(RunStarted(hosts=names), 0.0)
    over: set[str] = set()
    for number, what in happened:
        name = names[number]
        for event in _events(name, what):
            board.note(event, 1.0)
        over = over - {name} if what == "doing" else over | {name}
    rows = [to_plain(line) for line in board.rows(80, height, 2.0)]
    assert f"{len(over)}/30 hosts" in rows[0]
    shown = [line for line in rows[1:] if "more host" not in line]
    assert len(rows) <= max(height - 2, 2)
    assert rows[1 + len(shown) :] == [line for line in rows if "more host" in line]
    if len(shown) < 30:
        assert f"and {30 - len(shown)} more hosts: " in rows[-1]
        numbers = rows[-1].split(": ")[1].replace(" and ", ", ").split(", ")
        assert sum(int(part.split()[0]) for part in numbers) == 30 - len(shown)


def _events(name: str, what: str) -> list[Event]:
    if what == "doing":
        return [Doing(host=name, what="looking")]
    if what == "lost":
        return [HostLost(host=name, message="gone")]
    failed = TaskFinished(result=TaskResult(host=name, play="p", task="t", module="m", status="failed"))
    return [failed, HostFinished(host=name)] if what == "failed" else [HostFinished(host=name)]


def test_a_change_that_differs_on_every_host_is_not_kept() -> None:
    """Once it was told what a host's change is, no more of it is kept than is needed to know it again."""
    narrator = Narrator(diff=True)

    def told(number: int) -> None:
        shows = tuple(Line(f"{number} {n} {chr(97) * 1000}") for n in range(20))
        result = TaskResult(host=f"h{number}", play="p", task="t", module="m", status="changed", shows=shows)
        assert narrator.rows(TaskFinished(result=result))

    told(0)
    tracemalloc.start()
    try:
        for number in range(1, 21):
            told(number)
        kept = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert kept / 20 < 2000
