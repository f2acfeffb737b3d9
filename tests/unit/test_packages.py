"""Packages: what a probe's text means, what apt's transaction means for a plan, and chains of package tasks."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import InputError, NotYetKnown
from provisioner.model import ANYTHING, Context, NeedLook, Observable, State, TaskType, Unknown, View
from provisioner.observables.file import File, FileState
from provisioner.observables.package import (
    AptCache,
    AptCacheState,
    AptTransaction,
    AptTransactionState,
    DpkgLockState,
    Package,
    PackageState,
)
from provisioner.tasks.apt import Apt
from provisioner.tasks.dpkg_selections import DpkgSelections
from provisioner.tasks.service import Service

CTX = Context(host="nano", label="it")
NOW = 1_700_000_000


def installed(version: str, selection: str = "install") -> PackageState:
    """Return an installed package."""
    return PackageState(status="installed", version=version, selection=selection)


def view(*looks: tuple[Observable[Any], State]) -> View:
    """Return a view of what was looked at."""
    return View(probed=dict(looks))


def shown(plan: Any) -> list[str]:
    """Return the lines of a plan."""
    return [line.text for effect in plan.effects for line in effect.shows]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (PackageState, "status=absent"),
        (PackageState, "status=installed\nversion=5:27.5.1-1~ubuntu.22.04~jammy\nselection=hold"),
        (PackageState, "status=half-configured\nversion=1.0\nselection=install"),
        (PackageState, "status=config-files\nselection=deinstall"),
        (AptTransactionState, "nothing=yes"),
        (AptTransactionState, "installs=a=1 b:armhf=1:2~rc%25\nupgrades=c=1>2\nremoves=d=3\nheld=c"),
        (AptTransactionState, "error=E: Unable to locate package x%0AE: Unable to locate package y"),
        (AptCacheState, "lists=yes"),
        (DpkgLockState, ""),
    ],
)
def test_render_is_the_inverse_of_parse(state: type[State], text: str) -> None:
    """What the controller predicts has the text that the probe will print."""
    assert state.parse(text).render() == text


def test_attached_values_are_read_and_never_rendered() -> None:
    """Times and lock holders travel along, and are no part of what is compared."""
    cache = AptCacheState.parse("lists=yes\n.stamp=10\n.sources=20\n.now=30")
    assert (cache.stamp, cache.sources, cache.now) == (10, 20, 30)
    assert cache.render() == "lists=yes"
    assert DpkgLockState.parse(".holder=process 7 (apt-get)").holder == "process 7 (apt-get)"


def test_a_transaction_knows_its_items() -> None:
    """Items carry the old version where one is replaced."""
    state = AptTransactionState(installs=("a=1",), upgrades=("b=1:1>1:2",), removes=("c=3",))
    assert state.items("installs", "upgrades", "removes") == (("a", "", "1"), ("b", "1:1", "1:2"), ("c", "3", ""))
    rest = state.without([("a", "1")])
    assert rest == AptTransactionState(upgrades=("b=1:1>1:2",), removes=("c=3",))
    assert AptTransactionState(installs=("a=1",)).without([("a", "1")]) == AptTransactionState(nothing=True)


def test_a_satisfied_package_needs_nothing_and_no_simulation() -> None:
    """A plan of a package that is right reads that package alone."""
    seen = view((Package("docker.io"), installed("20.10.7")))
    for task in (Apt(packages=("docker.io",)), Apt(packages=("docker.io=20.10*",)), Apt(packages=())):
        assert not task.plan(seen, CTX).effects
    assert list(seen.reads) == [Package("docker.io")]
    with pytest.raises(NeedLook):
        Apt(packages=("docker.io=27*",)).plan(seen, CTX)


def test_a_transaction_is_announced_to_the_last_package() -> None:
    """What apt tells is what the plan leaves: each package, each version."""
    task = Apt(packages=("docker.io",), install_recommends=False, lock_timeout=5)
    transaction = AptTransaction("install", "-oAPT::Install-Recommends=no", ("docker.io",))
    state = AptTransactionState(installs=("containerd=1.6", "docker.io=20.10.7"), upgrades=("runc=1.0>1.1",))
    plan = task.plan(view((Package("docker.io"), PackageState()), (transaction, state)), CTX)
    (effect,) = plan.effects
    assert shown(plan) == [
        "install docker.io 20.10.7",
        "install 1 more: containerd 1.6",
        "upgrade 1 more: runc 1.0 -> 1.1",
    ]
    assert effect.leaves == {
        Package("containerd"): installed("1.6"),
        Package("docker.io"): installed("20.10.7"),
        Package("runc"): installed("1.1"),
    }
    assert effect.disturbs == (ANYTHING,)
    assert effect.values == (
        "5",
        "",
        "-oDpkg::Options::=--force-confdef",
        "-oDpkg::Options::=--force-confold",
        "-oAPT::Install-Recommends=no",
        "--no-remove",
        "install",
        "--",
        "docker.io",
    )


@pytest.mark.parametrize(
    ("state", "more", "failed"),
    [
        (AptTransactionState(installs=("x=1",), removes=("y=2",)), {}, "apt would remove y 2"),
        (AptTransactionState(installs=("x=1",), removes=("y=2",)), {"fail_on_autoremove": False}, None),
        (AptTransactionState(downgrades=("x=2>1",)), {}, "apt would downgrade x 2 -> 1"),
        (AptTransactionState(downgrades=("x=2>1",)), {"allow_downgrade": True}, None),
        (AptTransactionState(upgrades=("x=1>2",), held=("x",)), {}, "apt would change x, held"),
        (AptTransactionState(upgrades=("x=1>2",), held=("x",)), {"allow_change_held_packages": True}, None),
        (AptTransactionState(error="E: Unable to locate package x"), {}, "No package matching 'x' is available"),
        (AptTransactionState(error="E: Malformed entry 1 in list file"), {}, "E: Malformed entry 1 in list file"),
    ],
)
def test_what_a_transaction_may_not_do(state: AptTransactionState, more: dict[str, Any], failed: str | None) -> None:
    """Removals, downgrades and changes of held packages are refused unless allowed."""
    seen = view((Package("x"), PackageState()), (AptTransaction("install", "", ("x",)), state))
    plan = Apt(packages=("x",), **more).plan(seen, CTX)
    assert plan.failed == failed
    assert bool(plan.effects) == (failed is None)


def test_removal_goes_through_apt_and_leaves_nothing() -> None:
    """Removed packages are absent; whether configuration stays is known after; purge leaves nothing."""
    remove = AptTransaction("remove", "", ("x",))
    purge = AptTransaction("purge", "", ("x",))
    state = AptTransactionState(removes=("x=1", "needs-x=2"))
    seen = view((Package("x"), installed("1")), (remove, state), (purge, state))
    leaves = Apt(packages=("x=1",), state="absent").plan(seen, CTX).effects[0].leaves
    assert [leaves[Package(name)].render() for name in ("x", "needs-x")] == ["", ""]
    leaves = Apt(packages=("x",), state="absent", purge=True).plan(seen, CTX).effects[0].leaves
    assert leaves[Package("x")] == PackageState()
    gone = view((Package("x"), PackageState(status="config-files")))
    assert not Apt(packages=("x",), state="absent").plan(gone, CTX).effects


def cache(age: int, sources: int = 0) -> tuple[AptCache, AptCacheState]:
    """Return lists of that age."""
    return AptCache(), AptCacheState(lists=True, stamp=NOW - age, sources=sources, now=NOW)


@pytest.mark.parametrize(
    ("task", "age", "sources", "updates"),
    [
        (Apt(update_cache=True), 60, 0, False),
        (Apt(update_cache=True), 4000, 0, True),
        (Apt(update_cache=True), 60, NOW, True),
        (Apt(cache_valid_time=86400), 4000, 0, False),
        (Apt(cache_valid_time=86400), 90000, 0, True),
        (Apt(packages=("here",), update_cache=True), 90000, NOW, False),
        (Apt(packages=("gone",), update_cache=True), 60, 0, True),
        (Apt(packages=("gone",), cache_valid_time=3600), 60, 0, False),
        (Apt(packages=("here",), state="latest", update_cache=True), 60, 0, False),
        (Apt(packages=("here",), state="latest", update_cache=True), 4000, 0, True),
        (Apt(upgrade="yes", update_cache=True), 4000, 0, True),
    ],
)
def test_lists_are_updated_where_that_can_matter(task: Apt, age: int, sources: int, updates: bool) -> None:
    """Age and sources decide, as attached values: they never enter a guard."""
    seen = view(
        cache(age, sources),
        (Package("here"), installed("1")),
        (Package("gone"), PackageState()),
        (AptTransaction("install", "", ("gone",)), AptTransactionState(installs=("gone=1",))),
        (AptTransaction("latest", "", ("here",)), AptTransactionState(nothing=True)),
        (AptTransaction("upgrade", "--with-new-pkgs", ()), AptTransactionState(nothing=True)),
    )
    plan = task.plan(seen, CTX)
    assert any(effect.values[1] == "update" for effect in plan.effects) == updates
    assert AptCache() not in seen.reads


def test_an_update_and_an_install_are_one_batch() -> None:
    """With update_cache the versions are known afterwards, exact pins aside, and nothing waits for another look."""
    task = Apt(packages=("a", "b=2.0", "c=3*"), update_cache=True)
    unknown = AptTransactionState(error="E: Unable to locate package a")
    absent = [(Package(name), PackageState()) for name in "abc"]
    plan = task.plan(view(cache(5), (AptTransaction("install", "", ("a", "b=2.0", "c=3*")), unknown), *absent), CTX)
    (effect,) = plan.effects
    assert shown(plan)[0] == "apt-get update"
    states = [effect.leaves[Package(name)] for name in "abc"]
    assert [state.render() for state in states] == [
        "status=installed\nselection=install",
        "status=installed\nversion=2.0\nselection=install",
        "status=installed\nselection=install",
    ]
    assert effect.values[1] == "update"


def test_a_virtual_package_is_not_predicted() -> None:
    """A name that only others provide never becomes an installed package."""
    task = Apt(packages=("virtual",), update_cache=True)
    state = AptTransactionState(installs=("provider=1",))
    seen = view(cache(5), (Package("virtual"), PackageState()), (AptTransaction("install", "", ("virtual",)), state))
    assert Package("virtual") not in task.plan(seen, CTX).effects[0].leaves


def chain(seen: View, *tasks: TaskType) -> list[Any]:
    """Plan tasks in order, each laid over the view of the next."""
    plans = []
    for number, task in enumerate(tasks):
        seen.begin()
        plan = task.plan(seen, CTX)
        plans.append(plan)
        for effect in plan.effects:
            seen.lay(effect, f"task {number}")
    return plans


def test_a_second_transaction_leaves_out_what_the_first_has_done() -> None:
    """What two installs share is installed once, and the second guard expects what the device will then say."""
    seen = view(
        (Package("a"), PackageState()),
        (Package("b"), PackageState()),
        (AptTransaction("install", "", ("a",)), AptTransactionState(installs=("a=1", "common=5"))),
        (AptTransaction("install", "", ("b",)), AptTransactionState(installs=("b=2", "common=5"))),
    )
    first, second = chain(seen, Apt(packages=("a",)), Apt(packages=("b",)))
    assert set(first.effects[0].leaves) == {Package("a"), Package("common")}
    assert set(second.effects[0].leaves) == {Package("b")}
    assert seen.reads[AptTransaction("install", "", ("b",))] == AptTransactionState(installs=("b=2",))
    assert list(seen.assumed) == ["task 0"]
    assert not chain(seen, Apt(packages=("a", "common=5")))[0].effects


def test_after_an_update_that_is_planned_versions_are_open() -> None:
    """An update in a task of its own leaves the next one's versions open, and still is one batch."""
    seen = view(
        cache(9000),
        (Package("a"), PackageState()),
        (AptTransaction("install", "", ("a",)), AptTransactionState(installs=("a=1",))),
        (AptTransaction("upgrade", "--with-new-pkgs", ()), AptTransactionState(nothing=True)),
    )
    update, install = chain(seen, Apt(update_cache=True), Apt(packages=("a",), update_cache=True))
    assert shown(update) == ["apt-get update"]
    assert shown(install) == ["install a (version known after 'apt-get update')"]
    assert not chain(seen, Apt(update_cache=True))[0].effects
    with pytest.raises(NotYetKnown):
        Apt(upgrade="yes").plan(seen, CTX)


def test_a_source_written_before_makes_the_lists_old() -> None:
    """A repository that the play itself adds is read, however fresh the lists are."""
    seen = view(cache(5))
    seen.planned[File("/etc/apt/sources.list.d/nvidia.list")] = FileState(type="file")
    (first, second) = chain(seen, Apt(update_cache=True), Apt(update_cache=True))
    assert first.effects
    assert not second.effects


def test_a_removal_planned_before_leaves_a_transaction_open() -> None:
    """Nobody can tell what apt will do once something it counted on is gone."""
    seen = view(
        (Package("x"), installed("1")),
        (Package("y"), PackageState()),
        (AptTransaction("remove", "", ("x",)), AptTransactionState(removes=("x=1",))),
        (AptTransaction("install", "", ("y",)), AptTransactionState(installs=("y=1",))),
    )
    plans = chain(seen, Apt(packages=("x",), state="absent"), Apt(packages=("y",)))
    assert isinstance(plans[1].effects[0].leaves[Package("y")].version, Unknown)


TREE = AptTransactionState(installs=("tree=2.0",))
PURGED = AptTransaction("purge", "", ("tree",))


def bare(*more: tuple[Observable[Any], State]) -> View:
    """Return a view of a device without the package tree."""
    looks = [(AptTransaction("install", "", ("tree",)), TREE), (PURGED, AptTransactionState(nothing=True))]
    remove = (AptTransaction("remove", "", ("tree",)), AptTransactionState(nothing=True))
    return view((Package("tree"), PackageState()), *looks, remove, *more)


def test_what_a_play_brings_it_can_take_away_and_bring_again() -> None:
    """Installed, purged and installed again is three changes, each to the letter: the look was before all of them."""
    tasks = [Apt(packages=("tree",)), Apt(packages=("tree",), state="absent", purge=True), Apt(packages=("tree",))]
    seen = bare()
    plans = chain(seen, *tasks)
    assert [shown(plan) for plan in plans] == [["install tree 2.0"], ["purge tree 2.0"], ["install tree 2.0"]]
    assert seen.planned[Package("tree")] == installed("2.0")
    plans = chain(bare(), *(tasks[0], tasks[1], tasks[1]))
    assert not plans[2].effects


def test_what_came_with_a_package_may_go_with_another() -> None:
    """A removal is open where the play brings anything else, or has removed with what stays of it unknown."""
    other = (AptTransaction("install", "", ("a",)), AptTransactionState(installs=("a=1", "tree=2.0")))
    purge = Apt(packages=("tree",), state="absent", purge=True)
    with pytest.raises(NotYetKnown, match="known after 'task 0'"):
        chain(bare((Package("a"), PackageState()), other), Apt(packages=("a",)), purge)
    with pytest.raises(NotYetKnown, match="known after 'task 1'"):
        chain(bare(), Apt(packages=("tree",)), Apt(packages=("tree",), state="absent"), purge)
    there = view((Package("tree"), installed("1.0")), (PURGED, AptTransactionState(removes=("tree=1.0",))))
    there.learn(AptTransaction("latest", "", ("tree",)), AptTransactionState(upgrades=("tree=1.0>2.0",)))
    with pytest.raises(NotYetKnown):
        chain(there, Apt(packages=("tree",), state="latest"), purge)


def test_a_version_that_was_changed_before_is_not_taken_for_what_was_probed() -> None:
    """A pin that was right when it was looked at is open once an earlier task has moved the version away from it."""
    seen = view(
        (Package("x"), installed("2")),
        (AptTransaction("install", "", ("x=1",)), AptTransactionState(downgrades=("x=2>1",))),
        (AptTransaction("install", "", ("x=2",)), AptTransactionState(nothing=True)),
        (AptTransaction("latest", "", ("x",)), AptTransactionState(nothing=True)),
    )
    down = Apt(packages=("x=1",), allow_downgrade=True)
    assert chain(seen, down, Apt(packages=("x=2",), allow_downgrade=True))[1].effects
    seen.planned.clear()
    with pytest.raises(NotYetKnown):
        chain(seen, down, Apt(packages=("x",), state="latest"))


def test_a_package_under_another_of_its_names_is_open() -> None:
    """name and name:architecture may be one package: what a task plans of one says that the other is not known."""
    seen = bare((Package("tree:arm64"), PackageState()))
    with pytest.raises(NotYetKnown):
        chain(seen, Apt(packages=("tree",)), Apt(packages=("tree:arm64",), state="absent"))


def test_a_package_that_may_have_come_along_is_open() -> None:
    """Whether a package is there is asked of nobody while only an apply can tell it."""
    seen = bare()
    later = Unknown("known after apply")
    seen.planned[Package("tree")] = PackageState(status=later, version=later, selection=later)
    with pytest.raises(NotYetKnown):
        Apt(packages=("tree",)).plan(seen, CTX)


def test_a_held_package_is_not_removed_with_what_it_needs() -> None:
    """A removal that takes a held package along is refused in the plan, and names it."""
    state = AptTransactionState(removes=("docker.io=27", "runc=1"), held=("docker.io",))
    seen = view((Package("runc"), installed("1")), (AptTransaction("remove", "", ("runc",)), state))
    refused = Apt(packages=("runc",), state="absent").plan(seen, CTX)
    assert refused.failed == "apt would change docker.io, held"
    assert "allow_change_held_packages" in str(refused.hint)
    assert Apt(packages=("runc",), state="absent", allow_change_held_packages=True).plan(seen, CTX).effects
    brought = bare()
    hold = DpkgSelections(package="tree", selection="hold")
    (*_, removal) = chain(brought, Apt(packages=("tree",)), hold, Apt(packages=("tree",), state="absent"))
    assert removal.failed == "apt would change tree, held"


def test_a_selection_is_changed_once() -> None:
    """dpkg_selections leaves the package as it is, but for the selection; an unknown package is an error."""
    seen = view((Package("x"), installed("1")))
    first, second = chain(seen, *[DpkgSelections(package="x", selection="hold")] * 2)
    assert shown(first) == ["x: hold (was install)"]
    assert first.effects[0].leaves == {Package("x"): installed("1", "hold")}
    assert not second.effects
    plan = DpkgSelections(package="y", selection="hold").plan(view((Package("y"), PackageState())), CTX)
    assert plan.failed == "Failed to find package 'y' to perform selection 'hold'."


def test_a_service_missing_before_a_package_is_only_assumed_missing() -> None:
    """The failure carries the package's task as an assumption, which the engine makes `unknown`."""
    from provisioner.observables.unit import Unit, UnitState

    seen = view(
        (Package("x"), PackageState()),
        (AptTransaction("install", "", ("x",)), AptTransactionState(installs=("x=1",))),
        (Unit("x"), UnitState()),
    )
    _, service = chain(seen, Apt(packages=("x",)), Service(unit="x", state="started"))
    assert service.failed == "Could not find the requested service x"
    assert list(seen.assumed) == ["task 0"]


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"packages": ("nvidia-l4t-*",)},
        {"packages": ("-y",)},
        {"packages": ("a b",)},
        {"packages": ("a=1 2",)},
        {"packages": ("a>=1",)},
        {"packages": ("a",), "upgrade": "dist"},
        {"packages": ("*", "a"), "state": "latest"},
    ],
)
def test_arguments_that_apt_would_take_for_something_else(arguments: dict[str, Any]) -> None:
    """They are refused before anything is touched."""
    with pytest.raises(InputError):
        Apt(**arguments)


def test_star_and_latest_upgrade_everything() -> None:
    """As in Ansible."""
    assert Apt(packages=("*",), state="latest").upgrade == "yes"
