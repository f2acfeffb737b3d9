"""The laws of the registry of task types."""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING

from provisioner.model import announce_tasks, task_types

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

LATE = """
import builtins
from provisioner.model import TaskType, task

@task
class Late(TaskType):
    name = "late"

builtins.late_is_registered.set()
builtins.late_may_end.wait(10)
ENDED = True
"""


def test_a_type_is_handed_out_when_its_module_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two threads that ask for a type first, the second waits until the first has imported all of its module."""
    (tmp_path / "late_task.py").write_text(LATE)
    monkeypatch.syspath_prepend(tmp_path)
    registered, may_end = threading.Event(), threading.Event()
    monkeypatch.setattr("builtins.late_is_registered", registered, raising=False)
    monkeypatch.setattr("builtins.late_may_end", may_end, raising=False)
    announce_tasks({"late": "late_task"})
    try:
        first = threading.Thread(target=task_types().__getitem__, args=("late",))
        first.start()
        assert registered.wait(10)
        threading.Timer(0.05, may_end.set).start()
        assert task_types()["late"].name == "late"
        assert sys.modules["late_task"].ENDED
        first.join()
    finally:
        may_end.set()
        sys.modules.pop("late_task", None)
        for known in (task_types().announced, task_types().types):  # type: ignore[attr-defined]
            known.pop("late", None)
