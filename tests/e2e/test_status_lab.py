"""`provision status` on the lab, as a user runs it: one look, drift, and a fleet that is watched."""

from __future__ import annotations

import json
import os
import select
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from user import User, needs_namespaces

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator

pytestmark = needs_namespaces

HOSTS = "all: {hosts: {orin: {simulate: orin-nano-36.4.3}, nano: {simulate: nano-32.7.4}}}\n"
PLAY = """
- name: ours
  hosts: all
  become: true
  tasks:
    - name: a file of ours
      copy: {dest: /etc/ours, content: "{{ word | default('ours') }}\\n"}
    - name: always
      command: touch /tmp/ran
"""


@pytest.fixture(scope="module")
def fleet(lab: User) -> Iterator[User]:
    """Yield a user with two simulated devices that were never applied to."""
    lab.write("inventory/two.yaml", HOSTS)
    lab.write("ours.yaml", PLAY)
    yield lab
    lab.run("lab", "reset", "inventory/two.yaml")


def drift(user: User, *more: str) -> dict[str, Any]:
    ended = user.run("status", "inventory/two.yaml", "--json", *more)
    assert ended.code == 0, ended.all
    return {host: told["drift"]["state"] for host, told in json.loads(ended.out).items()}


def on_device(user: User, command: str) -> None:
    """Do something to all devices by hand."""
    user.write("hand.yaml", f"- hosts: all\n  become: true\n  tasks: [{{shell: '{command}'}}]\n")
    record = user.folder / "inventory" / ".provision" / "applied.json"
    kept = record.read_text()
    assert user.run("apply", "inventory/two.yaml", "hand.yaml").code == 0
    record.write_text(kept)


def test_a_fleet_is_told_and_what_drifted(fleet: User) -> None:
    """Readings are there before anything was applied; drift follows what people do by hand, and an apply mends it."""
    ended = fleet.run("status", "inventory/two.yaml")
    assert ended.code == 0, ended.all
    head, *rows = ended.out.splitlines()
    assert head.split()[:3] == ["HOST", "MODULE", "TEMPERATURE"]
    assert [row.split()[0] for row in rows] == ["orin", "nano"]
    assert "48.6 °C cpu" in rows[0]
    assert all("never applied" in row for row in rows)

    assert fleet.run("apply", "inventory/two.yaml", "ours.yaml").code == 0
    assert drift(fleet) == {"orin": "in order", "nano": "in order"}
    on_device(fleet, "echo by hand >/etc/ours; rm -f /tmp/ran")
    assert drift(fleet) == {"orin": "would change", "nano": "would change"}
    assert drift(fleet, "--limit", "orin") == {"orin": "would change"}
    assert "1 would change" in fleet.run("status", "inventory/two.yaml").out
    assert "DRIFT" not in fleet.run("status", "inventory/two.yaml", "--no-drift").out
    assert fleet.run("apply", "inventory/two.yaml", "ours.yaml").code == 0
    assert drift(fleet) == {"orin": "in order", "nano": "in order"}


def test_a_dry_run_is_not_remembered_and_a_value_has_to_be_given_again(fleet: User) -> None:
    """Only an apply is what a device is held to; what was given with -e is asked for, and then counts."""
    assert fleet.run("apply", "inventory/two.yaml", "ours.yaml").code == 0
    assert fleet.run("apply", "inventory/two.yaml", "ours.yaml", "-e", "word=other", "--check").code == 0
    assert drift(fleet) == {"orin": "in order", "nano": "in order"}
    assert fleet.run("apply", "inventory/two.yaml", "ours.yaml", "-e", "word=other").code == 0
    assert "unknown: give -e word again" in fleet.run("status", "inventory/two.yaml").out
    assert drift(fleet, "-e", "word=other") == {"orin": "in order", "nano": "in order"}
    assert drift(fleet, "-e", "word=third") == {"orin": "would change", "nano": "would change"}


class Watching:
    """A `provision status --watch` that is read as it comes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.text = ""

    def until(self, true: Callable[[str], object]) -> str:
        """Return what was printed once something is true of it."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + 90
        while not true(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self.process.stdout], [], [], 0.5)[0]:
                self.text += os.read(self.process.stdout.fileno(), 65536).decode()
        return self.text

    def interrupted(self) -> int:
        """Press Ctrl-C and return the exit code."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        self.text += out
        assert "Traceback" not in self.text + err, err
        return self.process.returncode


def test_a_watched_fleet_shows_a_stopped_device_as_lost_and_finds_it_again(fleet: User) -> None:
    """A device that stops is lost, with since when; one that comes back is well; Ctrl-C ends with exit code 0."""
    watching = Watching(fleet.start("status", "inventory/two.yaml", "--watch", "--interval", "1", "--no-drift"))
    watching.until(lambda text: text.count("48.6 °C cpu") >= 2)
    assert fleet.run("lab", "down", "inventory/two.yaml").code == 0
    lost = watching.until(lambda text: "2 hosts, 2 lost" in text and "orin  lost" in text and "ago: " in text)
    assert fleet.run("lab", "up", "inventory/two.yaml").code == 0
    watching.until(lambda text: "48.6 °C cpu" in text[len(lost) :])
    assert watching.interrupted() == 0


def test_a_watched_fleet_as_json_is_a_line_each_time(fleet: User) -> None:
    """Each line is one document with the time and every host, drift once it is known."""
    arguments = ("--watch", "--interval", "1", "--json", "-e", "word=other")
    watching = Watching(fleet.start("status", "inventory/two.yaml", *arguments))
    watching.until(lambda text: text.count("\n") >= 3 and '"state"' in text)
    assert watching.interrupted() == 0
    documents = [json.loads(line) for line in watching.text.splitlines()]
    assert all(set(one["hosts"]) == {"orin", "nano"} for one in documents)
    assert documents[-1]["hosts"]["orin"]["memory_total_mb"] > 0
    assert [one["at"] for one in documents] == sorted(one["at"] for one in documents)


def test_a_host_that_does_not_answer_is_told_and_the_others_are_shown(user: User) -> None:
    """One look at a host that is not there ends with exit code 4, and says where it was looked for."""
    user.write("hosts.yaml", "all: {hosts: {gone: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    ended = user.run("status", "hosts.yaml")
    assert ended.code == 4, ended.all
    assert "gone" in ended.out
    assert "lost: 127.0.0.1 port 1 refused the connection" in ended.out
    assert json.loads(user.run("status", "hosts.yaml", "--json").out)["gone"]["reached"] is False
