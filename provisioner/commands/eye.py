"""One host, looked at again and again over one open shell, whatever becomes of the others."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Protocol

from provisioner.engine.meaning import lost
from provisioner.errors import HostError, LinkLost, Refused, Unreachable
from provisioner.jetson.facts.vitals import told_of
from provisioner.jetson.failures import explain
from provisioner.jetson.observed import Facts, FactsState
from provisioner.jetson.watched import HostVitals, VitalsState
from provisioner.report.seen import Drift
from provisioner.wire import Batch, Probed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from provisioner.events import HostLost
    from provisioner.inventory import Host
    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.facts.vitals import Vitals
    from provisioner.model import State
    from provisioner.report.watching import Watched
    from provisioner.transport.link import Transport

_LONGEST = 60.0  # seconds between two tries
_SHORTEST = 1.0
_LOST = (HostError, LinkLost, TimeoutError)


class Planner(Protocol):
    """Tells what drifted on a host."""

    def needs_root(self) -> bool:
        """Tell whether that takes root's shell."""
        ...

    def look(self, transport: Transport) -> Drift:
        """Return what drifted."""
        ...

    def stop(self) -> None:
        """Give up."""
        ...


class Eye:
    """Looks at one host and tells `watched`; one thread owns it, `stop` may be called from another.

    `become` asks for root's shell. Where only drift needs one and it cannot be had, readings are told without it.
    """

    def __init__(
        self,
        host: Host,
        connect: Callable[[Host, bool], Transport],
        watched: Watched,
        *,
        become: bool = False,
        planner: Planner | None = None,
    ) -> None:
        self.host = host
        self.event: HostLost | None = None
        self._connect = connect
        self._watched = watched
        self._become = become
        self._planner = planner
        self._no_root: str | None = None
        self._root = False
        self._transport: Transport | None = None
        self._about: Mapping[str, object] | None = None
        self._before: Vitals | None = None
        self._stopping = threading.Event()

    def once(self) -> None:
        """Look once, at drift too, and hang up."""
        try:
            self._look()
            self._plan()
        except _LOST as error:
            self._lose(error)
        finally:
            self._close()

    def watch(self, interval: float, drift_every: float) -> None:
        """Look every so many seconds until `stop`; a host that is lost is tried again, less and less often."""
        due, tries = 0.0, 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._look()
                tries = 0
                if began >= due:
                    self._plan()
                    due = time.monotonic() + drift_every
                pause = interval - (time.monotonic() - began)
            except _LOST as error:
                self._close()
                pause = _LONGEST if isinstance(error, Refused) else pause_after(tries, interval)
                tries += 1
                if not self._stopping.is_set():
                    self._lose(error, pause)
            self._stopping.wait(max(pause, 0.0))
        self._close()

    def stop(self) -> None:
        """Ask it to end."""
        self._stopping.set()
        if self._planner is not None:
            self._planner.stop()

    def cut(self) -> None:
        """Hang up while it may still be reading, so that it ends."""
        self._close()

    def _look(self) -> None:
        name = self.host.name
        self._watched.asks(name)
        if self._transport is None:
            states = self._first()
            self._about = about(states[Facts.kind])
        else:
            states = self._asked((HostVitals(),))
        state = states[HostVitals.kind]
        assert isinstance(state, VitalsState)
        now = state.vitals
        self._watched.told(name, {**(self._about or {}), **told_of(now, self._before)})
        self._before = now

    def _first(self) -> dict[str, State]:
        """Open a shell and look: root's, where that is asked for, or where drift needs it and it can be had."""
        looks = (Facts(), HostVitals())
        self._no_root, self._root = None, self._become
        if self._planner is not None and not self._become and self._planner.needs_root():
            self._transport = self._connect(self.host, True)
            try:
                states = self._asked(looks)
            except Refused as error:
                self._no_root = error.message
                self._close()
            else:
                self._root = True
                return states
        self._transport = self._connect(self.host, self._become)
        return self._asked(looks)

    def _asked(self, looks: tuple[Facts | HostVitals, ...]) -> dict[str, State]:
        assert self._transport is not None
        states: dict[str, State] = {}
        for reply in self._transport.exchange(Batch(looks=looks)):
            if isinstance(reply, Probed):
                states[reply.observable.kind] = reply.state
        return states

    def _plan(self) -> None:
        if self._planner is None or self._transport is None or self._stopping.is_set():
            return
        if not self._root and self._no_root is None and self._planner.needs_root():
            self._close()  # something was applied as root since the shell was opened
            self._look()
        if self._no_root is not None:
            self._watched.drifted(self.host.name, Drift(state="unknown", reason=f"needs root: {self._no_root}"))
            return
        self._watched.plans(self.host.name)
        try:
            drift = self._planner.look(self._transport)
        except Refused as error:
            drift = Drift(state="unknown", reason=error.message)
        self._watched.drifted(self.host.name, drift)

    def _lose(self, error: Exception, again: float | None = None) -> None:
        known = error if isinstance(error, HostError) else Unreachable(str(error))
        self.event = lost(self.host.name, known, explain)
        self._watched.loses(self.host.name, known.message, hint=self.event.hint, again=again)

    def _close(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            with contextlib.suppress(Exception):
                transport.close()


def pause_after(tries: int, interval: float) -> float:
    """Return how long to wait before a host that was lost is tried again: twice as long each time, up to a minute."""
    return min(max(interval, _SHORTEST) * (1 << min(tries, 10)), _LONGEST)


def about(state: State) -> dict[str, object]:
    """Return what is told of a host besides its readings: what it is."""
    assert isinstance(state, FactsState)
    facts: HostFacts = state.facts
    module = facts.module_name or facts.model or (facts.gpus[0].partition(",")[0] if facts.gpus else None)
    return {"module": module or facts.kind, "kind": facts.kind, "l4t": facts.l4t}
