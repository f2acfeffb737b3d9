"""Laws of Jetson's tasks on hosts that are no Jetson, as plans over views made by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from taskviews import absent, plan, view

from provisioner.jetson.facts import facts_from
from provisioner.jetson.images import ImageCatalogue
from provisioner.jetson.observed import FACTS_VARIABLE
from provisioner.jetson.registry import Platform, Resolved
from provisioner.observables.accelerator import GpusState, NpuState, NvidiaGpus, RockchipNpu
from provisioner.observables.docker import DockerDaemon, DockerState
from provisioner.observables.image import ContainerImage, ImageState
from provisioner.observables.package import (
    AptCache,
    AptCacheState,
    AptTransaction,
    AptTransactionState,
    Package,
    PackageState,
)
from provisioner.tasks.jetson_accelerator import accelerator_problem, accelerator_result, accelerators
from provisioner.tasks.jetson_common import RECORD
from provisioner.tasks.jetson_image import JetsonImage
from provisioner.tasks.jetson_packages import JetsonRuntimePackages, names_of, packages_of
from provisioner.tasks.jetson_preflight import JetsonPreflight

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.jetson.facts import HostFacts
    from provisioner.model import Observable, Plan, State, TaskType

NOW = 1_800_000_000
X86 = facts_from(
    {"kernel_arch": "x86_64", "userland_arch": "amd64", "nvidia_smi": "NVIDIA GeForce RTX 4090, 580.95.05"}
)
SPARK = facts_from({"kernel_arch": "aarch64", "userland_arch": "arm64", "nvidia_smi": "NVIDIA GB10, 580.142"})
PI = facts_from(
    {
        "kernel_arch": "aarch64",
        "userland_arch": "arm64",
        "model": "Raspberry Pi 5 Model B Rev 1.0",
        "compatible": "raspberrypi,5-model-b|brcm,bcm2712",
    }
)
ROCK = facts_from(
    {"kernel_arch": "aarch64", "userland_arch": "arm64", "compatible": "xunlong,orangepi-5|rockchip,rk3588s"}
)
IMAGES = {
    "x86": (X86, "pytorch/pytorch:2.14.0-cuda13.0-cudnn9-runtime", "amd64", True),
    "spark": (SPARK, "nvcr.io/nvidia/pytorch:26.08-py3", "arm64", True),
    "pi": (PI, "python:3.12-slim", "arm64", False),
}


class Shelf:
    """A registry that has everything."""

    def resolve(self, reference: str, platform: Platform) -> Resolved:
        """Return made-up digests."""
        digest = f"sha256:{'3' * 64}"
        return Resolved(reference, digest, digest, "m", platform, 10**9, (), digest)


@pytest.fixture
def images(tmp_path: Path) -> ImageCatalogue:
    """The images of a run without pins."""
    return ImageCatalogue(tmp_path / "lab.lock.yaml", registry=Shelf())


def planned(task: TaskType, facts: HostFacts, images: ImageCatalogue | None = None, **more: State) -> Plan:
    """Plan a task on a host that has nothing but what is given."""
    return plan(task, seen(facts, *more.values()), **given(facts, images))


def given(facts: HostFacts, images: ImageCatalogue | None) -> dict[str, Any]:
    """Return the parts of a context that the tasks read."""
    services = {"now": lambda: float(NOW), **({"images": images} if images else {})}
    return {"facts": {FACTS_VARIABLE: facts}, "services": services}


def seen(facts: HostFacts, *states: State) -> Any:
    """Return a view of a host on which only these states are other than absent."""
    at = view(absent(RECORD))
    row = packages_of(facts)
    at.probed.update({Package(name): PackageState() for name in (names_of(row) if row else ())})
    at.probed.update({DockerDaemon(): DockerState(present=True, answers=True)})
    at.probed.update({AptCache(): AptCacheState(lists=True, stamp=NOW, sources=0, now=NOW)})
    at.probed.update({_named(state): state for state in states})
    return at


def _named(state: State) -> Observable[Any]:
    return {GpusState: NvidiaGpus(), NpuState: RockchipNpu()}[type(state)]


@pytest.mark.parametrize("host", IMAGES)
def test_each_route_has_its_image(images: ImageCatalogue, host: str) -> None:
    """The image of the route is pulled by digest for the host's own architecture, with the GPU where there is one."""
    facts, name, architecture, gpu = IMAGES[host]
    pin = images.choose(facts).pin
    at = seen(facts)
    at.probed.update(
        {ContainerImage(one): ImageState() for one in (pin.pinned.removeprefix("docker.io/"), pin.pinned, name)}
    )
    found = plan(JetsonImage(), at, **given(facts, images))
    assert found.effects[0].values[1:3] == (name, architecture)
    assert found.result["gpu"] == gpu
    assert ("--runtime nvidia" in str(found.result["docker_run"])) == gpu


def test_a_host_without_a_gpu_is_told_that_there_is_no_cuda(images: ImageCatalogue) -> None:
    """The warning stands at the image, so that it is in the recap whatever else the play has."""
    pin = images.choose(PI).pin
    at = seen(PI)
    at.probed.update({ContainerImage(one): ImageState() for one in (pin.pinned, "python:3.12-slim")})
    found = plan(JetsonImage(), at, **given(PI, images))
    assert any("there is no CUDA on this host (Raspberry Pi 5 Model B Rev 1.0)" in one for one in found.warnings)


@pytest.mark.parametrize(
    ("npu", "told"),
    [
        (NpuState(driver="0.9.6", runtime="2.3.2"), "driver in the kernel is 0.9.6; librknnrt.so is 2.3.2"),
        (NpuState(driver="rocket"), "mainline's NPU driver (rocket)"),
        (NpuState(), "no NPU driver, or does not tell its version; librknnrt.so is not there"),
    ],
)
def test_an_rk3588_is_refused_with_its_versions_and_the_vendors_way(
    images: ImageCatalogue, npu: NpuState, told: str
) -> None:
    """The reason, what of the vendor's software is there, and what to do with it; nothing is touched."""
    found = planned(JetsonPreflight(), ROCK, images, npu=npu)
    assert "no NVIDIA GPU" in str(found.failed)
    assert told in str(found.failed)
    assert "rknn-toolkit-lite2" in str(found.hint)
    assert found.result == {"npu_driver": npu.driver, "npu_runtime": npu.runtime}
    assert not found.effects


def test_an_accelerator_is_looked_at_only_where_the_route_needs_it() -> None:
    """A Jetson and a host without a GPU are asked nothing more than they were before."""
    jetson = facts_from(
        {"kernel_arch": "aarch64", "release_line": "# R39 (release), REVISION: 2.1", "nvidia_smi": "Thor, 1"}
    )
    found = {
        name: [one.kind for one in accelerators(facts)]
        for name, facts in {"j": jetson, "p": PI, "x": X86, "s": SPARK, "r": ROCK}.items()
    }
    assert found == {"j": [], "p": [], "x": ["gpus"], "s": ["gpus"], "r": ["npu"]}


def test_the_gpu_is_told_and_held_against_the_images() -> None:
    """What nvidia-smi says is registered; a GPU that the route's images have no code for is a problem with its fix."""
    at = seen(X86, GpusState(cuda="13.0", capabilities=("8.9",)))
    assert accelerator_result(at, X86) == {
        "gpus": ["NVIDIA GeForce RTX 4090"],
        "driver": "580.95.05",
        "cuda": "13.0",
        "capabilities": ["8.9"],
    }
    assert accelerator_problem(at, X86) is None
    assert accelerator_problem(seen(X86, GpusState()), X86) is None
    old = accelerator_problem(seen(X86, GpusState(capabilities=("6.1",))), X86)
    assert old is not None
    assert "6.1" in old.reason


def packages(facts: HostFacts, *names: str, error: str = "") -> Plan:
    """Plan the packages where apt has them, or has an error in their place."""
    at = seen(facts)
    state = (
        AptTransactionState(error=error) if error else AptTransactionState(installs=tuple(f"{one}=1" for one in names))
    )
    row = packages_of(facts)
    assert row is not None
    for way in {names, (row.engine, *row.runtime), (row.engine, *row.parts)}:
        at.probed[AptTransaction("install", "", tuple(way))] = state
    at.probed[DockerDaemon()] = DockerState()
    return plan(JetsonRuntimePackages(), at, **given(facts, None))


@pytest.mark.parametrize("facts", [X86, SPARK])
def test_a_server_gets_docker_and_the_toolkit(facts: HostFacts) -> None:
    """Both come in one transaction, and are held."""
    install, hold = packages(facts, "docker.io", "nvidia-container-toolkit").effects
    assert install.values[-2:] == ("docker.io", "nvidia-container-toolkit")
    assert set(hold.values[1:]) == {"docker.io", "nvidia-container-toolkit"}


def test_a_host_without_a_gpu_gets_docker_alone() -> None:
    """No package of NVIDIA's is asked for where there is nothing for it."""
    install, hold = packages(PI, "docker.io").effects
    assert install.values[-1] == "docker.io"
    assert hold.values[1:] == ("docker.io",)


def test_without_nvidias_repository_the_refusal_has_both_ways_to_it() -> None:
    """A key that the user gives, or the exact commands; no key is fetched on anybody's behalf."""
    refused = packages(X86, error="E: Unable to locate package nvidia-container-toolkit")
    assert "nvidia-container-toolkit" in str(refused.failed)
    for part in ("-e nvidia_toolkit_key=FILE", "signed-by=", "https://nvidia.github.io/libnvidia-container/gpgkey"):
        assert part in str(refused.hint)
