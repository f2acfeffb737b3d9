"""What programs get."""

from __future__ import annotations

import io
import json
import os
import threading
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from provisioner.errors import InputError, Source
from provisioner.events import (
    Event,
    Explanation,
    HostFinished,
    HostLost,
    Noted,
    PlayStarted,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskResult,
)
from provisioner.model import Diff, Line
from provisioner.report.facts import print_facts
from provisioner.report.machine import JsonReport, JUnitReport, write_whole


def done(status: Any, host: str = "nano", **more: Any) -> TaskFinished:
    """Return a task that ended."""
    return TaskFinished(result=TaskResult(**{"task": "a task", **more}, host=host, play="p", module="m", status=status))


RUN: tuple[Event, ...] = (
    RunStarted(hosts=("nano", "thor"), check=True, simulated="model", at=10.0),
    PlayStarted(play="p", hosts=("nano", "thor"), tasks=3),
    done(
        "changed",
        shows=(Line("mode 1 -> 2"), Diff("/x", b"a\n", b"b\n"), Diff("/s", b"hunter2", b"hunter2!", secret=True)),
        source=Source("site.yaml", 3, 5),
        seconds=1.23456,
    ),
    done("failed", message="bad \x1b[31mred", stderr="\x07why\ufffe", rc=3),
    done("ok", no_log=True, stdout="hunter2", message="hunter2", item="hunter2"),
    done("unknown"),
    Noted(host="nano", message="careful"),
    HostFinished(host="nano", not_done=("t",), owed=("h",), trips=3, at=12.5),
    HostLost(host="thor", message="no answer", hint="switch it on"),
    RunFinished(start_with={"nano": "docker run x"}, at=13.0),
)


def document(path: Path, *events: Event) -> Any:
    """Return the JSON document of a run."""
    report = JsonReport(path)
    for event in events:
        report(event)
    report.close()
    report.close()
    return json.loads(path.read_text())


def test_the_document_tells_the_whole_run(tmp_path: Path) -> None:
    """One document holds the hosts, every result, the recap and the times; its keys are its schema."""
    got = document(tmp_path / "run.json", *RUN)
    assert {key: value for key, value in got.items() if not isinstance(value, dict | list)} == {
        "schema": 1, "check": True, "simulated": "model", "interrupted": False, "finished": True, "seconds": 3.0,
        "batches": 3,
    }  # fmt: skip
    assert got["hosts"]["nano"] == {
        "state": "failed", "lost": None, "not_done": ["t"], "owed": ["h"], "batches": 3, "seconds": 2.5,
        "start_with": "docker run x",
    }  # fmt: skip
    assert got["hosts"]["thor"]["lost"] == {"message": "no answer", "hint": "switch it on", "explained": None}
    assert got["recap"]["thor"]["unreachable"] == 1
    assert got["notes"] == [{"host": "nano", "level": "warning", "message": "careful"}]
    assert got["plays"] == [{"play": "p", "hosts": ["nano", "thor"], "tasks": 3}]


def test_results_have_one_shape(tmp_path: Path) -> None:
    """Every result has every key, so that a program never has to ask whether one is there."""
    results = document(tmp_path / "run.json", *RUN)["results"]
    assert len({tuple(result) for result in results}) == 1
    assert results[0]["source"] == {"path": "site.yaml", "line": 3, "column": 5}
    assert results[0]["seconds"] == 1.235
    assert results[0]["shows"] == [
        {"line": "mode 1 -> 2"},
        {"path": "/x", "secret": False, "diff": "--- before: /x\n+++ after: /x\n@@ -1 +1 @@\n-a\n+b"},
        {"path": "/s", "secret": True, "diff": None},
    ]
    assert (results[1]["message"], results[1]["stderr"], results[1]["rc"]) == ("bad red", "why\ufffe", 3)


def test_what_a_failure_means_is_told_to_programs(tmp_path: Path) -> None:
    """An explanation has its id, cause, fix and sources, of a task as well as of a host that is lost."""
    known = Explanation(id="disk-full", cause="the disk is full", fix="make room", sources=("a: b",))
    told = {"id": "disk-full", "cause": "the disk is full", "fix": "make room", "sources": ["a: b"]}
    gone = HostLost(host="thor", message="no answer", explained=known)
    got = document(tmp_path / "run.json", RUN[0], done("failed", explained=known), done("failed"), gone)
    assert [one["explained"] for one in got["results"]] == [told, None]
    assert got["hosts"]["thor"]["lost"]["explained"] == told


def test_secrets_are_in_no_document(tmp_path: Path) -> None:
    """Neither a secret diff nor a no_log result is written to a file."""
    document(tmp_path / "run.json", *RUN)
    junit = JUnitReport(tmp_path / "run.xml")
    for event in RUN:
        junit(event)
    junit.close()
    assert all("hunter2" not in path.read_text() for path in tmp_path.iterdir())


def test_the_document_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where writing fails, what was there before stays, and no draft is left."""
    path = tmp_path / "run.json"
    path.write_text("before")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_whole(path, "after")
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("run.json", "before")]


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    """--json /dev/stdout must not put a file in the place of the device."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(path.read_text()))
    reader.start()
    write_whole(path, "text")
    reader.join()
    assert (got, path.is_fifo()) == (["text"], True)


def test_a_folder_that_is_missing_is_told_before_the_run(tmp_path: Path) -> None:
    """A run is not made only to find that its report has no place."""
    with pytest.raises(InputError, match="no folder"):
        JsonReport(tmp_path / "nowhere" / "run.json")


def test_a_document_without_a_run_is_valid(tmp_path: Path) -> None:
    """A run that ended before it began leaves a document that says so."""
    assert document(tmp_path / "run.json")["finished"] is False


def test_junit_counts_what_ci_counts(tmp_path: Path) -> None:
    """A suite per host, a case per result; what failed, was lost or is unknown is told as such; the XML is valid."""
    report = JUnitReport(tmp_path / "run.xml")
    for event in RUN:
        report(event)
    report.close()
    nano, thor = ET.parse(tmp_path / "run.xml").getroot()
    assert (nano.attrib["tests"], nano.attrib["failures"], nano.attrib["skipped"]) == ("4", "1", "1")
    failure = nano.find("testcase/failure")
    assert failure is not None
    assert (failure.attrib["message"], failure.text) == ("bad red", "why")
    assert thor.attrib["errors"] == "1"
    assert thor.find("testcase/error") is not None


FACTS: dict[str, dict[str, object]] = {
    "nano": {"jetpack": "4.6.4", "l4t": "32.7.4", "runtimes": ["runc", "nvidia"], "simulated": True},
    "thor": {"jetpack": "7.0", "model": "AGX \x1b[31mThor [bold]", "none": None},
}


def test_facts_of_many_hosts_are_told_in_parts() -> None:
    """More hosts than columns make several tables, and none is lost."""
    stream = io.StringIO()
    print_facts({f"host{n}": {"l4t": f"v{n}"} for n in range(40)}, stream)
    assert all(f"v{n}" in stream.getvalue().split() for n in range(40))


def test_facts_as_json() -> None:
    """Programs get the values as they are, text cleaned."""
    stream = io.StringIO()
    print_facts({**FACTS, "x": {"path": Path("/x")}}, stream, as_json=True)
    got = json.loads(stream.getvalue())
    assert got["nano"] == FACTS["nano"]
    assert got["thor"]["model"] == "AGX Thor [bold]"
    assert got["x"]["path"] == "/x"
