"""One connection to one device: a persistent shell, files beside it, and a second shell when needed."""

from __future__ import annotations

import contextlib
import io
import threading
from typing import IO, TYPE_CHECKING, Self

from provisioner.errors import LinkLost, Refused
from provisioner.transport.shell import Shell, Tally, open_channel, request
from provisioner.transport.text import gist

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import paramiko

    from provisioner.transport.connect import Link
    from provisioner.transport.target import Target

    Progress = Callable[[int, int], None]

_SLICE = 1 << 18
_SFTP_PATIENCE = 60.0


def warm_up() -> threading.Thread:
    """Import what is slow to import in the background, and return the thread that does."""

    def load() -> None:
        import provisioner.transport.connect  # noqa: F401

    thread = threading.Thread(target=load, name="warm-up", daemon=True)
    thread.start()
    return thread


class SshSession:
    """A device's shell; one thread owns the session, `run_aside` may be called from another."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.tally = Tally()
        self._link: Link | None = None
        self._shell: Shell | None = None
        self._sftp: paramiko.SFTPClient | None = None

    def open(self) -> None:
        """Connect, log in and start the shell; whether it started shows in the first `receive`.

        With a become password the answer is waited for here, since nothing may be sent before it.
        """
        from provisioner.transport.connect import connect

        self._link = connect(self.target)
        try:
            self._shell = self._start()
        except BaseException:
            self.close()
            raise

    def _start(self) -> Shell:
        link = self._connected()
        shell = Shell(link.transport, self.target, link.user, self.tally, verified=link.verified)
        try:
            shell.unlock()
        except BaseException:
            shell.close()
            raise
        return shell

    def send(self, data: bytes) -> None:
        """Write to the shell's stdin."""
        self._running().send(data)

    def receive(self, timeout: float) -> bytes:
        """Return the next bytes of stdout, b"" when the shell has ended; TimeoutError at the deadline."""
        return self._running().receive(timeout)

    def put(self, source: Path | bytes, remote: str, progress: Progress | None = None) -> None:
        """Write a file on the device as the login user, readable by nobody else."""
        import paramiko

        try:
            self._upload(source, remote, progress)
        except (EOFError, TimeoutError, paramiko.SSHException) as error:
            raise LinkLost(f"the connection to {self.target.name} broke while {remote} was sent") from error
        except OSError as error:
            if not self._connected().transport.is_active():
                raise LinkLost(f"the connection to {self.target.name} broke while {remote} was sent") from error
            raise Refused(f"could not write {remote}: {gist(error.strerror or str(error))}") from error

    def make_folder(self, remote: str) -> None:
        """Make a folder on the device that is the login user's alone."""
        self._files().mkdir(remote, 0o700)

    def remove_folder(self, remote: str) -> None:
        """Remove a folder of files from the device."""
        client = self._files()
        for name in client.listdir(remote):
            client.remove(f"{remote}/{name}")
        client.rmdir(remote)

    def _upload(self, source: Path | bytes, remote: str, progress: Progress | None) -> None:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        reader: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
        client = self._files()
        with reader, client.open(remote, "wb") as writer:
            writer.chmod(0o600)
            writer.set_pipelined(True)
            done = 0
            while piece := reader.read(_SLICE):
                writer.write(piece)
                done += len(piece)
                if progress:
                    progress(done, size)
        self.tally.sent += done
        # A pipelined write that failed (a full disk) is not reported by close.
        if (there := client.stat(remote).st_size) != done:
            raise OSError(f"only {there} of {done} bytes arrived")

    def _files(self) -> paramiko.SFTPClient:
        import paramiko

        if self._sftp is None:
            channel = open_channel(self._connected().transport, self.target.name)
            channel.settimeout(_SFTP_PATIENCE)
            request(channel, "subsystem", "sftp")
            try:
                self._sftp = paramiko.SFTPClient(channel)
            except (paramiko.SSHException, EOFError, OSError) as error:
                raise self._no_sftp() from error
        return self._sftp

    def _no_sftp(self) -> LinkLost | Refused:
        if self._connected().transport.is_active():
            return Refused(f"{self.target.name} has no SFTP", hint="`Subsystem sftp` in its sshd_config")
        return LinkLost(f"the connection to {self.target.name} broke")

    def run_aside(self, script: bytes, timeout: float) -> tuple[int, bytes]:
        """Run a script in a second shell with the same privileges; return exit status and stdout."""
        shell = self._start()
        try:
            shell.send(script)
            return shell.finish(timeout)
        finally:
            shell.close()

    def reconnect(self) -> None:
        """Connect anew, whatever became of the old connection."""
        self.close()
        self.open()

    def close(self) -> None:
        """Hang up; closing twice is no error."""
        shell, link, sftp = self._shell, self._link, self._sftp
        self._shell = self._link = self._sftp = None
        with contextlib.suppress(Exception):
            if sftp is not None:
                sftp.close()
            if shell is not None:
                shell.close()
        if link is not None:
            link.close()

    def __enter__(self) -> Self:
        """Open the session."""
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the session."""
        self.close()

    @property
    def stderr(self) -> bytes:
        """Return the last of what the shell wrote to stderr."""
        return self._shell.stderr if self._shell else b""

    @property
    def privileged(self) -> bool:
        """Return whether the shell runs as root; before its first answer, whether it was asked to."""
        known = self._shell.uid if self._shell else None
        return self.target.become if known is None else known == 0

    @property
    def login_user(self) -> str:
        """Return the name that logged in."""
        if self._shell:
            return self._shell.login_user
        return self._link.user if self._link else self.target.user or ""

    def _connected(self) -> Link:
        if self._link is None:
            raise LinkLost(f"there is no connection to {self.target.name}")
        return self._link

    def _running(self) -> Shell:
        if self._shell is None:
            raise LinkLost(f"there is no connection to {self.target.name}")
        return self._shell
