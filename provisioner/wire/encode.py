"""From a batch to the shell text that one persistent shell reads on its stdin."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING, Any

from provisioner.shell import Upload, encode_value, quote, with_needs, words

from .batch import Place
from .runtime import ATTACH, LOOKING, PRELUDE, RUNTIME

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from provisioner.model import Effect, Observable, State
    from provisioner.shell import Script

    from .batch import Batch, Check, Guard, Step

LOCK_WAIT = 60
"""Seconds that a batch waits for another one to leave the device."""

WHOLE = r"/^\./d"

BETWEEN = "--"
"""The line before each text, where several are compared at once."""


class Encoder:
    """Writes the batches of one session; what the session's shell has been told once is not sent again."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._places: Mapping[Place, str] = {}
        self._uses: Counter[Place] = Counter()

    def encode(self, batch: Batch, nonce: str, places: Mapping[Place, str] | None = None) -> bytes:
        """Return the text of a batch: definitions, then one function that is called in the last line.

        A transfer that is cut off never runs in part: the shell runs nothing before it has read the closing brace.
        `places` are the folders on the device in which uploads lie.
        """
        self._places, self._uses = places or {}, Counter(place for place, _ in batch.uploads())
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
            yield from gathered((*look_lines(batch.looks), "mark end done"))
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
        yield from gathered(look_lines(batch.relook))
        yield ";;"
        yield "esac"
        yield "conclude $ended"
        yield f"unset -f batch_steps_{batch.name}"

    def _step(self, step: Step) -> Iterator[str]:
        secret = "yes" if step.secret else "''"
        yield f"step {step.number} {secret} || return"
        for call in compared("guard", step.guards):
            yield f"{call} || return"
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
            yield from compared("check", step.checks)
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
            yield " && ".join(f"run {self._call(effect, step.user)}" for effect in step.effects)
            return
        yield f"run_as {quote(step.user)} <<'{_END}'"
        yield from self._delegated(step.effects, step.user)
        yield _END

    def _call(self, effect: Effect, user: str | None) -> str:
        uploads = [Place(user, value.sha256) for value in effect.values if isinstance(value, Upload)]
        return f"{effect.script.name} {words(effect.values, {one.sha256: self._lies(one) for one in uploads})}".rstrip()

    def _lies(self, place: Place) -> str:
        """Return where an upload lies, and what may be done with it: who needs it last takes it away."""
        self._uses[place] -= 1
        return f"{'copy' if self._uses[place] else 'move'}:{self._places.get(place, '')}"

    def _delegated(self, effects: tuple[Effect, ...], user: str) -> Iterator[str]:
        """Yield a script for another user's shell, which knows none of our functions."""
        yield "main() {"
        yield "umask 022"
        yield "cd / || return"
        yield "say() { :; }"
        for script in with_needs(effect.script for effect in effects):
            yield script.definition
        yield " && ".join(f"( {self._call(effect, user)} ) </dev/null" for effect in effects)
        yield "}"
        yield "main"


_END = "end-of-the-script-for-another-user"


def gathered(lines: Iterable[str]) -> Iterator[str]:
    """Yield lines whose output goes out in one piece: for each write of its own, SSH has a packet of its own."""
    yield "told=$({"
    yield from lines
    yield "} 3>&1)"
    yield "printf '%s\\n' \"$told\" 2>/dev/null >&3"
    yield "told="


def look_lines(observables: tuple[Observable[Any], ...]) -> Iterator[str]:
    """Yield the lines that probe observables: one call for each kind."""
    start = 0
    yield "guarding="
    for kind, group in groupby(observables, key=lambda one: one.kind):
        members = list(group)
        most = members[0].together
        for at in range(0, len(members), most):
            part = members[at : at + most]
            arguments = " ".join(encode_value(value) for one in part for value in one.arguments())
            yield f"count={start - 1}"
            yield f"probe_{kind} {arguments} </dev/null 2>/dev/null >&3"
            start += len(part)


def compared(verb: str, ones: Sequence[Guard | Check]) -> Iterator[str]:
    """Yield the calls that compare states: one for each kind and filter, and for so many that a shell can take."""
    groups: dict[tuple[str, str], list[int]] = {}
    for index, one in enumerate(ones):
        groups.setdefault((one.observable.kind, _filter(one.expected)), []).append(index)
    for (kind, lines), members in groups.items():
        most = ones[members[0]].observable.together
        for at in range(0, len(members), most):
            part = members[at : at + most]
            arguments = " ".join(words(ones[n].observable.guard_arguments(ones[n].expected)) for n in part)
            if len(part) == 1:
                expected = ones[part[0]].expected.render()
                yield f"{verb} {part[0]} {kind} {quote(lines)} {quote(expected)} {arguments}"
            else:
                expected = "\n".join(f"{BETWEEN}\n{text}" if text else BETWEEN for text in _texts(ones, part))
                names = " ".join(map(str, part))
                yield f"{verb}s {quote(names)} {kind} {quote(lines)} {quote(expected)} {arguments}"


def _texts(ones: Sequence[Guard | Check], part: Iterable[int]) -> Iterator[str]:
    return (ones[index].expected.render() for index in part)


def _filter(state: State) -> str:
    """Return the sed script that keeps the lines of known fields."""
    names = state.known_fields()
    if len(names) == _compared_fields(type(state)):  # type: ignore[arg-type]
        return WHOLE
    return "\n".join([f"/^{BETWEEN}$/b", *(f"/^{name}=/b" for name in names), "d"])


@cache
def _compared_fields(state: Any) -> int:
    return sum(not f.metadata.get("attached") for f in dataclasses.fields(state))


def _scripts(batch: Batch) -> Iterable[Script]:
    yield from RUNTIME if batch.steps else LOOKING
    if batch.attach:
        yield ATTACH
    asked: list[Observable[Any]] = [*batch.looks, *batch.relook]
    for step in batch.steps:
        asked += [one.observable for one in step.guards]
        asked += [one.observable for one in step.checks]
    kinds: Counter[type[Observable[Any]]] = Counter(type(one) for one in asked)
    for kind, number in kinds.items():
        yield kind.probe
        if kind.many is not None and (number >= kind.a_crowd or next(batch.uploads(), None)):
            yield kind.many
    for step in batch.steps:
        for effect in step.effects:
            yield effect.script
            if effect.witness:
                yield effect.witness.probe
