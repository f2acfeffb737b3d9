"""Laws of the shell body, on a made-up root folder with stand-ins first in PATH."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from provisioner.jetson.facts import FACTS_BODY, FIELDS, VOLATILE, facts_from, parse_facts

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [shell.split() for shell in ("dash", "bash --posix", "busybox ash") if shutil.which(shell.split()[0])]
TREE = {
    "proc/device-tree/model": b"NVIDIA Jetson AGX Orin Developer Kit\0",
    "proc/device-tree/compatible": b"nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
    "proc/meminfo": b"MemTotal:       64349436 kB\nMemFree: 1 kB\n",
    "sys/devices/soc0/family": b"Tegra\n",
    "etc/nv_tegra_release": b"# R36 (release), REVISION: 4.4, GCID: 41062509, BOARD: generic\n# KERNEL_VARIANT: oot\n",
    "etc/os-release": b'NAME="Ubuntu"\nID=ubuntu\nVERSION_ID="22.04"\nVERSION_CODENAME=\'jammy\'',
    "etc/passwd": b"root:x:0:0:root:/root:/bin/sh\nnvidia:x:1000:1000:a,b,c:/home/nvidia:/bin/bash\n",
    "etc/machine-id": b"0123456789abcdef0123456789abcdef\n",
    "etc/apt/sources.list.d/nvidia-l4t-apt-source.list": b"#deb x\ndeb https://repo/<SOC> r36.4 main\n",
    "etc/nv/nvfirstboot": b"",
}
STANDINS = {
    "uname": "echo orin 5.15.148-tegra aarch64",
    "dpkg": "echo arm64",
    "dpkg-query": "echo 'ii  nvidia-l4t-core 36.4.4-20250616085344'; echo 'un  nvidia-l4t-kernel '",
    "nvidia-smi": "echo 'Orin (nvgpu), 540.4.0'",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device's files and programs below a folder."""
    for name, content in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "bin").mkdir()
    for name, body in STANDINS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    return tmp_path


def look(root: Path, shell: list[str], path: str = "{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin") -> str:
    body = FACTS_BODY
    for top in ("etc", "proc", "sys", "run"):
        body = body.replace(f" /{top}/", f" {root}/{top}/").replace(f"</{top}/", f"<{root}/{top}/")
        body = body.replace(f"=/{top}/", f"={root}/{top}/")
    program = [shutil.which(shell[0]) or shell[0], *shell[1:], "-eu"]
    done = subprocess.run(
        [*program, "-c", f"main() {{\n{body}\n}}; main"],
        env={"PATH": path.format(root=root), "LC_ALL": "C", "SUDO_USER": "nvidia"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
    )
    assert done.stderr == b""
    return done.stdout.decode()


def steady(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.partition("=")[0] not in VOLATILE]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_field_once_and_in_order(root: Path, shell: list[str]) -> None:
    """Each field is printed exactly once, in the announced order, on one line."""
    lines = look(root, shell).splitlines()
    assert [line.partition("=")[0] for line in lines] == list(FIELDS)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_jetson_is_seen_as_it_is(root: Path, shell: list[str]) -> None:
    """Files with NULs, quotes or no final newline are read alike by every shell; a Jetson's nvidia-smi is not asked."""
    raw = parse_facts(look(root, shell))
    facts = facts_from(raw)
    assert raw["nvidia_smi"] == ""
    assert raw["compatible"] == "nvidia,p3737-0000+p3701-0005|nvidia,p3701-0005|nvidia,tegra234"
    assert (facts.l4t, facts.module, facts.ubuntu, facts.os_codename) == ("36.4.4", "agx-orin", "22.04", "jammy")
    assert (raw["l4t_core"], raw["l4t_kernel"]) == ("36.4.4-20250616085344", "")
    assert (facts.login_user, facts.login_uid, facts.login_home) == ("nvidia", 1000, "/home/nvidia")
    assert (facts.apt_sources, facts.first_boot_pending, facts.memory_kb) == ("placeholder", True, 64349436)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("smi", ["echo 'NVIDIA-SMI has failed because'; exit 9", "exit 6", None])
def test_a_gpu_whose_driver_does_not_answer_is_one(root: Path, shell: list[str], smi: str | None) -> None:
    """On a PC the bus tells of NVIDIA's GPU, be nvidia-smi broken or missing; its sound, and other cards, are none."""
    shutil.rmtree(root / "proc")
    for name in ("etc/nv_tegra_release", "sys/devices/soc0/family", "bin/nvidia-smi"):
        (root / name).unlink()
    if smi is not None:
        (root / "bin/nvidia-smi").write_text(f"#!/bin/sh\n{smi}\n")
        (root / "bin/nvidia-smi").chmod(0o755)
    cards = {"0000:00:02.0": ("0x8086", "0x030000"), "0000:01:00.1": ("0x10de", "0x040300")}
    for address, (vendor, kind) in cards.items():
        _card(root, address, vendor, kind)
    assert parse_facts(look(root, shell))["nvidia_smi"] == ""
    _card(root, "0000:01:00.0", "0x10de", "0x030000")
    assert parse_facts(look(root, shell))["nvidia_smi"] == "NVIDIA GPU"


def _card(root: Path, address: str, vendor: str, kind: str) -> None:
    folder = root / "sys/bus/pci/devices" / address
    folder.mkdir(parents=True)
    (folder / "vendor").write_text(f"{vendor}\n")
    (folder / "class").write_text(f"{kind}\n")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_two_looks_agree(root: Path, shell: list[str]) -> None:
    """Nothing but the volatile fields differs between two looks, nor between two shells."""
    assert steady(look(root, shell)) == steady(look(root, SHELLS[0]))


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_program_may_be_missing(root: Path, shell: list[str]) -> None:
    """Without a single program in PATH every field is still printed, and the files are still read."""
    # busybox finds its own applets without PATH, so only what all shells agree on is compared
    raw = parse_facts(look(root, shell, path=str(root / "nothing")))
    assert set(raw) == set(FIELDS)
    assert raw["os_id"] == "ubuntu"
    assert raw["userland_arch"] in ("", "64")


@pytest.mark.parametrize(
    ("content", "state"),
    [
        ("deb https://repo/common r36.4 main\n", "sane"),
        ("#deb https://repo/common r36.4 main\n", "commented"),
        ("# deb https://repo/common r36.4 main", "commented"),
        ("deb https://repo/common r32.7 main\ndeb https://repo/<SOC> r32.7 main\n", "placeholder"),
        ("# only words\n", "missing"),
        ("", "missing"),
    ],
)
def test_the_apt_list_is_judged(root: Path, content: str, state: str) -> None:
    """A placeholder outweighs a good line, a good line outweighs comments, and nothing at all is missing."""
    (root / "etc/apt/sources.list.d/nvidia-l4t-apt-source.list").write_text(content)
    assert parse_facts(look(root, SHELLS[0]))["apt_sources"] == state


def test_control_characters_stay_on_the_device(root: Path) -> None:
    """An escape sequence in a file never leaves the device, and a made-up field cannot be smuggled in."""
    (root / "proc/device-tree/model").write_bytes(b"evil\x1b[2J\nhostname=smuggled\0")
    raw = parse_facts(look(root, SHELLS[0]))
    assert "\x1b" not in raw["model"]
    assert raw["hostname"] == "orin"
