"""From a batch to the shell text that one persistent shell reads on its stdin."""

from __future__ import annotations

import dataclasses
from itertools import groupby
from typing import TYPE_CHECKING, Any

from provisioner.shell import encode_value, quote, with_needs, words

from .runtime import ATTACH, PRELUDE, RUNTIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from provisioner.model import Effect, Observable, State
    from provisioner.shell import Script

    from .batch import Batch, Check, Guard, Step

LOCK_WAIT = 60
"""Seconds that a batch waits for another one to leave the device."""

WHOLE = r"/^\./d"


class Encoder:
    """Writes the batches of one session; what the session's shell has been told once is not sent again."""

    def __init__(self, staging: str = "") -> None:
        self.staging = staging
        self._told: set[str] = set()

    def encode(self, batch: Batch, nonce: str) -> bytes:
        """Return the text of a batch: definitions, then one function that is called in the last line.

        A transfer that is cut off never runs in part: the shell runs nothing before it has read the closing brace.
        """
        body = "\n".join(self._body(batch))
        definitions = "".join(self._definitions(batch))
        name = f"batch_{batch.name}"
        text = f"{definitions}nonce={nonce}\n{name}() {{\n{body}\n}}\n{name}\nunset -f {name}\n"
        return text.encode("utf-8", "surrogateescape")

    def _definitions(self, batch: Batch) -> Iterator[str]:
        if not self._told:
            yield PRELUDE
        for script in with_needs(_scripts(batch)):
            if script.name not in self._told:
                self._told.add(script.name)
                yield script.definition

    def _body(self, batch: Batch) -> Iterator[str]:
        if batch.attach:
            yield f"attach {quote(batch.attach)}"
            return
        if not batch.steps:
            yield from look_lines(batch.looks)
            yield "mark end done"
            return
        yield f'begin {batch.name} {LOCK_WAIT} || {{ conclude "$refusal"; return; }}'
        yield "ended=done"
        yield f"batch_steps_{batch.name}() {{"
        for step in batch.steps:
            yield from self._step(step)
        yield "}"
        yield f"batch_steps_{batch.name}"
        yield "case $ended in"
        yield "stale | done)" if batch.more else "stale)"
        yield "mark again"
        yield from look_lines(batch.relook)
        yield ";;"
        yield "esac"
        yield "conclude $ended"
        yield f"unset -f batch_steps_{batch.name}"

    def _step(self, step: Step) -> Iterator[str]:
        secret = "yes" if step.secret else "''"
        yield f"step {step.number} {secret} || return"
        for index, guard in enumerate(step.guards):
            yield f"guard {index} {self._compared(guard)} || return"
        yield f"mark started {step.number}"
        if step.owes:
            yield f"owe {words(step.owes)}"
        witnesses = [effect.witness for effect in step.effects if effect.witness and not effect.ends_session]
        for index, witness in enumerate(witnesses):
            yield f"witness_{index}=$(current {witness.kind} {quote(WHOLE)} {words(witness.arguments())})"
        yield from self._effects(step)
        for index, witness in enumerate(witnesses):
            probe = f"$(current {witness.kind} {quote(WHOLE)} {words(witness.arguments())})"
            yield f'[ $rc -ne 0 ] || [ "$witness_{index}" != "{probe}" ] || unmoved=yes'
        if step.checks:
            yield "if [ $rc -eq 0 ]; then"
            for index, check in enumerate(step.checks):
                yield f"check {index} {self._compared(check)}"
            yield "fi"
        if step.settles:
            yield f"[ $rc -ne 0 ] || settled {words(step.settles)}"
        yield f"finish {'yes' if step.goes_on else 'no'} || return"
        if step.ends_session:
            yield "return"

    def _effects(self, step: Step) -> Iterator[str]:
        if not step.effects:
            return
        if step.user is None:
            yield " && ".join(f"run {self._call(effect)}" for effect in step.effects)
            return
        yield f"run_as {quote(step.user)} <<'{_END}'"
        yield from self._delegated(step.effects)
        yield _END

    def _call(self, effect: Effect) -> str:
        return f"{effect.script.name} {words(effect.values, self.staging)}".rstrip()

    def _delegated(self, effects: tuple[Effect, ...]) -> Iterator[str]:
        """Yield a script for another user's shell, which knows none of our functions."""
        yield "main() {"
        yield "umask 022"
        yield "cd / || return"
        yield "say() { :; }"
        for script in with_needs(effect.script for effect in effects):
            yield script.definition
        yield " && ".join(f"( {self._call(effect)} ) </dev/null" for effect in effects)
        yield "}"
        yield "main"

    def _compared(self, one: Guard | Check) -> str:
        state = one.expected
        arguments = words(one.observable.guard_arguments(state))
        return f"{one.observable.kind} {quote(_filter(state))} {quote(state.render())} {arguments}"


_END = "end-of-the-script-for-another-user"


def look_lines(observables: tuple[Observable[Any], ...]) -> Iterator[str]:
    """Yield the lines that probe observables: one call for each kind."""
    start = 0
    yield "guarding="
    for kind, group in groupby(observables, key=lambda one: one.kind):
        members = list(group)
        arguments = " ".join(encode_value(value) for one in members for value in one.arguments())
        yield f"count={start - 1}"
        yield f"probe_{kind} {arguments} </dev/null 2>/dev/null >&3"
        start += len(members)


def _filter(state: State) -> str:
    """Return the sed script that keeps the lines of known fields."""
    names = state.known_fields()
    if not state.open_fields() and len(names) == len(_compared_fields(state)):
        return WHOLE
    return "\n".join([*(f"/^{name}=/b" for name in names), "d"])


def _compared_fields(state: State) -> list[str]:
    return [f.name for f in dataclasses.fields(state) if not f.metadata.get("attached")]


def _scripts(batch: Batch) -> Iterable[Script]:
    yield from RUNTIME
    if batch.attach:
        yield ATTACH
    for observable in (*batch.looks, *batch.relook):
        yield observable.probe
    for step in batch.steps:
        yield from (guard.observable.probe for guard in step.guards)
        yield from (check.observable.probe for check in step.checks)
        for effect in step.effects:
            yield effect.script
            if effect.witness:
                yield effect.witness.probe
