"""What recorded devices answer: devices/ID/device.yaml, and how fields that were not recorded are composed.

The files lie here, since an installed package has no tests and its lab boots them; tests/devices is a link to them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from provisioner.jetson.catalogue import catalogue, padded, version
from provisioner.records import dataclass

if TYPE_CHECKING:
    from provisioner.jetson.rows import Release, Soc

FOLDER = Path(__file__).with_name("devices")

_ARM = {"machine": "aarch64", "architecture": "arm64"}
_LIKE = ("ubuntu", "ubuntu_point", "power", "docker_needs_raw_table", "installed_files", "storage")
_STAMPED = ("nvidia-l4t-core", "nvidia-l4t-apt-source")
_RUNTIME_KNOWN = (32, 7)  # before it nobody told here of NVIDIA's container packages
_TOOLKITS = {"38.2": "1.18.0~rc.1-1", "38.4": "1.18.0-1", "39.2": "1.19.1-1"}
_META = {
    "4.5": "4.5-b129", "4.5.1": "4.5.1-b17", "4.6": "4.6-b197", "5.1.1": "5.1.1-b56", "5.1.2": "5.1.2-b104",
    "6.1": "6.1+b123", "6.2.1": "6.2.1+b38", "7.2": "7.2-b187", "7.2.1": "7.2.1-b49",
}  # fmt: skip


@dataclass(frozen=True)
class Field:
    """One thing that a device answers: recorded (`how` names where), or composed by us (`how` names the rule)."""

    value: Any
    mark: Literal["recorded", "composed"]
    how: str


class Recordings(Mapping[str, dict[str, Any]]):
    """The data of all recorded devices by id; a file is read when it is asked for."""

    def __getitem__(self, name: str) -> dict[str, Any]:
        """Return what a device answers, without where that is from."""
        return {key: field.value for key, field in fields(name).items()}

    def __iter__(self) -> Iterator[str]:
        """Yield the ids in their order."""
        return iter(names())

    def __len__(self) -> int:
        """Return how many devices there are."""
        return len(names())


@cache
def names() -> tuple[str, ...]:
    """Return the ids of all recorded devices."""
    return tuple(sorted(path.parent.name for path in FOLDER.glob("*/device.yaml")))


@cache
def written(name: str) -> dict[str, Any]:
    """Return what stands in a device's file; KeyError where there is no such device."""
    if name not in names():
        raise KeyError(name)
    import yaml

    text = (FOLDER / name / "device.yaml").read_text(encoding="utf-8")
    found = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506
    return dict(found)


@cache
def fields(name: str) -> dict[str, Field]:
    """Return what a device answers, each field with where it is from; KeyError where there is no such device."""
    file = written(name)
    found = {key: field_of(f"{name}: {key}", entry) for key, entry in file["fields"].items()}
    if "like" in file:
        found = _composed(str(file["l4t"]), str(file["soc"]), str(file["like"]), found)
    return _docker_info(found) | found


def field_of(where: str, entry: Any) -> Field:
    """Return a field as it is written; TypeError where it does not say where it is from."""
    for mark in ("recorded", "composed"):
        if set(entry) == {"is", mark} and entry[mark]:
            return Field(entry["is"], mark, str(entry[mark]))
    raise TypeError(f"{where}: a field has `is`, and `recorded: where` or `composed: by which rule`")


def _composed(l4t: str, soc_id: str, like: str, own: dict[str, Field]) -> dict[str, Field]:
    """Fill in what was not recorded of a Jetson: by the tables, else as a device of the same Ubuntu has it."""
    release, soc, model = catalogue().release(l4t), catalogue().socs[soc_id], fields(like)
    assert release is not None, l4t
    found = {key: Field(value, "composed", "every Jetson is") for key, value in _ARM.items()}
    found |= {key: Field(model[key].value, "composed", f"as {like} has it") for key in _LIKE if key in model}
    if not _runtime_known(l4t):
        found.pop("installed_files", None)
    found["kernel"] = Field(f"{release.kernel}-tegra", "composed", "the release's kernel in jetson/releases.yaml")
    found["suite"] = Field(release.apt or "", "composed", "the release's apt suite in jetson/releases.yaml")
    folders = _folders(l4t, soc) if release.apt else []
    found["repositories"] = Field(folders, "composed", "the SoC's folder in jetson/modules.yaml; none without a suite")
    gpu = {"name": soc.torch_name or soc.id, "capability": [int(part) for part in soc.compute_capability.split(".")]}
    found["gpu"] = Field(gpu, "composed", "the SoC's row in jetson/modules.yaml")
    found |= own
    found["memory_kb"] = own.get("memory_kb") or _memory(found["tegrastats"])
    found["packages"] = own.get("packages") or _packages(release, like, found)
    return found


def _runtime_known(l4t: str) -> bool:
    return version(l4t)[:2] >= _RUNTIME_KNOWN


def _folders(l4t: str, soc: Soc) -> list[str]:
    major = version(l4t)[0]
    if major >= 38:  # noqa: PLR2004 - from R38 on all SoCs share one folder
        return ["common", "som"] + (["ffmpeg"] if major > 38 else [])  # noqa: PLR2004
    return ["common", soc.apt_folder] + (["ffmpeg"] if major == 36 else [])  # noqa: PLR2004


def _docker_info(found: Mapping[str, Field]) -> dict[str, Field]:
    """Return what `docker info` says where an engine is installed: Docker's defaults, and what its file adds."""
    version = found["packages"].value.get("docker.io", {}).get("installed")
    if not version:
        return {}
    files = found["installed_files"].value if "installed_files" in found else {}
    config = json.loads(files.get("/etc/docker/daemon.json", "{}"))
    info = {
        "version": str(version).partition("-")[0],
        "driver": config.get("storage-driver", "overlay2"),
        "data_root": config.get("data-root", "/var/lib/docker"),
        "default_runtime": config.get("default-runtime", "runc"),
        "runtimes": sorted({"io.containerd.runc.v2", "runc", *config.get("runtimes", {})}),
    }
    return {"docker_info": Field(info, "composed", "Docker's defaults, and the daemon.json of the device")}


def _memory(stats: Field) -> Field:
    found = re.search(r"RAM \d+/(\d+)MB", str(stats.value))
    assert found is not None, stats.value
    return Field(int(found[1]) * 1024, "composed", "the total of its line of tegrastats")


def _packages(release: Release, like: str, found: Mapping[str, Field]) -> Field:
    """Return the packages of a device of the same Ubuntu, with NVIDIA's in the versions of this release."""
    there: dict[str, Any] = dict(fields(like)["packages"].value)
    for name in [*_STAMPED, "nvidia-l4t-kernel", "nvidia-container"]:
        there.pop(name, None)
    known = _runtime_known(release.l4t)
    if not known:
        there = {name: _offered(entry) if "nvidia" in name else entry for name, entry in there.items()}
    toolkit = next((text for line, text in _TOOLKITS.items() if release.l4t.startswith(f"{line}.")), None)
    if toolkit:
        there |= {name: {"installed": toolkit} for name in there if "nvidia-container" in name}
    meta = _META.get(release.jetpack or "")
    if meta and known:
        there["nvidia-container"] = {"candidate": meta}
    core = found["core"].value if "core" in found else _core(release, found)
    if core:
        there |= {name: {"installed": core} for name in _STAMPED}
        there["nvidia-l4t-kernel"] = {"installed": f"{found['kernel'].value}-{core}"}
    runtime = "what is not known there is left out" if known else "the container runtime's are offered, unconfirmed"
    how = f"as {like} has them, NVIDIA's by jetson/releases.yaml; {runtime}"
    return Field({**_stack(release), **there}, "composed", how)


def _offered(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a package that apt offers, and that is not installed."""
    rest = {key: value for key, value in entry.items() if key not in ("installed", "candidate")}
    return {"candidate": entry.get("installed") or entry["candidate"], **rest}


def _core(release: Release, found: Mapping[str, Field]) -> str:
    """Return the build of nvidia-l4t-core; where releases had two, the second one is the Nano's and TX1's."""
    builds = release.core
    return "" if not builds else builds[-1 if found["gpu"].value["capability"] == [5, 3] else 0]


def _stack(release: Release) -> dict[str, Any]:
    """Return JetPack's libraries as installed: CUDA's runtime, cuDNN and TensorRT."""
    stack = catalogue().stacks[release.stack]
    major, minor = padded(version(stack.cuda))[:2]
    cudnn, tensorrt = version(stack.cudnn)[0], version(stack.tensorrt)[0]
    suffix = f"-cuda-{major}" if cudnn > 8 else ""  # noqa: PLR2004 - from cuDNN 9 on
    return {
        f"cuda-cudart-{major}-{minor}": {"installed": f"{stack.cuda}-1"},
        f"libcudnn{cudnn}{suffix}": {"installed": f"{stack.cudnn}-1+cuda{major}.{minor}"},
        f"libnvinfer{tensorrt}": {"installed": f"{stack.tensorrt}-1+cuda{major}.{minor}"},
    }
