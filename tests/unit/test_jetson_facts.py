"""Laws of reading a host: what its raw fields mean, from lines that real devices have printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.jetson.facts import (
    FIELDS,
    VOLATILE,
    HostFacts,
    as_variables,
    facts_from,
    l4t_of_package,
    l4t_of_release_line,
    parse_facts,
)

ORIN_NANO = {
    "hostname": "orin.lab",
    "kernel_arch": "aarch64",
    "userland_arch": "arm64",
    "kernel": "5.15.148-tegra",
    "os_id": "ubuntu",
    "os_version": "22.04",
    "os_codename": "jammy",
    "model": "NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super",
    "compatible": "nvidia,p3768-0000+p3767-0005-super|nvidia,p3767-0005|nvidia,tegra234|nvidia,tegra23x",
    "release_line": "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8",
    "l4t_core": "36.4.3-20250107174145",
    "l4t_kernel": "5.15.148-tegra-36.4.3-20250107174145",
    "memory_kb": "7802420",
    "page_size": "4096",
    "first_boot_pending": "no",
    "apt_sources": "sane",
    "init": "systemd",
    "login_user": "nvidia",
    "login_uid": "1000",
    "login_home": "/home/nvidia",
    "clock": "1736300000",
}


def orin(**changes: str) -> HostFacts:
    return facts_from({**ORIN_NANO, **changes})


@pytest.mark.parametrize(
    ("line", "l4t"),
    [
        (
            "# R32 (release), REVISION: 7.4, GCID: 33514132, BOARD: t210ref, EABI: aarch64, DATE: Fri Jun  9 2023",
            "32.7.4",
        ),
        ("# R32 (release), REVISION: 5, GCID: 1, BOARD: t186ref, EABI: aarch64, DATE: Fri Jun  9 2023", "32.5"),
        ("# R34 (release), REVISION: 1.1, GCID: 30414990, BOARD: t186ref, EABI: aarch64, DATE: Tue May 17", "34.1.1"),
        ("# R36 (release), REVISION: 4.0, GCID: 37537400, BOARD: generic, EABI: aarch64, DATE: Fri Sep 13", "36.4.0"),
        ("# R38 (release), REVISION: 4.0, GCID: 43443517, BOARD: generic, EABI: aarch64", "38.4.0"),
        ("# R39 (release), REVISION: 2.0, GCID: 45755727, DATE: Mon Jun  1 09:28:48 PM UTC 2026", "39.2.0"),
        ("# R36 (release), REVISION: 12.10, GCID: 1", "36.12.10"),
        ("Seeed Image Name mfi_recomputer-orin.tar.gz", None),
        ("", None),
    ],
)
def test_the_release_is_in_the_first_line(line: str, l4t: str | None) -> None:
    """Major and revision alone count; revisions have one or two parts, of any number of digits."""
    assert l4t_of_release_line(line) == l4t


@pytest.mark.parametrize(
    ("core", "l4t"),
    [("35.3.1-20230319081403", "35.3.1"), ("36.4.7", "36.4.7"), ("", None), ("none", None)],
)
def test_the_package_tells_the_release_too(core: str, l4t: str | None) -> None:
    """The part of nvidia-l4t-core's version before the build stamp is the release."""
    assert l4t_of_package(core) == l4t


def test_an_orin_nano_is_read_whole() -> None:
    """Every derived field of a known device is right."""
    facts = orin()
    assert (facts.kind, facts.architecture, facts.l4t, facts.l4t_source) == (
        "jetson", "arm64", "36.4.3", "/etc/nv_tegra_release",
    )  # fmt: skip
    assert (facts.jetpack, facts.jetpack_major, facts.band) == ("6.2", 6, "36.4")
    assert (facts.soc, facts.module, facts.module_name) == ("tegra234", "orin-nano", "Jetson Orin Nano")
    assert (facts.compute_capability, facts.super_mode, facts.l4t_warnings) == ("8.7", True, ())


@pytest.mark.parametrize(
    ("compatible", "module"),
    [
        ("nvidia,p3449-0000-b00+p3448-0000-b00|nvidia,jetson-nano|nvidia,tegra210", "nano"),
        ("nvidia,p3448-0003|nvidia,jetson-nano|nvidia,tegra210", "nano-2gb"),
        ("nvidia,jetson-cv|nvidia,tegra210", "tx1"),
        ("nvidia,quill|nvidia,tegra186", "tx2"),
        ("nvidia,p3509-0000+p3636-0001|nvidia,tegra186", "tx2-nx"),
        ("nvidia,galen|nvidia,jetson-xavier|nvidia,p2822-0000+p2888-0001|nvidia,tegra194", "agx-xavier"),
        ("nvidia,p3509-0000+p3668-0001|nvidia,tegra194", "xavier-nx"),
        ("nvidia,p3737-0000+p3701-0005|nvidia,p3701-0005|nvidia,tegra234|nvidia,tegra23x", "agx-orin"),
        ("nvidia,p3737-0000+p3701-0008|nvidia,tegra234", "agx-orin-industrial"),
        ("nvidia,p3768-0000+p3767-0000|nvidia,tegra234", "orin-nx"),
        ("nvidia,p3768-0000+p3767-0003|nvidia,p3768-0000+p3767-0005|nvidia,tegra234|nvidia,tegra23x", "orin-nano"),
        ("nvidia,p4071-0000+p3834-0008|nvidia,p3834-0008|nvidia,tegra264", "agx-thor-t5000"),
        ("seeed,custom|nvidia,tegra234", None),
    ],
)
def test_a_module_is_told_by_its_part_number(compatible: str, module: str | None) -> None:
    """The part number in `compatible` names the module, whatever carrier it sits on; an unknown board keeps its SoC."""
    facts = orin(compatible=compatible)
    assert facts.module == module
    assert facts.soc in compatible.replace("|", ",").split(",")


@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        ({"kernel_arch": "x86_64", "userland_arch": "amd64"}, "x86"),
        ({"kernel_arch": "x86_64", "nvidia_smi": "NVIDIA RTX A4000, 550.1"}, "x86-nvidia"),
        ({"kernel_arch": "aarch64", "nvidia_smi": "NVIDIA GB10, 580.142"}, "sbsa-nvidia"),
        ({"kernel_arch": "aarch64", "compatible": "raspberrypi,5-model-b|brcm,bcm2712"}, "raspberry-pi"),
        ({"kernel_arch": "armv7l", "model": "Raspberry Pi 4 Model B Rev 1.2"}, "raspberry-pi"),
        ({"kernel_arch": "aarch64", "compatible": "xunlong,orangepi-5|rockchip,rk3588s"}, "rk3588"),
        ({"kernel_arch": "aarch64"}, "arm64-other"),
        ({"kernel_arch": "riscv64"}, "other"),
        ({}, "other"),
        ({"kernel_arch": "aarch64", "soc_family": "Tegra"}, "jetson"),
        ({"kernel_arch": "aarch64", "l4t_core": "36.4.3-20250107174145"}, "jetson"),
        (
            {"kernel_arch": "aarch64", "compatible": "nvidia,tegra264", "nvidia_smi": "NVIDIA Thor, 595.78"},
            "jetson",
        ),
        ({"kernel_arch": "aarch64", "nvidia_smi": "NVIDIA Thor, 595.78"}, "jetson"),
        ({"kernel_arch": "aarch64", "nvidia_smi": "Orin (nvgpu), 540.4.0"}, "jetson"),
    ],
)
def test_kinds_are_told_apart(raw: dict[str, str], kind: str) -> None:
    """A Jetson is one by tree, file, package, or the name of its GPU; all others are what they are."""
    assert facts_from(raw).kind == kind


@pytest.mark.parametrize(
    ("machine", "userland", "architecture"),
    [
        ("aarch64", "arm64", "arm64"),
        ("aarch64", "armhf", "armhf"),
        ("aarch64", "32", "armhf"),
        ("aarch64", "64", "arm64"),
        ("aarch64", "", "arm64"),
        ("x86_64", "amd64", "amd64"),
        ("x86_64", "32", "other"),
        ("armv7l", "32", "armhf"),
    ],
)
def test_images_follow_the_userland(machine: str, userland: str, architecture: str) -> None:
    """A 64-bit kernel under a 32-bit userland wants 32-bit images."""
    assert facts_from({"kernel_arch": machine, "userland_arch": userland}).architecture == architecture


def test_dpkg_is_asked_where_the_file_is_missing() -> None:
    """Without /etc/nv_tegra_release the package counts, and the source says so."""
    facts = orin(release_line="")
    assert (facts.l4t, facts.l4t_source) == ("36.4.3", "dpkg")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"l4t_core": "36.4.4-20250616085344"}, "half done"),
        ({"kernel": "5.15.136-tegra"}, "reboot is needed"),
        ({"kernel": "5.10.104-tegra", "l4t_kernel": ""}, "is not one of L4T 36.4.3"),
        ({"userland_arch": "armhf"}, "userland is armhf"),
    ],
)
def test_what_does_not_fit_is_said(changes: dict[str, str], said: str) -> None:
    """File, package, kernel and userland that contradict each other give one warning."""
    (warning,) = orin(**changes).l4t_warnings
    assert said in warning


def test_one_part_revisions_find_their_release() -> None:
    """32.5 and 32.5.0 are one release."""
    facts = orin(release_line="# R32 (release), REVISION: 5, GCID: 1", l4t_core="32.5.0-2021", kernel="", l4t_kernel="")
    assert (facts.l4t, facts.jetpack, facts.band, facts.l4t_warnings) == ("32.5", "4.5", "32.5", ())


def test_an_unknown_release_has_no_label() -> None:
    """A release that no table has gets a band and a major, and no invented label."""
    facts = orin(release_line="# R36 (release), REVISION: 4.99, GCID: 1", l4t_core="")
    assert (facts.l4t, facts.jetpack, facts.jetpack_major, facts.band) == ("36.4.99", None, 6, "36.4")


def test_playbooks_see_ansibles_names() -> None:
    """The variables are Ansible's, with the same values, bare in ansible_facts and prefixed beside it."""
    seen = as_variables(orin())
    assert (seen["ansible_hostname"], seen["ansible_nodename"]) == ("orin", "orin.lab")
    assert (seen["ansible_architecture"], seen["ansible_machine"]) == ("aarch64", "aarch64")
    assert (seen["ansible_distribution"], seen["ansible_os_family"]) == ("Ubuntu", "Debian")
    assert (seen["ansible_distribution_version"], seen["ansible_distribution_release"]) == ("22.04", "jammy")
    assert (seen["ansible_memtotal_mb"], seen["ansible_user_id"]) == (7619, "nvidia")
    bare, jetson = seen["ansible_facts"], seen["jetson"]
    assert isinstance(bare, dict)
    assert isinstance(jetson, dict)
    assert all(seen[f"ansible_{name}"] == value for name, value in bare.items())
    assert (jetson["is_jetson"], jetson["l4t"], jetson["band"]) == (True, "36.4.3", "36.4")


def test_volatile_facts_reach_no_variable() -> None:
    """Two looks at an unchanged host give equal facts and equal variables, whatever the clock says."""
    then, now = orin(), orin(clock="1999999999")
    assert then == now
    assert as_variables(then) == as_variables(now)
    assert set(FIELDS) >= VOLATILE


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    """Whatever a device prints, parsing yields fields without control characters and facts without an exception."""
    raw = parse_facts(text)
    assert all(char.isprintable() or ord(char) > 0x9F for value in raw.values() for char in value)
    facts_from(raw)


@given(st.dictionaries(st.sampled_from(FIELDS), st.text(), max_size=len(FIELDS)))
def test_any_values_can_be_read(raw: dict[str, str]) -> None:
    """No value in any field makes the derivation fail, and it always names a kind."""
    assert facts_from(raw).kind
