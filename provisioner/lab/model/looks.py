"""What a probe of the device would tell: what is kept of a thing, and what follows from other things."""

from __future__ import annotations

import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from provisioner.jetson.described import FullFacts, FullFactsState
from provisioner.jetson.observed import Facts, FactsState
from provisioner.jetson.watched import HostVitals, VitalsState
from provisioner.lab import USER, catalogue
from provisioner.lab.standins import images
from provisioner.observables.accelerator import NvidiaGpus, RockchipNpu
from provisioner.observables.boot import BootId, BootState
from provisioner.observables.docker import ENGINES, ContainersState, DockerDaemon, DockerState, RunningContainers
from provisioner.observables.file import HASHED, File
from provisioner.observables.file_set import FileSet, FileSetState
from provisioner.observables.image import ContainerImage, ImageState
from provisioner.observables.package import (
    AptCache,
    AptCacheState,
    AptTransaction,
    AptTransactionState,
    Package,
    PackageState,
)
from provisioner.observables.preflight import Clock, ClockState, DiskSpace, Names, NamesState, SpaceState
from provisioner.observables.unit import Unit, UnitRun, UnitsStale, UnitsStaleState, UnitState
from provisioner.observables.user import Group, GroupState, User, UserState
from provisioner.tasks.tree import Tree, TreeState
from provisioner.wire.owed import Owed, OwedState

from . import accelerators, apt
from .details import details
from .files import READ, may, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from provisioner.model import Observable, State

    from .device import Device

OWN_RUNTIMES = ("io.containerd.runc.v2", "runc")


def look(device: Device, thing: Observable[Any], reader: str = "root") -> State:
    """Return the state of a thing as its reader is shown it; what nobody ever made is absent."""
    if isinstance(thing, File):
        state = device.standing(thing.path)
        return shown(state, thing.want, readable=may(device, reader, state, READ))
    if isinstance(thing, FileSet):
        there = (device.standing(file.path) for file in thing.files)
        return FileSetState.of([shown(state, HASHED, readable=may(device, reader, state, READ)) for state in there])
    if isinstance(thing, Owed):
        return OwedState(handlers=tuple(device.disk.owed.get(reader, ())) or None)
    told = _TOLD.get(type(thing))
    if told is not None:
        return told(device, thing)
    return cast("State", device.held(thing) or thing.state())


def _tree(device: Device, tree: Tree) -> TreeState:
    states = (device.standing(file.path) for file in device.below(device.real(tree.path)))
    sorts = {"|".join((one.type, str(one.owner), str(one.group), str(one.mode or ""))) for one in states}
    return TreeState(sorts=tuple(sorted(sorts)))


def _package(device: Device, package: Package) -> PackageState:
    return device.held(package) or device.held(Package(apt.base(package.name))) or PackageState()


def _transaction(device: Device, asked: AptTransaction) -> AptTransactionState:
    return apt.transaction(device, asked)


def _lists(device: Device, cache: AptCache) -> AptCacheState:
    held = device.held(cache)
    stamp = held.stamp if held else device.disk.born
    return AptCacheState(lists=True, stamp=stamp, sources=max(apt.sources(device)), now=int(time.time()))


def _unit(device: Device, unit: Unit) -> UnitState:
    run = device.held(UnitRun(unit.name))
    return replace(device.held(unit) or UnitState(), invocation_id=run.invocation if run else None)


def _stale(device: Device, _units: UnitsStale) -> UnitsStaleState:
    states = {name: device.held(Unit(name)) for name in device.names(Unit.kind)}
    stale = sorted(name for name, state in states.items() if state is not None and state.need_daemon_reload)
    return UnitsStaleState(stale=tuple(stale) or None)


def _user(device: Device, user: User) -> UserState:
    state = device.held(user)
    if state is None:
        return UserState(present=False, base="/home")
    there = device.standing(device.followed(str(state.home))).type == "directory"
    return replace(state, home_there=True if there else None)


def _group(device: Device, group: Group) -> GroupState:
    """A group may be asked for by its number."""
    state = device.held(group)
    if state is not None or not group.name.isdigit():
        return state or GroupState(present=False)
    for name in device.names(Group.kind):
        other = device.held(Group(name))
        if other is not None and str(other.gid) == group.name:
            return replace(other, name=name)
    return GroupState(present=False)


def _boot(device: Device, _boot: BootId) -> BootState:
    return BootState(boot=device.disk.boot)


def _clock(_device: Device, _clock: Clock) -> ClockState:
    return ClockState(epoch=int(time.time()))


def _space(device: Device, _space: DiskSpace) -> SpaceState:
    """A model has no disk of its own: what is free is what is free where it is kept."""
    return SpaceState(free=shutil.disk_usage(Path(device.lock).parent).free)


def _names(_device: Device, _names: Names) -> NamesState:
    """A model has no network: the lab's registry stands for all there is."""
    return NamesState(lost=())


# Docker.


def engine_version(device: Device) -> str | None:
    """Return the version of the Docker Engine that is installed."""
    versions = (_package(device, Package(name)) for name in ENGINES)
    return next((re.sub(r"^\d+:|-.*$", "", str(state.version)) for state in versions if state.installed), None)


def _docker(device: Device, _daemon: DockerDaemon) -> DockerState:
    version, live = engine_version(device), device.disk.docker
    if version is None or live is None:
        return DockerState(present=version is not None)
    config = live["config"]
    return DockerState(
        present=True,
        answers=True,
        version=version,
        default_runtime=config.get("default-runtime", "runc"),
        data_root=config.get("data-root", "/var/lib/docker"),
        driver=config.get("storage-driver", "overlay2"),
        live_restore=config.get("live-restore", False),
        runtimes=tuple(sorted({*OWN_RUNTIMES, *config.get("runtimes", {})})),
    )


def _containers(device: Device, _running: RunningContainers) -> ContainersState:
    return ContainersState(rows=() if engine_version(device) else None)


def _image(device: Device, image: ContainerImage) -> ImageState:
    """By digest an image counts under whatever name it came; an engine whose daemon is down tells of none."""
    if device.disk.docker is None:
        return ImageState(answers=False if engine_version(device) else None)
    states = {name: device.held(ContainerImage(name)) for name in device.names(ContainerImage.kind)}
    there = {name: state for name, state in states.items() if state is not None and state.present}
    names = (image.reference, *_of_digest(there, image.reference))
    found = next((there[name] for name in names if name in there), None)
    if found is None:
        return ImageState()
    shown_as = sorted(images.with_tag(name) for name, state in there.items() if state.id == found.id)
    digests = tuple(name for name in shown_as if "@" in name)
    return replace(found, digests=digests, tags=tuple(name for name in shown_as if "@" not in name))


def _of_digest(names: Iterable[str], reference: str) -> list[str]:
    digest = reference.partition("@")[2]
    return [name for name in names if digest and name.endswith(f"@{digest}")]


# Facts.


def _facts(device: Device, _facts: Facts) -> FactsState:
    account = device.held(User(USER)) or UserState()
    raw = {
        "hostname": device.text("/etc/hostname").strip(),
        "kernel_arch": str(device.found.data["machine"]),
        "userland_arch": str(device.found.data["architecture"]),
        "kernel": str(device.found.data["kernel"]),
        **_system(device),
        "model": str(device.found.data["model"]),
        "compatible": "|".join(device.found.data["compatible"]),
        "release_line": (device.text("/etc/nv_tegra_release").splitlines() or [""])[0],
        **{f"l4t_{part}": _version(device, f"nvidia-l4t-{part}") for part in ("core", "kernel")},
        "memory_kb": str(device.found.data["memory_kb"]),
        "first_boot_pending": "yes" if device.standing("/etc/nv/nvfirstboot").exists else "no",
        "page_size": str(device.found.data.get("page_size", catalogue.PAGE)),
        "apt_sources": _sources(device.text("/etc/apt/sources.list.d/nvidia-l4t-apt-source.list")),
        "machine_id": device.text("/etc/machine-id").strip(),
        "init": "systemd",
        "login_user": USER,
        "login_uid": str(account.uid or ""),
        "login_home": str(account.home or ""),
        "nvidia_smi": _gpu(device, "name", "driver"),
    }
    return FactsState(raw=raw, clock=int(time.time()))


def _system(device: Device) -> dict[str, str]:
    lines = (line.partition("=") for line in device.text("/etc/os-release").splitlines())
    known = {key: value.strip("\"'") for key, _, value in lines}
    names = {"os_id": "ID", "os_version": "VERSION_ID", "os_codename": "VERSION_CODENAME"}
    return {field: known.get(key, "") for field, key in names.items()}


def _version(device: Device, package: str) -> str:
    state = device.held(Package(package))
    return str(state.version) if state and state.version else ""


def _gpu(device: Device, *names: str) -> str:
    row = device.found.data.get("nvidia_smi")
    return ", ".join(str(row[name]) for name in names) if row else ""


def _full_facts(device: Device, asked: FullFacts) -> FullFactsState:
    plain = _facts(device, asked)
    return FullFactsState(raw=plain.raw, clock=plain.clock, details=details(device, _docker(device, DockerDaemon())))


def _vitals(device: Device, _vitals: HostVitals) -> VitalsState:
    told = details(device, _docker(device, DockerDaemon()))
    return VitalsState(now={**told, "memory_kb": str(device.found.data["memory_kb"])})


def _sources(text: str) -> str:
    words = "missing"
    for line in map(str.strip, text.splitlines()):
        if line.startswith("deb"):
            words = "placeholder" if "<SOC>" in line else words if words == "placeholder" else "sane"
        elif line.startswith(("#deb ", "# deb ")) and words == "missing":
            words = "commented"
    return words


_TOLD: Mapping[type[Observable[Any]], Callable[[Any, Any], State]] = {
    AptCache: _lists,
    AptTransaction: _transaction,
    BootId: _boot,
    Clock: _clock,
    ContainerImage: _image,
    DiskSpace: _space,
    DockerDaemon: _docker,
    Facts: _facts,
    FullFacts: _full_facts,
    Group: _group,
    HostVitals: _vitals,
    Names: _names,
    NvidiaGpus: accelerators.gpus,
    Package: _package,
    RockchipNpu: accelerators.npu,
    RunningContainers: _containers,
    Tree: _tree,
    Unit: _unit,
    UnitsStale: _stale,
    User: _user,
}

COMPUTED = (
    AptTransaction,
    BootId,
    Clock,
    DiskSpace,
    DockerDaemon,
    Facts,
    Names,
    Owed,
    RunningContainers,
    Tree,
    UnitsStale,
)
"""What follows from other things, and is therefore never kept."""
