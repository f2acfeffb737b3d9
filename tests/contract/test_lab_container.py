"""Backend *container*: the same devices as containers of the local engine, as well kept apart from the machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest
from test_lab import Shell

from provisioner import lab
from provisioner.errors import ProvisionError
from provisioner.lab import choose_backend, container, places

sys.path.append(str(Path(__file__).parents[1] / "e2e"))
from test_lab_isolation import ATTACKS, HARMLESS, as_root, picture, victim

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["victim"]

TOP = Path(__file__).parents[2]
ORIN = {"orin": "orin-nano-36.4.3"}


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the labs of these tests out of the user's own state; skip where no engine can start a device."""
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        patch.setenv("LAB_ATTACK", "a secret of the user's")
        patch.delenv("PROVISION_LAB_BACKEND", raising=False)
        why = container.works(places.home(".trial"))
        if why:
            pytest.skip(f"no container can be a device here: {why}")
        yield home
        for folder in (home / "provision/lab").glob("[!.]*"):
            lab.reset(folder.name)


@pytest.fixture(scope="module")
def running(containers: Path) -> lab.Lab:
    """Start the lab that these tests share."""
    return lab.ensure("contained", ORIN, backend="container")


@pytest.fixture
def orin(running: lab.Lab) -> Iterator[Shell]:
    """Log in to the Orin Nano."""
    shell = Shell(running.devices["orin"])
    yield shell
    shell.client.close()


def test_a_container_is_a_device(orin: Shell) -> None:
    """Architecture, release line, device tree, host name and login are the device's; its first process is ours."""
    assert orin("uname -m; hostname; id -un; pwd").split() == ["aarch64", "orin", "nvidia", "/home/nvidia"]
    assert orin("head -n 1 /etc/nv_tegra_release").startswith("# R36 (release), REVISION: 4.3")
    assert orin("tr -d '\\0' </sys/firmware/devicetree/base/model").endswith("Developer Kit Super")
    assert orin("cat /etc/hostname; ls /run/lab; ls -A /tmp") == "orin"
    assert orin("cat /proc/sys/kernel/random/boot_id") != Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def test_sudo_gives_the_container_s_root(orin: Shell) -> None:
    """sudo, su and chown change who one is, with that user's groups; what is not root is refused."""
    assert orin("sudo -n id -u; sudo -n -u daemon id -un").split() == ["0", "daemon"]
    assert orin("sudo touch /etc/owned && sudo chown nvidia:video /etc/owned && stat -c %U:%G /etc/owned") == (
        "nvidia:video"
    )
    assert orin.run("touch /etc/mine")[0] == 1
    assert orin("sudo apt-get -y install tree >/dev/null; dpkg-query -W -f '${Status}' tree") == "install ok installed"


def test_files_of_etc_can_be_replaced(orin: Shell) -> None:
    """No file of /etc is a mount of the engine's: each can be renamed over, as `copy` and `template` do."""
    for name in ("hostname", "hosts", "resolv.conf"):
        orin(f"cd /etc; sudo touch {name}; sudo cp -a {name} .new; sudo mv .new {name}")


def test_a_reboot_is_one(running: lab.Lab, orin: Shell) -> None:
    """Processes end, /run and /tmp are emptied, boot_id changes; the disk stays; SSH comes back on the same port."""
    boot = orin("cat /proc/sys/kernel/random/boot_id; touch /tmp/here ~/kept")
    orin.client.exec_command("sudo reboot")
    after = None
    deadline = time.monotonic() + 20
    while after is None and time.monotonic() < deadline:
        time.sleep(0.3)
        try:
            after = Shell(running.devices["orin"])
        except (OSError, paramiko.SSHException):
            continue
    assert after is not None
    assert after("cat /proc/sys/kernel/random/boot_id") != boot
    assert after("ls ~/kept; ls /tmp") == "/home/nvidia/kept"


def test_devices_keep_their_state_until_reset(containers: Path) -> None:
    """Down and up, a device is the same; down, no container is left; after a reset it is a new one."""
    first = lab.ensure("kept", ORIN, backend="container")
    shell = Shell(first.devices["orin"])
    shell("echo mine >~/mine; sudo apt-get -y install tree; echo there | sudo tee /etc/hostname")
    before = shell("ls -lan /home /etc /var/lib/dpkg; cat /etc/hostname")
    assert lab.down("kept")
    again = lab.ensure("kept", ORIN, backend="container")
    assert again.devices == first.devices
    shell = Shell(again.devices["orin"])
    assert shell("ls -lan /home /etc /var/lib/dpkg; cat /etc/hostname") == before
    assert shell("cat ~/mine; dpkg-query -W -f '${Package}' tree").split() == ["mine", "tree"]
    assert lab.reset("kept")
    assert not places.home("kept").exists()
    shell = Shell(lab.ensure("kept", ORIN, backend="container").devices["orin"])
    assert shell.run("cat ~/mine")[0] == 1
    lab.reset("kept")


def test_the_machine_is_out_of_reach(containers: Path, tmp_path: Path, victim: subprocess.Popen[bytes]) -> None:
    """Every attack of the container's root fails, and the machine is afterwards what it was before."""
    target = lab.ensure("attacked", ORIN, backend="container").devices["orin"]
    before = picture()
    attacks = {
        **ATTACKS,
        "chroot out": f"ls /proc/1/root{tmp_path} || ls /proc/1/cwd{tmp_path}",
    }  # an image has a /boot
    said = {name: as_root(target, command.format(victim=victim.pid)) for name, command in attacks.items()}
    assert not {name: words for name, (status, words) in said.items() if status == 0}
    for command in HARMLESS.values():
        as_root(target, command)
    assert victim.poll() is None
    assert picture() == before
    lab.reset("attacked")


def test_the_container_s_root_is_nobody_s(orin: Shell) -> None:
    """Its ids are a range without the machine's root, and no process of it has, or can get, the right to mount."""
    first = orin("cat /proc/self/uid_map").splitlines()[0].split()
    assert first[0] == "0"
    assert int(first[1]) > 0
    bounds = {int(line.split()[1], 16) for line in orin("sudo grep -h CapBnd /proc/[0-9]*/status").splitlines()}
    assert not any(bound >> 21 & 1 for bound in bounds), "CAP_SYS_ADMIN"
    assert orin("stat -c %u /proc/1") == "0"
    found = json.loads((places.home("contained") / "request.json").read_text())["engine"]
    assert found["base"] == int(first[1])


def test_the_whole_playbook_twice(containers: Path, tmp_path: Path) -> None:
    """`provision apply inventory/lab.yaml` ends with 0; run again, it changes nothing."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TOP), *filter(None, sys.path)]), "NO_COLOR": "1"}
    run = [sys.executable, "-m", "provisioner"]
    subprocess.run([*run, "init", "."], cwd=tmp_path, env=environment, check=True, capture_output=True)
    apply = [*run, "apply", "inventory/lab.yaml", "--lab-backend", "container", "--json", "report.json"]
    changed = []
    for _ in range(2):
        ended = subprocess.run(apply, cwd=tmp_path, env=environment, check=False, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert "backend container" in ended.stdout + ended.stderr
        recap = json.loads((tmp_path / "report.json").read_text())["recap"]
        changed.append([host["changed"] for host in recap.values()])
    assert all(changed[0])
    assert changed[1] == [0, 0, 0, 0]
    subprocess.run([*run, "lab", "reset", "inventory/lab.yaml"], cwd=tmp_path, env=environment, check=True)


def test_it_is_taken_where_namespaces_are_not(containers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is namespace, container, model; why one was not taken is told."""
    monkeypatch.setattr("provisioner.lab.namespace.works", lambda near: "not today")
    assert choose_backend() == ("container", ("namespace: not today",))


def test_an_image_that_does_not_suit_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine without a suitable image, and one whose containers would be the machine's root, are not taken."""
    engine = tmp_path / "podman"
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(container, "_ENGINES", ("podman",))
    for script, why in {
        "exit 1": "podman does not answer",
        "exit 0": "podman: it has no image",
        '[ "$1" = images ] && echo 1234 || { echo no bash here >&2; exit 1; }': "podman: image 1234: no bash here",
        '[ "$1" = images ] && echo 1234 || echo \'{"base": 0, "links": {}}\'': "would be the machine's root",
    }.items():
        engine.write_text(f"#!/bin/sh\n{script}\n")
        engine.chmod(0o755)
        container._search.cache_clear()
        assert why in str(container.works(tmp_path))
        with pytest.raises(ProvisionError, match="container"):
            choose_backend("container")
    container._search.cache_clear()
