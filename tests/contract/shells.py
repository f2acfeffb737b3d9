"""Batches straight into a shell of this machine, without SSH: the wire, and what it carries, under every shell."""

from __future__ import annotations

import os
import secrets
import select
import shutil
import subprocess
from typing import TYPE_CHECKING, Self

from provisioner.errors import LinkLost
from provisioner.wire import Batch, Decoder, Encoder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.wire import Reply

SHELLS = {
    "dash": ["dash"],
    "bash --posix": ["bash", "--posix"],
    "busybox ash": ["busybox", "ash"],
}


OWN_PLACES = """
mkdir -p /run/provision /var/lib/provision "$HOME/run" "$HOME/lib" &&
mount --bind "$HOME/run" /run/provision && mount --bind "$HOME/lib" /var/lib/provision && exec "$@"
"""
APART = ["unshare", "-m", "sh", "-c", OWN_PLACES, "sh"]
"""Gives root's shell /run/provision and /var/lib/provision of its own, so that no test meets another's lock."""


def available() -> dict[str, list[str]]:
    """Return the shells of this machine that a device may have as its /bin/sh."""
    return {name: command for name, command in SHELLS.items() if shutil.which(command[0])}


class ShellTransport:
    """One shell process that stays open, as a session on a device does."""

    def __init__(self, command: list[str], home: Path) -> None:
        self.run_dir, self.state_dir = home / f"provision-{os.getuid()}", home / ".local/state/provision"
        if os.getuid() == 0:
            self.run_dir, self.state_dir = home / "run", home / "lib"
            command = [*APART, *command]
        environment = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_RUNTIME_DIR": str(home)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
        )
        self.encoder = Encoder()

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Send a batch and yield its replies."""
        nonce = secrets.token_hex(16)
        yield from self.converse(self.encoder.encode(batch, nonce), Decoder(batch, nonce))

    def converse(self, script: bytes, decoder: Decoder) -> Iterator[Reply]:
        """Send bytes and yield what comes back, until the batch ends."""
        assert self.process.stdin is not None
        self.process.stdin.write(script)
        self.process.stdin.flush()
        yield from self.listen(decoder)

    def listen(self, decoder: Decoder) -> Iterator[Reply]:
        """Yield what comes back."""
        assert self.process.stdout is not None
        descriptor = self.process.stdout.fileno()
        while not decoder.ended:
            ready, _, _ = select.select([descriptor], [], [], 60)
            data = os.read(descriptor, 65536) if ready else b""
            if not data:
                raise LinkLost("the shell ended, or said nothing for a minute")
            yield from decoder.feed(data)

    def stop(self, *, now: bool = False) -> None:
        """Nothing to stop: these batches are short."""

    def close(self) -> None:
        """End the shell."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Self:
        """Return the open shell."""
        return self

    def __exit__(self, *_: object) -> None:
        """End it."""
        self.close()
