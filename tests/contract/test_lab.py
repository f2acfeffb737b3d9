"""The lab's devices behave as devices wherever the provisioner relies on it, seen through SSH as it sees them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import threading
import time
import urllib.request
from typing import TYPE_CHECKING

import paramiko
import pytest

from provisioner import lab
from provisioner.errors import InputError, ProvisionError
from provisioner.lab import catalogue, places

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEVICES = {"nano": "nano-32.7.4", "orin": "orin-nano-36.4.3"}
FOUR = {"a": "nano-32.7.4", "b": "agx-xavier-35.4.1", "c": "orin-nano-36.4.3", "d": "agx-thor-39.2.1"}
TORCH = "dustynv/l4t-pytorch:r36.4.0"


class Shell:
    """A client of one device."""

    def __init__(self, address: lab.Address, password: str | None = None) -> None:
        self.client = paramiko.SSHClient()
        self.client.load_host_keys(str(address.known_hosts))
        key = None if password else str(address.key_file)
        self.client.connect(
            address.host, address.port, address.user, password, key_filename=key, look_for_keys=False, allow_agent=False
        )

    def run(self, command: str, given: bytes = b"") -> tuple[int, str, str]:
        """Return status, stdout and stderr of a command."""
        stdin, stdout, stderr = self.client.exec_command(command)
        stdin.write(given)
        stdin.channel.shutdown_write()
        out, err = stdout.read().decode(), stderr.read().decode()
        return stdout.channel.recv_exit_status(), out, err

    def __call__(self, command: str, given: bytes = b"") -> str:
        """Return stdout of a command that must succeed."""
        status, out, err = self.run(command, given)
        assert status == 0, f"{command}: {status}\n{out}\n{err}"
        return out.strip()


@pytest.fixture(scope="module", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the labs of these tests out of the user's own state."""
    home = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home))
        patch.delenv("PROVISION_LAB_BACKEND", raising=False)
        try:
            lab.choose_backend("namespace")
        except ProvisionError as error:
            pytest.skip(f"no namespaces here: {error}")
        yield home
        for folder in (home / "provision/lab").glob("[!.]*"):
            lab.reset(folder.name)


@pytest.fixture(scope="module")
def running(state_home: Path) -> lab.Lab:
    """Start the lab that these tests share."""
    return lab.ensure("contract", DEVICES)


@pytest.fixture
def nano(running: lab.Lab) -> Iterator[Shell]:
    """Log in to the Nano."""
    shell = Shell(running.devices["nano"])
    yield shell
    shell.client.close()


@pytest.fixture
def orin(running: lab.Lab) -> Iterator[Shell]:
    """Log in to the Orin Nano."""
    shell = Shell(running.devices["orin"])
    yield shell
    shell.client.close()


def test_a_device_is_what_the_catalogue_says(nano: Shell, orin: Shell) -> None:
    """Architecture, kernel, release line, dpkg and device tree agree, and none of them is the machine's."""
    assert nano("uname -m; uname -r").split() == ["aarch64", "4.9.337-tegra"]
    assert nano("head -n 1 /etc/nv_tegra_release").startswith("# R32 (release), REVISION: 7.4, GCID: 33514132")
    assert nano("dpkg-query -W -f '${Version}' nvidia-l4t-core") == "32.7.4-20230608212426"
    assert nano("dpkg --print-architecture") == "arm64"
    assert "nvidia,tegra210" in nano("tr '\\0' '\\n' </sys/firmware/devicetree/base/compatible").split()
    assert orin("tr -d '\\0' </sys/firmware/devicetree/base/model").endswith("Developer Kit Super")
    assert orin(". /etc/os-release; echo $ID $VERSION_ID") == "ubuntu 22.04"
    assert orin("cat /proc/sys/kernel/hostname /etc/hostname").split() == ["orin", "orin"]


def test_starting_is_cheap(running: lab.Lab) -> None:
    """A lab that runs is found in less than 20 ms; the four devices of the inventory start in less than 3 s."""
    began = time.perf_counter()
    assert lab.ensure("contract", DEVICES) == running
    assert time.perf_counter() - began < 0.02
    began = time.perf_counter()
    lab.ensure("four", FOUR, backend="namespace")
    took = time.perf_counter() - began
    lab.reset("four")
    assert took < 3 * (1 + os.getloadavg()[0] / (os.cpu_count() or 1))


def test_the_shell_is_a_real_one(orin: Shell) -> None:
    """Status, stdout, stderr, stdin and its end arrive as a command left them; a signal is no status."""
    assert orin.run("echo out; echo err >&2; exit 7") == (7, "out\n", "err\n")
    assert orin.run("cat; echo end", b"given\n") == (0, "given\nend\n", "")
    assert orin.run("kill -9 $$")[0] == -1
    assert orin("id -un; pwd; echo $HOME; echo $0").split() == ["nvidia", "/home/nvidia", "/home/nvidia", "/bin/bash"]


def test_many_megabytes_pass_both_ways_at_once(orin: Shell) -> None:
    """A large transfer neither stalls nor loses a byte while others run on the same connection."""
    data = os.urandom(1 << 20) * 16
    channel = orin.client.get_transport().open_session()
    channel.exec_command("tee /tmp/large; sha256sum /tmp/large >&2")
    side = threading.Thread(target=lambda: [orin("true") for _ in range(5)])
    side.start()
    writer = threading.Thread(
        target=lambda: (
            [channel.sendall(data[n : n + 262144]) for n in range(0, len(data), 262144)],
            channel.shutdown_write(),
        )
    )
    writer.start()
    back = bytearray()
    while piece := channel.recv(1 << 18):
        back += piece
    writer.join()
    side.join()
    assert bytes(back) == data
    assert channel.makefile_stderr().read().split()[0].decode() == hashlib.sha256(data).hexdigest()


def test_a_client_that_leaves_kills_nothing(running: lab.Lab, orin: Shell) -> None:
    """As with sshd without a terminal: the link is lost, the process goes on, its pipes are closed."""
    lost = Shell(running.devices["orin"])
    lost.client.exec_command("rm -f /tmp/went-on; (sleep 1; echo still >/tmp/went-on) & cat >/tmp/stdin-ended; wait")
    time.sleep(0.2)
    lost.client.close()
    time.sleep(1.5)
    assert orin("cat /tmp/went-on; ls /tmp/stdin-ended") == "still\n/tmp/stdin-ended"


def test_files_travel_by_sftp(orin: Shell) -> None:
    """The sftp subsystem reads and writes the device's files with the login user's rights."""
    data = os.urandom(300_000)
    with orin.client.open_sftp() as sftp:
        sftp.putfo(io.BytesIO(data), "/home/nvidia/sent")
        assert sftp.stat("/home/nvidia/sent").st_size == len(data)
        with pytest.raises(PermissionError):
            sftp.putfo(io.BytesIO(data), "/etc/sent")
    assert orin("sha256sum </home/nvidia/sent").split()[0] == hashlib.sha256(data).hexdigest()


def test_our_own_sftp_server_serves_too(orin: Shell) -> None:
    """Where the machine has no sftp-server, the lab's own takes its place."""
    channel = orin.client.get_transport().open_session()
    channel.exec_command("/usr/local/lib/simulation/sftp")
    data = os.urandom(200_000)
    with paramiko.SFTPClient(channel) as sftp:
        sftp.mkdir("/tmp/own-sftp", 0o700)
        sftp.putfo(io.BytesIO(data), "/tmp/own-sftp/file")
        sftp.chmod("/tmp/own-sftp/file", 0o640)
        sftp.posix_rename("/tmp/own-sftp/file", "/tmp/own-sftp/other")
        assert sftp.listdir("/tmp/own-sftp") == [".", "..", "other"] or sftp.listdir("/tmp/own-sftp") == ["other"]
        assert sftp.file("/tmp/own-sftp/other").read() == data
        with pytest.raises(FileNotFoundError):
            sftp.stat("/tmp/own-sftp/file")
        sftp.remove("/tmp/own-sftp/other")
        sftp.rmdir("/tmp/own-sftp")


def test_sudo_gives_the_device_s_root(orin: Shell) -> None:
    """sudo and su change who one is, with that user's groups; chown to another user holds."""
    assert orin("sudo -n true; sudo -n id -u; echo 'id -un' | sudo -n /bin/sh").split() == ["0", "root"]
    assert orin("sudo -n -u daemon id -un; sudo -nu nvidia id -un").split() == ["daemon", "nvidia"]
    assert orin("sudo -n su -s /bin/sh nvidia -c 'id -un; echo $PPID >/dev/null; id -Gn'").split()[0] == "nvidia"
    assert (
        orin("sudo touch /etc/owned && sudo chown nvidia:video /etc/owned && stat -c %U:%G /etc/owned")
        == "nvidia:video"
    )
    assert orin("A=1 sudo B=2 sh -c 'echo $SUDO_USER $HOME $USER,$A,$B'") == "nvidia /root root,,2"
    assert orin.run("sudo no-such-command")[0] == 1


def test_sudo_asks_where_a_password_is_set(orin: Shell) -> None:
    """With a password: -n fails, -S prompts on stderr and reads one line, and what follows is the command's."""
    orin("echo secret | sudo tee /var/lib/simulation/sudo_password")
    try:
        assert orin.run("sudo -n true") == (1, "", "sudo: a password is required\n")
        status, out, err = orin.run("sudo -k -S -p NONCE -- /bin/sh", b"secret\nid -u\n")
        assert (status, out, err) == (0, "0\n", "NONCE")
        status, out, err = orin.run("sudo -k -S -p NONCE -- id -u", b"a\nb\nc\n")
        assert (status, out) == (1, "")
        assert err.count("NONCE") == 3
        assert err.endswith("sudo: 3 incorrect password attempts\n")
        rule = b"nvidia ALL=(ALL) NOPASSWD: ALL\n"
        orin("sudo -S sh -c 'umask 227; cat >/etc/sudoers.d/nvidia'", b"secret\n" + rule)
        assert orin("sudo -n id -u; sudo -n rm /etc/sudoers.d/nvidia; sudo -n true || echo asks") == "0\nasks"
    finally:
        orin("sudo -S rm /var/lib/simulation/sudo_password", b"secret\n")


def test_users_are_the_device_s_own(orin: Shell) -> None:
    """A user and a group that are made there exist there, and who is in no group sudo may not use it."""
    orin("sudo groupadd -g 2000 crew; sudo useradd -m -u 2000 -g crew guest")
    assert orin("sudo -n -u guest sh -c 'id -un; id -gn; pwd -P'").split()[:2] == ["guest", "crew"]
    assert orin.run("sudo -n -u guest sudo -n true")[0] == 1


def test_apt_installs_what_the_catalogue_offers(orin: Shell) -> None:
    """The simulated transaction is the one that then happens; versions, holds and unknown names are apt's."""
    told = [line.split()[1] for line in orin("apt-get -s install nginx").splitlines() if line.startswith("Inst ")]
    assert told == ["nginx"]
    assert orin.run("dpkg -s nginx")[0] == 1
    assert orin.run("apt-get -y install nginx")[0] == 100
    orin(
        "sudo apt-get update; "
        "sudo DEBIAN_FRONTEND=noninteractive apt-get -y -o Dpkg::Options::=--force-confold install nginx"
    )
    form = "-f '${db:Status-Abbrev}|${Status}|${Version}\\n'"
    assert orin(f"dpkg-query -W {form} nginx") == "ii |install ok installed|1.18.0-6ubuntu14.6"
    assert orin("systemctl is-active nginx") == "active"
    orin("sudo apt-mark hold nginx")
    assert orin("apt-mark showhold; dpkg-query -W -f '${db:Status-Want}' nginx").split() == ["nginx", "hold"]
    assert "Held packages were changed" in orin.run("sudo apt-get -y remove nginx")[2]
    orin("echo nginx install | sudo dpkg --set-selections; sudo apt-get -y purge nginx")
    assert orin.run("dpkg-query -W nginx") == (1, "", "dpkg-query: no packages found matching nginx\n")
    assert orin.run("apt-get -s install no-such-thing")[::2] == (100, "E: Unable to locate package no-such-thing\n")
    assert "Version '9' for 'nginx' was not found" in orin.run("apt-get -s install nginx=9")[2]
    assert "Candidate: 1.18.0-6ubuntu14.6" in orin("apt-cache policy nginx")


def test_a_busy_dpkg_is_told_and_waited_for(orin: Shell) -> None:
    """apt-get names who holds the lock, waits as long as it is told to, and fuser sees it."""
    held = "/var/lib/simulation/dpkg-lock-held-by"
    orin(f"echo '1234 (unattended-upgr)' | sudo tee {held}")
    status, _out, err = orin.run("sudo apt-get -y install tree")
    assert (status, "It is held by process 1234 (unattended-upgr)" in err) == (100, True)
    assert orin("fuser /var/lib/dpkg/lock-frontend") == "1234"
    orin(f"(sleep 0.5; sudo rm {held}) >/dev/null 2>&1 & sudo apt-get -y -o DPkg::Lock::Timeout=10 install tree")


def test_an_interrupted_dpkg_is_finished_before_apt_works(orin: Shell) -> None:
    """As on a real machine: while dpkg's notes of an interrupted work lie there, apt-get only says what helps."""
    orin("sudo mkdir -p /var/lib/dpkg/updates; sudo touch /var/lib/dpkg/updates/0001")
    status, _out, err = orin.run("sudo apt-get -y install tree")
    assert (status, "dpkg was interrupted" in err) == (100, True)
    assert orin.run("apt-get -s install tree")[0] == 0
    orin("sudo dpkg --configure -a --force-confold; sudo apt-get -y install tree")


def test_apt_needs_nvidia_s_line(nano: Shell) -> None:
    """Without NVIDIA's line its packages are not on offer; with the placeholder of a bad flash, update fails."""
    path = "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
    nano(f"sudo cp {path} /tmp/list; sudo sed -i s/t210/'<SOC>'/ {path}")
    assert nano.run("sudo apt-get update")[0] == 100
    nano(f"sudo sed -i 's/^deb/#deb/' {path}")
    assert nano.run("apt-get -s install nvidia-container")[0] == 100
    nano(f"sudo cp /tmp/list {path}; sudo apt-get update; apt-get -s install nvidia-container")


def test_units_speak_systemd(nano: Shell) -> None:
    """States, texts and statuses are systemctl's; each start has an invocation of its own."""
    first = nano("systemctl show -p InvocationID --value docker")
    nano("sudo systemctl restart docker")
    assert nano("systemctl show -p InvocationID --value docker") not in ("", first)
    assert nano("systemctl show -p LoadState,ActiveState,UnitFileState none").split("\n") == [
        "LoadState=not-found",
        "ActiveState=inactive",
        "UnitFileState=",
    ]
    assert nano.run("sudo systemctl start none") == (
        5,
        "",
        "Failed to start none.service: Unit none.service not found.\n",
    )
    assert nano.run("systemctl is-active none")[:2] == (3, "inactive\n")
    assert nano.run("systemctl status none")[0] == 4
    nano("sudo systemctl stop cron; sudo systemctl mask cron")
    assert nano.run("sudo systemctl start cron")[::2] == (
        1,
        "Failed to start cron.service: Unit cron.service is masked.\n",
    )
    nano("sudo systemctl unmask cron; sudo systemctl disable cron; sudo systemctl enable --now cron")
    assert nano("systemctl is-active cron; systemctl is-enabled cron; systemctl is-system-running").split() == [
        "active",
        "enabled",
        "running",
    ]
    assert nano.run("systemctl restart docker")[0] == 4


def test_a_drop_in_counts_after_daemon_reload(nano: Shell) -> None:
    """A drop-in is seen (NeedDaemonReload), and works only once it was loaded."""
    nano("sudo mkdir -p /etc/systemd/system/cron.service.d")
    nano("printf '[Service]\\nEnvironment=A=1\\n' | sudo tee /etc/systemd/system/cron.service.d/a.conf")
    show = "systemctl show -p NeedDaemonReload -p Environment cron"
    assert nano(show).split("\n") == ["Environment=", "NeedDaemonReload=yes"]
    nano("sudo systemctl daemon-reload")
    assert nano(show).split("\n") == ["Environment=A=1", "NeedDaemonReload=no"]


def test_docker_end_to_end(orin: Shell) -> None:
    """Installed, not set, set, not restarted, restarted, pulled, run: each step shows as it would on a device."""
    assert orin.run("docker version")[0] == 127
    orin("sudo apt-get -y install docker.io nvidia-container")
    assert orin("sudo docker info --format '{{.DefaultRuntime}}'") == "runc"
    assert (
        "unknown or invalid runtime name: nvidia" in orin.run(f"sudo docker run --rm --runtime nvidia {TORCH} true")[2]
    )

    orin("sudo nvidia-ctk runtime configure --runtime=docker --set-as-default")
    assert orin("sudo docker info --format '{{.DefaultRuntime}}'") == "runc", "not restarted"
    orin("sudo systemctl restart docker")
    assert orin("sudo docker info --format '{{.DefaultRuntime}}'") == "nvidia"
    assert (
        json.loads(orin("sudo docker info --format '{{json .Runtimes}}'"))["nvidia"]["path"]
        == "nvidia-container-runtime"
    )

    assert "can't initialize iptables table `raw'" in orin.run(f"sudo docker run --rm {TORCH} true")[2]
    orin("sudo mkdir -p /etc/systemd/system/docker.service.d")
    raw = "/etc/systemd/system/docker.service.d/raw.conf"
    orin(f"printf '[Service]\\nEnvironment=DOCKER_INSECURE_NO_IPTABLES_RAW=1\\n' | sudo tee {raw}")
    orin("sudo systemctl daemon-reload; sudo systemctl restart docker")

    torch = "python3 -c 'import torch; print(torch.cuda.is_available())'"
    assert orin(f"sudo docker run --rm {TORCH} {torch}") == "True"
    assert orin(f"sudo docker run --rm --runtime runc {TORCH} {torch}") == "False"
    check = (
        b"import torch\nassert torch.cuda.is_available()\nd = torch.device('cuda')\na = torch.randn(64, 64)\n"
        b"assert torch.allclose((a.to(d) @ a.to(d)).cpu(), a @ a, atol=1e-2)\n"
        b"print(torch.__version__, torch.version.cuda, torch.cuda.get_device_name(0), "
        b"torch.cuda.get_device_capability(0))\n"
    )
    assert orin(f"sudo docker run --rm -i {TORCH} python3 -", check) == "2.4.0 12.6 Orin (8, 7)"


def test_a_pull_is_by_digest(running: lab.Lab, nano: Shell) -> None:
    """By tag and by digest one gets the same image, whose RepoDigests name the registry it came from."""
    name, tag = "nvcr.io/nvidia/l4t-pytorch", "r32.7.1-pth1.10-py3"
    address = f"{running.registry}/v2/nvidia/l4t-pytorch/manifests/{tag}"
    with urllib.request.urlopen(address) as reply:
        body, said = reply.read(), reply.headers["Docker-Content-Digest"]
    assert said == "sha256:" + hashlib.sha256(body).hexdigest()
    lines = nano(f"sudo docker pull {name}@{said}").splitlines()
    assert lines[0] == f"{name}@{said}: Pulling from nvidia/l4t-pytorch"
    assert f"Status: Downloaded newer image for {name}@{said}" in lines
    assert json.loads(nano(f"sudo docker image inspect --format '{{{{json .RepoDigests}}}}' {name}@{said}")) == [
        f"{name}@{said}"
    ]
    assert f"Status: Image is up to date for {name}:{tag}" in nano(f"sudo docker pull {name}:{tag}")
    inspected = json.loads(nano(f"sudo docker image inspect {name}:{tag}"))
    assert inspected[0]["RepoTags"] == [f"{name}:{tag}"]
    assert inspected[0]["Architecture"] == "arm64"
    nano(
        f"sudo docker tag {name}:{tag} lab/mine:1 && sudo docker rmi {name}:{tag} "
        "&& sudo docker image inspect lab/mine:1"
    )
    nano(f"sudo docker rmi lab/mine:1; sudo docker rmi {name}@{said} || true")
    assert nano.run(f"sudo docker image inspect {name}@{said}")[:2] == (1, "[]\n")


def test_what_the_registry_has_not_is_not_had(nano: Shell) -> None:
    """The tag that people copy is missing; an image of another architecture is told apart at pull or run."""
    status, _, err = nano.run("sudo docker pull nvcr.io/nvidia/l4t-pytorch:r35.3.1-pth2.0-py3")
    wanted = "manifest for nvcr.io/nvidia/l4t-pytorch:r35.3.1-pth2.0-py3 not found: manifest unknown: manifest unknown"
    assert (status, err) == (1, f"Error response from daemon: {wanted}\n")
    assert "no matching manifest for linux/arm64" in nano.run("sudo docker pull lab/amd64-index")[2]
    assert "exec format error" in nano.run("sudo docker run --rm lab/amd64-only python3 -c pass")[2]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"default-runtime": "nope"}', "specified default runtime 'nope' does not exist"),
        ('{"debug": true,}', "invalid character '}' looking for beginning of object key string"),
        ('{"no-such-key": 1}', "the following directives don't match any configuration option: no-such-key"),
        ('{"debug": "yes"}', "cannot unmarshal string into Go value of type bool"),
    ],
)
def test_a_bad_daemon_json_stops_docker(nano: Shell, content: str, said: str) -> None:
    """dockerd reads the file when it starts, says what is wrong with it, and starts again once it is mended."""
    nano("sudo cp /etc/docker/daemon.json /tmp/daemon.json")
    nano("sudo tee /etc/docker/daemon.json", content.encode())
    assert nano("systemctl is-active docker") == "active"
    status, _, err = nano.run("sudo systemctl restart docker")
    assert (status, err.startswith("Job for docker.service failed")) == (1, True)
    assert said in nano("journalctl -u docker -n 3 --no-pager")
    assert said in nano.run("systemctl status docker")[1]
    assert "Is the docker daemon running?" in nano.run("sudo docker info")[2]
    nano("sudo cp /tmp/daemon.json /etc/docker/daemon.json; sudo systemctl restart docker")
    assert nano("systemctl is-active docker") == "active"


def test_a_restart_of_docker_stops_containers(nano: Shell) -> None:
    """Containers are recorded, shown by ps, and stop with the daemon unless they are told to come back."""
    nano("sudo docker run -d --name gone lab/amd64-only true || true")
    image = "nvcr.io/nvidia/l4t-pytorch:r32.7.1-pth1.9-py3"
    nano(
        f"sudo docker run -d --name one {image} sleep 1000; "
        f"sudo docker run -d --restart always --name two {image} sleep 1000"
    )
    names = "sudo docker ps --format '{{.Names}} {{.Image}}'"
    assert nano(names).splitlines() == [f"one {image}", f"two {image}"]
    nano("sudo systemctl restart docker")
    assert nano(names).splitlines() == [f"two {image}"]
    nano("sudo docker rm -f one two")


def test_only_group_docker_talks_to_the_daemon(running: lab.Lab, nano: Shell) -> None:
    """A user outside the group is refused; inside it, after a new login, is not."""
    assert "permission denied while trying to connect" in nano.run("docker info")[2]
    nano("sudo usermod -aG docker nvidia")
    assert nano.run("docker info")[0] == 1, "a connection keeps the groups of its login"
    fresh = Shell(running.devices["nano"])
    assert fresh("docker info --format '{{.DefaultRuntime}}'") == "runc"
    fresh.client.close()


def test_what_is_not_recorded_is_not_made_up(nano: Shell) -> None:
    """A program without an answer says so and fails with 96."""
    for command in (
        "sudo docker swarm init",
        "nvpmodel -m 1",
        "systemctl edit docker",
        "dpkg -i x.deb",
        "uname --nope",
    ):
        status, _, err = nano.run(command)
        assert (status, "not simulated" in err) == (96, True), command


def test_boards_speak_for_themselves(nano: Shell) -> None:
    """nvpmodel and tegrastats print the lines of the board."""
    assert nano("nvpmodel -q 2>/dev/null").split("\n") == ["NV Power Mode: MAXN", "0"]
    assert nano("tegrastats --interval 100 | head -n 1").startswith("RAM 330/3964MB")


def test_a_reboot_is_one(running: lab.Lab) -> None:
    """Processes end, /run and /tmp are emptied, boot_id and invocations change; the disk stays; SSH comes back."""
    before = Shell(running.devices["nano"])
    boot = before("cat /proc/sys/kernel/random/boot_id")
    started = before("systemctl show -p InvocationID --value docker")
    before("touch /tmp/here /run/user 2>/dev/null; touch ~/kept; (sleep 600 </dev/null >/dev/null 2>&1 &)")
    before.client.exec_command("sudo reboot")
    deadline = time.monotonic() + 15
    time.sleep(0.3)
    with pytest.raises((OSError, paramiko.SSHException)):
        Shell(running.devices["nano"])
    after = None
    while after is None and time.monotonic() < deadline:
        try:
            after = Shell(running.devices["nano"])
        except (OSError, paramiko.SSHException):
            time.sleep(0.1)
    assert after is not None
    assert after("cat /proc/sys/kernel/random/boot_id") != boot
    assert after("systemctl show -p InvocationID --value docker") not in ("", started)
    assert after("ls ~/kept; ls /tmp; ps ax | grep -c '[s]leep 600' || true").split() == ["/home/nvidia/kept", "0"]
    after.client.close()


def test_devices_keep_their_state_until_reset() -> None:
    """Down and up, a device is the same: disk, host key, port; after a reset it is a new one."""
    one = {"solo": "orin-nano-36.4.3"}
    first = lab.ensure("keep", one)
    shell = Shell(first.devices["solo"])
    shell("echo mine >~/mine; sudo apt-get -y install tree")
    known = first.devices["solo"].known_hosts.read_text()
    assert lab.status("keep").running
    assert lab.down("keep")
    assert not lab.status("keep").running
    assert not lab.down("keep")
    again = lab.ensure("keep", one)
    assert again.devices == first.devices
    assert again.devices["solo"].known_hosts.read_text() == known
    shell = Shell(again.devices["solo"])
    assert shell("cat ~/mine; dpkg-query -W -f '${Package}' tree").split() == ["mine", "tree"]
    assert lab.reset("keep")
    assert not places.home("keep").exists()
    shell = Shell(lab.ensure("keep", one).devices["solo"])
    assert shell.run("cat ~/mine")[0] == 1
    lab.reset("keep")


def test_settings_of_a_device() -> None:
    """Behind the name of the device an inventory may set a sudo password and a login password."""
    one = lab.ensure("settings", {"x": "agx-thor-39.2.1 sudo_password=s3 login_password=pw"}, backend="namespace")
    shell = Shell(one.devices["x"], password="pw")
    assert shell.run("sudo -n true")[0] == 1
    assert shell("sudo -S id -u", b"s3\n") == "0"
    with pytest.raises(paramiko.AuthenticationException):
        Shell(one.devices["x"], password="wrong")
    lab.reset("settings")


def test_an_unknown_device_is_named() -> None:
    """A misspelt device is an error with the list of those there are, before anything starts."""
    with pytest.raises(InputError, match="no simulated device is called 'nano-99'") as caught:
        lab.ensure("wrong", {"x": "nano-99"})
    assert all(name in str(caught.value.hint) for name in catalogue.everything()["devices"])


def test_the_model_backend_has_the_registry_only() -> None:
    """Without namespaces there is no SSH; the registry is there, so that images can be matched and pinned."""
    model = lab.ensure("model", {"x": "nano-32.7.4"}, backend="model")
    assert (model.backend, model.devices) == ("model", {})
    with urllib.request.urlopen(f"{model.registry}/v2/nvidia/pytorch/manifests/26.08-py3") as reply:
        index = json.load(reply)
    assert {entry["platform"]["architecture"] for entry in index["manifests"]} == {"amd64", "arm64"}
    lab.reset("model")
