"""Packages, units, users, groups and the boot id, for real: under dash, bash --posix and busybox ash.

Packages live in a repository and a root of the test's own, which apt and dpkg are pointed at by their environment.
Users and groups are the machine's, with throw-away names. No systemd runs here: units have a stand-in for systemctl
that answers in its words.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.model import Context, NeedLook, Observable, State, View
from provisioner.observables.boot import BootId
from provisioner.observables.package import (
    AptCache,
    AptTransaction,
    AptTransactionState,
    DpkgLock,
    Package,
    PackageState,
)
from provisioner.observables.unit import Unit, UnitRun, UnitsStale, UnitState
from provisioner.observables.user import Group, GroupState, User, UserPassword, UserState
from provisioner.shell import with_needs, words
from provisioner.tasks.apt import Apt
from provisioner.tasks.dpkg_selections import DpkgSelections
from provisioner.tasks.group import GroupTask
from provisioner.tasks.reboot import Reboot
from provisioner.tasks.service import Service, Systemd
from provisioner.tasks.user import UserTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.model import Effect, Plan, TaskType

CTX = Context(host="here", label="it")
BOUNDARY = "--- next ---"
HOSTILE = (
    "a'b",
    'a"b',
    "$(touch /tmp/pwned)",
    "a;b",
    "a\nb",
    "-x",
    "",
    "a b",
    "*",
    "a:b:c",
    "%0A",
    "..",
    "foo@.service",
)

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "ash"]}

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="accounts are changed by root alone")
needs_apt = pytest.mark.skipif(
    os.geteuid() != 0 or not all(map(shutil.which, ("apt-get", "dpkg-deb", "dpkg-query"))),
    reason="needs apt, and root for dpkg",
)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Each of the shells that a device may have."""
    command = SHELLS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return command


class Device:
    """This machine, asked and changed by one shell; `env` points apt, dpkg and systemctl elsewhere."""

    def __init__(self, shell: list[str], env: dict[str, str] | None = None) -> None:
        self.shell = shell
        self.env = {"LC_ALL": "C", "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", **(env or {})}

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Run shell text."""
        helpers = f"next() {{ printf '%s\\n' '{BOUNDARY}'; }}\nsay() {{ printf 'said: %s\\n' \"$*\" >&2; }}\n"
        script = f"{helpers}guarding=yes\nmain() {{\n{text}\n}}\nmain\n"
        return subprocess.run(
            self.shell, input=script, capture_output=True, text=True, env=self.env, timeout=100, check=False
        )

    def texts(self, *observables: Observable[Any]) -> list[str]:
        """Look at observables of one kind in one go."""
        probe = observables[0].probe
        definitions = "".join(script.definition for script in with_needs([probe]))
        arguments = words([value for one in observables for value in one.arguments()])
        done = self.run(f"{definitions}{probe.name} {arguments} </dev/null")
        assert done.returncode == 0, done.stderr
        parts = done.stdout.split(BOUNDARY + "\n")
        assert parts[0] == ""
        assert len(parts) == len(observables) + 1, done.stdout
        return [part.removesuffix("\n") for part in parts[1:]]

    def look(self, observable: Observable[Any]) -> Any:
        """Return one state."""
        return observable.state.parse(self.texts(observable)[0])

    def plan(self, task: TaskType) -> Plan:
        """Plan against what is there."""
        view = View()
        while True:
            try:
                return task.plan(view, CTX)
            except NeedLook as need:
                view.probed[need.observable] = self.look(need.observable)

    def apply(self, effect: Effect) -> subprocess.CompletedProcess[str]:
        """Run an effect."""
        definitions = "".join(script.definition for script in with_needs([effect.script]))
        return self.run(f"{definitions}{effect.script.name} {words(effect.values)} </dev/null")

    def converge(self, task: TaskType) -> Plan:
        """Apply a task's plan: what it leaves has to be there, its witness has to move, and nothing is left to do."""
        plan = self.plan(task)
        assert plan.failed is None, plan
        leaves: dict[Observable[Any], State] = {}
        for effect in plan.effects:
            witness = self.look(effect.witness) if effect.witness else None
            done = self.apply(effect)
            assert done.returncode == 0, done.stdout + done.stderr
            assert effect.witness is None or self.look(effect.witness) != witness
            leaves.update(effect.leaves)
        for observable, state in leaves.items():
            found = self.look(observable)
            for name in state.known_fields():
                assert getattr(found, name) == getattr(state, name), (observable, name)
        return plan


def shown(plan: Plan) -> list[str]:
    """Return the lines that a plan shows."""
    return [line.text for effect in plan.effects for line in effect.shows if hasattr(line, "text")]


@pytest.mark.parametrize(
    "kind",
    [Package, Unit, UnitRun, User, Group, AptTransaction],
    ids=lambda kind: kind.kind,
)
def test_hostile_names_are_absent_and_harm_nobody(shell: list[str], kind: Any) -> None:
    """Whatever stands in a name arrives intact, names nothing, and does not disturb its neighbours."""
    make = (lambda name: AptTransaction("remove", "", (name,))) if kind is AptTransaction else kind
    names = [name for name in HOSTILE if kind is not AptTransaction or (name and "*" not in name)]
    for text in Device(shell).texts(*(make(name) for name in names)):
        state = kind.state.parse(text)
        assert state.render() == "\n".join(line for line in text.split("\n") if not line.startswith("."))
        assert kind is AptTransaction or kind is UnitRun or make("x").is_absent(state)
    assert not Path("/tmp/pwned").exists()


@pytest.mark.parametrize(
    "observables",
    [
        [Package("dpkg"), Package("no-such-package"), Package("libc6"), Package("libc6:nowhere")],
        [User("root"), User("daemon"), User("ptest-nobody")],
        [Group("root"), Group("ptest-nobody"), Group("0")],
        [BootId()],
        [AptCache()],
        [DpkgLock()],
        [Unit("ssh"), Unit("nothing.timer")],
        [UnitsStale()],
        [AptTransaction("install", "", ("no-such-package",)), AptTransaction("install", "", ("dpkg",))],
    ],
    ids=lambda observables: observables[0].kind,
)
def test_a_look_is_canonical_and_repeatable(shell: list[str], observables: list[Observable[Any]]) -> None:
    """Two looks print the same, attached lines aside, and render(parse(text)) is the text."""
    device = Device(shell)
    first, second = device.texts(*observables), device.texts(*observables)
    for one, a, b in zip(observables, first, second, strict=True):
        canonical = "\n".join(line for line in a.split("\n") if not line.startswith("."))
        assert canonical == "\n".join(line for line in b.split("\n") if not line.startswith("."))
        assert one.state.parse(a).render() == canonical


def test_without_its_programs_a_device_has_nothing(shell: list[str], tmp_path: Path) -> None:
    """Every external may be missing: what cannot be told is absent."""
    path = shutil.which(shell[0]) or shell[0]
    device = Device([path, *shell[1:]], {"PATH": str(tmp_path)})
    assert not device.look(Package("dpkg")).installed
    assert device.look(Unit("ssh")).init == "other"
    assert device.look(AptCache()).stamp == 0
    assert device.look(AptTransaction("install", "", ("x",))).error is not None or shell[0] == "busybox"
    assert device.look(DpkgLock()).holder is None
    assert not device.look(User("ptest-nobody")).present


def test_the_boot_id_is_the_kernels(shell: list[str]) -> None:
    """The witness of a reboot is the kernel's own."""
    assert Device(shell).look(BootId()).boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()


# Users and groups.


@contextmanager
def accounts(*names: str) -> Iterator[None]:
    """Remove users and groups of those names, before and after."""

    def clean() -> None:
        for name in names:
            subprocess.run(["userdel", "-r", "-f", name], capture_output=True, check=False)
            subprocess.run(["groupdel", name], capture_output=True, check=False)

    clean()
    try:
        yield
    finally:
        clean()


@needs_root
def test_a_user_is_made_changed_and_removed(shell: list[str]) -> None:
    """Each plan leaves what it said, and a second one is empty; a home is there, and the password never shows."""
    device = Device(shell)
    with accounts("ptest-user", "ptest-group", "ptest-more"):
        device.converge(GroupTask(group="ptest-group", system=True))
        device.converge(GroupTask(group="ptest-more", gid=60123))
        make = UserTask(user="ptest-user", comment='It\'s "A" $USER; x', shell="/bin/sh", groups=("ptest-group",))
        plan = device.converge(make)
        assert shown(plan) == [
            "user ptest-user: add, home /home/ptest-user",
            "user ptest-user: groups ptest-group",
        ]
        assert Path("/home/ptest-user").is_dir()
        assert not device.plan(make).effects
        device.converge(UserTask(user="ptest-user", groups=("60123",), append=True))
        state: UserState = device.look(User("ptest-user"))
        assert state.groups == ("ptest-group", "ptest-more")
        assert device.look(Group("60123")).name == "ptest-more"
        assert device.look(Group("ptest-more")) == GroupState(present=True, gid=60123, members=("ptest-user",))
        device.converge(UserTask(user="ptest-user", groups=()))
        assert device.look(User("ptest-user")).groups == ()
        device.converge(UserTask(user="ptest-user", home="/home/ptest-user/x", shell="/bin/bash"))
        assert Path("/home/ptest-user/x").is_dir()
        assert Path("/home/ptest-user/x").owner() == "ptest-user"
        device.converge(UserTask(user="ptest-user", group="ptest-more"))
        device.converge(UserTask(user="ptest-user", state="absent", remove=True))
        assert not device.plan(UserTask(user="ptest-user", state="absent")).effects
        device.converge(GroupTask(group="ptest-more", gid=60124))
        device.converge(GroupTask(group="ptest-more", state="absent"))


@needs_root
def test_a_password_is_compared_and_never_printed(shell: list[str]) -> None:
    """A hash is set by chpasswd's stdin; a look tells only whether it is the one that was asked about."""
    device = Device(shell)
    secret = "$6$salt$Zz1x'\"/." + "a" * 70
    with accounts("ptest-user"):
        task = UserTask(user="ptest-user", password=secret, create_home=False)
        plan = device.converge(task)
        assert "user ptest-user: set the password" in shown(plan)
        assert not device.plan(task).effects
        assert device.plan(UserTask(user="ptest-user", password="!", create_home=False)).effects
        digest = hashlib.sha256(secret.encode()).hexdigest()
        texts = device.texts(User("ptest-user")) + device.texts(UserPassword("ptest-user", digest))
        assert secret not in "".join(texts)
        assert "salt" not in "".join(texts)


@needs_root
def test_a_group_that_is_not_there_is_named(shell: list[str]) -> None:
    """What cannot be done is said before anything is touched."""
    plan = Device(shell).plan(UserTask(user="root", groups=("ptest-none",), append=True))
    assert plan.failed == "Group ptest-none does not exist"


# Packages.


def build(repo: Path, name: str, version: str, depends: str = "", conffile: bool = False) -> str:
    """Build a package, and return its paragraph of the list."""
    tree = repo / "tree"
    shutil.rmtree(tree, ignore_errors=True)
    (tree / "DEBIAN").mkdir(parents=True, mode=0o755)
    (tree / "usr/share/ptest").mkdir(parents=True)
    (tree / "usr/share/ptest" / name).write_text(version)
    control = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: P <p@example.org>\n"
    control += (f"Depends: {depends}\n" if depends else "") + "Description: a test\n"
    (tree / "DEBIAN/control").write_text(control)
    if conffile:
        (tree / "etc").mkdir()
        (tree / "etc" / f"{name}.conf").write_text("x\n")
        (tree / "DEBIAN/conffiles").write_text(f"/etc/{name}.conf\n")
    deb = repo / f"{name}_{version}_all.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "--build", tree, deb], check=True, capture_output=True)
    data = deb.read_bytes()
    return f"{control}Filename: ./{deb.name}\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"


APT_CONF = """
Dir "{root}";
Dir::State::status "{root}/var/lib/dpkg/status";
Dir::Bin::dpkg "/usr/bin/dpkg";
Dir::Bin::methods "/usr/lib/apt/methods";
APT::Sandbox::User "root";
DPkg::Options:: "--root={root}";
DPkg::Options:: "--log=/dev/null";
DPkg::Path "";
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with packages that depend on one another, in two versions."""
    repo = tmp_path_factory.mktemp("repo")
    rows = [
        build(repo, "ptest-lib", "1.0"),
        build(repo, "ptest-lib", "1:1.1~rc1"),
        build(repo, "ptest-app", "2.0-1", "ptest-lib (>= 1.0)", conffile=True),
        build(repo, "ptest-app", "2.1-1", "ptest-lib (>= 1.0)", conffile=True),
        build(repo, "ptest-bad", "1", "ptest-nowhere"),
    ]
    (repo / "Packages").write_text("".join(rows))
    return repo


@pytest.fixture
def packages(shell: list[str], repository: Path, tmp_path: Path) -> Device:
    """A root of its own for dpkg and apt, its lists read."""
    root = tmp_path / "root"
    for folder in (
        "etc/apt/apt.conf.d",
        "etc/apt/preferences.d",
        "etc/apt/trusted.gpg.d",
        "var/lib/apt/lists/partial",
        "var/cache/apt/archives/partial",
        "var/lib/dpkg/updates",
        "var/lib/dpkg/info",
        "var/log/apt",
    ):
        (root / folder).mkdir(parents=True)
    (root / "var/lib/dpkg/status").touch()
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{repository} ./\n")
    (tmp_path / "apt.conf").write_text(APT_CONF.format(root=root))
    device = Device(shell, {"APT_CONFIG": str(tmp_path / "apt.conf"), "DPKG_ROOT": str(root)})
    done = device.run("apt-get update")
    assert done.returncode == 0, done.stderr
    return device


def versions(device: Device, *names: str) -> list[str | None]:
    """Return what is installed."""
    return [device.look(Package(name)).version for name in names]


@needs_apt
def test_packages_are_installed_as_announced(packages: Device) -> None:
    """The dry run names every package and version that apt then installs, and a second plan is empty."""
    plan = packages.converge(Apt(packages=("ptest-app=2.0*",)))
    assert shown(plan) == ["install ptest-app 2.0-1", "install 1 more: ptest-lib 1:1.1~rc1"]
    assert versions(packages, "ptest-app", "ptest-lib") == ["2.0-1", "1:1.1~rc1"]
    for task in (
        Apt(packages=("ptest-app=2.0*",)),
        Apt(packages=("ptest-app",), update_cache=True),
        Apt(packages=("ptest-lib",), state="latest"),
        Apt(packages=("ptest-none",), state="absent"),
    ):
        assert not packages.plan(task).effects
    plan = packages.converge(Apt(packages=("ptest-app",), state="latest"))
    assert shown(plan) == ["upgrade ptest-app 2.0-1 -> 2.1-1"]
    plan = packages.plan(Apt(packages=("ptest-app=2.0-1",)))
    assert plan.failed == "apt would downgrade ptest-app 2.1-1 -> 2.0-1"
    packages.converge(Apt(packages=("ptest-app=2.0-1",), allow_downgrade=True))
    plan = packages.converge(Apt(upgrade="yes"))
    assert shown(plan) == ["upgrade ptest-app 2.0-1 -> 2.1-1"]
    assert not packages.plan(Apt(upgrade="dist")).effects


TEARS = """#!/bin/sh
# Ends dpkg at once, and all that called it, the first time that it unpacks one of these; else it is dpkg-deb.
case $* in *--fsys-tarfile*{name}_*)
  if mkdir {done} 2>/dev/null; then
    read -r _ _ _ apt _ </proc/$PPID/stat
    kill -9 "$apt" "$PPID"
    exit 1
  fi
esac
exec /usr/bin/dpkg-deb "$@"
"""


def torn(packages: Device, tmp_path: Path, name: str, task: TaskType) -> None:
    """Apply a task that ends as if the power went while dpkg unpacks a package."""
    program = tmp_path / "torn" / "dpkg-deb"
    program.parent.mkdir()
    program.write_text(TEARS.format(name=name, done=tmp_path / "torn" / name))
    program.chmod(0o755)
    before = packages.env["PATH"]
    packages.env["PATH"] = f"{program.parent}:{before}"
    plan = packages.plan(task)
    assert packages.apply(plan.effects[0]).returncode != 0
    packages.env["PATH"] = before


@needs_apt
@pytest.mark.parametrize("by_hand", [False, True], ids=["left", "by-hand"])
@pytest.mark.parametrize("name", ["ptest-lib", "ptest-app"])
def test_what_the_power_tore_is_finished(packages: Device, tmp_path: Path, name: str, by_hand: bool) -> None:
    """A package that was half unpacked when the power went, even if dpkg was called since, is whole afterwards."""
    install = Apt(packages=("ptest-app=2.0-1",))
    torn(packages, tmp_path, name, install)
    assert packages.look(Package(name)).status == "half-installed"
    if by_hand:
        packages.run("dpkg --configure -a")
        assert f"finish installing {name}" in "\n".join(shown(packages.plan(install))).replace("1 more: ", "")
    packages.converge(install)
    assert versions(packages, "ptest-app", "ptest-lib") == ["2.0-1", "1:1.1~rc1"]


@needs_apt
def test_what_needs_a_torn_package_is_finished_with_it(packages: Device, tmp_path: Path) -> None:
    """Where apt went on and left what needs a torn package unconfigured, the next apply heals both."""
    install = Apt(packages=("ptest-app=2.0-1",))
    torn(packages, tmp_path, "ptest-lib", install)
    packages.run(
        'rm -f "$DPKG_ROOT"/var/lib/dpkg/updates/tmp.i; dpkg --configure -a; apt-get -y install ptest-app=2.0-1'
    )
    assert [packages.look(Package(one)).status for one in ("ptest-app", "ptest-lib")] == ["unpacked", "half-installed"]
    packages.converge(install)
    assert versions(packages, "ptest-app", "ptest-lib") == ["2.0-1", "1:1.1~rc1"]


@needs_apt
def test_what_was_torn_in_an_upgrade_is_finished(packages: Device, tmp_path: Path) -> None:
    """A package that was torn in an upgrade, and is held, is finished before anything else is done with it."""
    packages.converge(Apt(packages=("ptest-app=2.0-1",)))
    packages.converge(DpkgSelections(package="ptest-app", selection="hold"))
    latest = Apt(packages=("ptest-app",), state="latest", allow_change_held_packages=True)
    torn(packages, tmp_path, "ptest-app", latest)
    assert packages.look(Package("ptest-app")).status == "half-installed"
    packages.converge(latest)
    assert versions(packages, "ptest-app") == ["2.1-1"]


@needs_apt
def test_what_was_torn_can_be_removed(packages: Device, tmp_path: Path) -> None:
    """Dpkg removes no package that it was interrupted in unpacking; it is finished, and then goes."""
    torn(packages, tmp_path, "ptest-app", Apt(packages=("ptest-app",)))
    packages.run("dpkg --configure -a")
    packages.converge(Apt(packages=("ptest-app",), state="absent", purge=True))
    assert versions(packages, "ptest-app") == [None]


@needs_apt
def test_packages_are_removed_with_what_needs_them(packages: Device) -> None:
    """Removal names what goes along; purge takes configuration, and autoremove what nobody needs."""
    packages.converge(Apt(packages=("ptest-app",)))
    assert shown(packages.plan(Apt(packages=("ptest-lib",), state="absent"))) == [
        "remove ptest-app 2.1-1",
        "remove ptest-lib 1:1.1~rc1",
    ]
    packages.converge(Apt(packages=("ptest-app",), state="absent"))
    assert packages.look(Package("ptest-app")) == PackageState(status="config-files", selection="deinstall")
    assert not packages.plan(Apt(packages=("ptest-app",), state="absent")).effects
    packages.converge(Apt(packages=("ptest-app",), state="absent", purge=True))
    assert packages.look(Package("ptest-app")) == PackageState()
    assert shown(packages.converge(Apt(autoremove=True))) == ["remove ptest-lib 1:1.1~rc1"]


@needs_apt
def test_holds_are_set_and_respected(packages: Device) -> None:
    """A held package is not changed unless that is allowed."""
    plan = packages.plan(DpkgSelections(package="ptest-app", selection="hold"))
    assert plan.failed == "Failed to find package 'ptest-app' to perform selection 'hold'."
    packages.converge(Apt(packages=("ptest-app=2.0-1",)))
    packages.converge(DpkgSelections(package="ptest-app", selection="hold"))
    assert packages.look(Package("ptest-app")).held
    assert not packages.plan(DpkgSelections(package="ptest-app", selection="hold")).effects
    latest = Apt(packages=("ptest-app",), state="latest")
    plan = packages.plan(latest)
    assert plan.failed == "apt would change ptest-app, held", plan
    assert not packages.plan(Apt(upgrade="yes")).effects
    packages.converge(Apt(packages=("ptest-app",), state="latest", allow_change_held_packages=True))
    assert versions(packages, "ptest-app") == ["2.1-1"]


@needs_apt
def test_what_apt_cannot_do_is_said_in_its_words(packages: Device) -> None:
    """Unknown packages and unmet dependencies fail before anything is touched."""
    assert packages.plan(Apt(packages=("ptest-none",))).failed == "No package matching 'ptest-none' is available"
    failed = packages.plan(Apt(packages=("ptest-bad",))).failed or ""
    assert "ptest-bad : Depends: ptest-nowhere but it is not installable" in failed
    assert "'9*' for 'ptest-app' was not found" in (packages.plan(Apt(packages=("ptest-app=9*",))).failed or "")


@needs_apt
def test_an_update_and_an_install_are_one_effect(packages: Device, repository: Path) -> None:
    """What comes after an update has versions that are known afterwards."""
    plan = packages.converge(Apt(packages=("ptest-app",), update_cache=True))
    assert shown(plan) == ["apt-get update", "install ptest-app (version known after 'apt-get update')"]
    assert len(plan.effects) == 1
    assert not packages.plan(Apt(packages=("ptest-app",), update_cache=True)).effects


@needs_apt
def test_an_update_that_fails_fails_the_task(packages: Device, tmp_path: Path) -> None:
    """A source that cannot be read is an error, not an old list in silence."""
    (tmp_path / "root/etc/apt/sources.list").write_text("deb [trusted=yes] file:/nowhere ./\n")
    effect = packages.plan(Apt(packages=("ptest-app",), update_cache=True)).effects[0]
    done = packages.apply(effect)
    assert done.returncode != 0
    assert "/nowhere" in done.stderr


@needs_apt
def test_apt_waits_for_the_lock_and_names_who_holds_it(shell: list[str], tmp_path: Path) -> None:
    """Another process at dpkg's lock is waited for as long as asked, and then named."""
    lock = Path("/var/lib/dpkg/lock-frontend")
    code = (
        f"import fcntl,time; f=open('{lock}','r+'); fcntl.lockf(f, fcntl.LOCK_EX)\nprint(1, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(["python3", "-c", code], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            holder.stdout.readline()
            device = Device(shell)
            state = device.look(DpkgLock())
            if state.holder is None:
                pytest.skip("/proc/locks does not show this machine's locks")
            assert state.holder == f"process {holder.pid} (python3)"
            effect = Device(shell, {"PATH": os.environ["PATH"]}).plan(Apt(packages=("ptest-none",), update_cache=True))
            done = device.run(
                "".join(s.definition for s in with_needs([effect.effects[0].script])) + "dpkg_lock_wait 1"
            )
            assert done.returncode == 1
            assert f"process {holder.pid} (python3) holds the lock of dpkg" in done.stderr
            assert "said: waiting for process" in done.stderr
        finally:
            holder.kill()


@needs_apt
def test_a_transaction_that_is_done_is_not_simulated(packages: Device, tmp_path: Path) -> None:
    """Where dpkg shows that there is nothing to do, apt is not asked: it costs a second."""
    packages.converge(Apt(packages=("ptest-app",)))
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "apt-get").write_text("#!/bin/sh\necho 'E: asked' >&2; exit 1\n")
    (tools / "apt-get").chmod(0o755)
    packages.env["PATH"] = f"{tools}:{packages.env['PATH']}"
    right = AptTransaction("install", "", ("ptest-app=2.*", "ptest-lib"))
    assert packages.look(right) == AptTransactionState(nothing=True)
    assert packages.look(AptTransaction("install", "", ("ptest-app=1*",))).error == "E: asked"


# Units: systemd does not run in a container, so systemctl is played.

SYSTEMCTL = r"""#!/bin/sh
# Plays systemctl for the units in $UNITS: a file for each, with its properties; some names stop it, as the real one.
printf '%s\n' "$*" >>"$UNITS/.calls"
verb=$1; shift
set_to() { sed -i "s/^$1=.*/$1=$2/" "$UNITS/$unit"; }
case $verb in
show)
  while [ $# -gt 0 ]; do
    case $1 in --no-pager) shift ;; -p) wanted=$2; shift 2 ;; *) break ;; esac
  done
  first=yes
  for unit do
    case $unit in
    '*') set -- ; for f in "$UNITS"/*; do [ "$first" = yes ] || echo; first=no; cat "$f"; done; exit ;;
    stop@x.service) echo 'Failed to get properties' >&2; exit 1 ;;
    esac
    [ "$first" = yes ] || echo
    first=no
    if [ -e "$UNITS/$unit" ]; then cat "$UNITS/$unit"
    else printf 'Id=%s\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n' "$unit"; echo NeedDaemonReload=no
    fi
  done ;;
start | restart)
  unit=$1
  if grep -q '^Bad=yes' "$UNITS/$unit"; then set_to ActiveState failed; echo "Job for $unit failed" >&2; exit 1; fi
  set_to ActiveState active; set_to SubState running; set_to InvocationID "$(cat /proc/sys/kernel/random/uuid)" ;;
stop) unit=$1; set_to ActiveState inactive; set_to SubState dead ;;
enable) unit=$1; set_to UnitFileState enabled ;;
disable) unit=$1; set_to UnitFileState disabled ;;
mask) unit=$1; set_to UnitFileState masked; set_to LoadState masked ;;
unmask) unit=$1; set_to UnitFileState disabled; set_to LoadState loaded ;;
daemon-reload) for unit in $(ls "$UNITS"); do set_to NeedDaemonReload no; done ;;
status) echo "$3 - played" ;;
esac
"""

UNIT = """Id={name}
LoadState=loaded
ActiveState={active}
SubState={sub}
UnitFileState={file}
NeedDaemonReload={reload}
InvocationID=aaaa
Type={type}
RemainAfterExit=no
Bad={bad}
"""


def add_unit(units: Path, name: str, **fields: str) -> None:
    """Give the played systemd a unit."""
    given = {"active": "inactive", "sub": "dead", "file": "disabled", "reload": "no", "type": "notify", "bad": "no"}
    (units / name).write_text(UNIT.format(**{**given, **fields, "name": name}))


@pytest.fixture
def units(shell: list[str], tmp_path: Path) -> tuple[Device, Path]:
    """A device whose systemctl is played."""
    tools, folder = tmp_path / "tools", tmp_path / "units"
    tools.mkdir()
    folder.mkdir()
    (tools / "systemctl").write_text(SYSTEMCTL)
    (tools / "systemctl").chmod(0o755)
    return Device(shell, {"PATH": f"{tools}:{os.environ['PATH']}:/usr/sbin", "UNITS": str(folder)}), folder


def test_a_service_is_started_enabled_and_restarted(units: tuple[Device, Path]) -> None:
    """Each wish is one effect, and a restart shows in its witness."""
    device, folder = units
    add_unit(folder, "docker.service")
    plan = device.converge(Service(unit="docker", state="started", enabled=True))
    assert shown(plan) == ["docker.service: enable", "docker.service: start"]
    assert not device.plan(Service(unit="docker", state="started", enabled=True)).effects
    assert shown(device.converge(Service(unit="docker", state="restarted"))) == ["docker.service: restart"]
    device.converge(Service(unit="docker", state="reloaded"))
    device.converge(Service(unit="docker", state="stopped", enabled=False))
    device.converge(Systemd(unit="docker", masked=True))
    assert device.plan(Service(unit="docker", state="started")).failed == "docker.service is masked"
    device.converge(Systemd(unit="docker", masked=False, state="started"))


def test_a_daemon_reload_runs_where_it_is_needed(units: tuple[Device, Path]) -> None:
    """It rides before a restart, or alone; a second run has nothing to do."""
    device, folder = units
    add_unit(folder, "docker.service", reload="yes", active="active", sub="running")
    task = Systemd(unit="docker", state="started", daemon_reload=True)
    assert shown(device.converge(task)) == ["docker.service: daemon-reload"]
    assert not device.plan(task).effects
    add_unit(folder, "docker.service", reload="yes")
    assert shown(device.converge(Systemd(daemon_reload=True))) == ["systemctl daemon-reload"]
    assert not device.plan(Systemd(daemon_reload=True)).effects


def test_a_unit_that_fails_says_its_last_words(units: tuple[Device, Path]) -> None:
    """A service that does not come up fails the task, and systemd's own words are on stderr."""
    device, folder = units
    add_unit(folder, "docker.service", bad="yes")
    done = device.apply(device.plan(Service(unit="docker", state="started")).effects[0])
    assert done.returncode == 1
    assert "Job for docker.service failed" in done.stderr
    assert (
        device.plan(Service(unit="nothing", state="started")).failed == "Could not find the requested service nothing"
    )


def test_units_are_looked_at_in_one_call(units: tuple[Device, Path]) -> None:
    """One systemctl answers for all; states on their way are normalised; one that stops it costs the others nothing."""
    device, folder = units
    add_unit(folder, "a.service", active="activating", sub="start", file="static")
    add_unit(folder, "b.timer", active="activating", sub="auto-restart", reload="yes")
    texts = device.texts(Unit("a"), Unit("none"), Unit("foo@.service"), Unit("b.timer"))
    assert texts[0] == (
        "load_state=loaded\nactive_state=active\nunit_file_state=static\nneed_daemon_reload=no\n.invocation_id=aaaa"
    )
    assert UnitState.parse(texts[1]) == UnitState.parse(texts[2]) == UnitState()
    assert UnitState.parse(texts[3]).active_state == "failed"
    assert (folder / ".calls").read_text().count("show") == 1
    texts = device.texts(Unit("a"), Unit("stop@x"), Unit("b.timer"))
    assert [UnitState.parse(text).load_state for text in texts] == ["loaded", "not-found", "loaded"]
    assert device.look(UnitsStale()).stale == ("b.timer",)
    assert device.look(UnitRun("a")).invocation == "aaaa"


@pytest.mark.skipif(not Path("/run/systemd/system").is_dir(), reason="systemd does not run here; the lab plays it")
def test_a_real_unit_is_restarted(shell: list[str]) -> None:
    """On a machine with systemd the journal's own service is known."""
    assert Device(shell).look(Unit("systemd-journald")).active_state == "active"


def test_a_reboot_answers_before_it_happens(shell: list[str], tmp_path: Path) -> None:
    """The effect returns at once, and the device goes down a moment later, detached from the session."""
    for name in ("systemctl", "wall"):
        (tmp_path / name).write_text(f"#!/bin/sh\ncat >/dev/null; echo {name} $* >>{tmp_path}/calls\n")
        (tmp_path / name).chmod(0o755)
    device = Device(shell, {"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    effect = Reboot(msg="It's time").plan(View(probed={BootId(): device.look(BootId())}), CTX).effects[0]
    assert effect.ends_session
    done = device.apply(effect)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "calls").read_text() == "wall\n"
    wait_for(tmp_path / "calls", "systemctl reboot")


def wait_for(path: Path, text: str) -> None:
    """Wait until a file holds a text."""
    subprocess.run(["timeout", "20", "sh", "-c", f"until grep -q '{text}' {path}; do sleep 0.2; done"], check=True)
