"""One connection to one device: a persistent shell, files beside it, and a second shell when needed."""

from __future__ import annotations

import threading
from functools import cache
from typing import TYPE_CHECKING, Self

from provisioner.errors import LinkLost
from provisioner.transport.ahead import dial_ahead
from provisioner.transport.shell import Shell, Tally
from provisioner.transport.upload import Sending

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from provisioner.shell import Upload
    from provisioner.transport.connect import Link
    from provisioner.transport.target import Target
    from provisioner.transport.upload import Progress


@cache
def warm_up() -> threading.Thread:
    """Import what is slow to import in the background, and return the thread that does, or did."""

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
        self._dialled: socket.socket | None = None
        self._link: Link | None = None
        self._shell: Shell | None = None

    def dial(self) -> None:
        """Dial ahead of `open`, where it is clear to where; raises Unreachable."""
        if self._dialled is None:
            self._dialled = dial_ahead(self.target)

    def open(self) -> None:
        """Connect, log in and start the shell; whether it started shows in the first `receive`.

        With a become password the answer is waited for here, since nothing may be sent before it.
        """
        self.dial()
        from provisioner.transport.connect import connect

        dialled, self._dialled = self._dialled, None
        self._link = connect(self.target, dialled)
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

    def put(
        self,
        upload: Upload,
        user: str | None = None,
        progress: Progress | None = None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> str:
        """Bring an upload to the device, as a user's own, and return the folder in which it lies; may raise Stopped.

        It goes straight to the disk where it is to be, and was compared with its hash.
        """
        shell = self._start()
        try:
            return Sending(shell, upload, user=user, is_stopped=is_stopped).run(progress)
        except TimeoutError as error:
            raise LinkLost(f"{self.target.name} took no more of a file that was sent") from error
        finally:
            shell.close()

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
        link, dialled = self._link, self._dialled
        self._shell = self._link = self._dialled = None
        if dialled is not None:
            dialled.close()
        if link is not None:
            link.close()  # and with it every shell: to close them one by one would be packets of their own

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
