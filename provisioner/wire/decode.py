"""From the bytes that a device sends to replies, whatever else lands in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .replies import Busy, Ended, Finished, Probed, Progress, Reply, Stale, Started, Stopped, Waiting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .batch import Batch

WITH_PAYLOAD = frozenset({"obs", "all", "out", "err", "differs", "stale"})


def text(data: bytes) -> str:
    """Return what a device printed as text; bytes that are no UTF-8 are replaced."""
    return data.decode("utf-8", "replace")


class Decoder:
    """Reads the replies to one batch; feed it bytes as they come."""

    def __init__(self, batch: Batch, nonce: str) -> None:
        self.batch = batch
        self.ended = False
        self._marker = b"\n" + nonce.encode() + b" "
        self._buffer = b"\n"
        self._open: tuple[str, list[str]] | None = None
        self._again = False
        self._parts: dict[str, bytes] = {}
        self._differs: list[tuple[int, bytes]] = []
        self._steps = {step.number: step for step in batch.steps}

    def feed(self, data: bytes) -> Iterator[Reply]:
        """Yield the replies that these bytes complete."""
        self._buffer += data
        while not self.ended:
            head = self._take_header()
            if head is None:
                return
            yield from self._open_header(head)

    def _take_header(self) -> str | None:
        """Cut the next marker's line off the buffer, closing the payload before it."""
        at = self._buffer.find(self._marker)
        if at < 0:
            if self._open is None and len(self._buffer) > len(self._marker):
                self._buffer = self._buffer[-len(self._marker) :]
            return None
        start = at + len(self._marker)
        end = self._buffer.find(b"\n", start)
        if end < 0:
            return None
        self._pending = self._buffer[:at]
        head = text(self._buffer[start:end])
        # The newline that ends a header may also begin the next marker.
        self._buffer = self._buffer[end:]
        return head

    def _open_header(self, head: str) -> Iterator[Reply]:
        if self._open is not None:
            verb, arguments = self._open
            self._open = None
            yield from self._close_payload(verb, arguments, self._pending[1:])
        verb, *arguments = head.split(" ")
        if verb in WITH_PAYLOAD:
            self._open = (verb, arguments)
        else:
            yield from self._line(verb, arguments)

    def _close_payload(self, verb: str, arguments: list[str], payload: bytes) -> Iterator[Reply]:
        if verb == "obs":
            looked = self.batch.relook if self._again else self.batch.looks
            one = looked[int(arguments[0])]
            yield Probed(one, one.state.parse(text(payload).removesuffix("\n")), self._again)
        elif verb == "all":
            looked = self.batch.relook if self._again else self.batch.looks
            start, number = map(int, arguments)
            for one, state in looked[start].surveyed(text(payload).removesuffix("\n"), looked[start : start + number]):
                yield Probed(one, state, self._again)
        elif verb == "stale":
            step = self._steps[int(arguments[0])]
            observable = step.guards[int(arguments[1])].observable
            yield Stale(step.number, observable, text(payload).removesuffix("\n"))
        elif verb == "differs":
            self._differs.append((int(arguments[1]), payload))
        else:
            self._parts[verb] = payload

    def _line(self, verb: str, arguments: list[str]) -> Iterator[Reply]:
        rest = " ".join(arguments)
        if verb == "started":
            yield Started(int(rest))
        elif verb == "progress":
            yield Progress(int(arguments[0]), " ".join(arguments[1:]))
        elif verb == "again":
            self._again = True
        elif verb == "stopped":
            yield Stopped(int(rest))
        elif verb == "waiting":
            yield Waiting(rest)
        elif verb == "busy":
            yield Busy(rest)
        elif verb == "finished":
            yield self._finished(int(arguments[0]), int(arguments[1]), arguments[2])
        elif verb == "end":
            self.ended = True
            yield Ended(rest)

    def _finished(self, number: int, rc: int, unmoved: str) -> Finished:
        step = self._steps[number]
        differs = tuple((step.checks[index].observable, text(got).removesuffix("\n")) for index, got in self._differs)
        parts, self._parts, self._differs = self._parts, {}, []
        return Finished(number, rc, text(parts.get("out", b"")), text(parts.get("err", b"")), differs, unmoved == "yes")
