"""The variables that a playbook gets of a host's facts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.jetson.versions import version

if TYPE_CHECKING:
    from .host import HostFacts

_DEBIANS = frozenset({"debian", "ubuntu", "raspbian", "linuxmint", "pop"})
_DISTRIBUTIONS = {"rhel": "RedHat", "centos": "CentOS", "opensuse-leap": "openSUSE Leap", "almalinux": "AlmaLinux"}


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
