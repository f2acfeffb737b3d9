"""The network between: a proxy in a process of its own that adds a round-trip time, and counts bytes and round trips.

It listens on all loopback addresses, and forwards to a port of the very address that the client asked for. Each byte
arrives half a round trip later, in either direction. A connection is accepted at once, as sockets know no other way,
so what comes after it waits for the round trip of TCP's handshake as well.

Round trips are counted per host by who had seen what, as in tests/contract/proxy.py: a client's chunk is one deeper
than the deepest chunk of the server that the client had by then; a server's chunk is as deep as the deepest that the
server had. The depth of the last answer is the number of round trips after TCP's handshake. With no delay, chunks that
cross look like answers, so trips are counted with one.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, Self

_EOF = -1
_LOST = -2


@dataclass
class Count:
    """What passed between the client and one host."""

    up: int = 0
    down: int = 0
    trips: int = 0
    connections: int = 0


class Wire:
    """A running proxy from one port to another, on every loopback address."""

    def __init__(self, port: int, target: int, rtt: float = 0.0) -> None:
        self.port = port
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(port), str(target)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.rtt(rtt)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.stdin and self._process.stdout:
            self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()

    def rtt(self, seconds: float) -> None:
        """Set the round-trip time of connections that are made from now on."""
        self._ask(f"rtt {seconds}")

    def reset(self) -> None:
        """Count from nothing."""
        self._ask("reset")

    def read(self) -> dict[str, Count]:
        """Return what was counted since the last reset, by address."""
        return {address: Count(**count) for address, count in self._ask("read").items()}

    def _ask(self, line: str) -> dict[str, Any]:
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline() or '{"error": "the proxy is gone"}')
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer


class _Tally:
    """The count of one host, and how deep in the conversation either side is."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Count from nothing."""
        self.count = Count()
        self._at_server = 0
        self._at_client = 0

    def sent(self, up: bool, size: int) -> int:
        """Count a chunk that was sent, and return how deep it is."""
        if up:
            self.count.up += size
            return self._at_client + 1
        self.count.down += size
        return max(1, self._at_server)

    def arrived(self, up: bool, depth: int) -> None:
        """Take note that a chunk has arrived."""
        if up:
            self._at_server = max(self._at_server, depth)
        else:
            self._at_client = self.count.trips = max(self._at_client, depth)


class _Side(asyncio.Protocol):
    """What one end of a connection sends, on its way to the other end."""

    def __init__(self, proxy: _Proxy, up: bool) -> None:
        self.proxy = proxy
        self.up = up
        self.half = proxy.rtt / 2
        self.peer: _Side | None = None
        self.own: asyncio.Transport | None = None
        self.tally: _Tally | None = None
        self.not_before = 0.0
        self.queue: deque[tuple[float, int, bytes]] = deque()
        self.scheduled = False
        self.ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Open the way to the host that the client asked for."""
        if not isinstance(transport, asyncio.Transport):
            raise TypeError
        self.own = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.up:
            address = sock.getsockname()[0]
            self.tally = self.proxy.tally(address)
            self.tally.count.connections += 1
            # One round trip for TCP's handshake, and half a one for what comes after it.
            self.not_before = self.proxy.loop.time() + self.half * 3
            self.proxy.loop.call_at(self.not_before, self._connect, address)
        elif self.peer:
            self.peer.peer = self
            self.peer.flush()

    def _connect(self, address: str) -> None:
        task = self.proxy.loop.create_task(self._dial(address))
        self.proxy.tasks.add(task)
        task.add_done_callback(self.proxy.tasks.discard)

    async def _dial(self, address: str) -> None:
        back = _Side(self.proxy, up=False)
        back.half, back.tally, back.peer = self.half, self.tally, self
        try:
            await self.proxy.loop.create_connection(lambda: back, address, self.proxy.target)
        except OSError:
            if self.own:
                self.own.abort()

    def data_received(self, data: bytes) -> None:
        """Send a chunk on its way."""
        if self.tally is None:
            raise AssertionError
        due = max(self.proxy.loop.time() + self.half, self.not_before)
        self.queue.append((due, self.tally.sent(self.up, len(data)), data))
        self.flush()

    def eof_received(self) -> bool:
        """Hand on that nothing more will come, and keep the other way open."""
        self._end(_EOF)
        return True

    def connection_lost(self, _: Exception | None) -> None:
        """Hand on that the connection is over."""
        self._end(_LOST)

    def _end(self, how: int) -> None:
        self.queue.append((self.proxy.loop.time() + self.half, how, b""))
        self.flush()

    def flush(self) -> None:
        """Deliver what is due, in order, and come back for the rest."""
        if self.peer is None or self.peer.own is None:
            return  # the way is not open yet; it calls again
        now = self.proxy.loop.time()
        while self.queue and self.queue[0][0] <= now:
            _, depth, data = self.queue.popleft()
            self._deliver(self.peer.own, depth, data)
        if self.queue and not self.scheduled:
            self.scheduled = True
            self.proxy.loop.call_at(self.queue[0][0], self._woken)

    def _woken(self) -> None:
        self.scheduled = False
        self.flush()

    def _deliver(self, sink: asyncio.Transport, depth: int, data: bytes) -> None:
        if data and self.tally:
            self.tally.arrived(self.up, depth)
            sink.write(data)
        elif depth == _LOST or (self.peer and self.peer.ended):
            self.close()
        elif not sink.is_closing():
            self.ended = True
            with suppress(OSError):
                sink.write_eof()

    def close(self) -> None:
        """Close both ends; what they were given to send is still sent."""
        for side in (self, self.peer):
            if side and side.own:
                side.own.close()


class _Proxy:
    """The listener, and the counts of all hosts."""

    def __init__(self, target: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.target = target
        self.rtt = 0.0
        self.tasks: set[asyncio.Task[None]] = set()
        self._tallies: dict[str, _Tally] = {}

    def tally(self, address: str) -> _Tally:
        """Return where an address is counted."""
        return self._tallies.setdefault(address, _Tally())

    def obey(self, line: str) -> dict[str, Any]:
        """Carry out a command of the benchmark's."""
        verb, _, value = line.strip().partition(" ")
        if verb == "rtt":
            self.rtt = float(value)
        elif verb == "reset":
            for tally in self._tallies.values():
                tally.reset()
        elif verb == "read":
            return {address: asdict(tally.count) for address, tally in self._tallies.items() if tally.count.connections}
        return {}


async def _serve(port: int, target: int) -> None:
    proxy = _Proxy(target)
    server = await proxy.loop.create_server(
        lambda: _Side(proxy, up=True),
        "0.0.0.0",  # noqa: S104 - every loopback address
        port,
        backlog=1024,
    )
    reader = asyncio.StreamReader()
    await proxy.loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        print(json.dumps(proxy.obey(line.decode())), flush=True)
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
