"""The transport that the runner uses: batches over one SSH session, through lost links and reboots."""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from typing import TYPE_CHECKING, Protocol

from provisioner.errors import HostError, HungUp, LinkLost, Unreachable
from provisioner.shell import quote
from provisioner.transport.upload import Stopped
from provisioner.wire import Batch, Decoder, Encoder, Ended, Finished, Started

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.transport.ssh import SshSession
    from provisioner.wire import Place, Reply

LOOK_PATIENCE = 300.0
"""Seconds without a word after which a look is given up."""

STEP_GRACE = 120.0
"""Seconds that a batch may be silent for beyond the longest of its effects."""

RETURN_PAUSE = 2.0
RECONNECT_TRIES = 5
ATTACH_TRIES = 100
"""How often the link may break under one batch; a poor radio link breaks many times during a pull."""


class Transport(Protocol):
    """What carries batches to a device and brings its replies back, as they come."""

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Send a batch and yield its replies; the last one is Ended. Raises HostError."""
        ...

    def stop(self, *, now: bool = False) -> None:
        """Ask the running batch to end before its next step, or to end its task `now`; from any thread."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class SshTransport:
    """Batches over SSH: a batch that lost its link is waited for on the device, and its journal read.

    A `hasty` one gives a look up after so many seconds of silence, and a lost link at once: who looks again anyway
    does so by another connection.
    """

    def __init__(
        self, session: SshSession, sent: Callable[[int, int], None] | None = None, *, hasty: float | None = None
    ) -> None:
        self.session = session
        self._hasty = hasty
        self._sent = sent
        self._encoder: Encoder | None = None
        self._places: dict[Place, str] = {}
        self._stopping = threading.Event()
        self._running: Batch | None = None

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Send a batch and yield its replies."""
        if batch.reconnect is not None:
            yield from self._returned(batch, batch.reconnect)
            return
        nonce = secrets.token_hex(16)
        self._stopping.clear()
        self._running = batch
        try:
            for reply in self._surviving(batch, nonce):
                if isinstance(reply, Finished):
                    self._forget(batch, reply.step)
                yield reply
        finally:
            self._running = None

    def stop(self, *, now: bool = False) -> None:
        """Leave word on the device that the running batch is to end before its next step; or end what runs, too."""
        batch = self._running
        if batch is None or not batch.steps:
            return
        self._stopping.set()
        script = _STOP + f"stop_batch {quote(batch.name)}\n" + "end_effect\n" * now
        with contextlib.suppress(Exception):
            self.session.run_aside(script.encode(), 15.0)

    def close(self) -> None:
        """Hang up; what was staged on the device is taken away first."""
        if self._places:
            script = f"rm -rf -- {' '.join(map(quote, self._places.values()))}\n"
            with contextlib.suppress(Exception):
                self.session.run_aside(script.encode("utf-8", "surrogateescape"), 15.0)
        self.session.close()

    def _surviving(self, batch: Batch, nonce: str) -> Iterator[Reply]:
        try:
            self._open()
            self._upload(batch)
            assert self._encoder is not None
            self.session.send(self._encoder.encode(batch, nonce, self._places))
        except Stopped:
            yield Ended("stopped")
            return
        except LinkLost:
            self._reconnect()
            if batch.steps:
                yield Ended("lost")
                return
            yield from self._again(batch)
            return
        if not batch.steps:
            yield from self._looked(batch, nonce)
            return
        told: set[object] = set()
        try:
            for reply in self._replies(Decoder(batch, nonce), self._patience(batch)):
                told.add(_key(reply))
                yield reply
        except LinkLost:
            self._reconnect()
            if any(step.ends_session and ("finished", step.number) in told for step in batch.steps):
                yield Ended("done")
            else:
                yield from self._attached(batch, nonce, told)

    def _looked(self, batch: Batch, nonce: str) -> Iterator[Reply]:
        """Yield what a look tells; one that lost its link is made anew, as it has changed nothing."""
        try:
            yield from self._replies(Decoder(batch, nonce), self._patience(batch))
        except LinkLost:
            self._reconnect()
            yield from self._again(batch)

    def _again(self, batch: Batch) -> Iterator[Reply]:
        nonce = secrets.token_hex(16)
        assert self._encoder is not None
        self.session.send(self._encoder.encode(batch, nonce))
        yield from self._replies(Decoder(batch, nonce), self._patience(batch))

    def _attached(self, batch: Batch, nonce: str, told: set[object]) -> Iterator[Reply]:
        """Yield what the journal of a batch tells beyond what was told, though the link may break again and again."""
        for left in reversed(range(ATTACH_TRIES)):
            try:
                for reply in self._journal(batch, nonce):
                    if _key(reply) not in told:
                        told.add(_key(reply))
                        yield reply
            except LinkLost:
                if not left:
                    raise
                self._reconnect()
            else:
                return

    def _journal(self, batch: Batch, nonce: str) -> Iterator[Reply]:
        """Wait until the batch that lost its link is over, and yield what it wrote down."""
        assert self._encoder is not None
        self.session.send(self._encoder.encode(Batch(attach=batch.name), nonce))
        for reply in self._replies(Decoder(batch, nonce), self._patience(batch)):
            # The looks after the steps are not in the journal: where the host goes on, the engine looks again.
            again = isinstance(reply, Ended) and reply.status not in ("failed", "stopped")
            yield Ended("attached") if again else reply

    def _replies(self, decoder: Decoder, patience: float) -> Iterator[Reply]:
        while not decoder.ended:
            try:
                data = self.session.receive(patience)
            except TimeoutError:
                name = self.session.target.name
                raise Unreachable(f"{name} has not said a word for {patience:.0f} s", hint="run again") from None
            if not data:
                raise LinkLost("the device's shell ended")
            yield from decoder.feed(data)

    def _patience(self, batch: Batch) -> float:
        if not batch.steps:
            return self._hasty or LOOK_PATIENCE
        return max((effect.timeout for step in batch.steps for effect in step.effects), default=0) + STEP_GRACE

    def _open(self) -> None:
        if self._encoder is None:
            self.session.open()
            self._encoder = Encoder()

    def _reconnect(self) -> None:
        self._encoder = None
        if self._hasty is not None:
            self.session.close()
            raise Unreachable("the connection broke")
        for left in reversed(range(RECONNECT_TRIES)):
            try:
                self.session.reconnect()
            except (Unreachable, LinkLost, HungUp) as error:
                if not left:
                    raise Unreachable(f"the connection broke and could not be made again: {error}") from error
                time.sleep(RETURN_PAUSE)
            else:
                break
        self._encoder = Encoder()

    def _returned(self, batch: Batch, timeout: float) -> Iterator[Reply]:
        """Wait until a device that went away answers a whole look; on its way down it may still let us in, or not."""
        deadline = time.monotonic() + timeout
        while True:
            self._encoder = None
            self.session.close()
            time.sleep(RETURN_PAUSE)
            try:
                self._open()
                replies = list(self._again(batch))
            except (HostError, LinkLost) as error:
                if time.monotonic() > deadline:
                    raise Unreachable(f"did not come back within {timeout:.0f} s of its reboot: {error}") from error
            else:
                yield from replies
                return

    def _upload(self, batch: Batch) -> None:
        for place, upload in batch.uploads():
            if place not in self._places:
                self._places[place] = self.session.put(upload, place.user, self._sent, self._stopping.is_set)

    def _forget(self, batch: Batch, number: int) -> None:
        """Forget what a step took to its place, unless a later one needs it again."""
        later = {place for step in batch.steps if step.number > number for place, _ in step.uploads()}
        for step in batch.steps:
            if step.number == number:
                for place, _ in step.uploads():
                    if place not in later:
                        self._places.pop(place, None)


def _key(reply: Reply) -> object:
    """Return what tells one reply from another, so that the journal repeats nothing."""
    if isinstance(reply, Finished):
        return ("finished", reply.step)
    if isinstance(reply, Started):
        return ("started", reply.step)
    return object()


_STOP = """
stop_batch() {
  if [ "$(id -u)" -eq 0 ]; then run_dir=/run/provision
  else run_dir=${XDG_RUNTIME_DIR:-/tmp}/provision-$(id -u)
  fi
  [ ! -d "$run_dir" ] || : >"$run_dir/stop-$1"
}
end_effect() {
  read -r _ _ shell _ <"$run_dir/owner" || return
  kill -TERM $(cat /proc/[0-9]*/stat 2>/dev/null | sed -e 's/(.*)/x/' | awk -v top="$shell" '
    { parent[$1] = $4 }
    END {
      for (pid in parent) {
        above = parent[pid]
        while (above in parent && above != top) above = parent[above]
        if (above == top) print pid
      }
    }') 2>/dev/null
}
"""
