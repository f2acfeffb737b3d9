"""When the facts of a host are looked at."""

from __future__ import annotations

import inspect
import sys
from typing import TYPE_CHECKING

import pytest
from written import write

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.inventory import load_inventory
from provisioner.jetson.observed import Facts, FactsState, derive, fact_names
from provisioner.model import task_types
from provisioner.playbook import load_playbook
from provisioner.runner import Runner, Settings
from provisioner.wire import Ended, Probed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.wire import Batch, Reply


class Wire:
    """A device on which there is nothing; it keeps what it was asked for."""

    def __init__(self) -> None:
        self.looks: list[str] = []

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Answer every look."""
        self.looks += [one.kind for one in batch.looks]
        for one in batch.looks:
            raw = {"hostname": "box", "kernel_arch": "aarch64", "login_user": "nvidia"}
            yield Probed(one, FactsState(raw=raw) if isinstance(one, Facts) else type(one).state())
        yield Ended("done")

    def stop(self, *, now: bool = False) -> None:
        """Nothing runs."""

    def close(self) -> None:
        """Nothing is open."""


def looks(folder: Path, play: str, hosts: str = "all: {hosts: {box: {ansible_user: nvidia}}}") -> list[str]:
    """Return what a dry run of a play on one host looks at."""
    write(
        folder,
        hosts_yaml=hosts + "\n",
        play_yaml="- hosts: all\n" + play,
        site_j2="{{ ansible_hostname }}",
        v_yml="a: '{{ ansible_kernel }}'\n",
    )
    inventory = load_inventory(str(folder / "hosts.yaml"))
    wire = Wire()
    settings = Settings(check=True, facts=Facts(), derive=derive, fact_names=fact_names())
    runner = Runner(inventory, task_types(), lambda *_: wire, lambda _: None, settings)  # type: ignore[arg-type]
    runner.run([load_playbook(folder / "play.yaml", task_types())], inventory.select("all"))
    return wire.looks


PLAIN = "  tasks: [{copy: {dest: /a, content: x}}]\n"
OFF = "  gather_facts: false\n"


def test_facts_are_gathered_unless_a_play_says_no(tmp_path: Path) -> None:
    """They are looked at in each run; where a play says no, only if nothing is known of the host yet."""
    assert "facts" in looks(tmp_path, OFF + PLAIN)
    assert "facts" not in looks(tmp_path, OFF + PLAIN)
    assert "facts" in looks(tmp_path, PLAIN)


ASKING = {
    "an argument": ("  tasks: [{copy: {dest: /a, content: '{{ ansible_hostname }}'}}]\n", "{}"),
    "a condition": ("  tasks: [{copy: {dest: /a, content: x}, when: jetson.is_jetson}]\n", "{}"),
    "a verdict": ("  tasks: [{command: 'true', changed_when: ansible_facts.machine == 'x'}]\n", "{}"),
    "a loop": ("  tasks: [{debug: {msg: '{{ item }}'}, loop: '{{ ansible_facts }}'}]\n", "{}"),
    "a variable of the play": ("  vars: {a: '{{ ansible_kernel }}'}\n" + PLAIN, "{}"),
    "a variable of the inventory": (PLAIN, "{a: ['{{ ansible_kernel }}']}"),
    "a file of variables": ("  vars_files: [v.yml]\n" + PLAIN, "{}"),
    "by a name that is made up": ("  tasks: [{debug: {msg: \"{{ vars['ansible_' ~ 'kernel'] }}\"}}]\n", "{}"),
    "by a lookup": ("  tasks: [{debug: {msg: \"{{ lookup('vars', 'ansible_kernel') }}\"}}]\n", "{}"),
    "by a lookup in the inventory": (PLAIN, "{a: \"{{ lookup('vars', 'ansible_kernel') }}\"}"),
    "who one becomes": ("  become: true\n  become_user: '{{ ansible_user_id }}'\n" + PLAIN, "{}"),
    "a flag": ("  tasks: [{command: 'true', ignore_errors: '{{ jetson.is_jetson }}'}]\n", "{}"),
    "a template": ("  tasks: [{template: {dest: /a, src: site.j2}}]\n", "{}"),
    "a template of any name": ("  tasks: [{template: {dest: /a, src: '{{ a }}'}}]\n", "{a: site.j2}"),
    "a task": ("  tasks: [docker_runtime: {name: nvidia}]\n", "{}"),
}


@pytest.mark.parametrize(("play", "values"), ASKING.values(), ids=ASKING)
def test_facts_that_are_asked_for_are_gathered(tmp_path: Path, play: str, values: str) -> None:
    """Whatever a play says, one that uses a fact gets what is true now."""
    hosts = f"all: {{vars: {{ansible_user: nvidia}}, hosts: {{box: {values}}}}}"
    looks(tmp_path, PLAIN, hosts)
    assert "facts" in looks(tmp_path, OFF + play, hosts)


@pytest.mark.parametrize("user", ["root", ""])
def test_facts_of_another_login_are_not_taken_over(tmp_path: Path, user: str) -> None:
    """Whoever logged in last time, files are written by whoever logs in now."""
    looks(tmp_path, PLAIN)
    values = f"{{ansible_user: {user}}}" if user else ""
    assert "facts" in looks(tmp_path, OFF + PLAIN, f"all: {{hosts: {{box: {values}}}}}")


def test_task_types_say_that_they_need_facts() -> None:
    """A module that reads the facts of the host names them among its services."""
    for name, cls in task_types().items():
        reading = any(word in inspect.getsource(sys.modules[cls.__module__]) for word in ("facts_of(", "ctx.facts"))
        assert not reading or "facts" in cls.services, name
