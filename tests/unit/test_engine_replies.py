"""The engine without a device: batches that it yields, replies that are sent into it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.compiler import HostScope, Memory
from provisioner.engine import HostRun, Options
from provisioner.errors import Refused
from provisioner.events import Event, TaskFinished
from provisioner.model import task_types
from provisioner.observables.file import File, FileState
from provisioner.playbook import load_playbook
from provisioner.wire import Batch, Busy, Ended, Finished, Probed, Reply, Stale
from provisioner.wire.owed import Owed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from provisioner.model import Observable, State

ROOT = FileState(type="directory", real="/etc", owner="root", group="root", mode="0755")


@dataclass
class Device:
    """Answers looks from states, and steps as it is told."""

    states: dict[Observable[Any], State]
    answer: Callable[[Batch], Iterable[Reply]] | None = None

    def replies(self, batch: Batch) -> list[Reply]:
        """Return what this device says to a batch."""
        if batch.steps and self.answer:
            return list(self.answer(batch))
        looks: list[Reply] = [Probed(one, self.state(one)) for one in batch.looks]
        steps: list[Reply] = [Finished(step.number, 0) for step in batch.steps]
        again: list[Reply] = [Probed(one, self.state(one), again=True) for one in batch.relook] if batch.more else []
        return [*looks, *steps, *again, Ended("done")]

    def state(self, one: Observable[Any]) -> State:
        """Return what a look tells; a file that nobody mentioned is absent, a folder is there."""
        if isinstance(one, File) and one not in self.states:
            return replace(ROOT, real=one.path) if one.path in ("/", "/etc") else FileState(real=one.path)
        return self.states.get(one) or type(one).state()


def run(
    tmp_path: Path, tasks: str, device: Device | None = None, *, check: bool = False, **options: Any
) -> tuple[list[Batch], list[TaskFinished], HostRun]:
    """Run a play's tasks; return the batches, the results, and the run."""
    path = tmp_path / "play.yaml"
    path.write_text("- name: play\n  hosts: all\n  become: true\n" + tasks)
    play = load_playbook(path, task_types()).plays[0]
    events: list[Event] = []
    scope = HostScope(host="device", play=play, modules=task_types(), check=check)
    one = HostRun(scope, Options(check=check, **options), events.append, Memory())
    batches = drive(one, device or Device({}))
    return batches, [event for event in events if isinstance(event, TaskFinished)], one


def drive(one: HostRun, device: Device) -> list[Batch]:
    """Send a device's replies into a run until it ends."""
    requests, batches = one.converge(), []
    try:
        batch = next(requests)
        while True:
            batches.append(batch)
            batch = requests.send(device.replies(batch))
    except StopIteration:
        return batches


def statuses(results: list[TaskFinished]) -> list[str]:
    """Return the statuses in order."""
    return [event.result.status for event in results]


COPY = "  tasks:\n    - copy: {dest: /etc/a, content: a}\n"


def test_a_change_takes_one_look_and_one_apply(tmp_path: Path) -> None:
    """What a play looks at rides in one batch, all that it changes in the next."""
    batches, results, _ = run(tmp_path, COPY)
    assert [(bool(one.looks), len(one.steps)) for one in batches] == [(True, 0), (False, 1)]
    assert statuses(results) == ["changed"]


def test_a_dry_run_sends_no_step(tmp_path: Path) -> None:
    """Only the engine knows of dry runs: it looks, plans, and does not send."""
    batches, results, _ = run(tmp_path, COPY, check=True)
    assert [len(one.steps) for one in batches] == [0]
    assert statuses(results) == ["changed"]


def test_guards_are_what_the_plan_read(tmp_path: Path) -> None:
    """A step's guards are the file and the folder that its plan read, as they were then."""
    batches, _, _ = run(tmp_path, COPY)
    guards = {str(guard.observable): guard.expected for guard in batches[1].steps[0].guards}
    assert set(guards) == {"file /etc/a", "file /etc"}
    assert guards["file /etc/a"].render() == "type=absent\nreal=/etc/a"


def test_later_guards_expect_what_earlier_steps_leave(tmp_path: Path) -> None:
    """The second task's guard is the state that the first one is predicted to leave."""
    text = COPY + "    - file: {path: /etc/a, mode: '0600'}\n"
    batches, _, _ = run(tmp_path, text)
    first, second = batches[1].steps
    left = next(check.expected for check in first.checks if check.observable == File("/etc/a"))
    assert next(guard.expected for guard in second.guards if guard.observable == File("/etc/a")) == left


def test_stale_ground_is_planned_again(tmp_path: Path) -> None:
    """After a guard failed, the rest is planned on the fresh looks that came with it."""
    theirs = FileState(type="file", real="/etc/a", owner="root", group="root", mode="0644").with_content(b"a")
    seen: list[Batch] = []

    def answer(batch: Batch) -> list[Reply]:
        seen.append(batch)
        device.states[File("/etc/a")] = theirs
        again: list[Reply] = [Probed(one, device.state(one), again=True) for one in batch.relook]
        return [Stale(0, File("/etc/a"), "type=file"), *again, Ended("stale")]

    device = Device({}, answer)
    _, results, _ = run(tmp_path, COPY, device)
    assert len(seen) == 1
    assert statuses(results) == ["ok"]


def test_so_many_looks_are_asked_for_only_after_a_surprise(tmp_path: Path) -> None:
    """A batch for hundreds of files carries no looks at all of them; where a guard fails, they are one more trip."""
    (tmp_path / "many").mkdir()
    for number in range(400):
        (tmp_path / "many" / f"{number}").write_text("a")
    theirs = FileState(type="file", real="/etc/7", owner="root", group="root", mode="0644").with_content(b"a")
    surprises = [File("/etc/7")]

    def answer(batch: Batch) -> list[Reply]:
        if not surprises:
            return [*(Finished(step.number, 0) for step in batch.steps), Ended("done")]
        device.states[surprises[0]] = theirs
        again: list[Reply] = [Probed(one, device.state(one), again=True) for one in batch.relook]
        return [Stale(0, surprises.pop(), "type=file"), *again, Ended("stale")]

    device = Device({}, answer)
    batches, results, _ = run(
        tmp_path, f"  tasks:\n    - copy: {{dest: /etc/, src: {tmp_path}/many/, backup: yes}}\n", device
    )
    assert [len(one.relook) for one in batches if one.steps] == [1, 1]
    assert [len(one.looks) > 400 for one in batches] == [True, False, True, False]
    assert statuses(results) == ["changed"]


def test_ground_that_never_rests_is_given_up(tmp_path: Path) -> None:
    """Stale three times in a row is an error."""

    def answer(batch: Batch) -> list[Reply]:
        again: list[Reply] = [Probed(one, device.state(one), again=True) for one in batch.relook]
        return [Stale(0, File("/etc/a"), "type=file"), *again, Ended("stale")]

    device = Device({}, answer)
    with pytest.raises(Refused, match="in a row"):
        run(tmp_path, COPY, device)


def test_what_did_not_take_fails(tmp_path: Path) -> None:
    """A check that does not come out as predicted fails the task, and tells wanted and got."""

    def answer(_batch: Batch) -> list[Reply]:
        return [Finished(0, 0, differs=((File("/etc/a"), "type=absent\nreal=/etc/a"),)), Ended("failed")]

    _, results, one = run(tmp_path, COPY + "    - debug: {msg: never}\n", Device({}, answer))
    assert statuses(results) == ["failed"]
    assert "type wanted file, got absent" in (results[0].result.message or "")
    assert one.summary.not_done == ("debug",)


def test_an_event_that_left_no_trace_fails(tmp_path: Path) -> None:
    """A step whose witness is as it was before has not happened."""

    def answer(_batch: Batch) -> list[Reply]:
        return [Finished(0, 0, unmoved=True), Ended("failed")]

    _, results, _ = run(tmp_path, COPY, Device({}, answer))
    assert statuses(results) == ["failed"]


def test_a_busy_device_is_refused(tmp_path: Path) -> None:
    """Where another run holds the device for too long, this one says so and does nothing."""
    with pytest.raises(Refused, match="another run"):
        run(tmp_path, COPY, Device({}, lambda _batch: [Busy("abc pid 7"), Ended("busy")]))


def test_a_lost_batch_is_looked_at_again(tmp_path: Path) -> None:
    """Where nothing is known of a batch's end, the device is looked at, and what is left is done."""
    answers = iter([[Ended("lost")], [Finished(0, 0), Ended("done")]])
    batches, results, _ = run(tmp_path, COPY, Device({}, lambda _batch: next(answers)))
    assert [bool(one.steps) for one in batches] == [False, True, False, True]
    assert statuses(results) == ["changed"]


def test_owed_handlers_are_named_before_the_change(tmp_path: Path) -> None:
    """The step that notifies owes the handler, the handler's own step settles it."""
    text = COPY.rstrip("\n") + "\n      notify: hup\n  handlers:\n    - {name: hup, copy: {dest: /etc/b, content: b}}\n"
    batches, results, _ = run(tmp_path, text)
    change, handler = batches[1].steps
    assert (change.owes, handler.settles) == (("play: hup",), ("play: hup",))
    assert [event.result.handler for event in results] == [False, True]


def test_what_is_owed_is_run_though_nothing_changed(tmp_path: Path) -> None:
    """A handler that an earlier run left behind runs, and is settled, though no task of this run calls for it."""
    text = "  tasks: []\n  handlers:\n    - {name: hup, copy: {dest: /etc/b, content: b}}\n"
    device = Device({Owed(): Owed.state.parse("handlers=play:%20hup other:%20one")})
    batches, results, _ = run(tmp_path, text, device)
    assert [step.settles for step in batches[1].steps] == [("play: hup",)]
    assert statuses(results) == ["changed"]


def test_a_command_ends_what_is_certain(tmp_path: Path) -> None:
    """A task that rests on a command's output waits for it in an apply, and is unknown in a dry run."""
    text = "  tasks:\n    - {command: id, register: who}\n    - copy: {dest: /etc/a, content: '{{ who.stdout }}'}\n"
    _, results, _ = run(tmp_path, text, check=True)
    assert statuses(results) == ["changed", "unknown"]
    batches, results, _ = run(tmp_path, text)
    assert [len(one.steps) for one in batches if one.steps] == [1, 1]
    assert batches[1].more
    assert statuses(results) == ["changed", "changed"]


def test_values_are_rendered_once(tmp_path: Path) -> None:
    """A value that differs each time that it is rendered is the same in the plan and in the run."""
    text = "  tasks:\n    - copy: {dest: /etc/a, content: '{{ range(99999) | list | random }}'}\n"
    written: set[str] = set()

    def answer(batch: Batch) -> list[Reply]:
        written.update(str(effect.values) for step in batch.steps for effect in step.effects)
        if len(answers) == 1:
            return [answers.pop()]
        return [Finished(0, 0), Ended("done")]

    answers: list[Reply] = [Ended("lost")]
    run(tmp_path, text, Device({}, answer))
    assert len(written) == 1


def test_a_gate_that_says_no_ends_the_run(tmp_path: Path) -> None:
    """What is not confirmed is not sent, and is named as not done."""
    batches, results, one = run(tmp_path, COPY, gate=lambda _outcomes: False)
    assert [len(batch.steps) for batch in batches] == [0]
    assert results == []
    assert one.summary.not_done == ("copy",)


def test_facts_of_the_last_run_save_a_trip(tmp_path: Path) -> None:
    """Facts ride in the first batch with all that they decide; only facts that changed cost one more look."""
    facts = File("/etc/facts")

    def derive(state: State) -> Mapping[str, Any]:
        return {"place": "/etc/a" if state.render().startswith("type=absent") else "/etc/b"}

    text = '  tasks:\n    - copy: {dest: "{{ place }}", content: a}\n'
    same = FileState(type="absent", real="/etc/facts")
    other = FileState(type="file", real="/etc/facts")
    for assumed, looks in ((same, 1), (other, 2), (None, 2)):
        batches, _, _ = run(tmp_path, text, facts=facts, derive=derive, assumed=assumed)
        assert len([batch for batch in batches if batch.looks]) == looks
