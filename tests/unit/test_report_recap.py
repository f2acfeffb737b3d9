"""Counting, exit codes, and what is told at the end."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.errors import Source
from provisioner.events import (
    Doing,
    Event,
    HostFinished,
    HostLost,
    Noted,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskResult,
)
from provisioner.report.closing import closing, sentence
from provisioner.report.recap import Recap, exit_code, withheld
from provisioner.report.text import to_plain


def done(status: Any, host: str = "nano", task: str = "a task", **more: Any) -> TaskFinished:
    """Return a task that ended."""
    return TaskFinished(result=TaskResult(host=host, play="p", task=task, module="m", status=status, **more))


def recap(*events: Event, hosts: tuple[str, ...] = ("nano",), check: bool = False, **more: Any) -> Recap:
    """Return the recap of a run of 3.2 seconds; hosts that are not told to be lost or through are through."""
    counted = Recap()
    told = {event.host for event in events if isinstance(event, HostLost | HostFinished)}
    through = [HostFinished(host=host, trips=2) for host in hosts if host not in told]
    begin = RunStarted(hosts=hosts, check=check, simulated=more.pop("simulated", None), at=10.0)
    for event in (begin, *events, *through, RunFinished(at=13.2, **more)):
        counted(event)
    return counted


def told(counted: Recap, width: int = 0) -> str:
    """Return what is told at the end."""
    return "\n".join(to_plain(line) for line in closing(counted, width))


@pytest.mark.parametrize(
    ("events", "counts"),
    [
        ([done("ok")], {"ok": 1}),
        ([done("changed")], {"ok": 1, "changed": 1}),
        ([done("skipped")], {"skipped": 1}),
        ([done("unknown")], {"unknown": 1}),
        ([done("failed")], {"failed": 1}),
        ([done("failed", ignored=True)], {"ok": 1, "ignored": 1}),
        ([done("ok", item="a"), done("changed", item="b"), done("skipped", item="c")], {"ok": 1, "changed": 1}),
        ([done("skipped", item="a"), done("skipped", item="b")], {"skipped": 1}),
        ([done("changed", item="a"), done("failed", item="b")], {"failed": 1}),
        ([done("changed", item="a"), done("unknown", item="b")], {"unknown": 1}),
        ([done("ok", item="a"), done("ok", task="b", item="a")], {"ok": 2}),
        ([done("ok"), done("ok")], {"ok": 2}),
        ([done("ok", item="a"), done("ok", item="b"), done("ok"), done("ok", item="a")], {"ok": 3}),
        ([HostLost(host="nano", message="no answer")], {"unreachable": 1}),
        ([HostLost(host="nano", message="no key", unreachable=False)], {"failed": 1}),
    ],
)
def test_counts_are_ansibles(events: list[Event], counts: dict[str, int]) -> None:
    """A change is also ok, an ignored failure is ok, a loop counts once, a refusal is a failure."""
    got = recap(*events).hosts["nano"].counts
    assert {name: number for name, number in got.items() if number} == counts


LOST = HostLost(host="thor", message="no answer")
REFUSED = HostLost(host="thor", message="no key", unreachable=False)


@pytest.mark.parametrize(
    ("events", "more", "code"),
    [
        ([done("changed")], {}, 0),
        ([done("failed")], {}, 2),
        ([done("failed", ignored=True)], {}, 0),
        ([REFUSED], {}, 2),
        ([LOST], {}, 4),
        ([LOST, done("failed")], {}, 6),
        ([HostFinished(host="nano", not_done=("b",))], {}, 2),
        ([LOST, done("failed")], {"interrupted": True}, 130),
        ([done("changed")], {"check_exit_code": True}, 3),
        ([done("unknown")], {"check_exit_code": True}, 3),
        ([done("ok"), done("skipped")], {"check_exit_code": True}, 0),
        ([done("changed"), LOST], {"check_exit_code": True}, 4),
    ],
)
def test_exit_codes(events: list[Event], more: dict[str, bool], code: int) -> None:
    """Worse outcomes win: interrupted, then lost and failed hosts, then what a dry run would change."""
    check = "check_exit_code" in more
    assert exit_code(recap(*events, hosts=("nano", "thor"), check=check), **more) == code


def test_an_interrupted_run_says_so_itself() -> None:
    """The run's own word counts as much as the caller's."""
    assert exit_code(recap(interrupted=True)) == 130


def test_only_a_dry_run_would_change() -> None:
    """Without --check a change is done and the exit code is 0."""
    assert exit_code(recap(done("changed")), check_exit_code=True) == 0


def test_a_new_run_begins_anew() -> None:
    """The apply after a confirmed dry run is counted by itself."""
    counted = recap(done("changed"), done("failed"), check=True)
    for event in (RunStarted(hosts=("nano",)), done("ok"), HostFinished(host="nano")):
        counted(event)
    assert counted.hosts["nano"].counts["ok"] == 1
    assert (counted.check, exit_code(counted)) == (False, 0)


def test_no_log_withholds_everything_but_the_ending() -> None:
    """Of a no_log result neither output, item, diff nor message is shown."""
    result = TaskResult(
        host="nano", play="p", task="t", module="m", status="failed", no_log=True,
        item="hunter2", message="hunter2", hint="hunter2", stdout="hunter2", stderr="hunter2",
        warnings=("hunter2",), value={"x": "hunter2"},
    )  # fmt: skip
    assert "hunter2" not in repr(withheld(result))
    assert withheld(result).status == "failed"
    assert "hunter2" not in told(recap(TaskFinished(result=result)))


def test_the_table_is_aligned_and_complete() -> None:
    """Every host has Ansible's columns in Ansible's order, one below the other."""
    events = [*(done("ok", task=str(n)) for n in range(12)), done("changed", host="agx-thor")]
    lines = told(recap(*events, hosts=("nano", "agx-thor"))).splitlines()
    assert lines[1] == "PLAY RECAP " + "*" * 69
    assert lines[2:4] == [
        "nano     : ok=12 changed=0 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0 unknown=0",
        "agx-thor : ok=1  changed=1 unreachable=0 failed=0 skipped=0 rescued=0 ignored=0 unknown=0",
    ]


def test_a_narrow_terminal_loses_only_columns_of_noughts() -> None:
    """On 80 columns what does not fit is left out where it says nothing."""
    quiet = recap(done("ok", host="jetson-nano"), hosts=("jetson-nano",))
    assert told(quiet, 80).splitlines()[2] == "jetson-nano : ok=1 changed=0 unreachable=0 failed=0 skipped=0 unknown=0"
    telling = recap(done("failed", host="jetson-nano", ignored=True), hosts=("jetson-nano",))
    assert "ignored=1" in told(telling, 80)


def test_a_failure_is_told_with_its_place_cause_output_and_hint() -> None:
    """What one has to know to mend it stands at the end, where one looks."""
    failed = done(
        "failed", task="Pull", rc=1, message="docker pull failed", hint="free some space",
        stderr="\n".join(f"line {n}" for n in range(9)), source=Source("site.yaml", 31, 5),
    )  # fmt: skip
    end = HostFinished(host="nano", not_done=("Add to group",), owed=("restart docker",))
    text = told(recap(failed, end))
    assert "nano:\n  failed at Pull (site.yaml:31)\n    docker pull failed (rc 1)\n    | line 3\n" in text
    assert "    | line 8\n    hint: free some space\n  not done: Add to group\n" in text
    assert "  owed handlers: restart docker (runs at the end of the next run that succeeds)" in text


def test_hosts_with_the_same_trouble_share_it() -> None:
    """Forty hosts that fail alike are told of once."""
    events = [done("failed", host=host, message="no space") for host in ("a", "b")]
    text = told(recap(*events, hosts=("a", "b")))
    assert "a, b:\n  failed at a task\n    no space" in text
    assert text.count("no space") == 1


def test_warnings_are_told_once_with_their_hosts() -> None:
    """A warning of several hosts, or of several tasks, is one line."""
    text = told(
        recap(
            Noted(host="a", message="clock is off"),
            Noted(host="b", message="clock is off"),
            Noted(host="a", message="just so you know", level="info"),
            done("ok", host="b", warnings=("clock is off",)),
            hosts=("a", "b"),
        )
    )
    assert "warning: clock is off (a, b)" in text
    assert text.count("clock is off") == 1
    assert "just so" not in text


def test_commands_to_start_with_are_grouped_and_whole() -> None:
    """Equal commands are printed once, each on one line even on a narrow terminal."""
    command = "docker run --rm -it " + "x" * 100
    text = told(recap(hosts=("a", "b", "c"), start_with={"a": command, "b": command, "c": "docker run c"}), width=80)
    assert f"Start working with:\n  a, b:\n    {command}\n  c:\n    docker run c\n" in text


@pytest.mark.parametrize(
    ("counted", "words"),
    [
        (
            recap(done("ok", host="a"), hosts=("a", "b")),
            "2 hosts: 2 in the desired state, 0 changed, in 3.2 s, 4 batches",
        ),
        (recap(done("changed")), "1 host: 1 in the desired state, 1 changed on 1 host, in 3.2 s, 2 batches"),
        (
            recap(done("failed", host="a"), LOST, hosts=("a", "b", "thor")),
            "3 hosts: 1 in the desired state, 1 failed, 1 unreachable, 0 changed, in 3.2 s, 4 batches",
        ),
        (
            recap(done("changed"), done("changed", task="b"), check=True, hosts=("nano", "b")),
            (
                "2 hosts: 1 in the desired state; would change 2 things on 1 host; "
                "nothing was touched (in 3.2 s, 4 batches)"
            ),
        ),
        (
            recap(done("unknown"), check=True),
            (
                "1 host: 0 in the desired state; would change nothing, 1 thing unknown until applied; "
                "nothing was touched (in 3.2 s, 2 batches)"
            ),
        ),
        (
            recap(simulated="namespace", interrupted=True),
            "interrupted; 1 simulated host: 1 in the desired state, 0 changed, in 3.2 s, 2 batches",
        ),
    ],
)
def test_one_sentence_sums_it_up(counted: Recap, words: str) -> None:
    """The last line says how it stands, and whether anything was touched."""
    assert sentence(counted) == words


def test_a_host_that_never_began_is_not_called_done() -> None:
    """An interrupted run tells hosts that were under way from hosts whose turn never came."""
    counted = Recap()
    for event in (RunStarted(hosts=("a", "b")), Doing(host="a", what="connecting"), RunFinished(interrupted=True)):
        counted(event)
    assert "0 in the desired state, 1 not finished, 1 not begun" in sentence(counted)


def test_the_heading_names_simulation_and_dry_run() -> None:
    """Nobody takes a simulation, or a dry run, for the real thing."""
    assert "PLAY RECAP (dry run, simulation: model) ***" in told(recap(check=True, simulated="model"))
