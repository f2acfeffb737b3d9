"""Loopback hosts: an OpenSSH server for each, with an address, a home, a tree and a /run of its own."""

from __future__ import annotations

import ctypes
import getpass
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SSHD = shutil.which("sshd", path=os.pathsep.join(["/usr/sbin", "/usr/local/sbin", os.environ.get("PATH", "")]))
_ROOT = os.geteuid() == 0
_PRCTL = ctypes.CDLL(None).prctl
_PARENT_DIES, _SUBREAPER = 1, 36  # PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER
_SETTINGS = {
    "StrictModes": "no",
    "UsePAM": "no",
    "UseDNS": "no",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "PermitRootLogin": "yes",
    "PrintMotd": "no",
    "PrintLastLog": "no",
    "MaxStartups": "2000",
    "MaxSessions": "50",
    "LogLevel": "ERROR",
    "Subsystem": "sftp internal-sftp",
}
# What root keeps on a device is at fixed paths; hosts that share a kernel would share them, and wait for one another.
_OWN_PLACES = """
mkdir -p /run/provision /var/lib/provision && mount --bind "$1" /run/provision &&
mount --bind "$2" /var/lib/provision && shift 2 && exec "$@"
"""


@dataclass(frozen=True)
class Host:
    """One host: how it is called, where it listens, and the folder that is its own."""

    name: str
    address: str
    folder: Path

    @property
    def tree(self) -> Path:
        """Return the folder that the work is done in."""
        return self.folder / "tree"

    @property
    def home(self) -> Path:
        """Return what its logins have as HOME."""
        return self.folder / "home"

    @property
    def run(self) -> Path:
        """Return what it has as /run/provision."""
        return self.folder / "run"

    @property
    def state(self) -> Path:
        """Return what it has as /var/lib/provision."""
        return self.folder / "state"

    def clear(self) -> None:
        """Make the host as new: its folders are empty."""
        for folder in (self.tree, self.home, self.run, self.state):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


@dataclass(frozen=True)
class Fleet:
    """Running hosts, and what a client needs to get in; `wire_port` is kept for a proxy, and known as well."""

    folder: Path
    port: int
    wire_port: int
    user: str
    hosts: tuple[Host, ...]
    servers: list[subprocess.Popen[bytes]]

    @property
    def key(self) -> Path:
        """Return the client key that every host accepts."""
        return self.folder / "client"

    @property
    def known_hosts(self) -> Path:
        """Return a file with a plain line for each host and port."""
        return self.folder / "known_hosts"

    @property
    def host_key(self) -> tuple[str, str]:
        """Return type and base64 of the host key."""
        words = (self.folder / "host.pub").read_text().split()
        return words[0], words[1]

    def cpu(self, timeout: float = 10) -> float:
        """Return the seconds of CPU that all logins have used since the start, once none is left."""
        deadline = time.monotonic() + timeout
        while _children(self.servers) and time.monotonic() < deadline:
            time.sleep(0.05)
        ticks = 0
        for server in self.servers:
            words = _stat(Path(f"/proc/{server.pid}/stat"))
            ticks += int(words[13]) + int(words[14])  # of its children that have ended
        return ticks / os.sysconf("SC_CLK_TCK")

    def clear(self, number: int | None = None) -> None:
        """Make the first hosts, or all, as new."""
        for host in self.hosts[:number]:
            host.clear()


def missing() -> str | None:
    """Return why there can be no hosts here, or None."""
    if not SSHD or not shutil.which("ssh-keygen"):
        return "OpenSSH's sshd is not installed"
    if _ROOT and subprocess.run(["unshare", "--mount", "true"], check=False, capture_output=True).returncode:
        return "root may not unshare mounts here; run it as another user"
    return None


@contextmanager
def fleet(number: int) -> Iterator[Fleet]:
    """Start so many hosts with empty trees, and stop them at the end."""
    if why := missing():
        raise RuntimeError(why)
    folder = Path(tempfile.mkdtemp(prefix="bench-hosts-"))
    folder.chmod(0o755)  # sshd reads authorized_keys as the user that logs in
    port, wire_port = _free_ports(2)
    running = Fleet(folder, port, wire_port, getpass.getuser(), tuple(_host(folder, n) for n in range(number)), [])
    running.clear()
    _write_keys(running)
    if _ROOT:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    servers = running.servers
    try:
        with (folder / "log").open("wb") as log:
            for host in running.hosts:
                command = _command(running, host)
                # Safe with threads: it only makes two system calls.
                servers.append(
                    subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, preexec_fn=_bound)  # noqa: PLW1509
                )
        _wait(running, servers)
        yield running
    finally:
        _stop(servers)
        shutil.rmtree(folder, ignore_errors=True)


def _host(folder: Path, number: int) -> Host:
    high, low = divmod(number + 1, 250)
    return Host(f"host{number + 1:03}", f"127.0.{high}.{low + 1}", folder / f"host{number + 1:03}")


def _free_ports(number: int) -> list[int]:
    probes = [socket.socket() for _ in range(number)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [int(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def _write_keys(running: Fleet) -> None:
    for name in ("client", "host"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", str(running.folder / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    shutil.copy(running.folder / "client.pub", running.folder / "authorized_keys")
    kind, key = running.host_key
    # A plain line for each: paramiko alone knows no patterns.
    ports = (running.port, running.wire_port)
    lines = [f"[{host.address}]:{port} {kind} {key}\n" for host in running.hosts for port in ports]
    running.known_hosts.write_text("".join(lines))


def _command(running: Fleet, host: Host) -> list[str]:
    # bash reads ~/.bashrc under sshd only at its first level (SHLVL): a plain login shell, whatever this machine's own
    # does there. HOME: what a tool keeps there is kept per host.
    settings = {
        "ListenAddress": host.address,
        "Port": running.port,
        "PidFile": "none",
        "HostKey": running.folder / "host",
        "AuthorizedKeysFile": running.folder / "authorized_keys",
        "SetEnv": f"SHLVL=2 HOME={host.home} XDG_RUNTIME_DIR={host.run} XDG_STATE_HOME={host.state}",
        **_SETTINGS,
    }
    config = host.folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    server = [str(SSHD), "-D", "-e", "-f", str(config)]
    own = ["unshare", "--mount", "sh", "-c", _OWN_PLACES, "sh", str(host.run), str(host.state)]
    return [*own, *server] if _ROOT else server


def _bound() -> None:
    """End this server with the benchmark, and make it the parent of what its logins leave, whose CPU it then counts."""
    _PRCTL(_PARENT_DIES, signal.SIGTERM, 0, 0, 0)
    _PRCTL(_SUBREAPER, 1, 0, 0, 0)


def _wait(running: Fleet, servers: Sequence[subprocess.Popen[bytes]], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    for host in running.hosts:
        while not _answers(host.address, running.port):
            if time.monotonic() > deadline or any(server.poll() is not None for server in servers):
                raise RuntimeError(f"sshd did not start: {(running.folder / 'log').read_text(errors='replace')}")
            time.sleep(0.02)


def _answers(address: str, port: int) -> bool:
    with suppress(OSError), socket.create_connection((address, port), timeout=1):
        return True
    return False


def _stop(servers: Sequence[subprocess.Popen[bytes]]) -> None:
    for pid in _children(servers):
        with suppress(OSError):
            os.kill(pid, signal.SIGTERM)
    for server in servers:
        server.terminate()
    for server in servers:
        server.wait()


def _children(servers: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Return the processes that serve logins now."""
    ours = {server.pid for server in servers}
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(_stat(stat)[1]) in ours:
                found.append(int(stat.parent.name))
    return found


def _stat(path: Path) -> list[str]:
    """Return the words of a stat file behind the name."""
    return path.read_text().rpartition(")")[2].split()
