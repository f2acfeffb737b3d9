"""What a pipe gets."""

from __future__ import annotations

import errno
import io
import subprocess
import sys
import threading
from typing import Any

import pytest

from provisioner.errors import InputError, Source
from provisioner.events import (
    Doing,
    Event,
    HostFinished,
    HostLost,
    Noted,
    PlayStarted,
    Progressed,
    RunFinished,
    RunStarted,
    TaskFinished,
    TaskResult,
)
from provisioner.model import Diff, Line
from provisioner.report import report_for
from provisioner.report.plain import PlainReport


def done(status: Any, host: str = "nano", at: float = 0.0, **more: Any) -> TaskFinished:
    """Return a task that ended."""
    return TaskFinished(
        at=at,
        result=TaskResult(**{"task": "a task", "host": host, "play": "p", "module": "m", **more, "status": status}),
    )


def written(*events: Event, check: bool = False, hosts: tuple[str, ...] = ("nano", "thor"), **more: Any) -> list[str]:
    """Return the lines that a run writes, without those of its start."""
    stream = io.StringIO()
    report = PlainReport(stream, **more)
    report(RunStarted(hosts=hosts, check=check))
    stream.truncate(0)
    stream.seek(0)
    for event in events:
        report(event)
    report.close()
    return stream.getvalue().splitlines()


def test_what_happened_is_a_line_and_what_did_not_is_none() -> None:
    """Changes, failures and unknowns are written; ok and skipped tasks are not, unless asked for."""
    events = [done(status, task=status) for status in ("ok", "changed", "failed", "skipped", "unknown")]
    assert written(*events) == [
        "nano  changed       changed",
        "nano  failed        failed",
        "nano  unknown       unknown",
    ]
    words = [line.split()[1] for line in written(*events, verbosity=1)]
    assert words == ["ok", "changed", "failed", "skipped", "unknown"]


def test_a_dry_run_would() -> None:
    """What a dry run tells is never in the words of what was done."""
    assert written(done("changed"), check=True) == ["nano  would change  a task"]


def test_items_handlers_reasons_and_places() -> None:
    """A line tells the item, that it is a handler, why it was skipped, and with -vv where it stands."""
    assert written(done("changed", item="x\ny")) == ["nano  changed       a task (item=x y)"]
    assert written(done("changed", handler=True)) == ["nano  changed       handler: a task"]
    assert written(done("skipped", message="when: no"), verbosity=1) == ["nano  skipped       a task  when: no"]
    place = done("ok", source=Source("site.yaml", 3, 5), seconds=2.0)
    assert written(place, verbosity=2) == ["nano  ok            a task  2.0 s  m, site.yaml:3:5"]


def test_failures_tell_cause_and_hint_at_once() -> None:
    """A failure is told when it happens; one that is ignored is called so."""
    assert written(done("failed", message="no space", hint="free some")) == [
        "nano  failed        a task",
        "    no space",
        "    hint: free some",
    ]
    assert written(done("failed", ignored=True))[0] == "nano  ignored       a task"


def test_a_message_of_debug_is_shown() -> None:
    """What was written to be read needs no -v."""
    assert written(done("ok", message="hello\nworld"))[1:] == ["    hello", "    world"]


def test_diffs_follow_only_when_asked_for() -> None:
    """Without --diff a line says enough."""
    event = done("changed", shows=(Diff("/etc/x", b"a\n", b"b\n"), Line("mode 0644 -> 0600")))
    assert len(written(event)) == 1
    assert written(event, diff=True)[1:] == [
        "    --- before: /etc/x",
        "    +++ after: /etc/x",
        "    @@ -1 +1 @@",
        "    -a",
        "    +b",
        "    ~ mode 0644 -> 0600",
    ]


def test_the_same_change_of_another_host_is_only_referred_to() -> None:
    """Forty equal diffs are read once; one that differs is shown whole."""
    same = (Diff("/etc/x", b"a\n", b"b\n"),)
    other = (Diff("/etc/x", b"a\n", b"c\n"),)
    lines = written(
        done("changed", "a", shows=same),
        done("changed", "b", shows=same),
        done("changed", "c", shows=other),
        diff=True,
    )
    assert "b     changed       a task  (as on a)" in lines
    assert len(lines) == 6 + 1 + 6


def test_reservations_are_told_in_a_dry_run() -> None:
    """A claim that hangs on an opaque task says on which."""
    event = done("changed", assumed_after=("Run the installer",))
    assert written(event, check=True)[1] == "    assuming that nothing else is changed by 'Run the installer'"
    assert len(written(event)) == 1


def test_output_is_shown_on_request_and_cut() -> None:
    """-v shows a command's output up to a length, -vv all of it."""
    event = done("changed", stdout="".join(f"{n}\n" for n in range(50)), stderr="oops")
    lines = written(event, verbosity=1)
    assert lines[1:3] == ["    stdout: 0", "            1"]
    assert lines[-2:] == ["    ... 30 more lines; -vv shows all", "    stderr: oops"]
    assert len(written(event, verbosity=2)) == 52


def test_secrets_never_show() -> None:
    """no_log hides everything at any verbosity, with any diff."""
    event = done(
        "changed", no_log=True, item="hunter2", message="hunter2", stdout="hunter2", stderr="hunter2", hint="hunter2",
        shows=(Line("hunter2"), Diff("/x", b"hunter2", b"hunter2!")),
    )  # fmt: skip
    assert "hunter2" not in "\n".join(written(event, verbosity=3, diff=True))


def test_device_text_is_cleaned_everywhere() -> None:
    """No text of an event, whichever field it comes in, reaches a stream with something to obey."""
    bad = "a\x1b]0;x\x07\x1b[2J\u202e\rb"
    events: list[Event] = [
        PlayStarted(play=bad, hosts=(bad,), tasks=1),
        Doing(host=bad, what=bad),
        Progressed(host=bad, text=bad, at=100),
        Noted(host=bad, message=bad, level="info"),
        HostLost(host=bad, message=bad, hint=bad),
        done("failed", bad, play=bad, task=bad, item=bad, message=bad, hint=bad, stdout=bad, stderr=bad,
             warnings=(bad,), assumed_after=(bad,), shows=(Line(bad), Diff(bad, b"", bad.encode()))),
        HostFinished(host=bad, not_done=(bad,), owed=(bad,)),
        RunFinished(start_with={bad: bad}),
    ]  # fmt: skip
    text = "\n".join(written(*events, hosts=(bad,), check=True, verbosity=3, diff=True))
    assert not set(text) & set("\x1b\x07\r\u202e")


def test_progress_is_sparse() -> None:
    """A host is told of at most each ten seconds, and not while it tells results."""
    events: list[Event] = [Doing(host="nano", what="Pull", step=4, steps=5, at=0.0)]
    events += [Progressed(host="nano", text="9f3c", done=n * 10**6, total=10**8, at=float(n)) for n in range(1, 31)]
    assert written(*events) == [f"nano  ...           4/5 Pull: {n} MB / 100 MB: 9f3c" for n in (10, 20, 30)]
    assert len(written(*events[:10], done("changed", at=9.0), *events[10:18])) == 1


def test_notes_and_lost_hosts() -> None:
    """Infos and what is of the whole run are told at once, a host's warning at the end or with -v."""
    events = [Noted(host="nano", message="careful"), Noted(host=None, message="by the way", level="info")]
    assert written(*events) == ["      note          by the way"]
    assert written(*events, verbosity=1)[0] == "nano  warning       careful"
    assert written(Noted(host=None, message="stopping")) == ["      warning       stopping"]
    assert written(HostLost(host="thor", message="no key", hint="add it", unreachable=False)) == [
        "thor  refused       no key",
        "    hint: add it",
    ]


def test_a_start_says_what_kind_of_run_it_is() -> None:
    """A simulation and a dry run are named before anything else."""
    stream = io.StringIO()
    PlainReport(stream)(RunStarted(hosts=("a", "b"), check=True, simulated="namespace"))
    assert stream.getvalue() == (
        "Dry run on 2 hosts: nothing is touched\nSIMULATION (namespace): no real device takes part\n"
    )


def test_blocks_are_never_torn() -> None:
    """Threads that report at once write whole blocks."""
    stream = io.StringIO()
    report = PlainReport(stream)

    def work(host: str) -> None:
        for _ in range(50):
            report(done("failed", host, message=f"cause {host}"))

    threads = [threading.Thread(target=work, args=(host,)) for host in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = stream.getvalue().splitlines()
    pairs = zip(lines[::2], lines[1::2], strict=True)
    assert all(cause.strip() == f"cause {head[0]}" for head, cause in pairs)


def test_a_reader_that_has_gone_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """`provision apply | head` goes on with the hosts, and tries to write no more."""
    stream = io.StringIO()
    report = PlainReport(stream)

    def broken(text: str) -> int:
        raise BrokenPipeError(text)

    monkeypatch.setattr(stream, "write", broken)
    for _ in range(2):
        report(done("changed"))
    report.close()
    assert report.recap.hosts["nano"].counts["changed"] == 2


def test_a_full_disk_stops_nothing_and_is_told_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that finds no room any more takes nothing from the hosts; that words were lost is an error of its own."""
    stream = io.StringIO()
    report = PlainReport(stream)

    def full(_text: str) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stream, "write", full)
    for _ in range(2):
        report(done("changed"))
    assert report.recap.hosts["nano"].counts["changed"] == 2
    with pytest.raises(InputError, match="No space left"):
        report.close()


def test_a_pipe_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no terminal, or a dumb one, is written to plainly."""
    assert isinstance(report_for(io.StringIO()), PlainReport)
    stream = io.StringIO()
    monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(report_for(stream), PlainReport)


def test_pipes_and_programs_do_not_pay_for_rich() -> None:
    """The plain, JSON and JUnit reports and the error printer import neither rich nor anything else that is heavy."""
    code = (
        "import sys; from provisioner.report import plain, machine, errors, closing, facts;"
        "print(*{name.partition('.')[0] for name in sys.modules} & {'rich', 'jinja2', 'paramiko', 'xml', 'yaml'})"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "\n"
