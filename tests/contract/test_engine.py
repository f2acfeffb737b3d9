"""The engine on a real sshd: surprises, unknowns, handlers, other users, lost links, and interruption."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fleet import meanwhile, play

if TYPE_CHECKING:
    from sshd import Sshd

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


def wait_for(path: Path) -> None:
    """Wait until a file is there: the task that makes it has begun."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)


HEAD = """
- name: play
  hosts: all
  become: BECOME
  gather_facts: false
"""


@pytest.fixture
def run(sshd: Sshd, tmp_path: Path) -> Any:
    """Return a function that runs tasks, TOP standing for a folder of the test's own."""
    top = tmp_path / "device"
    top.mkdir()
    root = "true" if os.geteuid() == 0 else "false"

    def start(text: str, **settings: Any) -> Any:
        return play(sshd, tmp_path, (HEAD.replace("BECOME", root) + text).replace("TOP", str(top)), **settings)

    start.top = top  # type: ignore[attr-defined]
    return start


def test_what_a_command_changes_is_seen_by_the_next_task(run: Any) -> None:
    """A command between two tasks may change anything: the later one is planned again on what is really there."""
    text = """
  tasks:
    - copy: {dest: TOP/a, content: "ours\\n"}
    - command: rm TOP/a
    - copy: {dest: TOP/a, content: "ours\\n"}
"""
    told = run(text)
    assert told.statuses == ["changed", "changed", "changed"]
    assert (run.top / "a").read_text() == "ours\n"
    assert told.results[2].assumed_after == ()


def test_a_claim_after_a_command_has_a_reservation(run: Any) -> None:
    """What the dry run says of a task behind a command names the command that could make it untrue."""
    (run.top / "a").write_text("ours\n")
    text = """
  tasks:
    - name: opaque
      command: "true"
    - copy: {dest: TOP/a, content: "ours\\n"}
"""
    dry = run(text, check=True)
    assert dry.statuses == ["changed", "ok"]
    assert dry.results[1].assumed_after == ("opaque",)


def test_what_only_output_tells_is_unknown_in_a_dry_run(run: Any) -> None:
    """A task that needs the output of a command is unknown, with the reason, and everything else is told."""
    text = """
  tasks:
    - name: asked
      command: echo answer
      register: asked
    - name: written
      copy: {dest: TOP/a, content: "{{ asked.stdout }}\\n"}
    - name: by itself
      copy: {dest: TOP/b, content: "b\\n"}
"""
    dry = run(text, check=True)
    assert dry.statuses == ["changed", "unknown", "changed"]
    assert "asked" in (dry.results[1].message or "")
    assert not list(run.top.iterdir())
    real = run(text)
    assert real.statuses == ["changed"] * 3
    assert (run.top / "a").read_text() == "answer\n"


def test_a_read_only_command_runs_in_a_dry_run(run: Any) -> None:
    """check_mode: false declares a task read-only: it runs, and what it prints is known."""
    text = """
  tasks:
    - command: echo answer
      register: asked
      check_mode: false
      changed_when: false
    - copy: {dest: TOP/a, content: "{{ asked.stdout }}\\n"}
"""
    dry = run(text, check=True)
    assert dry.statuses == ["ok", "changed"]
    assert dry.results[1].shows[0].after == b"answer\n"
    assert not list(run.top.iterdir())


def test_what_a_device_says_is_never_rendered(run: Any) -> None:
    """Template text in the output of a command is data."""
    text = """
  tasks:
    - command: echo '{{ "{{" }} 7 * 7 {{ "}}" }}'
      register: asked
    - copy: {dest: TOP/a, content: "{{ asked.stdout }}"}
"""
    run(text)
    assert (run.top / "a").read_text() == "{{ 7 * 7 }}"


def test_what_would_have_been_skipped_is_not_left_undone(run: Any) -> None:
    """After a failure those tasks are named that would have been done, or of which that cannot be told any more."""
    text = """
  tasks:
    - {name: a, command: "false"}
    - {name: b, copy: {dest: TOP/b, content: x}, when: 1 > 2}
    - {name: c, copy: {dest: TOP/c, content: x}, when: later is changed}
    - {name: d, copy: {dest: TOP/d, content: x}, register: later}
    - {name: e, copy: {dest: "{{ item }}", content: x}, loop: []}
"""
    assert run(text).finished.not_done == ("c", "d")


def test_changed_and_failed_are_what_the_play_says(run: Any) -> None:
    """changed_when and failed_when decide by the output, and ignore_errors lets the host go on."""
    text = """
  tasks:
    - {name: a, shell: "echo same", register: r, changed_when: "'other' in r.stdout"}
    - {name: b, shell: "exit 3", register: r, failed_when: r.rc != 3}
    - {name: c, shell: "exit 4", ignore_errors: true, register: c}
    - {name: d, shell: "echo bad", register: r, failed_when: "'bad' in r.stdout", ignore_errors: true}
    - {name: e, copy: {dest: TOP/e, content: "{{ c.rc }}"}}
    - {name: f, shell: "exit 5"}
    - {name: g, copy: {dest: TOP/g, content: "never"}}
"""
    told = run(text)
    assert told.statuses == ["ok", "changed", "failed", "failed", "changed", "failed"]
    assert [one.ignored for one in told.results] == [False, False, True, True, False, False]
    assert (run.top / "e").read_text() == "4"
    assert not (run.top / "g").exists()
    assert told.finished.not_done == ("g",)


def test_what_is_registered_is_seen_wherever_it_is_used(run: Any, tmp_path: Path) -> None:
    """Expressions, template files and variables made of a registered value wait for it, and then have it."""
    (tmp_path / "said.j2").write_text("{{ asked.stdout }}\n")
    text = """
  vars: {made: "<{{ asked.stdout }}>"}
  tasks:
    - {name: ask, command: echo answer, register: asked}
    - {name: show, debug: {var: asked.stdout}}
    - {name: claim, assert: {that: ["asked.stdout == 'answer'"]}}
    - {name: file, template: {src: said.j2, dest: TOP/said}}
    - {name: made, copy: {dest: TOP/made, content: "{{ made }}"}}
"""
    told = run(text)
    assert told.statuses == ["changed", "ok", "ok", "changed", "changed"], told.results
    assert (run.top / "said").read_text() == "answer\n"
    assert (run.top / "made").read_text() == "<answer>"


def test_a_loop_registers_all_its_items(run: Any) -> None:
    """The results of a loop's items are registered in order, and each item is told of."""
    text = """
  tasks:
    - copy: {dest: "TOP/{{ item }}", content: "{{ item }}"}
      loop: [a, b, c]
      when: item != 'b'
      register: written
    - copy: {dest: TOP/sum, content: "{{ written.results | map(attribute='changed') | list }} {{ written.changed }}"}
"""
    told = run(text)
    assert [(one.item, one.status) for one in told.results[:3]] == [
        ("a", "changed"),
        ("b", "skipped"),
        ("c", "changed"),
    ]
    assert (run.top / "sum").read_text() == "[True, False, True] True"


HANDLED = """
  tasks:
    - copy: {dest: TOP/conf, content: "conf\\n"}
      notify: [reload, by topic]
    - command: test ! -e TOP/broken
      changed_when: false
  handlers:
    - {name: reload, shell: "echo reload >>TOP/log"}
    - {name: unused, shell: "echo unused >>TOP/log"}
    - {name: other, listen: by topic, shell: "echo other >>TOP/log"}
"""


def test_handlers_run_once_and_in_order(run: Any) -> None:
    """Handlers that were notified run once, in the order in which they are written; the others do not."""
    told = run(HANDLED)
    assert told.statuses == ["changed", "ok", "changed", "changed"]
    assert (run.top / "log").read_text() == "reload\nother\n"
    assert run(HANDLED).statuses == ["ok", "ok"]


def test_a_handler_that_is_owed_runs_in_the_next_run(run: Any) -> None:
    """A failure between a change and its handler loses nothing: the next successful run pays."""
    (run.top / "broken").write_text("")
    told = run(HANDLED)
    assert told.statuses == ["changed", "failed"]
    assert told.finished.owed == ("reload", "other")
    (run.top / "broken").unlink()
    dry = run(HANDLED, check=True)
    assert [one.task for one in dry.results if one.handler] == ["reload", "other"]
    told = run(HANDLED)
    assert [one.status for one in told.results if not one.handler] == ["ok", "ok"]
    assert (run.top / "log").read_text() == "reload\nother\n"
    assert run(HANDLED).statuses == ["ok", "ok"]


def test_force_handlers_pays_at_once(run: Any) -> None:
    """With force_handlers, what was notified before a failure is run in the same run."""
    (run.top / "broken").write_text("")
    told = run(HANDLED, force_handlers=True)
    assert told.statuses == ["changed", "failed", "changed", "changed"]
    assert (run.top / "log").read_text() == "reload\nother\n"
    assert told.finished.owed == ()


def test_handlers_can_be_flushed_in_between(run: Any) -> None:
    """meta: flush_handlers runs what is due there, and not again at the end."""
    text = """
  tasks:
    - {copy: {dest: TOP/a, content: "a"}, notify: hup}
    - meta: flush_handlers
    - shell: cat TOP/log
      register: log
      changed_when: false
    - copy: {dest: TOP/b, content: "{{ log.stdout }}"}
  handlers:
    - {name: hup, shell: "echo hup >>TOP/log"}
"""
    run(text)
    assert (run.top / "b").read_text() == "hup"
    assert (run.top / "log").read_text() == "hup\n"


def test_somebody_else_between_look_and_apply_is_noticed(run: Any, sshd: Sshd, tmp_path: Path) -> None:
    """Who slips in between the plan and the apply is not written over: the plan is made again on what is there."""
    (run.top / "conf").write_text("old\n")

    def slip_in(_outcomes: Any) -> bool:
        if not slipped:
            slipped.append(1)
            (run.top / "conf").write_text("old\ntheirs\n")
        return True

    slipped: list[int] = []
    told = run("  tasks:\n    - lineinfile: {path: TOP/conf, line: ours}\n", ask=slip_in)
    assert told.statuses == ["changed"]
    assert told.results[0].shows[0].before == b"old\ntheirs\n"
    assert (run.top / "conf").read_text() == "old\ntheirs\nours\n"


def test_ground_that_never_rests_is_an_error(run: Any) -> None:
    """Where a device changes under the run again and again, the host is given up, with a reason."""
    (run.top / "conf").write_text("")

    def disturb(_outcomes: Any) -> bool:
        (run.top / "conf").write_text((run.top / "conf").read_text() + "theirs\n")
        return True

    told = run("  tasks:\n    - lineinfile: {path: TOP/conf, line: ours}\n", ask=disturb)
    assert "in a row" in told.lost[0].message
    assert "ours" not in (run.top / "conf").read_text()


def test_a_no_is_a_no(run: Any) -> None:
    """A plan that is not confirmed is not applied."""
    told = run("  tasks:\n    - copy: {dest: TOP/conf, content: x}\n", ask=lambda _planned: False)
    assert told.results == []
    assert not list(run.top.iterdir())


@needs_root
def test_a_task_runs_as_the_user_that_it_names(run: Any) -> None:
    """become_user runs a task's effects as that user, with content and quotes intact."""
    run.top.chmod(0o777)
    for folder in [run.top, *run.top.parents][:-1]:
        folder.chmod(folder.stat().st_mode | 0o011)
    text = """
  tasks:
    - {name: who, command: id -un, become_user: nobody, register: who}
    - {name: mine, copy: {dest: TOP/mine, content: "it's $HOME\\n"}, become_user: nobody}
    - {name: told, copy: {dest: TOP/who, content: "{{ who.stdout }}"}}
"""
    told = run(text)
    assert told.statuses == ["changed", "changed", "changed"], told.results
    assert (run.top / "mine").read_text() == "it's $HOME\n"
    assert (run.top / "mine").owner() == "nobody"
    assert (run.top / "who").read_text() == "nobody"


def test_nothing_of_a_no_log_task_is_told(run: Any) -> None:
    """no_log keeps values, output and diffs out of every record."""
    text = """
  vars: {word: hunter2}
  tasks:
    - {name: a, shell: "echo {{ word }}; exit 1", no_log: true, ignore_errors: true}
    - {name: b, copy: {dest: TOP/secret, content: "{{ word }}"}, no_log: true}
    - {name: c, copy: {dest: "TOP/{{ item }}", content: x}, loop: [hunter2], no_log: true}
"""
    told = run(text)
    assert told.statuses == ["failed", "changed", "changed"]
    for result in told.results:
        hidden = [show for show in result.shows if not getattr(show, "secret", False)]
        assert "hunter2" not in repr((result.message, result.stdout, result.stderr, result.value, result.item, hidden))


def test_a_link_that_breaks_does_not_break_the_run(run: Any, sshd: Sshd) -> None:
    """The connection dies in the middle of a batch: it goes on on the device, once, and its results are fetched."""
    text = """
  tasks:
    - {name: slow, shell: "touch TOP/begun; sleep 2; echo done >>TOP/log; echo out", register: slow}
    - {name: after, copy: {dest: TOP/after, content: "{{ slow.stdout }}"}}
"""

    def cut() -> None:
        wait_for(run.top / "begun")
        sshd.cut()

    told = meanwhile(cut, lambda: run(text))
    assert told.statuses == ["changed", "changed"], told.lost
    assert (run.top / "log").read_text() == "done\n"
    assert (run.top / "after").read_text() == "out"


def test_a_link_that_breaks_again_while_the_batch_is_waited_for(run: Any, sshd: Sshd) -> None:
    """Cut a second time while the controller waits for the batch to end, the run still ends as if nothing had been."""
    text = """
  tasks:
    - {name: slow, shell: "touch TOP/begun; while [ ! -e TOP/cut ]; do sleep 0.1; done; echo done >>TOP/log"}
    - {name: after, copy: {dest: TOP/after, content: x}}
"""

    def cut() -> None:
        wait_for(run.top / "begun")
        before = sshd.cut()
        while not any(sshd.shells(pid) for pid in set(sshd.connections()) - before):
            time.sleep(0.02)
        sshd.cut()
        (run.top / "cut").touch()

    told = meanwhile(cut, lambda: run(text))
    assert told.statuses == ["changed", "changed"], told.lost
    assert (run.top / "log").read_text() == "done\n"


def test_a_failure_behind_a_cut_link_ends_the_host(run: Any, sshd: Sshd) -> None:
    """A task that fails while nobody listens ends the host as ever: no task after it runs."""
    text = """
  tasks:
    - {name: slow, shell: "touch TOP/begun; while [ ! -e TOP/cut ]; do sleep 0.1; done; exit 1"}
    - {name: after, copy: {dest: TOP/after, content: x}}
"""

    def cut() -> None:
        wait_for(run.top / "begun")
        sshd.cut()
        (run.top / "cut").touch()

    told = meanwhile(cut, lambda: run(text))
    assert told.statuses == ["failed"], told.lost
    assert not (run.top / "after").exists()


def test_a_large_file_travels_beside_the_script(run: Any, tmp_path: Path) -> None:
    """Content over 256 KiB arrives whole, is predicted exactly, and nothing of its way is left on the device."""
    content = os.urandom(3_000_000)
    (tmp_path / "big.bin").write_bytes(content)
    text = f"\n  tasks:\n    - copy: {{src: {tmp_path / 'big.bin'}, dest: TOP/big.bin}}\n"
    before = set(Path("/tmp").glob(".provision-*"))
    assert run(text).statuses == ["changed"]
    assert (run.top / "big.bin").read_bytes() == content
    assert run(text).statuses == ["ok"]
    assert set(Path("/tmp").glob(".provision-*")) == before


def test_a_run_that_is_stopped_ends_between_tasks(run: Any, sshd: Sshd, tmp_path: Path) -> None:
    """Stopped in the middle of a batch, the device finishes the task that it is in, and says what is not done."""
    from provisioner import runner

    started: list[Any] = []
    original = runner.Runner.run

    def remember(self: Any, *arguments: Any) -> None:
        started.append(self)
        original(self, *arguments)

    text = """
  tasks:
    - {name: slow, shell: "touch TOP/begun; sleep 2; echo done >>TOP/log"}
    - {name: after, copy: {dest: TOP/after, content: x}}
"""
    runner.Runner.run = remember  # type: ignore[method-assign]
    try:

        def stop() -> None:
            wait_for(run.top / "begun")
            started[0].stop()

        stopper = threading.Thread(target=stop)
        stopper.start()
        told = run(text)
        stopper.join()
    finally:
        runner.Runner.run = original  # type: ignore[method-assign]
    assert told.statuses == ["changed"]
    assert told.finished.not_done == ("after",)
    assert not (run.top / "after").exists()
    time.sleep(0.2)
    assert run(text).statuses == ["changed", "changed"]


def test_round_trips_do_not_grow_with_tasks(run: Any) -> None:
    """With nothing to change, one look is all there is, for one task or for a hundred."""
    tasks = "".join(f"    - copy: {{dest: TOP/{n}, content: '{n}'}}\n" for n in range(100))
    first = run("  tasks:\n" + tasks)
    again = run("  tasks:\n" + tasks)
    assert (first.trips, again.trips) == (2, 1)
    assert set(again.statuses) == {"ok"}
