"""Laws of Jetson's own tasks, as plans over views made by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from taskviews import absent, context, file, folder, plan, shown, view

from provisioner.errors import NotYetKnown
from provisioner.jetson.facts import HostFacts, facts_from
from provisioner.jetson.images import ImageCatalogue, familiar
from provisioner.jetson.observed import FACTS_VARIABLE
from provisioner.jetson.pins import LockFile, Pin
from provisioner.jetson.registry import Platform, Resolved, TagNotFound
from provisioner.jetson.verify import SCRIPT
from provisioner.model import NeedLook, Observable, Plan, Ran, State, TaskType, Unknown, View
from provisioner.observables.docker import ContainersState, DockerDaemon, DockerState, RunningContainers
from provisioner.observables.file import File, FileState
from provisioner.observables.image import ContainerImage, ImageState, ImageUsers, ImageUsersState
from provisioner.observables.package import (
    AptCache,
    AptCacheState,
    AptTransaction,
    AptTransactionState,
    DpkgLock,
    DpkgLockState,
    Package,
    PackageState,
)
from provisioner.observables.preflight import Clock, ClockState, DiskSpace, Names, NamesState, SpaceState
from provisioner.observables.unit import Unit, UnitRun, UnitState
from provisioner.tasks.docker_runtime import CONFIG, DROP_IN, DockerRuntime
from provisioner.tasks.jetson_checks import UPGRADES
from provisioner.tasks.jetson_common import RECORD
from provisioner.tasks.jetson_image import JetsonImage
from provisioner.tasks.jetson_packages import JetsonRuntimePackages, names_of, packages_of
from provisioner.tasks.jetson_preflight import JetsonPreflight
from provisioner.tasks.jetson_verify import JetsonVerify

if TYPE_CHECKING:
    from pathlib import Path

NOW = 1_800_000_000
OLD, NEW = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"
REFERENCE = "docker.io/dustynv/l4t-pytorch:r36.4.0"
NAME = "dustynv/l4t-pytorch:r36.4.0"
APT, HUB = "repo.download.nvidia.com", "registry-1.docker.io"
NAMES = Names((APT, HUB), unless=RECORD)
NAMED = "nvcr.io/nvidia/pytorch:25.02-py3-igpu"
DONE = b"""\
{
    "runtimes": {
        "nvidia": {
            "path": "nvidia-container-runtime",
            "runtimeArgs": []
        }
    },
    "default-runtime": "nvidia"
}
"""
BARE = b'{\n    "debug": true\n}\n'


def jetson(l4t: str = "36.4.3", soc: str = "tegra234", **more: str) -> HostFacts:
    """Return the facts of a Jetson."""
    major, _, rest = l4t.partition(".")
    raw = {
        "kernel_arch": "aarch64",
        "userland_arch": "arm64",
        "compatible": f"nvidia,{soc}",
        "release_line": f"# R{major} (release), REVISION: {rest}, GCID: 1",
        "apt_sources": "sane",
    }
    return facts_from({**raw, **more})


def pin(digest: str = NEW, reference: str = REFERENCE) -> Pin:
    """Return a pin of the band 36.4, of 6 GB."""
    return Pin("l4t-pytorch", "36.4", reference, digest, digest, "linux/arm64", 6 * 10**9, "2026-01-01T00:00:00Z")


class NoRegistry:
    """A registry that must not be asked."""

    def resolve(self, reference: str, platform: Any) -> Any:
        """Fail."""
        raise AssertionError(f"{reference} was asked for")


@pytest.fixture
def images(tmp_path: Path) -> ImageCatalogue:
    """The images of a run whose lock file has a pin."""
    path = tmp_path / "lab.lock.yaml"
    LockFile(path).with_pin(pin()).save()
    return ImageCatalogue(path, registry=NoRegistry())


def given(images: ImageCatalogue | None = None, facts: HostFacts | None = None, **more: Any) -> dict[str, Any]:
    """Return the parts of a context that Jetson's tasks read."""
    services = {"now": lambda: float(NOW), **({"images": images} if images else {})}
    return {"facts": {FACTS_VARIABLE: facts or jetson()}, "services": services, **more}


def at(states: dict[Observable[Any], State], *files: FileState) -> View:
    """Return a view with these states, and these files."""
    seen = view(folder("/etc/docker"), folder("/etc/systemd/system"), *files)
    seen.probed.update(states)
    return seen


def installed(version: str = "1", *, hold: bool = False) -> PackageState:
    """Return a package that is there."""
    return PackageState(status="installed", version=version, selection="hold" if hold else "install")


def docker(**more: Any) -> DockerState:
    """Return a daemon that runs as it came."""
    base = DockerState(
        present=True,
        answers=True,
        version="27.5.1",
        default_runtime="runc",
        data_root="/var/lib/docker",
        driver="overlay2",
        live_restore=False,
        runtimes=("runc",),
    )
    return replace(base, **more)


READY = docker(default_runtime="nvidia", runtimes=("nvidia", "runc"))


def device(*, held: bool = True, done: bool = True, **more: State) -> dict[Observable[Any], State]:
    """Return a device that is done, or one that has nothing but its system."""
    facts = jetson()
    row = packages_of(facts)
    assert row is not None
    states: dict[Observable[Any], State] = {Package(name): PackageState() for name in (*names_of(row), *UPGRADES)}
    if done:
        for name in ("docker.io", *row.parts):
            states[Package(name)] = installed("27.5.1-0ubuntu1" if name == "docker.io" else "1", hold=held)
    present = ImageState(present=True, id="sha256:ab", architecture="arm64")
    states |= {
        DockerDaemon(): READY if done else DockerState(),
        RunningContainers(): ContainersState(rows=()),
        Unit("docker"): UnitState(load_state="loaded", active_state="active") if done else UnitState(),
        Clock(): ClockState(epoch=NOW),
        DpkgLock(): DpkgLockState(),
        DiskSpace("/var/lib/docker"): SpaceState(free=100 * 10**9),
        NAMES: NamesState(lost=()),
        ContainerImage(pin().pinned): present if done else ImageState(),
        ContainerImage(NAME): present if done else ImageState(),
        AptCache(): AptCacheState(lists=True, stamp=NOW, sources=0, now=NOW),
    }
    return states


def record(digest: str = NEW, superseded: tuple[str, ...] = ()) -> FileState:
    """Return the record of a device."""
    own = {"image": pin(digest).pinned, "reference": NAME, "band": "36.4"}
    old = [{"image": pin(one).pinned, "reference": NAME} for one in superseded]
    text = json.dumps({"images": {"l4t-pytorch": own}, "superseded": old}, indent=2, sort_keys=True) + "\n"
    return file(RECORD, text.encode())


# Preflight.


def preflight(
    images: ImageCatalogue, states: dict[Observable[Any], State], facts: HostFacts | None = None, **more: Any
) -> Plan:
    """Plan the preflight."""
    return plan(JetsonPreflight(**more), at(states), **given(images, facts))


def test_a_device_that_is_done_is_asked_for_nothing(images: ImageCatalogue) -> None:
    """With a wrong clock, a full disk, a held lock and a broken list of apt, what is done stays done."""
    states = device()
    states |= {
        Clock(): ClockState(epoch=0),
        DpkgLock(): DpkgLockState(holder="process 1 (unattended-upgr)"),
        DiskSpace("/var/lib/docker"): SpaceState(free=0),
    }
    planned = preflight(images, states, jetson(apt_sources="placeholder", first_boot_pending="yes"))
    assert planned.failed is None
    assert planned.result["missing"] == []


@pytest.mark.parametrize(
    ("change", "facts", "cause", "fix"),
    [
        ({Clock(): ClockState(epoch=NOW - 86400 * 230)}, {}, "230 days behind", "timedatectl"),
        ({Clock(): ClockState(epoch=NOW + 3600 * 3)}, {}, "3 hours ahead", "timedatectl"),
        ({DiskSpace("/var/lib/docker"): SpaceState(free=14 * 10**9)}, {}, "14.0 GB free", "data-root"),
        ({DpkgLock(): DpkgLockState(holder="process 7 (apt)")}, {}, "process 7 (apt) holds the lock", "wait"),
        ({}, {"apt_sources": "placeholder"}, "<SOC>", "deb https://repo.download.nvidia.com/jetson/t234 r36.4 main"),
        ({}, {"first_boot_pending": "yes"}, "first boot", "nv-oem-config"),
        (
            {Package(UPGRADES[0]): PackageState(status="half-configured", version="36.4.4")},
            {},
            "nvidia-l4t-bootloader is half-configured",
            "dpkg --configure -a",
        ),
    ],
)
def test_each_failure_has_its_cause_and_its_fix(
    images: ImageCatalogue,
    change: dict[Observable[Any], State],
    facts: dict[str, str],
    cause: str,
    fix: str,
) -> None:
    """One thing wrong is one message, with a hint at what mends it; nothing is touched."""
    planned = preflight(images, device(done=False) | change, jetson(**facts))
    assert cause in str(planned.failed)
    assert fix in str(planned.hint)
    assert not planned.effects


def test_several_failures_are_told_at_once(images: ImageCatalogue) -> None:
    """Each has a line with its fix, so that nobody has to come back for the second."""
    states = device(done=False) | {Clock(): ClockState(epoch=0), DiskSpace("/var/lib/docker"): SpaceState(free=1)}
    assert len(str(preflight(images, states).failed).splitlines()) == 2


def test_a_clock_a_little_off_and_enough_room_are_fine(images: ImageCatalogue) -> None:
    """2.5 times the compressed size is enough, and so is a clock within the tolerance."""
    states = device(done=False) | {
        Clock(): ClockState(epoch=NOW - 500),
        DiskSpace("/var/lib/docker"): SpaceState(free=15 * 10**9),
    }
    assert preflight(images, states).failed is None


def test_room_is_asked_for_where_docker_keeps_its_images(images: ImageCatalogue) -> None:
    """With another data-root that is the disk that counts; it takes one more look."""
    states = device() | {ContainerImage(pin().pinned): ImageState(), DockerDaemon(): replace(READY, data_root="/ssd")}
    with pytest.raises(NeedLook):
        preflight(images, states)
    states[DiskSpace("/ssd")] = SpaceState(free=10**9)
    assert "/ssd has 1.0 GB free" in str(preflight(images, states).failed)


def test_a_silent_daemon_is_no_missing_image(images: ImageCatalogue) -> None:
    """Where Docker does not answer nobody knows whether the image is there: no room is asked for it, and that is told.

    The daemon may be silent as a whole, or only when it was asked for the image.
    """
    silent = {ContainerImage(pin().pinned): ImageState(answers=False), DiskSpace("/var/lib/docker"): SpaceState(free=0)}
    for daemon in (DockerState(present=True), READY):
        planned = preflight(images, device() | {DockerDaemon(): daemon} | silent)
        assert planned.failed is None
        assert isinstance(planned.result["image_missing"], Unknown)
        assert "Docker does not answer" in " ".join(planned.warnings)


@pytest.mark.parametrize("task", [JetsonPreflight(image=NAMED), JetsonImage(image=NAMED), JetsonVerify(image=NAMED)])
def test_an_image_of_another_name_is_not_taken_for_the_one_asked_for(images: ImageCatalogue, task: TaskType) -> None:
    """Where the band is pinned to another image, none of the tasks counts, pulls or runs that one in its place."""
    planned = plan(task, at(device(), record()), **given(images))
    assert "was asked for by name" in str(planned.failed)
    assert not planned.effects


def test_a_registry_whose_name_does_not_resolve_is_a_warning(images: ImageCatalogue) -> None:
    """It is told which of the names that are needed do not resolve; a proxy may know them all the same."""
    planned = preflight(images, device(done=False) | {NAMES: NamesState(lost=(HUB,))})
    assert planned.failed is None
    assert f"{HUB} cannot be looked up" in " ".join(planned.warnings)
    lost = {NAMES: NamesState(lost=(APT, HUB))}
    (only,) = preflight(images, device() | {ContainerImage(pin().pinned): ImageState()} | lost).warnings
    assert only.startswith(f"{HUB} cannot")
    assert not preflight(images, device() | lost).warnings
    assert not preflight(images, device(done=False) | {NAMES: NamesState(lost=None)}).warnings


def test_names_are_asked_for_in_the_first_look(images: ImageCatalogue, tmp_path: Path) -> None:
    """Before a registry was asked it is known whose names a device will need: they cost no look of their own."""
    new = ImageCatalogue(tmp_path / "new.lock.yaml", registry=NoRegistry())
    for known in (images, new):
        assert NAMES in tuple(JetsonPreflight().looks_at(context(**given(known))))


@pytest.mark.parametrize("state", ["missing", "commented"])
def test_an_apt_list_without_nvidias_lines_is_a_warning(images: ImageCatalogue, state: str) -> None:
    """The lines that should be there are told while a package of NVIDIA's is missing, and not afterwards."""
    planned = preflight(images, device(done=False), jetson(apt_sources=state))
    assert planned.failed is None
    (told,) = planned.warnings
    assert "nvidia-container-toolkit" in told
    assert "deb https://repo.download.nvidia.com/jetson/t234 r36.4 main" in told
    assert not preflight(images, device(), jetson(apt_sources=state)).warnings


@pytest.mark.parametrize("task", [JetsonPreflight(), JetsonImage(), JetsonVerify()])
def test_a_host_that_nothing_runs_on_is_refused_with_the_reason(images: ImageCatalogue, task: TaskType) -> None:
    """A host of a foreign architecture is told what the refusal spares it, without a registry and without a look."""
    planned = plan(task, View(), **given(images, facts_from({"kernel_arch": "riscv64"})))
    assert "exec format error" in str(planned.failed)
    assert planned.hint
    assert not planned.effects


def test_without_facts_nothing_is_guessed(images: ImageCatalogue) -> None:
    """A task that needs the facts waits for them."""
    with pytest.raises(NotYetKnown):
        JetsonPreflight().plan(View(), context(services={"images": images}))


# Packages.


def packages(states: dict[Observable[Any], State], **more: Any) -> Plan:
    """Plan the packages."""
    return plan(JetsonRuntimePackages(), at(states), **given(**more))


def test_packages_that_are_there_and_held_are_left_alone() -> None:
    """Nothing is looked up with apt where nothing is missing."""
    assert not packages(device()).effects


def test_packages_that_are_not_held_are_held() -> None:
    """The hold is predicted exactly, package by package."""
    planned = packages(device(held=False))
    (effect,) = planned.effects
    assert effect.leaves[Package("docker.io")] == installed("27.5.1-0ubuntu1", hold=True)
    assert set(effect.values[1:]) == {
        "docker.io",
        "nvidia-container-toolkit",
        "nvidia-container-toolkit-base",
        "libnvidia-container-tools",
        "libnvidia-container1",
    }


def test_another_docker_is_kept() -> None:
    """Whoever has Docker's own packages keeps them: docker.io is not installed, and theirs are held."""
    states = device()
    states[Package("docker.io")] = PackageState()
    states |= {Package(name): installed("5:27.5.1-1") for name in ("docker-ce", "docker-ce-cli", "containerd.io")}
    planned = packages(states)
    (effect,) = planned.effects
    assert effect.values[1:] == ("docker-ce", "docker-ce-cli", "containerd.io")
    assert planned.result["engine"] == "docker-ce"


def test_a_docker_without_a_package_is_kept() -> None:
    """A docker that answers without a package of apt is nobody's to replace."""
    states = device()
    states[Package("docker.io")] = PackageState()
    assert not packages(states).effects


TRANSACTION = AptTransactionState(
    installs=("docker.io=28.2.2-0ubuntu1", "libnvidia-container1=1.16.2-1", "nvidia-container-toolkit=1.16.2-1")
)


def test_what_is_missing_is_one_transaction_and_then_held() -> None:
    """Only what the transaction brings is held, each in the version that it will have."""
    states = device(done=False)
    states[AptTransaction("install", "", ("docker.io", "nvidia-container-toolkit"))] = TRANSACTION
    install, hold = packages(states).effects
    assert install.values[-2:] == ("docker.io", "nvidia-container-toolkit")
    assert hold.leaves[Package("libnvidia-container1")] == installed("1.16.2-1", hold=True)
    assert set(hold.values[1:]) == {"docker.io", "nvidia-container-toolkit", "libnvidia-container1"}


def test_with_old_lists_what_may_come_along_is_held_as_well() -> None:
    """Where only an update can tell what comes, the hold takes what came, so that a second run has nothing to do."""
    states = device(done=False)
    states[AptTransaction("install", "", ("docker.io", "nvidia-container-toolkit"))] = TRANSACTION
    states[AptCache()] = AptCacheState(lists=True, stamp=NOW - 10 * 86400, sources=0, now=NOW)
    install, hold = packages(states).effects
    assert install.values[1] == "update"
    assert hold.leaves[Package("docker.io")].selection == "hold"  # type: ignore[attr-defined]
    assert isinstance(hold.leaves[Package("libnvidia-container1")].selection, Unknown)  # type: ignore[attr-defined]


def test_a_mirror_without_the_meta_package_gets_its_parts() -> None:
    """On JetPack 5, where apt does not know nvidia-container, what it stands for is installed."""
    facts = jetson("35.4.1", "tegra194")
    row = packages_of(facts)
    assert row is not None
    states = device() | {Package(name): PackageState() for name in names_of(row)}
    states[Package("docker.io")] = installed("24", hold=True)
    error = AptTransactionState(error="E: Unable to locate package nvidia-container")
    states[AptTransaction("install", "", ("nvidia-container",))] = error
    items = tuple(f"{name}=1" for name in row.parts)
    states[AptTransaction("install", "", row.parts)] = AptTransactionState(installs=items)
    install, _ = packages(states, facts=facts).effects
    assert set(install.values[-len(row.parts) :]) == set(row.parts)


def test_a_package_that_nobody_has_is_a_hint_at_the_list_of_apt() -> None:
    """Where NVIDIA's list is commented out, the hint has the lines that belong there."""
    states = device(done=False)
    error = AptTransactionState(error="E: Unable to locate package nvidia-container-toolkit")
    row = packages_of(jetson())
    assert row is not None
    for names in (row.runtime, row.parts):
        states[AptTransaction("install", "", ("docker.io", *names))] = error
    planned = packages(states, facts=jetson(apt_sources="commented"))
    assert planned.failed
    assert "t234 r36.4 main" in str(planned.hint)


# Docker's runtime.


def runtime(states: dict[Observable[Any], State], *files: FileState, **more: Any) -> Plan:
    """Plan the runtime; what is not given as a file is not there."""
    there = {one.real for one in files}
    rest = [absent(path) for path in (CONFIG, DROP_IN) if path not in there]
    drop_in = folder("/etc/systemd/system/docker.service.d")
    return plan(DockerRuntime(), at(states, *files, *rest, drop_in), **given(**more))


def test_a_daemon_that_runs_as_its_file_says_is_left_alone() -> None:
    """Nothing is written and nothing restarted."""
    planned = runtime(device(), file(CONFIG, DONE))
    assert not planned.effects
    assert planned.result["restarted"] is False


def test_a_file_that_changes_is_kept_and_docker_restarted() -> None:
    """One effect: the file, its backup, and a daemon whose default is the runtime; with a witness of the restart."""
    states = device() | {DockerDaemon(): docker()}
    (effect,) = runtime(states, file(CONFIG, BARE)).effects
    assert json.loads(effect.leaves[File(CONFIG)].content)["debug"] is True  # type: ignore[attr-defined]
    (backup,) = [one for one in effect.leaves if isinstance(one, File) and one.path.endswith("~")]
    assert effect.leaves[backup].content == BARE  # type: ignore[attr-defined]
    left = effect.leaves[DockerDaemon()]
    assert isinstance(left, DockerState)
    assert left.default_runtime == "nvidia"
    assert left.known_fields() == ("present", "answers", "default_runtime")
    assert effect.witness == UnitRun("docker")


def test_a_file_that_was_changed_by_hand_and_never_read_is_a_restart() -> None:
    """The daemon is what counts: where it runs with another default than its file says, it is restarted."""
    states = device() | {DockerDaemon(): docker()}
    (effect,) = runtime(states, file(CONFIG, DONE)).effects
    assert effect.values[8] == ""
    assert "it runs with another configuration" in shown(Plan(effects=(effect,)))[0]


def test_a_daemon_that_does_not_answer_is_started() -> None:
    """A daemon that is down gets the file and is started."""
    states = device() | {DockerDaemon(): DockerState(present=True)}
    planned = runtime(states, file(CONFIG, DONE))
    assert "start Docker" in shown(planned)


WEB = ContainersState(rows=("11|web|nginx:1|",))
OWN = ContainersState(rows=(f"11|train|{NAME}|a=b,provision=yes", "22|labelled|x|provision=yes"))
USERS = ContainersState(rows=(f"11|train|{NAME}|", f"22|other|{pin().pinned}|provision=no,reprovision=yes"))


def test_containers_that_are_not_ours_are_not_stopped() -> None:
    """Without --allow-restart the plan fails and names them; with it the dry run names what it stops."""
    states = device() | {DockerDaemon(): docker(), RunningContainers(): WEB}
    refused = runtime(states, file(CONFIG, BARE))
    assert "web" in str(refused.failed)
    assert "--allow-restart" in str(refused.hint)
    allowed = runtime(states, file(CONFIG, BARE), options={"allow_restart": True})
    assert "this stops the container web (nginx:1)" in shown(allowed)


def test_containers_of_ours_may_be_stopped(images: ImageCatalogue) -> None:
    """A container with our label is stopped, and named; no other one that starts meanwhile is."""
    states = device() | {DockerDaemon(): docker(), RunningContainers(): OWN}
    planned = runtime(states, file(CONFIG, BARE), images=images)
    assert planned.effects[0].values[2] == "11 22"
    assert f"this stops the container train ({NAME})" in shown(planned)


def test_a_container_is_not_ours_for_the_image_that_it_uses(images: ImageCatalogue) -> None:
    """Only the label of our own command makes a container ours: the pinned image is there for people to use."""
    states = device() | {DockerDaemon(): docker(), RunningContainers(): USERS}
    refused = runtime(states, file(CONFIG, BARE), images=images)
    assert "train, other" in str(refused.failed)
    assert not refused.effects


def test_why_docker_did_not_take_it_comes_first() -> None:
    """The message is the device's own words, cause first; what has become of it is the hint."""
    finish = runtime(device() | {DockerDaemon(): docker()}, file(CONFIG, BARE)).finish
    assert finish is not None
    said = "failed to start daemon: no\nthe old files are back in place, and Docker runs with them\n"
    told = finish(Ran(1, "", said))
    assert told["msg"] == "failed to start daemon: no"
    assert told["hint"].startswith("the old files are back in place, and Docker runs with them; ")
    assert finish(Ran(0, "", "a warning")) == {}
    refused = "dockerd refuses the new configuration, and x was left as it is:\nno\n"
    assert CONFIG in finish(Ran(1, "", refused))["hint"]
    meanwhile = "a container was started meanwhile, and a restart of Docker would stop it: 22\n"
    assert finish(Ran(1, "", meanwhile))["hint"] == "--allow-restart allows it"


def test_a_silent_daemon_that_is_started_may_have_any_image(images: ImageCatalogue) -> None:
    """What depends on the images of a daemon that is yet to be started is assumed, and never without reservation."""
    silent = ImageState(answers=False)
    states = device() | {DockerDaemon(): DockerState(present=True), ContainerImage(pin().pinned): silent}
    seen = at(states, file(CONFIG, DONE), absent(DROP_IN), folder("/etc/systemd/system/docker.service.d"))
    assert plan(DockerRuntime(), seen, **given(images)).effects
    with pytest.raises(NotYetKnown, match="known once Docker answers"):
        plan(JetsonVerify(), seen, **given(images))
    assert list(seen.assumed) == ["it"]


def test_live_restore_lets_containers_live() -> None:
    """A daemon that lets containers outlive it may be restarted."""
    states = device() | {DockerDaemon(): docker(live_restore=True), RunningContainers(): WEB}
    planned = runtime(states, file(CONFIG, BARE))
    assert planned.effects
    assert not any("stops" in line for line in shown(planned))


@pytest.mark.parametrize("content", [b'{\n  "a": 1,\n}\n', b"[]", b'{"runtimes": 1}', b"# x\n"])
def test_a_file_that_docker_would_not_read_is_left_alone(content: bytes) -> None:
    """The plan fails with the place, and has no effect."""
    planned = runtime(device() | {DockerDaemon(): docker()}, file(CONFIG, content))
    assert CONFIG in str(planned.failed)
    assert planned.hint
    assert not planned.effects


def test_docker_28_on_r36_gets_its_drop_in() -> None:
    """The version that is installed counts, planned or there; with the drop-in in place nothing is left to do."""
    states = device() | {Package("docker.io"): installed("28.2.2-0ubuntu1~22.04.1", hold=True)}
    (effect,) = runtime(states, file(CONFIG, DONE)).effects
    content = effect.leaves[File(DROP_IN)].content  # type: ignore[attr-defined]
    assert b'Environment="DOCKER_INSECURE_NO_IPTABLES_RAW=1"' in content
    assert not runtime(states, file(CONFIG, DONE), file(DROP_IN, content)).effects
    assert not runtime(states, file(CONFIG, DONE), facts=jetson("39.2.1", "tegra264")).effects


def test_a_docker_without_a_cure_is_a_warning() -> None:
    """Docker 28.0.0 has no switch for it: that is told, and nothing is done about it."""
    states = device() | {Package("docker.io"): installed("28.0.0-1", hold=True)}
    planned = runtime(states, file(CONFIG, DONE))
    assert not planned.effects
    assert planned.warnings


def test_docker_that_is_planned_is_counted_on() -> None:
    """On a bare device the file and the restart are planned in one go with the packages before them."""
    states = device(done=False)
    states[AptTransaction("install", "", ("docker.io", "nvidia-container-toolkit"))] = TRANSACTION
    seen = at(states, absent(CONFIG), absent(DROP_IN), folder("/etc/systemd/system/docker.service.d"))
    plan(JetsonRuntimePackages(), seen, **given())
    planned = plan(DockerRuntime(), seen, **given())
    assert planned.failed is None
    assert File(DROP_IN) in planned.effects[0].leaves
    assert seen.assumed
    assert not plan(DockerRuntime(), seen, **given()).effects


def test_without_docker_there_is_nothing_to_configure() -> None:
    """A device without Docker, and none planned, is told so."""
    assert runtime(device(done=False)).failed == "Docker is not installed"


# The image.


def image(images: ImageCatalogue, states: dict[Observable[Any], State], *files: FileState, **more: Any) -> Plan:
    """Plan the image."""
    there = [] if any(one.real == RECORD for one in files) else [absent(RECORD)]
    return plan(JetsonImage(), at(states, *files, *there), **given(images, **more))


def test_an_image_that_is_there_is_proved_and_nothing_is_done(images: ImageCatalogue) -> None:
    """A device that has the digest needs no registry, and what a user needs is registered."""
    planned = image(images, device(), record())
    assert not planned.effects
    assert planned.result["docker_run"] == f"docker run -it --rm --runtime nvidia {NAME}"
    assert planned.result["digest"] == NEW
    assert images._taken


def test_a_dry_run_proves_nothing(images: ImageCatalogue) -> None:
    """In a check nothing is noted for the lock file."""
    image(images, device(), record(), check=True)
    assert not images._taken


def test_a_missing_image_is_pulled_by_digest_tagged_and_recorded(images: ImageCatalogue) -> None:
    """Both names are predicted, the id is open; the pin counts once the device has said yes, and not before."""
    planned = image(images, device() | {ContainerImage(pin().pinned): ImageState(), ContainerImage(NAME): ImageState()})
    pull, written = planned.effects
    assert pull.values[:3] == (familiar(pin().pinned), NAME, "arm64")
    assert set(pull.leaves) == {ContainerImage(pin().pinned), ContainerImage(NAME)}
    assert pull.leaves[ContainerImage(NAME)].known_fields() == ("present", "answers", "architecture")
    assert written.leaves[File(RECORD)].content == record().content  # type: ignore[attr-defined]
    assert planned.finish is not None
    planned.finish(Ran(1, "", ""))
    assert not images._taken
    planned.finish(Ran(0, "", ""))
    assert images._taken


@pytest.mark.parametrize("daemon", [DockerState(present=True), READY])
def test_a_silent_daemon_leaves_the_image_open(images: ImageCatalogue, daemon: DockerState) -> None:
    """Where the daemon did not answer nobody knows whether the image is there: no pull is announced.

    An apply in which nothing starts it fails and says how; one that is to start it asks again afterwards.
    """
    silent = {one: ImageState(answers=False) for one in (ContainerImage(pin().pinned), ContainerImage(NAME))}
    with pytest.raises(NotYetKnown, match="known once Docker answers"):
        image(images, device() | {DockerDaemon(): daemon} | silent, record(), check=True)
    if daemon == READY:
        with pytest.raises(NotYetKnown, match="known once Docker answers"):
            image(images, device() | silent, record())
    else:
        told = image(images, device() | {DockerDaemon(): daemon} | silent, record())
        assert (told.failed, bool(told.hint)) == ("Docker does not answer", True)


def test_on_a_device_without_docker_the_pull_is_announced(images: ImageCatalogue) -> None:
    """Where Docker is yet to be installed there is no image, and the pull is assumed after the install."""
    states = device(done=False)
    states[AptTransaction("install", "", ("docker.io", "nvidia-container-toolkit"))] = TRANSACTION
    seen = at(states, absent(RECORD))
    plan(JetsonRuntimePackages(), seen, **given(images))
    assert plan(JetsonImage(), seen, **given(images)).effects[0].script.name == "pull_image"
    assert list(seen.assumed) == ["it"]


def test_an_image_that_was_asked_for_is_that_image_or_a_failure(images: ImageCatalogue) -> None:
    """A pin for another image fails the task and names both; the pinned one under any of its names is fine."""
    seen = at(device(), record())
    refused = plan(JetsonImage(image=NAMED), seen, **given(images))
    assert f"{NAMED} was asked for by name, and the band 36.4 is pinned to {NAME}" in str(refused.failed)
    assert refused.hint
    for name in (NAME, REFERENCE):
        assert not plan(JetsonImage(image=name), at(device(), record()), **given(images)).failed
    assert images._taken.keys() == {pin().key}


class OnlyOthers:
    """A registry that has every image but one."""

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return made-up digests, unless the tag is the missing one."""
        if reference.endswith(":mine"):
            raise TagNotFound(f"{reference}: no such tag")
        return Resolved(reference, NEW, NEW, "m", platform, 1000, (), NEW)


def test_an_image_that_was_asked_for_and_cannot_be_had_is_a_failure(tmp_path: Path) -> None:
    """No other image takes the place of one that was asked for by name, whether a dry run saw it or not."""
    asked = JetsonImage(image="dustynv/l4t-pytorch:mine")
    for check in (True, False):
        images = ImageCatalogue(tmp_path / "lab.lock.yaml", registry=OnlyOthers())
        refused = plan(asked, at(device(), record()), **given(images, check=check))
        assert "dustynv/l4t-pytorch:mine was asked for by name" in str(refused.failed)
        assert refused.hint
        assert not images._taken


def test_after_the_plan_there_is_nothing_left_to_do(images: ImageCatalogue) -> None:
    """Planned again over what the first plan leaves, the plan is empty."""
    states = device() | {ContainerImage(pin().pinned): ImageState(), ContainerImage(NAME): ImageState()}
    seen = at(states, absent(RECORD))
    assert plan(JetsonImage(), seen, **given(images)).effects
    assert not plan(JetsonImage(), seen, **given(images)).effects


def test_an_image_under_another_name_only_needs_the_tag(images: ImageCatalogue) -> None:
    """Digests are compared, not names: what came through a mirror is not pulled again."""
    states = device() | {ContainerImage(NAME): ImageState(present=True, id="sha256:other", architecture="arm64")}
    (tag,) = image(images, states, record()).effects
    assert tag.values == ("sha256:ab", NAME)
    assert tag.leaves[ContainerImage(NAME)].id == "sha256:ab"  # type: ignore[attr-defined]


def superseding(users: tuple[str, ...] | None = None) -> dict[Observable[Any], State]:
    """Return a device that has the new image, and an older one of ours."""
    old = ImageState(present=True, id="sha256:01d", architecture="arm64", digests=(f"dustynv/l4t-pytorch@{OLD}",))
    return device() | {
        ContainerImage(pin(OLD).pinned): old,
        ImageUsers("sha256:01d"): ImageUsersState(containers=users),
    }


def test_a_superseded_image_of_ours_is_removed(images: ImageCatalogue) -> None:
    """It goes once the new one is there, by its digest, and the record forgets it."""
    remove, written = image(images, superseding(), record(OLD)).effects
    assert remove.values == (f"dustynv/l4t-pytorch@{OLD}",)
    assert remove.leaves[ContainerImage(pin(OLD).pinned)] == ImageState()
    assert written.leaves[File(RECORD)].content == record().content  # type: ignore[attr-defined]


def test_a_superseded_image_in_use_stays_and_is_remembered(images: ImageCatalogue) -> None:
    """While a container uses it nothing is removed; that is told at each run, and changes nothing at the second."""
    planned = image(images, superseding(("train",)), record(OLD))
    (written,) = planned.effects
    assert written.leaves[File(RECORD)].content == record(superseded=(OLD,)).content  # type: ignore[attr-defined]
    assert any("train" in warning for warning in planned.warnings)
    assert not image(images, superseding(("train",)), record(superseded=(OLD,))).effects
    removal, _ = image(images, superseding(), record(superseded=(OLD,))).effects
    assert removal.script.name == "remove_image"


def test_an_image_that_somebody_else_removed_changes_nothing(images: ImageCatalogue) -> None:
    """A record that still names it is no reason for a change."""
    states = device() | {ContainerImage(pin(OLD).pinned): ImageState()}
    assert not image(images, states, record(superseded=(OLD,))).effects


def test_what_is_not_recorded_as_ours_is_never_removed(images: ImageCatalogue) -> None:
    """A record that makes no sense names nothing of ours."""
    (written,) = image(images, superseding(), file(RECORD, b'{"images": 3}')).effects
    assert written.script.name == "record_image"


# The check.


def test_the_check_runs_in_the_image_by_its_id(images: ImageCatalogue) -> None:
    """The script travels as a value; what came under another name is run all the same."""
    (effect,) = plan(JetsonVerify(), at(device()), **given(images)).effects
    assert effect.values[1] == SCRIPT.encode()
    assert effect.values[-3:] == ("sha256:ab", "python3", "-")
    assert effect.opaque
    assert not effect.disturbs


@pytest.mark.parametrize(
    ("stdout", "rc", "told"),
    [
        (
            '{"jetson_verify": 1, "torch": "2.4", "cuda": "12.6", "device": "Orin", "capability": "8.7", "ok": true}',
            0,
            "PyTorch 2.4 with CUDA 12.6 computes on Orin (8.7)",
        ),
        ('{"jetson_verify": 1, "ok": false, "failure": "RuntimeError: GPU and CPU differ by 1.0"}', 1, "wrong results"),
    ],
)
def test_what_the_check_says_is_told_in_words(images: ImageCatalogue, stdout: str, rc: int, told: str) -> None:
    """A proof names what computed; a failure has a meaning and a hint."""
    finish = plan(JetsonVerify(), at(device()), **given(images)).finish
    assert finish is not None
    result = finish(Ran(rc, stdout, ""))
    assert told in result["msg"]
    assert rc == 0 or result["hint"]


def test_without_the_image_there_is_nothing_to_check(images: ImageCatalogue) -> None:
    """The message says how to bring it."""
    states = device() | {ContainerImage(pin().pinned): ImageState()}
    planned = plan(JetsonVerify(), at(states), **given(images))
    assert "provision apply" in str(planned.hint)


@pytest.mark.parametrize("wanted", [None, NAME])
def test_a_silent_daemon_says_nothing_of_the_image_to_check(images: ImageCatalogue, wanted: str | None) -> None:
    """A daemon that was silent when it was asked for the image leaves that open; one that is silent now is told."""
    states = device() | {ContainerImage(pin().pinned): ImageState(answers=False)}
    with pytest.raises(NotYetKnown, match="known once Docker answers"):
        plan(JetsonVerify(image=wanted), at(states), **given(images))
    states |= {DockerDaemon(): DockerState(present=True)}
    assert "no Docker that answers" in str(plan(JetsonVerify(image=wanted), at(states), **given(images)).failed)


@pytest.mark.parametrize(
    ("task", "more"),
    [(JetsonPreflight(), {}), (JetsonRuntimePackages(), {}), (DockerRuntime(), {}), (JetsonImage(), {})],
)
def test_looks_name_all_that_a_done_device_is_asked(
    images: ImageCatalogue, task: TaskType, more: dict[str, Any]
) -> None:
    """With the facts of the last run and the pin at hand, one look is all that a plan needs."""
    ctx = context(**given(images, **more))
    seen = at(device(), file(CONFIG, DONE), absent(DROP_IN), folder("/etc/systemd/system/docker.service.d"), record())
    looks = set(task.looks_at(ctx))
    kept = {one: state for one, state in seen.probed.items() if one in looks or isinstance(one, File)}
    assert not task.plan(View(probed=kept), ctx).effects
