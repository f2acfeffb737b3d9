"""asyncssh: one event loop in a thread of its own for all connections."""

from __future__ import annotations

import asyncio
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import asyncssh

from bench.transports.way import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from bench.transports.way import Way


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


@cache
def _shared(key: str, known_hosts: str) -> dict[str, Any]:
    """Return what all connections have in common, read once."""
    return {
        "client_keys": [asyncssh.read_private_key(key)],
        "known_hosts": asyncssh.read_known_hosts(known_hosts),
        "agent_path": None,
        "config": None,
        "gss_host": None,
        "x509_trusted_certs": None,
        "compression_algs": None,
        "preferred_auth": "publickey",
    }


_ONCE = threading.Lock()


class session:  # noqa: N801 - every module has one of this name
    """A connection of the loop's, for a thread that waits."""

    def __init__(self, way: Way) -> None:
        self.target = way.target
        self._way = way
        with _ONCE:
            self._run = _loop()
            self._options = _shared(way.key, way.known_hosts)

    def _wait(self, what: Coroutine[Any, Any, Any], timeout: float = PATIENCE) -> Any:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(what, timeout), self._run).result()

    def open(self) -> None:
        """Connect, check the key, log in, and start the shell."""
        self._wait(self._open())

    async def _open(self) -> None:
        way = self._way
        self._connection = await asyncssh.connect(
            way.address, way.port, username=way.user, server_host_key_algs=[way.host_key[0]], **self._options
        )
        self._process = await self._connection.create_process(way.command, encoding=None)

    def send(self, data: bytes) -> None:
        """Write to the shell."""
        self._run.call_soon_threadsafe(self._process.stdin.write, data)

    def receive(self, timeout: float) -> bytes:
        """Return what it says next."""
        return bytes(self._wait(self._process.stdout.read(1 << 16), timeout))

    def close(self) -> None:
        """Hang up."""
        self._run.call_soon_threadsafe(self._connection.abort)
