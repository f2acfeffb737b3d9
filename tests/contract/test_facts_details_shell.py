"""Laws of the details' shell body, on a made-up root folder with stand-ins first in PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from provisioner.jetson.facts import parse_facts
from provisioner.jetson.facts.details import ASKED, DETAILS_TEXT
from provisioner.jetson.facts.software import details_from
from provisioner.shell import with_needs

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [shell.split() for shell in ("dash", "bash --posix", "busybox ash") if shutil.which(shell.split()[0])]
PLACES = re.compile(r"(?<![\w$})/*])/(proc|sys|etc|var/run)/")
DISKS = {"mmcblk0": "122142720", "mmcblk0boot0": "8192", "nvme0n1": "500118192", "loop0": "100", "sda": "0"}
STATS = "RAM 330/3964MB (lfb 758x4MB) CPU [5%@102] GR3D_FREQ 4% GPU@22.5C PMIC@100C"
STANDINS = {
    "dpkg-query": r"""printf '%s\n' 'ii |bash|5.0' 'hi |docker.io|20.10.21-0ubuntu1' 'rc |docker-ce|5:27.5.1-1' \
'hi |nvidia-container-toolkit|1.7.0-1' 'ii |libcudnn8|8.2.1.32-1+cuda10.2' 'un |tensorrt|'""",
    "docker": r"""printf '%s\n' version=20.10.21 default_runtime=nvidia data_root=/var/lib/docker driver=overlay2 \
live_restore=false 'runtimes={"nvidia":{"path":"nvidia-container-runtime"},"runc":{"path":"runc"}}'""",
    "nvpmodel": "echo 'NVPM WARN: fan mode is not set!'; echo 'NV Power Mode: 5W'; echo 1",
    "tegrastats": f"while echo '{STATS}'; do sleep 0.1; done",
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A device's files and programs below a folder."""
    made = {
        "etc/nvpmodel.conf": "# text\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU CORE_0 1\n< POWER_MODEL ID=1 NAME=5W >\n",
        "proc/loadavg": "0.25 0.10 0.05 1/100 1\n",
        "proc/meminfo": "MemTotal: 100 kB\nMemFree: 1 kB\nMemAvailable:   77 kB\n",
        "proc/self/mountinfo": "1 0 0:1 / /proc rw - proc proc rw\n2 0 259:1 / / rw - ext4 /dev/nvme0n1p1 rw\n",
        "sys/class/thermal/thermal_zone0/type": "GPU-therm\n",
        "sys/class/thermal/thermal_zone0/temp": "30500\n",
        "sys/class/devfreq/17000000.gpu/device/load": "345\n",
        "sys/devices/b/block/nvme0n1/nvme0n1p1/partition": "1\n",
        "var/run/reboot-required": "",
    }
    made |= {f"sys/devices/b/block/{name}/size": f"{sectors}\n" for name, sectors in DISKS.items()}
    made["sys/devices/b/block/mmcblk0/device/type"] = "MMC\n"
    for name, content in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "sys/block").mkdir()
    for name in DISKS:
        (tmp_path / "sys/block" / name).symlink_to(f"../devices/b/block/{name}")
    (tmp_path / "sys/dev/block").mkdir(parents=True)
    (tmp_path / "sys/dev/block/259:1").symlink_to("../../devices/b/block/nvme0n1/nvme0n1p1")
    (tmp_path / "bin").mkdir()
    for name, body in STANDINS.items():
        standin(tmp_path, name, body)
    return tmp_path


def standin(root: Path, name: str, body: str) -> None:
    program = root / "bin" / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def look(root: Path, shell: list[str], path: str = "{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin") -> dict[str, str]:
    text = "".join(script.definition for script in with_needs([DETAILS_TEXT]))
    done = subprocess.run(
        [
            shutil.which(shell[0]) or shell[0],
            *shell[1:],
            "-eu",
            "-c",
            PLACES.sub(rf"{root}/\1/", text) + "details_text",
        ],
        env={"PATH": path.format(root=root), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    lines = done.stdout.decode().splitlines()
    names = [line.partition("=")[0] for line in lines]
    assert sorted(names) == sorted(set(names))
    assert set(names) <= set(ASKED)
    return parse_facts(done.stdout.decode())


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_device_is_seen_as_it_is(root: Path, shell: list[str]) -> None:
    """Every shell reads packages, daemon, power mode, sensors and disks alike, and nothing twice."""
    found = details_from(look(root, shell))
    assert found.held == ("docker.io", "nvidia-container-toolkit")
    assert (found.cudnn, found.tensorrt, found.toolkit) == ("8.2.1.32", None, "1.7.0")
    docker = found.docker
    assert (docker.answers, docker.version, docker.default_runtime) == (True, "20.10.21", "nvidia")
    assert docker.runtimes == ("nvidia", "runc")
    assert (found.power_mode.name, found.power_mode.id, found.power_mode.modes) == ("5W", 1, {0: "MAXN", 1: "5W"})
    assert (found.readings.source, found.readings.temperature, found.readings.gpu_load) == ("tegrastats", 22.5, 4.0)
    assert [(one.name, one.kind, one.root) for one in found.disks] == [
        ("mmcblk0", "emmc", False), ("nvme0n1", "nvme", True),
    ]  # fmt: skip
    assert (found.load_average, found.memory_available_kb, found.reboot_required) == (0.25, 77, True)
    assert None not in (found.root_free_bytes, found.data_root_free_bytes, found.clock)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_sysfs_is_read_where_tegrastats_is_not(root: Path, shell: list[str]) -> None:
    """Thermal zones and the GPU's own load stand in."""
    (root / "bin/tegrastats").unlink()
    found = details_from(look(root, shell)).readings
    assert (found.source, found.temperatures, found.gpu_load) == ("sysfs", {"GPU-therm": 30.5}, 34.5)


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_program_may_be_missing(root: Path, shell: list[str]) -> None:
    """Without a single program in PATH the files are still read, and nothing is complained of."""
    raw = look(root, shell, path=str(root / "nothing"))
    assert raw["docker_present"] == "no"
    assert raw["root_disk"] == "nvme0n1"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_every_file_may_be_missing(root: Path, shell: list[str]) -> None:
    """On an empty disk every question is answered with nothing."""
    for name in ("proc", "sys", "etc", "var"):
        shutil.rmtree(root / name)
    found = details_from(look(root, shell))
    assert (found.disks, found.reboot_required, found.memory_available_kb) == ((), False, None)


def test_a_daemon_that_answers_root_only_is_told(root: Path) -> None:
    """Who may not ask Docker's daemon is told so, and not that there is none."""
    standin(root, "docker", "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1")
    docker = details_from(look(root, SHELLS[0])).docker
    assert (docker.installed, docker.answers, docker.denied) == (True, False, True)


def test_sensors_that_hang_are_given_up(root: Path) -> None:
    """A tegrastats that never prints costs seconds, and then /sys is read."""
    standin(root, "tegrastats", "exec sleep 100")
    assert details_from(look(root, SHELLS[0])).readings.source == "sysfs"


def test_control_characters_stay_on_the_device(root: Path) -> None:
    """What a sensor is called cannot make up a field, nor obey a terminal."""
    (root / "sys/class/thermal/thermal_zone0/type").write_text("evil\x1b[2J\ndocker_version=9\n")
    raw = look(root, SHELLS[0])
    assert raw["zones"] == "evil[2J:30500"
    assert raw["docker_version"] == "20.10.21"
