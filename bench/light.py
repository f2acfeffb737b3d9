"""Light SSH servers for a large fleet: one asyncio process that answers as a device that was recorded once.

It listens on every loopback address, so each is a host. What a session sends is compared with what earlier ones sent,
less the random words in it (nonces, names of batches), and is answered with what was answered then, with the random
words of now. What nobody has sent before goes to a real /bin/sh on this machine, and is recorded: the first host of a
run is real, and all others say the same. Keys, encryption and channels are real for each.

    PYTHON light.py FOLDER      prints its port, forgets its recording at each line of stdin, and ends with it
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Self

PACKAGE = "asyncssh~=2.21"
_PIECE = 1 << 16
_WORD = re.compile(rb"(?<![0-9a-f])(?:[0-9a-f]{32}|[0-9a-f]{16})(?![0-9a-f])")
# A batch is complete with this line, its answer with that one; see provisioner/wire.
_SENT = re.compile(rb"(?:^|\n)unset -f batch_[0-9a-f]+\n\Z")
_ANSWERED = re.compile(rb"\n[0-9a-f]{32} end [^\n]*\n\Z")
_READY = re.compile(rb" ready [^\n]*\n\Z")


@cache
def install() -> str | None:
    """Install asyncssh where it is not there yet; return why that could not be done, or None."""
    from bench import peers

    return None if peers.imports(python(), "asyncssh") else peers.environment(python(), [PACKAGE])


def python() -> Path:
    """Return the interpreter of the servers' environment."""
    from bench import peers

    return peers.folder() / "light" / "bin" / "python"


class Light:
    """The servers, in a process of their own; the folder holds `host`, a private key, and `authorized_keys`."""

    def __init__(self, folder: Path) -> None:
        if why := install():
            raise RuntimeError(f"asyncssh could not be installed: {why}")
        command = [str(python()), __file__, str(folder)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.port = int(self._ask())

    def forget(self) -> None:
        """Let the next session be recorded anew."""
        self._ask("forget\n")

    def _ask(self, line: str = "") -> str:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write(line)
        self._process.stdin.flush()
        if not (answer := self._process.stdout.readline()):
            raise RuntimeError("the light servers did not start, or ended")
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


@dataclass
class Tape:
    """What was answered, and how it went on, by what was sent; random words are stood for by their number."""

    answers: dict[bytes, tuple[bytes, Tape]] = field(default_factory=dict)


class Session:
    """One connection's shell: recorded answers as long as there are any, then a real shell."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.words: list[bytes] = []
        self.sent: list[bytes] = []
        self.shell: asyncio.subprocess.Process | None = None

    async def answer(self, text: bytes) -> bytes:
        """Return what a device answers to a command, or to a batch."""
        self.words += [word for word in dict.fromkeys(_WORD.findall(text)) if word not in self.words]
        key = self._numbered(text)
        if self.shell is None and key in self.tape.answers:
            told, self.tape = self.tape.answers[key]
            self.sent.append(text)
            return re.sub(rb"\0(\d+)\0", lambda found: self.words[int(found[1])], told)
        if self.shell is None:
            for earlier in self.sent:
                await self._ask(earlier)
        told = await self._ask(text)
        self.sent.append(text)
        self.tape = self.tape.answers.setdefault(key, (self._numbered(told), Tape()))[1]
        return told

    def _numbered(self, text: bytes) -> bytes:
        numbers = {word: b"\0%d\0" % number for number, word in enumerate(self.words)}
        return _WORD.sub(lambda found: numbers.get(found[0], found[0]), text)

    async def _ask(self, text: bytes) -> bytes:
        if self.shell is None:
            command = ("/bin/sh", "-c", text.decode())
            self.shell = await asyncio.create_subprocess_exec(
                *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
            if b" ready " not in text:  # it says who it is when it is told to, with the first batch
                return b""
            end = _READY
        else:
            self._stream("stdin").write(text)
            end = _ANSWERED
        told = b""
        while not end.search(told):
            piece = await self._stream("stdout").read(_PIECE)
            if not piece:
                break
            told += piece
        return told

    def _stream(self, name: str) -> Any:
        return getattr(self.shell, name)

    async def close(self) -> None:
        """End the real shell, where there is one."""
        if self.shell is not None:
            self._stream("stdin").close()
            await self.shell.wait()


async def _serve(folder: Path) -> None:
    import asyncssh

    tape = Tape()

    async def handle(process: Any) -> None:
        session = Session(tape)
        with suppress(asyncssh.Error, OSError):
            process.stdout.write(await session.answer(process.command.encode()))
            batch = b""
            while piece := await process.stdin.read(_PIECE):
                batch += piece
                if _SENT.search(batch[-200:]):
                    process.stdout.write(await session.answer(batch))
                    batch = b""
        await session.close()
        process.exit(0)

    server = await asyncssh.listen(
        "0.0.0.0",  # noqa: S104 - every loopback address is a host
        0,
        server_host_keys=[str(folder / "host")],
        authorized_client_keys=str(folder / "authorized_keys"),
        process_factory=handle,
        encoding=None,
        compression_algs=None,
        backlog=2048,
        login_timeout=600,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        tape.answers.clear()
        print("forgotten", flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1])))
