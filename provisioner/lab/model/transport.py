"""Batches to a device that is data: guards, effects and checks in the order in which a device's shell takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provisioner.lab import USER, places
from provisioner.observables.file import File, FileState
from provisioner.wire import Ended, Finished, Probed, Stale, Started, Stopped

from . import effects
from .device import told
from .files import put
from .looks import look

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import Observable, State
    from provisioner.wire import Batch, Check, Guard, Reply, Step

    from .device import Device


OWN_FOLDERS = ("/run/provision", "/var/lib/provision")


class ModelTransport:
    """A transport without a wire; what a batch leaves is on the disk after each of its steps."""

    def __init__(self, device: Device, *, privileged: bool = True) -> None:
        self.device = device
        self.user = "root" if privileged else USER
        self._running: str | None = None
        self._stopping: str | None = None

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Answer a batch; a device that was rebooted is back at once."""
        if batch.attach:
            yield Ended("lost")
            return
        if not batch.steps:
            self.device.load()
            yield from self._looks(batch.looks)
            yield Ended("done")
            return
        with places.alone(self.device.lock):
            self.device.load()
            self._make_own_folders()
            self._running = batch.name
            try:
                yield from self._batch(batch)
            finally:
                self._running = None

    def stop(self, *, now: bool = False) -> None:
        """Leave word that the running batch is to end before its next step; steps of data take no time."""
        del now
        self._stopping = self._running

    def close(self) -> None:
        """Hang up, which is nothing here."""

    def _make_own_folders(self) -> None:
        """Make what every batch makes on a device, for journal and debts."""
        for path in OWN_FOLDERS if self.user == "root" else ():
            if not self.device.standing(path).exists:
                put(self.device, path, FileState(type="directory"), mode="0700")

    def _looks(self, things: Iterable[Observable[Any]], *, again: bool = False) -> Iterator[Reply]:
        for thing in things:
            yield Probed(thing, thing.state.parse(told(look(self.device, thing, self.user))), again)

    def _batch(self, batch: Batch) -> Iterator[Reply]:
        status = "done"
        for step in batch.steps:
            if self._stopping == batch.name:
                yield Stopped(step.number)
                status = "stopped"
                break
            stale = self._stale(step)
            if stale is not None:
                yield stale
                status = "stale"
                break
            yield Started(step.number)
            finished = self._run(step)
            yield finished
            if not step.goes_on and (finished.rc or finished.differs or finished.unmoved):
                status = "failed"
                break
            if step.ends_session:
                break
        if status == "stale" or (status == "done" and batch.more):
            yield from self._looks(batch.relook, again=True)
        yield Ended(status)

    def _stale(self, step: Step) -> Stale | None:
        for guard in step.guards:
            got = self._compared(guard)
            if got != guard.expected.render():
                return Stale(step.number, guard.observable, got)
        return None

    def _compared(self, one: Guard | Check) -> str:
        """Return the lines of what there is now that are compared: those of the fields that are expected."""
        thing, names = one.observable, one.expected.known_fields()
        if isinstance(thing, File):
            thing = File(*thing.guard_arguments(one.expected))
        state = look(self.device, thing, self.user)
        return "\n".join(line for line in state.render().split("\n") if line.partition("=")[0] in names)

    def _run(self, step: Step) -> Finished:
        self._owe(step.owes)
        witnesses = [one.witness for one in step.effects if one.witness is not None and not one.ends_session]
        before = [self._seen(witness) for witness in witnesses]
        rc, stdout, stderr = 0, "", ""
        for effect in step.effects:
            ended = effects.carry_out(self.device, effect, step.user or self.user)
            rc, stdout, stderr = ended.rc, stdout + ended.stdout, stderr + ended.stderr
            if rc:
                break
        pairs = zip(witnesses, before, strict=True)
        unmoved = not rc and any(self._seen(witness) == seen for witness, seen in pairs)
        differs = () if rc else tuple(self._differing(step.checks))
        if not rc:
            self._settle(step.settles)
        self.device.save()
        return Finished(step.number, rc, stdout, stderr, differs, unmoved)

    def _seen(self, witness: Observable[Any]) -> State:
        return look(self.device, witness, self.user)

    def _differing(self, checks: Iterable[Check]) -> Iterator[tuple[Observable[Any], str]]:
        for check in checks:
            got = self._compared(check)
            if got != check.expected.render():
                yield check.observable, got

    def _owe(self, names: Iterable[str]) -> None:
        owed = self.device.disk.owed.setdefault(self.user, [])
        owed.extend(name for name in dict.fromkeys(names) if name not in owed)

    def _settle(self, names: Iterable[str]) -> None:
        owed = self.device.disk.owed.get(self.user, [])
        self.device.disk.owed[self.user] = [name for name in owed if name not in names]
