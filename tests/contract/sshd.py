"""A real OpenSSH sshd on 127.0.0.1, with keys and configuration of its own in a folder of its own."""

from __future__ import annotations

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
from typing import TYPE_CHECKING, Any

from provisioner.transport import Target

if TYPE_CHECKING:
    from collections.abc import Iterator

SSHD = shutil.which("sshd", path=os.pathsep.join(["/usr/sbin", "/usr/local/sbin", os.environ.get("PATH", "")]))
MISSING = None if SSHD and shutil.which("ssh-keygen") else "OpenSSH's sshd is not installed"
_DEFAULTS = {
    "ListenAddress": "127.0.0.1",
    "StrictModes": "no",
    "UsePAM": "no",
    "UseDNS": "no",
    "PasswordAuthentication": "no",
    "KbdInteractiveAuthentication": "no",
    "PermitRootLogin": "yes",
    "PrintMotd": "no",
    "PrintLastLog": "no",
    "MaxStartups": "1000",
    "MaxSessions": "50",
    "Subsystem": "sftp internal-sftp",
    # bash reads ~/.bashrc under sshd only at its first level: the machine's own is no part of the tests.
    "SetEnv": "SHLVL=2",
}


@dataclass
class Sshd:
    """A running server, and what a client needs to get in."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]
    user: str

    @property
    def key(self) -> Path:
        """Return the client key that the server accepts for every user."""
        return self.folder / "client"

    @property
    def known_hosts(self) -> Path:
        """Return a file that holds the server's key, for each of its host key types."""
        return self.folder / "known_hosts"

    @property
    def ssh_config(self) -> Path:
        """Return an empty ssh_config, so that the machine's own is not asked."""
        return self.folder / "ssh_config"

    def host_key(self, kind: str = "ed25519") -> tuple[str, str]:
        """Return type and base64 of a host key."""
        words = (self.folder / f"host_{kind}.pub").read_text().split()
        return words[0], words[1]

    def target(self, **changes: Any) -> Target:
        """Return a Target that gets in, with changes."""
        values: dict[str, Any] = {
            "name": "device",
            "address": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "key_files": (self.key,),
            "known_hosts": (self.known_hosts,),
            "ssh_config": self.ssh_config,
        }
        return Target(**{**values, **changes})

    def connections(self) -> list[int]:
        """Return the process ids that serve connections now."""
        return _children(self.process.pid)

    def cut(self) -> set[int]:
        """Kill what serves the connections, as a link that is lost; return what it was. Shells go on."""
        found = set(self.connections())
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return found

    def shells(self, connection: int) -> list[int]:
        """Return the process ids of what runs over a connection."""
        return _children(connection)

    def drop(self) -> None:
        """Kill what serves the connections, as a power cut would; the server itself stays."""
        for pid in self.connections():
            # The server before the shell: else it would still report the shell's end.
            for victim in [pid, *_children(pid)]:
                with suppress(ProcessLookupError):
                    os.kill(victim, signal.SIGKILL)

    def log(self) -> str:
        """Return what the server has logged."""
        return (self.folder / "log").read_text(errors="replace")


@contextmanager
def running(options: dict[str, str] | None = None, *, host_keys: tuple[str, ...] = ("ed25519",)) -> Iterator[Sshd]:
    """Start a server with these sshd_config options on top of the defaults, and stop it at the end."""
    folder = Path(tempfile.mkdtemp(prefix="sshd-"))
    folder.chmod(0o755)  # sshd reads authorized_keys as the user that logs in
    port = _free_port()
    _write_keys(folder, host_keys)
    _write_config(folder, port, options or {}, host_keys)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(SSHD), "-D", "-e", "-f", str(folder / "sshd_config")], stdin=subprocess.DEVNULL, stderr=log
        )
    server = Sshd(folder, port, process, getpass.getuser())
    try:
        _wait(server)
        yield server
    finally:
        server.drop()
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def _write_keys(folder: Path, kinds: tuple[str, ...]) -> None:
    for name, kind in [("client", "ed25519"), *((f"host_{kind}", kind) for kind in kinds)]:
        _keygen(folder / name, kind)
    (folder / "authorized_keys").write_text((folder / "client.pub").read_text())
    lines = [f"[127.0.0.1]:* {(folder / f'host_{kind}.pub').read_text()}" for kind in kinds]
    (folder / "known_hosts").write_text("".join(lines))
    (folder / "ssh_config").write_text("")


def _keygen(path: Path, kind: str, passphrase: str = "") -> None:
    subprocess.run(
        ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)],
        check=True,
        stdin=subprocess.DEVNULL,
    )


def _write_config(folder: Path, port: int, options: dict[str, str], kinds: tuple[str, ...]) -> None:
    settings = {
        "Port": str(port),
        "PidFile": str(folder / "pid"),
        "AuthorizedKeysFile": str(folder / "authorized_keys"),
        **_DEFAULTS,
        **options,
    }
    lines = [f"{name} {value}" for name, value in settings.items()]
    lines += [f"HostKey {folder / f'host_{kind}'}" for kind in kinds]
    (folder / "sshd_config").write_text("\n".join(lines) + "\n")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(server: Sshd, timeout: float = 10) -> None:
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and server.process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"sshd did not start: {server.log()}")


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(stat.parent.name))
    return found
