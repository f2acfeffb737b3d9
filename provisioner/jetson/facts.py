"""What a host is: one POSIX sh body that asks, and what its answers mean.

The body prints `field=value` lines and needs no Python on the device. It starts few processes (files are read by the
shell itself) and every one of them may be missing; a field that could not be read is empty.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from provisioner.jetson.catalogue import Module, catalogue, padded, version
from provisioner.jetson.compatibility import band_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["jetson", "x86-nvidia", "x86", "sbsa-nvidia", "raspberry-pi", "rk3588", "arm64-other", "other"]
Architecture = Literal["arm64", "amd64", "armhf", "other"]

FIELDS: tuple[str, ...] = (
    "hostname", "kernel_arch", "userland_arch", "kernel", "os_id", "os_version", "os_codename", "model", "compatible",
    "release_line", "l4t_core", "l4t_kernel", "soc_family", "memory_kb", "first_boot_pending", "page_size",
    "apt_sources", "machine_id", "init", "login_user", "login_uid", "login_home", "clock", "nvidia_smi",
)  # fmt: skip
"""Everything that the body prints, in its order; each field once, empty where it could not be read."""

VOLATILE: frozenset[str] = frozenset({"clock"})
"""Fields that differ between two looks; they never enter a guard or a comparison."""

FACTS_BODY = r"""
facts_line() {
    facts_read=
    if [ -r "$1" ]; then IFS= read -r facts_read <"$1" || :; fi 2>/dev/null
}
facts_tree() {
    facts_read=
    for facts_root in /proc/device-tree /sys/firmware/devicetree/base; do
        [ -r "$facts_root/$1" ] || continue
        facts_read=$(tr '\000\n' '||' <"$facts_root/$1" 2>/dev/null) || facts_read=
        facts_read=${facts_read%|}
        return 0
    done
}
facts_os() {
    os_id='' os_version='' os_codename=''
    [ -r /etc/os-release ] || return 0
    while IFS='=' read -r facts_key facts_read || [ -n "$facts_key" ]; do
        facts_read=${facts_read#[\"\']}
        facts_read=${facts_read%[\"\']}
        case $facts_key in
        ID) os_id=$facts_read ;;
        VERSION_ID) os_version=$facts_read ;;
        VERSION_CODENAME) os_codename=$facts_read ;;
        esac
    done </etc/os-release
}
facts_packages() {
    l4t_core='' l4t_kernel=''
    while read -r facts_state facts_name facts_version; do
        case $facts_state in ?[nc]*) continue ;; esac
        case $facts_name in
        nvidia-l4t-core) l4t_core=$facts_version ;;
        nvidia-l4t-kernel) l4t_kernel=$facts_version ;;
        esac
    done <<FACTS_PACKAGES
$(dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' nvidia-l4t-core nvidia-l4t-kernel 2>/dev/null)
FACTS_PACKAGES
}
facts_gpu() {
    nvidia_smi=
    case "$compatible|$soc_family|$release_line" in
    *nvidia,tegra* | *'|tegra'* | *'|Tegra'* | *'|# R'*) return 0 ;;
    esac
    command -v nvidia-smi >/dev/null 2>&1 || return 0
    facts_query='--query-gpu=name,driver_version --format=csv,noheader'
    facts_wait=
    command -v timeout >/dev/null 2>&1 && facts_wait='timeout 10'
    # shellcheck disable=SC2086 # words on purpose
    nvidia_smi=$($facts_wait nvidia-smi $facts_query 2>/dev/null) || nvidia_smi=
}
facts_apt() {
    apt_sources=missing
    facts_list=/etc/apt/sources.list.d/nvidia-l4t-apt-source.list
    [ -r "$facts_list" ] || return 0
    while read -r facts_read || [ -n "$facts_read" ]; do
        case $facts_read in
        deb*'<SOC>'*) apt_sources=placeholder ;;
        deb*) [ "$apt_sources" = placeholder ] || apt_sources=sane ;;
        '#deb '* | '# deb '*) [ "$apt_sources" != missing ] || apt_sources=commented ;;
        esac
    done <"$facts_list"
}
facts_memory() {
    memory_kb=
    [ -r /proc/meminfo ] || return 0
    while read -r facts_key facts_read _; do
        [ "$facts_key" = MemTotal: ] || continue
        memory_kb=$facts_read
        break
    done </proc/meminfo
}
facts_login() {
    login_user=${SUDO_USER:-}
    [ -n "$login_user" ] || login_user=$(id -un 2>/dev/null) || login_user=
    login_uid='' login_home=''
    [ ! -r /etc/passwd ] || while IFS=: read -r facts_name _ facts_uid _ _ facts_home _; do
        [ "$facts_name" = "$login_user" ] || continue
        login_uid=$facts_uid login_home=$facts_home
        break
    done </etc/passwd
    [ -n "$login_uid" ] || login_uid=$(id -u "$login_user" 2>/dev/null) || login_uid=
}
facts_all() {
    hostname='' kernel='' kernel_arch=''
    read -r hostname kernel kernel_arch _ <<FACTS_UNAME
$(uname -nrm 2>/dev/null)
FACTS_UNAME
    userland_arch=$(dpkg --print-architecture 2>/dev/null) || userland_arch=
    [ -n "$userland_arch" ] || userland_arch=$(getconf LONG_BIT 2>/dev/null) || userland_arch=
    facts_os
    facts_tree model; model=$facts_read
    facts_tree compatible; compatible=$facts_read
    facts_line /etc/nv_tegra_release; release_line=$facts_read
    facts_line /sys/devices/soc0/family; soc_family=$facts_read
    facts_line /etc/machine-id; machine_id=$facts_read
    facts_packages
    facts_gpu
    facts_apt
    facts_memory
    facts_login
    first_boot_pending=no
    [ -e /etc/nv/nvfirstboot ] && first_boot_pending=yes
    init=other
    [ -d /run/systemd/system ] && init=systemd
    page_size=$(getconf PAGESIZE 2>/dev/null) || page_size=
    printf '%s\n' "hostname=$hostname" "kernel_arch=$kernel_arch" "userland_arch=$userland_arch" "kernel=$kernel" \
        "os_id=$os_id" "os_version=$os_version" "os_codename=$os_codename" "model=$model" "compatible=$compatible" \
        "release_line=$release_line" "l4t_core=$l4t_core" "l4t_kernel=$l4t_kernel" "soc_family=$soc_family" \
        "memory_kb=$memory_kb" "first_boot_pending=$first_boot_pending" "page_size=$page_size" \
        "apt_sources=$apt_sources" "machine_id=$machine_id" "init=$init" "login_user=$login_user" \
        "login_uid=$login_uid" "login_home=$login_home" "clock=$(date +%s 2>/dev/null)"
    facts_sep=
    printf 'nvidia_smi='
    while IFS= read -r facts_read; do
        printf '%s%s' "$facts_sep" "$facts_read"
        facts_sep='|'
    done <<FACTS_GPUS
$nvidia_smi
FACTS_GPUS
    printf '\n'
}
if command -v tr >/dev/null 2>&1; then
    facts_all | tr -d '\000-\011\013-\037\177'
else
    facts_all
fi
"""
"""Prints one `field=value` line per fact; to be run with LC_ALL=C, sbin in PATH and /dev/null as stdin."""

_LINE = re.compile(r"([a-z][a-z0-9_]*)=(.*)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_RELEASE = re.compile(r"\bR(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)*)")
_TEGRA = re.compile(r"nvidia,(tegra\d{3})")

_MACHINES: dict[str, Architecture] = {"aarch64": "arm64", "arm64": "arm64", "x86_64": "amd64", "amd64": "amd64"}
_MACHINES_32: dict[str, Architecture] = {"aarch64": "armhf", "armv7l": "armhf"}
_PACKAGED: dict[str, Architecture] = {"arm64": "arm64", "amd64": "amd64", "armhf": "armhf"}
_JETPACK_MAJORS = {32: 4, 34: 5, 35: 5, 36: 6, 38: 7, 39: 7}
_DEBIANS = frozenset({"debian", "ubuntu", "raspbian", "linuxmint", "pop"})
_DISTRIBUTIONS = {"rhel": "RedHat", "centos": "CentOS", "opensuse-leap": "openSUSE Leap", "almalinux": "AlmaLinux"}


@dataclass(frozen=True)
class HostFacts:
    """A host as the rest of the program sees it; memory in KiB, page size in bytes, architecture as images call it."""

    hostname: str
    kind: Kind
    architecture: Architecture
    kernel_arch: str
    userland_arch: str
    kernel: str
    os_id: str
    os_version: str
    os_codename: str
    model: str
    l4t: str | None
    l4t_source: Literal["/etc/nv_tegra_release", "dpkg"] | None
    l4t_warnings: tuple[str, ...]
    jetpack: str | None
    jetpack_major: int | None
    band: str | None
    soc: str | None
    module: str | None
    module_name: str | None
    super_mode: bool
    compute_capability: str | None
    ubuntu: str | None
    gpus: tuple[str, ...]
    memory_kb: int | None
    page_size: int | None
    first_boot_pending: bool
    apt_sources: str
    machine_id: str
    init: str
    login_user: str
    login_uid: int | None
    login_home: str
    raw: Mapping[str, str] = field(repr=False, compare=False)


def parse_facts(text: str) -> dict[str, str]:
    """Return the fields that the body printed, without control characters; other lines are passed over."""
    found = (_LINE.fullmatch(_CONTROL.sub("", line)) for line in text.split("\n"))
    return {match[1]: match[2].strip() for match in found if match}


def facts_from(raw: Mapping[str, str]) -> HostFacts:
    """Return what the raw fields mean; a field that is missing counts as one that could not be read."""
    known = dict.fromkeys(FIELDS, "") | dict(raw)
    l4t, l4t_source = _l4t(known["release_line"], known["l4t_core"])
    tokens = tuple(known["compatible"].split("|"))
    kind = _kind(known, tokens, l4t)
    if kind != "jetson":
        l4t, l4t_source = None, None
    release = catalogue().release(l4t) if l4t else None
    band = band_of(l4t) if l4t else None
    soc = _soc(tokens) if kind == "jetson" else None
    module = _module(tokens) if kind == "jetson" else None
    chip = catalogue().socs.get(soc or "")
    return HostFacts(
        hostname=known["hostname"],
        kind=kind,
        architecture=_architecture(known["kernel_arch"], known["userland_arch"]),
        kernel_arch=known["kernel_arch"],
        userland_arch=known["userland_arch"],
        kernel=known["kernel"],
        os_id=known["os_id"],
        os_version=known["os_version"],
        os_codename=known["os_codename"],
        model=known["model"],
        l4t=l4t,
        l4t_source=l4t_source,
        l4t_warnings=_warnings(known, l4t) if l4t else (),
        jetpack=release.jetpack if release else None,
        jetpack_major=_JETPACK_MAJORS.get(version(l4t)[0]) if l4t else None,
        band=band.id if band else None,
        soc=soc,
        module=module.id if module else None,
        module_name=(module.name if module else known["model"] or None) if kind == "jetson" else None,
        super_mode=known["model"].endswith(" Super") or any(token.endswith("-super") for token in tokens),
        compute_capability=chip.compute_capability if chip else None,
        ubuntu=known["os_version"] or None if known["os_id"] == "ubuntu" else None,
        gpus=tuple(filter(None, known["nvidia_smi"].split("|"))),
        memory_kb=_number(known["memory_kb"]),
        page_size=_number(known["page_size"]),
        first_boot_pending=known["first_boot_pending"] == "yes",
        apt_sources=known["apt_sources"] or "missing",
        machine_id=known["machine_id"],
        init=known["init"] or "other",
        login_user=known["login_user"],
        login_uid=_number(known["login_uid"]),
        login_home=known["login_home"],
        raw=MappingProxyType(dict(raw)),
    )


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _l4t(release_line: str, core: str) -> tuple[str | None, Literal["/etc/nv_tegra_release", "dpkg"] | None]:
    """Return the release and where it was read: the file's first line, then dpkg."""
    if from_file := l4t_of_release_line(release_line):
        return from_file, "/etc/nv_tegra_release"
    if from_dpkg := l4t_of_package(core):
        return from_dpkg, "dpkg"
    return None, None


def l4t_of_release_line(line: str) -> str | None:
    """Return "36.4.3" for the first line of /etc/nv_tegra_release; its BOARD and DATE are known to lie."""
    match = _RELEASE.search(line)
    return f"{match[1]}.{match[2]}" if match else None


def l4t_of_package(core: str) -> str | None:
    """Return "36.4.3" for a version of nvidia-l4t-core like 36.4.3-20250107174145."""
    match = re.fullmatch(r"(\d+(?:\.\d+)+)(?:-.*)?", core)
    return match[1] if match else None


def _architecture(machine: str, userland: str) -> Architecture:
    """Return what images must be: the userland's architecture, which may be 32 bits under a 64-bit kernel."""
    if userland in _PACKAGED:
        return _PACKAGED[userland]
    if userland == "32":
        return _MACHINES_32.get(machine, "other")
    if userland in ("", "64"):
        return _MACHINES.get(machine, "armhf" if machine == "armv7l" else "other")
    return "other"


def _kind(raw: Mapping[str, str], tokens: tuple[str, ...], l4t: str | None) -> Kind:
    machine = raw["kernel_arch"]
    gpu = bool(raw["nvidia_smi"])
    if machine in ("x86_64", "amd64"):
        return "x86-nvidia" if gpu else "x86"
    # before the servers: from R36 on a Jetson has nvidia-smi too
    if l4t or _soc(tokens) or raw["soc_family"].lower().startswith("tegra"):
        return "jetson"
    if any(token.startswith("raspberrypi,") for token in tokens) or raw["model"].startswith("Raspberry Pi"):
        return "raspberry-pi"
    if any(token.startswith("rockchip,rk3588") for token in tokens):
        return "rk3588"
    if machine in ("aarch64", "arm64"):
        return "sbsa-nvidia" if gpu else "arm64-other"
    return "other"


def _soc(tokens: tuple[str, ...]) -> str | None:
    found = [match[1] for token in tokens if (match := _TEGRA.fullmatch(token))]
    return found[0] if found else None


def _module(tokens: tuple[str, ...]) -> Module | None:
    parts = [part for token in tokens for part in token.removeprefix("nvidia,").split("+")]
    for module in catalogue().modules:
        if any(part == known or part.startswith(f"{known}-") for part in parts for known in module.parts):
            return module
    return next((module for module in catalogue().modules if set(tokens) & set(module.words)), None)


def _warnings(raw: Mapping[str, str], l4t: str) -> tuple[str, ...]:
    told = (_two_releases(raw, l4t), _stale_kernel(raw), _foreign_kernel(raw["kernel"], l4t), _bits(raw))
    return tuple(text for text in told if text)


def _two_releases(raw: Mapping[str, str], l4t: str) -> str | None:
    core = l4t_of_package(raw["l4t_core"])
    if core is None or padded(version(core)) == padded(version(l4t)):
        return None
    return f"/etc/nv_tegra_release says L4T {l4t}, the package nvidia-l4t-core {core}: an upgrade may be half done"


def _stale_kernel(raw: Mapping[str, str]) -> str | None:
    """Compare the running kernel with the packaged one, 5.15.148-tegra-36.4.4-20250616085344."""
    packaged, running = raw["l4t_kernel"], raw["kernel"]
    match = re.match(r"(\d+(?:\.\d+)+)\S*-tegra", packaged)
    if not match or not running or running == match.group() or running.startswith(f"{match[1]}-"):
        return None
    return f"the kernel {running} runs, {match.group()} is installed: a reboot is needed"


def _foreign_kernel(running: str, l4t: str) -> str | None:
    release = catalogue().release(l4t)
    if not release or not re.match(r"\d+\.\d+", running):
        return None
    if version(running)[:2] == version(release.kernel)[:2]:
        return None
    return f"the kernel {running} is not one of L4T {l4t}, which has {release.kernel}"


def _bits(raw: Mapping[str, str]) -> str | None:
    machine, userland = raw["kernel_arch"], raw["userland_arch"]
    if machine == "aarch64" and userland in ("armhf", "armel", "32"):
        return f"the kernel is {machine}, but the userland is {userland}"
    return None


def as_variables(facts: HostFacts) -> dict[str, object]:
    """Return what a playbook sees: Ansible's names for what Ansible gathers too, and `jetson` for the rest."""
    plain = _ansible(facts)
    prefixed: dict[str, object] = {f"ansible_{name}": value for name, value in plain.items()}
    return {**prefixed, "ansible_facts": plain, "jetson": _jetson(facts)}


def _ansible(facts: HostFacts) -> dict[str, object]:
    name = _DISTRIBUTIONS.get(facts.os_id, facts.os_id.capitalize())
    family = "Debian" if facts.os_id in _DEBIANS else name
    return {
        "hostname": facts.hostname.partition(".")[0],
        "nodename": facts.hostname,
        "architecture": facts.kernel_arch,
        "machine": facts.kernel_arch,
        "userspace_bits": "32" if facts.architecture == "armhf" else "64",
        "system": "Linux",
        "kernel": facts.kernel,
        "distribution": name,
        "distribution_version": facts.os_version,
        "distribution_major_version": facts.os_version.partition(".")[0],
        "distribution_release": facts.os_codename,
        "os_family": family,
        "pkg_mgr": "apt" if family == "Debian" else "unknown",
        "service_mgr": "systemd" if facts.init == "systemd" else "service",
        "memtotal_mb": facts.memory_kb // 1024 if facts.memory_kb is not None else None,
        "machine_id": facts.machine_id,
        "user_id": facts.login_user,
        "user_uid": facts.login_uid,
        "user_dir": facts.login_home,
    }


def _jetson(facts: HostFacts) -> dict[str, object]:
    return {
        "kind": facts.kind,
        "is_jetson": facts.kind == "jetson",
        "architecture": facts.architecture,
        "l4t": facts.l4t,
        "l4t_source": facts.l4t_source,
        "l4t_major": version(facts.l4t)[0] if facts.l4t else None,
        "jetpack": facts.jetpack,
        "jetpack_major": facts.jetpack_major,
        "band": facts.band,
        "soc": facts.soc,
        "module": facts.module,
        "module_name": facts.module_name,
        "super_mode": facts.super_mode,
        "compute_capability": facts.compute_capability,
        "gpus": list(facts.gpus),
        "page_size": facts.page_size,
        "first_boot_pending": facts.first_boot_pending,
        "apt_sources": facts.apt_sources,
        "login_user": facts.login_user,
        "warnings": list(facts.l4t_warnings),
    }
