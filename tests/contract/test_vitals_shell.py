"""Laws of the body that tells how a host does, on a made-up root folder with stand-ins first in PATH."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from provisioner.jetson.facts import parse_facts
from provisioner.jetson.facts.vitals import VITALS_TEXT, WATCHED, vitals_from
from provisioner.shell import with_needs

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [shell.split() for shell in ("dash", "bash --posix", "busybox ash") if shutil.which(shell.split()[0])]
PLACES = re.compile(r"(?<![\w$})/*])/(proc|sys|etc)/")
COOLING = {
    "0": ("pwm-fan", "3"),
    "1": ("cpu-throttle-alert", "1"),
    "2": ("gpu-throttle-alert", "0"),
    "3": ("devfreq-17000000.gpu", "4"),
    "4": ("hot-surface-alert", "1"),
}
STATS = "RAM 330/3964MB (lfb 758x4MB) CPU [5%@102] GR3D_FREQ 4% GPU@22.5C PMIC@100C VDD_IN 900/900"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An Orin's files below a folder, with tegrastats."""
    made = {
        "etc/docker/daemon.json": '{\n  "data-root" : "DATA",\n  "runtimes": {}\n}\n',
        "proc/loadavg": "0.25 0.10 0.05 1/100 1\n",
        "proc/meminfo": "MemTotal: 7802880 kB\nMemAvailable: 6242304 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB\n",
        "proc/stat": "cpu  1 2 3\ncpu0 1 2 3\ncpu1 1 2 3\nintr 1 2\ncpux\n",
        "sys/class/hwmon/hwmon0/name": "ina3221\n",
        "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    }
    made |= {f"sys/class/hwmon/hwmon3/oc{n}_event_cnt": f"{n}\n" for n in (1, 2, 3)}
    for number, (kind, state) in COOLING.items():
        made[f"sys/class/thermal/cooling_device{number}/type"] = f"{kind}\n"
        made[f"sys/class/thermal/cooling_device{number}/cur_state"] = f"{state}\n"
    for name, content in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.replace("DATA", f"{tmp_path}/nvme/docker"))
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "tegrastats"
    program.write_text(f"#!/bin/sh\nwhile echo '{STATS}'; do sleep 0.1; done\n")
    program.chmod(0o755)
    return tmp_path


def look(root: Path, shell: list[str], path: str = "{root}/bin:/usr/sbin:/usr/bin:/sbin:/bin") -> dict[str, str]:
    text = PLACES.sub(rf"{root}/\1/", "".join(script.definition for script in with_needs([VITALS_TEXT])))
    done = subprocess.run(
        [shutil.which(shell[0]) or shell[0], *shell[1:], "-eu", "-c", f"{text}vitals_text"],
        env={"PATH": path.format(root=root), "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    names = [line.partition("=")[0] for line in done.stdout.decode().splitlines()]
    assert sorted(names) == sorted(set(names))
    assert set(names) <= set(WATCHED)
    return parse_facts(done.stdout.decode())


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_an_orin_is_seen_as_it_is(root: Path, shell: list[str]) -> None:
    """Every shell tells alerts and counts; fans, clocks and a warm surface are no throttling."""
    found = vitals_from(look(root, shell))
    assert found.alerts == {"cpu-throttle-alert": 1, "gpu-throttle-alert": 0}
    assert found.over_current == {"oc1": 1, "oc2": 2, "oc3": 3}
    assert found.hot == ("cpu",)
    assert (found.cores, found.load_average) == (2, 0.25)
    assert (found.memory_used_mb, found.swap_used_mb, found.swap_total_mb) == (1524, 1, 2)
    assert found.readings.source == "tegrastats"
    assert found.disk == f"{root}/nvme/docker"
    assert (found.disk_free_bytes or 0) > 0


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_host_without_sensors_tells_the_rest(root: Path, shell: list[str]) -> None:
    """Where nothing tells of throttling it is unknown, and the disk is where Docker keeps its data by itself."""
    shutil.rmtree(root / "sys")
    shutil.rmtree(root / "etc")
    raw = look(root, shell)
    found = vitals_from(raw)
    assert not found.tells_throttling
    assert raw["data_root"] == "/var/lib/docker"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_programs_and_files_may_be_missing(root: Path, shell: list[str]) -> None:
    """Without a single program, and without a single file, nothing is complained of."""
    assert look(root, shell, path=str(root / "nothing"))["cores"] == "2"
    shutil.rmtree(root / "proc")
    assert vitals_from(look(root, shell)).cores is None


def test_names_of_sensors_make_up_no_field(root: Path) -> None:
    """What a cooling device is called cannot make up a reading, nor obey a terminal."""
    (root / "sys/class/thermal/cooling_device1/type").write_text("a\x1b[2J b:9 throttle-alert\n")
    assert vitals_from(look(root, SHELLS[0])).alerts == {"gpu-throttle-alert": 0}
