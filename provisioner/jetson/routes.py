"""Which band of images a host gets that is no Jetson: by its GPU and driver, or none where there is no CUDA."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from provisioner.jetson.catalogue import catalogue
from provisioner.jetson.versions import padded, version
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable

    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.rows import ContainerPackages, Route

PIP_CPU = "pip install torch --index-url https://download.pytorch.org/whl/cpu"
PAGE = 4096
"""Bytes in a page of memory that nearly all Arm programs were tried with."""

CUDA_KINDS = frozenset({"x86-nvidia", "sbsa-nvidia"})
"""Hosts that are no Jetson and have an NVIDIA GPU."""

KEYRING = "/etc/apt/keyrings/nvidia-container-toolkit.asc"
_DRIVER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})*")
TOOLKIT_SITE = "https://nvidia.github.io/libnvidia-container"


@dataclass(frozen=True)
class Gpu:
    """A GPU as nvidia-smi lists it; the driver is None where it did not tell."""

    name: str
    driver: str | None

    @property
    def legacy(self) -> str | None:
        """The generation, where it is one that CUDA 13 has no code for."""
        return next((row.generation for row in catalogue().legacy if _named(self.name, row.names)), None)


@dataclass(frozen=True)
class Refused:
    """Why a host gets no image at all, and what to do instead."""

    reason: str
    hint: str


def _named(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def gpus_of(facts: HostFacts) -> tuple[Gpu, ...]:
    """Return the GPUs that nvidia-smi lists on a host."""
    return tuple(_gpu(line) for line in facts.gpus)


def _gpu(line: str) -> Gpu:
    name, _, driver = line.rpartition(",") if "," in line else (line, "", "")
    told = _DRIVER.fullmatch(driver.strip())
    return Gpu(name.strip(), told.group() if told else None)


def route_of(facts: HostFacts) -> Route | Refused:
    """Return the first row that fits a host that is no Jetson, or why none does."""
    rows = [row for row in catalogue().routes if facts.kind in row.kinds]
    if not rows:
        return _no_way(facts)
    if facts.architecture != rows[0].architecture:
        told = facts.userland_arch or "unknown"
        return Refused(
            f"the userland of this host is {told}, and images are for {rows[0].architecture}",
            "install a 64-bit system: PyTorch has wheels and images for 64 bits only",
        )
    if rows[0].driver is None:
        return rows[0]
    return _by_driver(gpus_of(facts), rows)


def _by_driver(gpus: tuple[Gpu, ...], rows: list[Route]) -> Route | Refused:
    driver = next((gpu.driver for gpu in gpus if gpu.driver), None)
    if driver is None:
        return Refused(
            "nvidia-smi does not tell the driver's version, and the images depend on it",
            "does `nvidia-smi` work on the host? `ubuntu-drivers install` installs a driver; after an upgrade of it a "
            "reboot is needed",
        )
    legacy = any(gpu.legacy for gpu in gpus)
    fit = [row for row in rows if row.driver and version(driver) in row.driver and (row.legacy or not legacy)]
    if not fit:
        oldest = rows[-1].driver.text if rows[-1].driver else ""
        return Refused(
            f"the NVIDIA driver {driver} is too old for every image that is known here ({oldest} is needed)",
            "upgrade the driver: `ubuntu-drivers install`, or NVIDIA's own packages",
        )
    return fit[0]


def _no_way(facts: HostFacts) -> Refused:
    if facts.kind == "rk3588":
        return Refused(
            "this is a Rockchip RK3588: images with CUDA start on it, but it has no NVIDIA GPU for them",
            "the vendor's way to its NPU: librknnrt.so and rknn-toolkit-lite2 of one version "
            "(github.com/airockchip/rknn-toolkit2) on the vendor's kernel 5.10 or 6.1; models are converted on a PC",
        )
    return Refused(
        f"this host is neither arm64 nor x86_64 ({facts.kernel_arch or 'unknown'}): "
        "images for others would end in 'exec format error'",
        "there is no NVIDIA image for it",
    )


def route_warnings(facts: HostFacts, route: Route) -> tuple[str, ...]:
    """Return what people should know about the images of a route on this very host."""
    if route.driver is None:
        told = [f"there is no CUDA on this host ({_what(facts)}): the image computes on the CPU; in it, `{PIP_CPU}`"]
        if facts.page_size is not None and facts.page_size > PAGE:
            told.append(
                f"the kernel has pages of {facts.page_size // 1024} KiB: programs that expect 4 KiB, "
                "as older builds of jemalloc do, end at their start"
            )
        return tuple(told)
    gpus = gpus_of(facts)
    old = {gpu.legacy for gpu in gpus if gpu.legacy}
    if old and any(gpu.legacy is None for gpu in gpus):
        names = ", ".join(sorted(filter(None, old)))
        return (f"the image is chosen for the older GPU ({names}); a GPU newer than Hopper does not run it",)
    return ()


def _what(facts: HostFacts) -> str:
    if facts.kind == "arm64-other":
        return f"{facts.model or facts.kernel_arch}; if it is a Jetson, neither device tree nor dpkg says so"
    return facts.model or f"{facts.kernel_arch}, and nvidia-smi lists no GPU"


def uncoded(route: Route, capabilities: Iterable[str]) -> Refused | None:
    """Return why a route's images have no code for any of the GPUs that were told, by their compute capability."""
    bounds = route.capability
    told = sorted(set(capabilities), key=version)
    if bounds is None or not told or any(version(one) in bounds for one in told):
        return None
    too_new = padded(version(told[-1])) > bounds.bounds[0][1]
    return Refused(
        f"the images for {route.hosts} have code for capability {bounds.text}, and this GPU's is {told[-1]}",
        "upgrade the NVIDIA driver to 580 or newer, and the images for CUDA 13 are taken"
        if too_new
        else "the GPU is older than its name told: it needs an image for CUDA 12.6, started by hand",
    )


def route_packages(facts: HostFacts) -> ContainerPackages | None:
    """Return what apt must install on a host that is no Jetson, or None where it gets no image."""
    route = route_of(facts)
    if isinstance(route, Refused):
        return None
    return next(row for row in catalogue().routes_file.packages if row.id == route.packages)


def toolkit_commands() -> str:
    """Return how NVIDIA's repository of the container toolkit is added by hand, as commands."""
    line = f"deb [signed-by={KEYRING}] {TOOLKIT_SITE}/stable/deb/$(ARCH) /"
    return (
        f"sudo curl -fsSL --create-dirs {TOOLKIT_SITE}/gpgkey -o {KEYRING}; "
        f"echo '{line}' | sudo tee /etc/apt/sources.list.d/nvidia-container-toolkit.list"
    )
