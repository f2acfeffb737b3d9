"""Nothing that is done in a simulated device reaches the machine, even by the device's root."""

from __future__ import annotations

import hashlib
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest

from provisioner import lab
from provisioner.errors import ProvisionError

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "lab-attack"
PYTHON = f"LD_LIBRARY_PATH=/usr/local/python/lib /usr/local/python/bin/python3.{sys.version_info.minor}"

# Each line is an attempt: a name, and a command that must fail or hit nothing but the device. What an attempt leaves on
# the machine is looked at from outside; what it answers is looked at here.
ATTACKS = {
    "remount /usr": "mount -o remount,rw /usr",
    "remount /usr by bind": "mount -o remount,bind,rw /usr",
    "remount /usr/local": "mount -o remount,bind,rw /usr/local",
    "umount /usr": "umount /usr",
    "umount /usr lazily": "umount -l /usr",
    "umount /proc/sys": "umount /proc/sys || umount -l /proc/sys",
    "umount boot_id": "umount /proc/sys/kernel/random/boot_id",
    "remount /proc/sys": "mount -o remount,bind,rw /proc/sys",
    "write /usr": f"touch /usr/{MARK}",
    "write /usr/bin": f"touch /usr/bin/{MARK}",
    "write through a copy of the mount": (
        f"mkdir -p /mnt/u && mount --rbind /usr /mnt/u && mount -o remount,bind,rw /mnt/u && touch /mnt/u/{MARK}"
    ),
    "write through a namespace of its own": f"unshare -m sh -c 'mount -o remount,bind,rw /usr && touch /usr/{MARK}'",
    "write through users of its own": f"unshare -Urm sh -c 'mount -o remount,bind,rw /usr && touch /usr/{MARK}'",
    "overwrite a program": "cat /dev/null >/usr/bin/env",
    "chmod a program": "chmod 4777 /usr/bin/env",
    "chown a program": "chown root /usr/bin/env",
    "sysctl": "sysctl -w kernel.hostname=attacked",
    "sysctl by file": "echo 1 >/proc/sys/kernel/panic",
    "sysctl by a proc of its own": "mkdir -p /mnt/p && mount -t proc proc /mnt/p && echo 1 >/mnt/p/sys/kernel/panic",
    "sysctl of the network": "echo 1 >/proc/sys/net/ipv4/ip_forward",
    "sysrq": "echo h >/proc/sysrq-trigger",
    "sysfs": "mkdir -p /mnt/s && mount -t sysfs sysfs /mnt/s && echo 1 >/mnt/s/power/state",
    "cgroup": "mkdir -p /mnt/c && mount -t cgroup -o memory none /mnt/c && mkdir /mnt/c/attack",
    "mknod": "mknod /root/disk b 254 0 && dd if=/root/disk of=/dev/null bs=512 count=1",
    "mknod mem": "mknod /root/mem c 1 1 && head -c1 /root/mem",
    "mount a disk": "mkdir -p /mnt/d && for d in vda sda nvme0n1; do mount /dev/$d /mnt/d && exit 0; done; exit 1",
    "debugfs": "mkdir -p /mnt/b && mount -t debugfs none /mnt/b",
    "devtmpfs": "mkdir -p /mnt/dev && mount -t devtmpfs none /mnt/dev",
    "read the environment of the user": "tr '\\0' '\\n' </proc/1/environ | grep LAB_ATTACK",
    "write through the first process's files": "for n in 1 2; do echo >>/proc/1/fd/$n && exit 0; done 2>&1; exit 1",
    "chroot out": "cd / && ls /proc/1/root/boot",
    "kernel module": "modprobe dummy || insmod /dev/null",
    "set the clock": "date -s '2001-01-01'",
    "swap": "dd if=/dev/zero of=/root/swap bs=4096 count=16 2>/dev/null; mkswap /root/swap && swapon /root/swap",
    "network": "ip link set lo down",
    "raw socket": f"{PYTHON} -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
    "reboot the kernel": "/usr/bin/busybox reboot -f -n || /sbin/reboot.real -f",
    "raise limits": "ulimit -n 100000000",
    "ptrace the machine's processes": "kill -0 {victim}",
    "kill the machine's processes": "kill -9 {victim}",
    "renice the machine's processes": "renice -n 19 -p {victim}",
}

# These may succeed in the device; they must change nothing outside.
HARMLESS = {
    "kill everything": "kill -9 -1; true",
    "write the device's /etc": f"touch /etc/{MARK}",
    "be root by setuid": f"cp /bin/sh /root/{MARK} && chmod 4755 /root/{MARK}",
    "hostname": "hostname attacked",
    "empty the device": "rm -rf /srv /opt /mnt/* 2>/dev/null; true",
}


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[lab.Address]:
    """Start a device of its own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("LAB_ATTACK", "a secret of the user's")
    try:
        started = lab.ensure("attacked", {"target": "orin-nano-36.4.3"}, backend="namespace")
    except ProvisionError as error:
        pytest.skip(f"no namespaces here: {error}")
    yield started.devices["target"]
    lab.reset("attacked")


@pytest.fixture
def victim() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of the machine that an attacker would like to end."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def as_root(address: lab.Address, script: str) -> tuple[int, str]:
    """Run a script as the device's root."""
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(address.known_hosts))
        key = str(address.key_file)
        client.connect(
            address.host, address.port, address.user, key_filename=key, look_for_keys=False, allow_agent=False
        )
        stdin, stdout, stderr = client.exec_command("sudo -n /bin/sh 2>&1")
        stdin.write(script)
        stdin.channel.shutdown_write()
        said = stdout.read().decode(errors="replace") + stderr.read().decode(errors="replace")
        return stdout.channel.recv_exit_status(), said


def picture() -> dict[str, object]:
    """Return what an attack would change on the machine."""
    sysctls = ("kernel/hostname", "kernel/panic", "net/ipv4/ip_forward", "kernel/core_pattern")
    folders = ("/usr", "/usr/bin", "/usr/local", "/usr/local/bin", "/etc", "/root", "/")
    marked = [str(Path(folder, MARK)) for folder in folders if Path(folder, MARK).exists()]
    return {
        "sysctl": {name: Path("/proc/sys", name).read_text(encoding="utf-8") for name in sysctls},
        "mounts": Path("/proc/self/mounts").read_text(encoding="utf-8"),
        "env": (hashlib.sha256(Path("/usr/bin/env").read_bytes()).hexdigest(), Path("/usr/bin/env").stat()[:6]),
        "folders": {
            folder: sorted(entry.name for entry in Path(folder).iterdir())
            for folder in ("/usr", "/usr/bin", "/usr/sbin", "/usr/lib", "/etc")
        },
        "passwd": Path("/etc/passwd").read_text(encoding="utf-8"),
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8"),
        "swaps": Path("/proc/swaps").read_text(encoding="utf-8"),
        "marked": marked,
        "user": Path("/usr").stat().st_uid,
    }


def test_the_machine_is_out_of_reach(device: lab.Address, victim: subprocess.Popen[bytes]) -> None:
    """Every attack of the device's root fails, and the machine is afterwards what it was before."""
    before = picture()
    succeeded = []
    for name, command in ATTACKS.items():
        status, said = as_root(device, command.format(victim=victim.pid))
        if status == 0:
            succeeded.append(f"{name}: {said.strip()}")
    assert not succeeded
    assert victim.poll() is None
    assert picture() == before


def test_what_the_device_s_root_may_do_stays_inside(device: lab.Address, victim: subprocess.Popen[bytes]) -> None:
    """The device's root may ruin the device; the machine does not notice."""
    before = picture()
    for command in HARMLESS.values():
        as_root(device, command)
    assert victim.poll() is None
    assert picture() == before


def test_no_process_of_a_device_is_the_machine_s_root(device: lab.Address) -> None:
    """Seen from the machine, what runs as the device's root is an id that owns nothing there."""
    with paramiko.SSHClient() as client:
        client.load_host_keys(str(device.known_hosts))
        client.connect(
            device.host,
            device.port,
            device.user,
            key_filename=str(device.key_file),
            look_for_keys=False,
            allow_agent=False,
        )
        client.exec_command("sudo -n sleep 61.25")
        found: list[int] = []
        for _ in range(100):
            found = [
                process.stat().st_uid for process in Path("/proc").glob("[0-9]*") if _runs(process, b"sleep\x0061.25")
            ]
            if found:
                break
            signal.sigtimedwait([], 0.05)
        assert found
        assert all(uid >= 1000 for uid in found)


def _runs(process: Path, command: bytes) -> bool:
    try:
        return (process / "cmdline").read_bytes().startswith(command)
    except OSError:
        return False


def test_ids_of_the_device_map_to_no_root(device: lab.Address) -> None:
    """The id map inside ends in the range, and the outer one holds no id of the machine's root."""
    status, said = as_root(device, "cat /proc/self/uid_map; id -u; stat -c %u /usr")
    assert status == 0
    lines = said.split("\n")
    assert lines[0].split() == ["0", "0", "65536"]
    assert lines[1] == "0"
    assert lines[2] == "65534", "the machine's root has no name inside"
