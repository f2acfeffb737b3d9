"""The facts of one host as lines for people: what belongs together stands together, what is not there is left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_DISKS = {"emmc": "eMMC", "sd": "SD card", "mmc": "MMC", "nvme": "NVMe", "usb": "USB"}
_KINDS = {
    "x86-nvidia": "PC with an NVIDIA GPU",
    "x86": "PC without an NVIDIA GPU",
    "sbsa-nvidia": "Arm server with an NVIDIA GPU",
    "arm64-other": "other Arm machine",
    "other": "other machine",
}
_APT = {"sane": "lists sane", "placeholder": "<SOC> left in NVIDIA's list", "commented": "NVIDIA's list is #deb only"}
_APT |= {"missing": "NVIDIA's list is missing"}
_MOST = 4  # held packages that are named
_K = 1024
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
_DECIMAL = ("B", "kB", "MB", "GB", "TB")


def lines_of(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a label and words for each thing that is known of a host, in the order in which people ask."""
    for label, tell in _LINES.items():
        words = tell(facts)
        if words:
            yield label, words


def size(count: float, step: int = _K) -> str:
    """Return bytes as people read them; in steps of 1000 as disks are sold."""
    names = _UNITS if step == _K else _DECIMAL
    for name in names[:-1]:
        if count < step:
            return f"{count:.0f} {name}" if count >= 10 or name == "B" else f"{count:.1f} {name}"  # noqa: PLR2004
        count /= step
    return f"{count:.1f} {names[-1]}"


def _joined(*parts: object, by: str = ", ") -> str:
    return by.join(str(part) for part in parts if part)


def _name(facts: Mapping[str, Any]) -> str:
    return str(facts.get("hostname") or "")


def title_of(facts: Mapping[str, Any]) -> str:
    """Return what a host is, in a few words: its module or board, else its kind."""
    return str(facts.get("module") or _KINDS.get(str(facts.get("kind"))) or facts.get("kind") or "")


def _model(facts: Mapping[str, Any]) -> str:
    model = facts.get("model")
    return str(model) if model and model != facts.get("module") else ""


def _part(facts: Mapping[str, Any]) -> str:
    parts = " or ".join(facts.get("part_numbers") or ())
    carrier = facts.get("carrier")
    return _joined(_joined(parts, carrier and f"on {carrier}", by=" "), facts.get("super_mode") and "Super")


def _soc(facts: Mapping[str, Any]) -> str:
    capability = facts.get("compute_capability")
    return _joined(facts.get("soc"), capability and f"compute capability {capability}")


def _gpu(facts: Mapping[str, Any]) -> str:
    return "; ".join(facts.get("gpus") or ())


def _architecture(facts: Mapping[str, Any]) -> str:
    kernel, userland = facts.get("kernel_architecture"), facts.get("userland_architecture")
    words = f"kernel {kernel}, userland {userland}" if kernel and userland else kernel or userland or ""
    pages = facts.get("page_size_bytes") or 0
    return _joined(words, pages > 4 * _K and f"{size(pages)} pages")


def _memory(facts: Mapping[str, Any]) -> str:
    total, free = facts.get("memory_mb"), facts.get("memory_available_mb")
    return _joined(total and size(total * _K * _K), free and f"{size(free * _K * _K)} available")


def _storage(facts: Mapping[str, Any]) -> str:
    disks = sorted(facts.get("storage") or (), key=lambda disk: not disk["root"])
    free = facts.get("root_free_bytes")
    words = [
        _joined(
            f"{_DISKS.get(disk['kind'], 'disk')} {disk['name']}",
            size(disk["size_bytes"], 1000),
            disk["root"] and "root",
            by=" ",
        )
        for disk in disks
    ]
    return _joined(*words, free is not None and f"{size(free)} free on /")


def _l4t(facts: Mapping[str, Any]) -> str:
    l4t, source, label = facts.get("l4t"), facts.get("l4t_source"), facts.get("jetpack")
    return _joined(l4t, source and f"from {source}", by=", ") + (f" (JetPack {label})" if l4t and label else "")


def _system(facts: Mapping[str, Any]) -> str:
    ubuntu, kernel = facts.get("ubuntu"), facts.get("kernel")
    return _joined(f"Ubuntu {ubuntu}" if ubuntu else facts.get("system"), kernel and f"kernel {kernel}")


def _cuda(facts: Mapping[str, Any]) -> str:
    names = {"CUDA": "cuda", "cuDNN": "cudnn", "TensorRT": "tensorrt"}
    there = {title: facts.get(name) for title, name in names.items()}
    if facts.get("kind") != "jetson":
        there = {title: version for title, version in there.items() if version}
    elif not any(there.values()):
        return "CUDA, cuDNN and TensorRT are not installed"
    return _joined(*(f"{title} {version or 'not installed'}" for title, version in there.items()))


def _docker(facts: Mapping[str, Any]) -> str:
    if not facts.get("docker_installed"):
        return "not installed"
    if facts.get("docker_answers"):
        runtime = facts.get("docker_default_runtime")
        return _joined(
            facts.get("docker_version"),
            facts.get("docker_storage_driver"),
            runtime and f"default runtime {runtime}",
        )
    why = "answers root only: ask with -b" if facts.get("docker_denied") else "its daemon does not answer"
    return _joined(facts.get("docker_version"), why)


def _data_root(facts: Mapping[str, Any]) -> str:
    root, free = facts.get("docker_data_root"), facts.get("docker_data_root_free_bytes")
    return _joined(root, free is not None and f"{size(free)} free") if root else ""


def _toolkit(facts: Mapping[str, Any]) -> str:
    version = facts.get("container_toolkit")
    return f"NVIDIA Container Toolkit {version}" if version else ""


def _power(facts: Mapping[str, Any]) -> str:
    mode, others = facts.get("power_mode"), facts.get("power_modes") or {}
    if not mode:
        return ""
    rest = [name for name in others.values() if name != mode]
    return str(mode) + (f" (others: {', '.join(rest)})" if rest else "")


def _now(facts: Mapping[str, Any]) -> str:
    heat, gpu, cpu = (facts.get(name) for name in ("temperature_celsius", "gpu_load_percent", "cpu_load_percent"))
    load = facts.get("load_average")
    words = (
        f"{heat:.0f} °C" if heat is not None else "",
        f"GPU {gpu:.0f} %" if gpu is not None else "",
        f"CPU {cpu:.0f} %" if cpu is not None else f"load {load}" if load is not None else "",
    )
    return _joined(*words)


def _clock(facts: Mapping[str, Any]) -> str:
    offset = facts.get("clock_offset_seconds")
    if offset is None:
        return ""
    return f"{offset:+d} s" if abs(offset) > 2 else "in step"  # noqa: PLR2004 - it was read in whole seconds


def _apt(facts: Mapping[str, Any]) -> str:
    held = facts.get("held_packages") or ()
    words = _APT.get(str(facts.get("apt_sources")), "")
    named = ", ".join(held[:_MOST]) + (", ..." if len(held) > _MOST else "")
    return _joined(words, held and f"{len(held)} held: {named}")


def _boot(facts: Mapping[str, Any]) -> str:
    if facts.get("kind") != "jetson":
        return "reboot due" if facts.get("reboot_required") else ""
    first = "first boot not finished" if facts.get("first_boot_pending") else "first boot done"
    return _joined(first, facts.get("reboot_required") and "reboot due")


def _login(facts: Mapping[str, Any]) -> str:
    return str(facts.get("login_user") or "")


_LINES = {
    "hostname": _name,
    "model": _model,
    "part": _part,
    "SoC": _soc,
    "GPU": _gpu,
    "architecture": _architecture,
    "memory": _memory,
    "storage": _storage,
    "L4T": _l4t,
    "system": _system,
    "software": _cuda,
    "toolkit": _toolkit,
    "Docker": _docker,
    "data root": _data_root,
    "power mode": _power,
    "now": _now,
    "clock": _clock,
    "apt": _apt,
    "boot": _boot,
    "login": _login,
}
