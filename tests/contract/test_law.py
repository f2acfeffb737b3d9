"""The law of the dry run: what it says without reservation, and every byte of its diffs, is what the apply does.

Plays in which later tasks depend on earlier ones, from an empty, a half-done and a drifted start, on a real sshd.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from fleet import Told, play

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sshd import Sshd

PEOPLE = f"plaw{os.getpid()}"
"""What the names of users and groups begin with: another run of these tests may be under way on the machine."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="users, owners and packages need root")

CHAIN = """
- name: chain
  hosts: all
  become: true
  gather_facts: false
  tasks:
    - name: a folder
      file: {path: TOP/app, state: directory, mode: "0750"}
    - name: a file in it
      copy: {dest: TOP/app/app.conf, content: "one\\ntwo\\n", mode: "0640"}
    - name: edited
      lineinfile: {path: TOP/app/app.conf, regexp: "^one", line: "one = 1"}
    - name: edited again
      blockinfile: {path: TOP/app/app.conf, block: "three = 3\\nfour = 4"}
    - name: a link to the folder
      file: {path: TOP/current, src: app, state: link}
    - name: written through the link
      copy: {dest: TOP/current/through.conf, content: "through\\n"}
    - name: looked at
      stat: {path: TOP/current/through.conf}
      register: through
    - name: acted upon
      copy: {dest: TOP/there, content: "{{ through.stat.exists }}\\n"}
      when: through.stat.exists
    - name: not acted upon
      copy: {dest: TOP/not-there, content: "no\\n"}
      when: not through.stat.exists
    - name: a group
      group: {name: plaw-group}
    - name: a user
      user: {name: plaw-user, group: plaw-group, create_home: false, home: /nonexistent, shell: /usr/sbin/nologin}
    - name: owned by the user
      file: {path: TOP/app/app.conf, owner: plaw-user, group: plaw-group}
    - name: a setgid folder
      file: {path: TOP/shared, state: directory, group: plaw-group, mode: "2775"}
    - name: below the setgid folder
      copy: {dest: TOP/shared/note, content: "inherits\\n"}
    - name: a folder below it
      file: {path: TOP/shared/sub, state: directory}
    - name: replaced
      copy: {dest: TOP/replaced, content: "first a file\\n"}
    - name: by a link
      file: {path: TOP/replaced, src: app/app.conf, state: link, force: true}
    - name: gone
      file: {path: TOP/old, state: absent}
    - name: made again
      file: {path: TOP/old, state: directory}
    - name: and filled
      copy: {dest: TOP/old/new, content: "new\\n"}
"""


def empty(top: Path) -> None:
    """Begin with nothing."""
    assert not list(top.iterdir())


def half_done(top: Path) -> None:
    """Begin as an interrupted run would have left it."""
    (top / "app").mkdir()
    (top / "app" / "app.conf").write_text("one\ntwo\n")
    (top / "shared").mkdir()


def drifted(top: Path) -> None:
    """Begin with what somebody else did: other contents, modes, kinds and owners."""
    (top / "app").mkdir(mode=0o700)
    (top / "app" / "app.conf").write_text("one = 7\nnote\n")
    (top / "elsewhere").mkdir()
    (top / "current").symlink_to("elsewhere")
    (top / "replaced").symlink_to("nowhere")
    (top / "old").mkdir()
    (top / "old" / "new").write_text("was here\n")
    (top / "shared").mkdir()
    (top / "shared" / "note").write_text("inherits\n")
    (top / "there").write_text("no final newline")


@pytest.fixture
def top(tmp_path: Path) -> Iterator[Path]:
    """Yield the folder that stands for the device's disk; users that the plays make are removed."""
    folder = tmp_path / "device"
    folder.mkdir()
    yield folder
    for command in (["userdel", f"{PEOPLE}-user"], ["groupdel", f"{PEOPLE}-group"]):
        subprocess.run(command, capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def written(top: Path) -> str:
    """Return the chain for a folder."""
    return CHAIN.replace("TOP", str(top)).replace("plaw-", f"{PEOPLE}-")


def claims(told: Told) -> list[object]:
    """Return what a run says of each task: its status, and every byte of what it shows."""
    return [(one.task, one.item, one.status, one.shows) for one in told.results]


def picture(top: Path) -> dict[str, tuple[object, ...]]:
    """Return all that a dry run must not change, times of access aside."""
    found = {}
    for path in sorted([top, *top.rglob("*")]):
        info = path.lstat()
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[str(path)] = (info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns, info.st_ino, content)
    return found


@needs_root
@pytest.mark.parametrize("start", [empty, half_done, drifted])
def test_the_apply_does_what_the_dry_run_said(
    sshd: Sshd, tmp_path: Path, top: Path, start: Callable[[Path], None]
) -> None:
    """Status by status and byte by byte, the apply does what was announced, the next run finds nothing to do."""
    start(top)
    text = written(top)
    before = picture(top)
    dry = play(sshd, tmp_path, text, check=True)
    assert picture(top) == before, "a dry run touches nothing"
    real = play(sshd, tmp_path, text)
    assert [one for one in real.results if one.status in ("failed", "unknown")] == []
    assert claims(dry) == claims(real)
    assert not any(one.assumed_after for one in dry.results), "nothing here needs a reservation"
    settled = picture(top)
    again = play(sshd, tmp_path, text)
    moving = {"a file in it", "edited", "edited again", "owned by the user", "replaced", "by a link", "gone"}
    moving |= {"made again", "and filled"}
    assert [one.task for one in again.results if one.status == "changed" and one.task not in moving] == []
    assert {path: value[5] for path, value in picture(top).items()} == {p: v[5] for p, v in settled.items()}


@needs_root
def test_a_chain_takes_one_look_and_one_apply(sshd: Sshd, tmp_path: Path, top: Path) -> None:
    """Tasks that rest on earlier ones are planned against what those will leave: two batches, no surprise."""
    text = written(top)
    told = play(sshd, tmp_path, text)
    assert "failed" not in told.statuses
    # One more look for what lies behind the link that does not exist yet.
    assert told.trips <= 3
