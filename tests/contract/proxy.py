"""A TCP proxy that delays what passes, and counts the round trips that the client had to wait for."""

from __future__ import annotations

import queue
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Self


class Proxy:
    """Forwards one port to another; each byte arrives `delay` seconds later, in either direction.

    Each chunk carries a depth, by who had seen what when it was sent: a client's chunk is one deeper than the deepest
    chunk of the server that the client had by then; a server's chunk is as deep as the deepest that the server had.
    What a client has sent is read before it gets anything more, so that a busy machine makes no chunk deeper.
    The depth of the last answer is the number of round trips, whatever the clock says. What the server says unasked
    (its banner) counts as an answer to the end of TCP's handshake.
    """

    def __init__(self, port: int, delay: float = 0.0) -> None:
        self._target = port
        self._delay = delay
        self._lock = threading.Lock()
        self._at_server = 0
        self._at_client = 0
        self._ended: set[socket.socket] = set()
        self.trips = 0
        self.bytes = {"up": 0, "down": 0}
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                for sock in (client, server):
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._forward(client, server, "up")
                self._forward(server, client, "down")

    def _forward(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        pipe: queue.Queue[tuple[float, int, bytes]] = queue.Queue()
        threading.Thread(target=self._read, args=(source, pipe, way), daemon=True).start()
        threading.Thread(target=self._write, args=(sink, pipe, way), daemon=True).start()

    def _read(self, source: socket.socket, pipe: queue.Queue[tuple[float, int, bytes]], way: str) -> None:
        data = b"-"
        while data:
            data = b""
            select.select([source], [], [])
            with self._lock:
                with suppress(OSError):
                    data = source.recv(65536)
                if not data:
                    self._ended.add(source)
                depth = self._at_client + 1 if way == "up" else max(1, self._at_server)
                self.bytes[way] += len(data)
            pipe.put((time.monotonic() + self._delay, depth, data))

    def _write(self, sink: socket.socket, pipe: queue.Queue[tuple[float, int, bytes]], way: str) -> None:
        while True:
            due, depth, data = pipe.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(OSError):
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                self._hand_on(sink, way, depth)
                sink.sendall(data)

    def _hand_on(self, sink: socket.socket, way: str, depth: int) -> None:
        """Take note of what one side gets, once all that it has said before was read."""
        while True:
            with self._lock:
                if sink in self._ended or not select.select([sink], [], [], 0)[0]:
                    self._note(way, depth)
                    return
            time.sleep(0)

    def _note(self, way: str, depth: int) -> None:
        if way == "up":
            self._at_server = max(self._at_server, depth)
        else:
            self._at_client = max(self._at_client, depth)
            self.trips = self._at_client
