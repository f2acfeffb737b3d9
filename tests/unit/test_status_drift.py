"""Laws of drift: what the results of a dry run come to, and that such a run can do nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.commands.drift import Borrowed, harmless, judged
from provisioner.document import parse
from provisioner.errors import ProvisionError, Source
from provisioner.events import TaskResult
from provisioner.playbook import Play, Playbook, Task
from provisioner.wire import Batch, Step

HERE = Source("play.yaml", 1, 1)


def result(task: str, status: Any, module: str = "copy", **more: Any) -> TaskResult:
    return TaskResult(host="a", play="p", task=task, module=module, status=status, source=Source(task), **more)


def task(name: str, module: str = "copy", **more: Any) -> Task:
    return Task(name=name, module=module, args=more.pop("args", {}), source=Source(name), base_dir=Path(), **more)


CASES = {
    "nothing": ([], ("order", 0, 0)),
    "all in order": ([result("a", "ok"), result("b", "skipped")], ("order", 0, 0)),
    "two of three": ([result("a", "changed"), result("b", "ok"), result("c", "changed")], ("changes", 2, 0)),
    "a loop is one task": ([result("a", "changed", item="1"), result("a", "changed", item="2")], ("changes", 1, 0)),
    "some cannot be told": ([result("a", "changed"), result("b", "unknown")], ("changes", 1, 1)),
    "a command runs every time": ([result("a", "changed", "command"), result("b", "ok")], ("order", 0, 0)),
    "so does what it calls": (
        [result("a", "changed", "shell"), result("h", "changed", "service", handler=True)],
        ("order", 0, 0),
    ),
    "a handler that a change calls": (
        [result("a", "changed"), result("h", "changed", "service", handler=True)],
        ("changes", 2, 0),
    ),
    "a failure": ([result("a", "changed"), result("b", "failed", message="too small")], ("fails", 1, 0)),
    "a failure that is ignored": ([result("a", "failed", ignored=True)], ("order", 0, 0)),
}


@pytest.mark.parametrize("name", list(CASES))
def test_results_come_to_a_drift(name: str) -> None:
    """Changes and unknowns are counted by task; what runs whatever the state of the device is no drift."""
    results, expected = CASES[name]
    found = judged(results, {})
    assert (found.state, found.changes, found.unknown) == expected


def test_a_command_that_decides_is_drift() -> None:
    """A command with creates, or that says when it changed something, counts as every other task."""
    results = [result("a", "changed", "command"), result("b", "changed", "command"), result("c", "changed", "command")]
    node = parse("/x", "test")
    assert node is not None
    tasks = [task("a", "command", args={"creates": node}), task("b", "command", changed_when=()), task("c", "command")]
    found = judged(results, {one.source: one for one in tasks})
    assert found.tasks == ("a", "b")


def test_a_failure_names_its_task_and_why() -> None:
    """What would fail is told by its name and its reason."""
    assert judged([result("disk", "failed", message="too small")], {}).words == "would fail: disk: too small"


def test_no_task_of_a_harmless_playbook_is_read_only() -> None:
    """Tasks that run in a dry run too are planned only, handlers as well, and no host waits for another."""
    tasks = (task("a", check_mode=False), task("b"))
    play = Play(
        name="p", hosts="all", hosts_source=HERE, source=HERE, tasks=tasks, handlers=(task("h", check_mode=False),),
        serial=(1,), any_errors_fatal=True, max_fail_percentage=0.0,
    )  # fmt: skip
    (found,) = harmless(Playbook(path=Path("p"), plays=(play,))).plays
    assert [one.check_mode for one in found.everything()] == [None, None, None]
    assert [one.name for one in found.everything()] == ["a", "b", "h"]
    assert (found.serial, found.any_errors_fatal, found.max_fail_percentage) == ((), False, None)


def test_a_borrowed_shell_carries_no_step() -> None:
    """Whatever asks for a change is refused before a byte of it is sent."""

    class Never:
        def exchange(self, _batch: Batch) -> Any:
            raise AssertionError("it was sent")

    with pytest.raises(ProvisionError, match="about to change"):
        Borrowed(Never()).exchange(Batch(steps=(Step(number=0),)))  # type: ignore[arg-type]
