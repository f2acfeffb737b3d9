"""The laws of `provision status` on a real sshd: one shell for all looks, and a dry run that does nothing."""

from __future__ import annotations

import argparse
import os
import socket
import threading
import time
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from proxy import Proxy

import provisioner.tasks  # noqa: F401 - registers the task types
from provisioner.commands.applied import path_of, recall, remember
from provisioner.commands.drift import Drifts
from provisioner.commands.eye import Eye
from provisioner.commands.fleet import Fleet
from provisioner.connection import Credentials
from provisioner.errors import InputError, Unreachable
from provisioner.events import HostFinished, HostLost, RunStarted
from provisioner.inventory import load_inventory
from provisioner.model import task_types
from provisioner.playbook import load_playbook
from provisioner.report import Recap
from provisioner.report.watching import Watched
from provisioner.transport import SshSession
from provisioner.transport.link import SshTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sshd import Sshd

    from provisioner.inventory import Host, Inventory

ROOT = "true" if os.geteuid() == 0 else "false"


class Noting(Watched):
    """Keeps how often hosts told something, and why they were lost."""

    def __init__(self, *names: str) -> None:
        super().__init__(names)
        self.tellings: list[str] = []
        self.losses: list[str] = []

    def told(self, name: str, told: Mapping[str, Any]) -> None:
        """Count, and take note."""
        super().told(name, told)
        self.tellings.append(name)

    def loses(self, name: str, why: str, *, hint: str | None = None, again: float | None = None) -> None:
        """Count, and take note."""
        super().loses(name, why, hint=hint, again=again)
        self.losses.append(why)


def wait_until(true: Callable[[], object]) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.02)


def inventory_of(folder: Path) -> Inventory:
    (folder / "inventory").mkdir(exist_ok=True)
    (folder / "inventory" / "hosts.yaml").write_text("all: {hosts: {device: , other: }}\n")
    return load_inventory(str(folder / "inventory" / "hosts.yaml"))


def connecting(sshd: Sshd, port: int | None = None) -> Callable[[Host, bool], SshTransport]:
    def connect(_host: Host, _become: bool) -> SshTransport:
        target = sshd.target(**({"port": port} if port else {}), connect_timeout=5)
        return SshTransport(SshSession(target), hasty=60)

    return connect


def sessions(sshd: Sshd) -> int:
    """Return how many shells a server has started."""
    return sshd.log().count("Starting session")


@pytest.fixture
def telling(start_sshd: Callable[..., Sshd]) -> Sshd:
    """Yield a server that logs each session."""
    return start_sshd({"LogLevel": "VERBOSE"})


def test_each_look_costs_one_round_trip_over_one_shell(telling: Sshd, tmp_path: Path) -> None:
    """The first look opens a shell; each one after it is one round trip more, and no other shell."""
    host = inventory_of(tmp_path).hosts["device"]
    watched = Noting("device")
    with Proxy(telling.port, 0.01) as proxy:
        eye = Eye(host, connecting(telling, proxy.port), watched)
        eye._look()
        trips = [proxy.trips]
        for _ in range(3):
            eye._look()
            trips.append(proxy.trips)
        eye.cut()
    assert [after - before for before, after in pairwise(trips)] == [1, 1, 1]
    assert sessions(telling) == 1
    (seen,) = watched.fleet()
    assert seen.told["memory_total_mb"] > 0
    assert seen.told["disk_free_bytes"] > 0


# Drift.


def applied(folder: Path, text: str, *extra: str, ended: str = "device") -> Inventory:
    """Write a play down as applied to the host `device`, or to `other`; the one left is lost."""
    inventory = inventory_of(folder)
    path = folder / "play.yaml"
    path.write_text(text.replace("TOP", str(folder / "device")).replace("BECOME", ROOT))
    (folder / "device").mkdir(exist_ok=True)
    recap = Recap()
    recap(RunStarted(hosts=("device", "other")))
    recap(HostFinished(host=ended))
    recap(HostLost(host="other" if ended == "device" else "device", message="no route"))
    assert remember(inventory, [load_playbook(path, task_types())], options_of(*extra), recap) is None
    return inventory


def options_of(*extra: str) -> argparse.Namespace:
    """Return what the command line says of an apply."""
    return argparse.Namespace(
        extra_vars=list(extra), tags=[], skip_tags=[], become=False, become_user=None, allow_restart=False
    )


def drifts_of(inventory: Inventory, **given: Any) -> Drifts:
    hosts = tuple(inventory.select("all"))
    return Drifts(Fleet(inventory, hosts, Credentials(), modules=task_types()), given)


COPY = "- hosts: all\n  become: BECOME\n  tasks:\n    - copy: {dest: TOP/a, content: 'ours'}\n"


def test_drift_is_planned_over_the_same_shell(telling: Sshd, tmp_path: Path) -> None:
    """What the last playbook would change is told without another shell, and nothing of it is done."""
    inventory = applied(tmp_path, COPY)
    watched = Noting("device")
    host, drifts = inventory.hosts["device"], drifts_of(inventory)
    eye = Eye(host, connecting(telling), watched, planner=drifts.of(host))
    eye._look()
    words = []
    for content in (None, "ours", "by hand"):
        if content:
            (tmp_path / "device" / "a").write_text(content)
        eye._plan()
        (seen,) = watched.fleet()
        assert seen.drift is not None
        words.append(seen.drift.words)
        if content is None:
            assert not list((tmp_path / "device").iterdir())
    eye._look()
    eye.cut()
    assert words == ["1 would change", "in order", "1 would change"]
    assert sessions(telling) == 1


def test_a_task_that_runs_in_a_dry_run_too_does_not_run(sshd: Sshd, tmp_path: Path) -> None:
    """check_mode: false is for people who ask for a dry run; to look for drift runs nothing at all."""
    text = """
- hosts: all
  become: BECOME
  tasks:
    - {name: reads, command: touch TOP/ran, check_mode: false, register: told}
    - {name: rests, copy: {dest: TOP/a, content: "{{ told.stdout }}"}}
    - {name: free, copy: {dest: TOP/b, content: b}}
"""
    inventory = applied(tmp_path, text)
    host = inventory.hosts["device"]
    transport = connecting(sshd)(host, False)
    found = drifts_of(inventory).of(host).look(transport)
    transport.close()
    assert (found.state, found.tasks, found.unknown) == ("changes", ("free",), 1)
    assert not list((tmp_path / "device").iterdir())


def test_hosts_of_the_same_run_are_in_the_play(sshd: Sshd, tmp_path: Path) -> None:
    """A template that lists the hosts of the play sees those of the apply, although each host is planned alone."""
    text = COPY.replace("'ours'", "\"{{ ansible_play_hosts | join(' ') }}\"")
    inventory = applied(tmp_path, text)
    (tmp_path / "device" / "a").write_text("device other")
    host = inventory.hosts["device"]
    transport = connecting(sshd)(host, False)
    assert drifts_of(inventory).of(host).look(transport).words == "in order"
    transport.close()


def test_a_playbook_that_cannot_be_read_any_more_is_unknown(sshd: Sshd, tmp_path: Path) -> None:
    """A mistake that came into the playbook since is told in place of drift; readings go on."""
    inventory = applied(tmp_path, COPY)
    (tmp_path / "play.yaml").write_text("- hosts: all\n  tasks:\n    - copyy: {}\n")
    host, watched = inventory.hosts["device"], Noting("device")
    Eye(host, connecting(sshd), watched, planner=drifts_of(inventory).of(host)).once()
    (seen,) = watched.fleet()
    assert seen.lost is None
    assert seen.drift is not None
    assert "play.yaml:3:7" in seen.drift.words


# What was applied.


def test_values_of_the_command_line_are_not_kept(tmp_path: Path) -> None:
    """Of -e only names and files are written down, for hosts that took part; drift waits until they are given again."""
    (tmp_path / "vars.yaml").write_text("colour: blue\n")
    inventory = applied(tmp_path, COPY, "token=s3cret size=2", f"@{tmp_path}/vars.yaml")
    text = path_of(inventory).read_text()
    assert "s3cret" not in text
    found = recall(inventory, "device")
    assert found is not None
    assert (found.given, found.vars_files) == (("size", "token"), (str(tmp_path / "vars.yaml"),))
    assert found.variables({"token": 1, "another": 2}) == {"colour": "blue", "token": 1}
    assert recall(inventory, "other") is None
    host = inventory.hosts["device"]
    drift = drifts_of(inventory, size=2).of(host).look(SshTransport(None))  # type: ignore[arg-type]
    assert drift.words == "unknown: give -e token again"


def test_what_was_never_applied_is_told_without_a_look(tmp_path: Path) -> None:
    """Without an apply there is nothing to hold a host to, and nothing is sent."""
    inventory = inventory_of(tmp_path)
    planner = drifts_of(inventory).of(inventory.hosts["device"])
    assert planner.look(SshTransport(None)).words == "never applied"  # type: ignore[arg-type]
    assert not planner.needs_root()


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"when": 1, "playbooks": []}]', '[{"when": "now"}]', "x\0"])
def test_a_broken_record_is_told_with_its_place(tmp_path: Path, text: str) -> None:
    """Whatever stands in the file, it is an error that names it, and drift is unknown; the next apply mends it."""
    inventory = inventory_of(tmp_path)
    path = path_of(inventory)
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=r"applied\.json"):
        recall(inventory, "device")
    planner = drifts_of(inventory).of(inventory.hosts["device"])
    assert planner.look(SshTransport(None)).state == "unknown"  # type: ignore[arg-type]
    applied(tmp_path, COPY)
    assert recall(inventory, "device") is not None


def test_each_host_is_held_to_its_own_last_apply(tmp_path: Path) -> None:
    """An apply to some hosts leaves what the others had last; a run that is nobody's last any more is gone."""
    applied(tmp_path, COPY, "first=1")
    applied(tmp_path, COPY, "second=2", ended="other")
    inventory = applied(tmp_path, COPY, "third=3")
    given = {name: found.given for name in ("device", "other") if (found := recall(inventory, name))}
    assert given == {"device": ("third",), "other": ("second",)}
    assert "first" not in path_of(inventory).read_text()


def test_applies_that_end_at_once_are_all_remembered(tmp_path: Path) -> None:
    """What one writes down, no other takes away."""
    text = "all: {hosts: {" + ", ".join(f"h{number}: " for number in range(8)) + "}}\n"
    (tmp_path / "hosts.yaml").write_text(text)
    inventory = load_inventory(str(tmp_path / "hosts.yaml"))
    path = tmp_path / "play.yaml"
    path.write_text("- hosts: all\n")
    book, start, told = load_playbook(path, task_types()), threading.Barrier(8), []

    def apply(host: str) -> None:
        recap = Recap()
        recap(RunStarted(hosts=(host,)))
        recap(HostFinished(host=host))
        start.wait(10)
        told.append(remember(inventory, [book], options_of(), recap))

    threads = [threading.Thread(target=apply, args=(host,)) for host in inventory.hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told == [None] * 8
    assert all(recall(inventory, host) for host in inventory.hosts)


# Lost hosts.


def test_a_host_that_is_lost_is_found_again(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    """A connection that broke is told, the next try brings readings again, and a stop ends the thread."""
    server = start_sshd()
    watched = Noting("device")
    eye = Eye(inventory_of(tmp_path).hosts["device"], connecting(server), watched)
    thread = threading.Thread(target=partial(eye.watch, 0.1, 300))
    thread.start()
    wait_until(lambda: len(watched.tellings) > 1)
    server.drop()
    wait_until(lambda: watched.losses)
    before = len(watched.tellings)
    wait_until(lambda: len(watched.tellings) > before + 1)
    assert watched.fleet()[0].lost is None
    eye.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_a_host_that_hangs_holds_no_other(sshd: Sshd, tmp_path: Path) -> None:
    """While one host says nothing at all, another one is told as often as ever."""
    hosts = inventory_of(tmp_path).hosts
    watched = Noting("device", "other")
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = int(mute.getsockname()[1])
        eyes = [
            Eye(hosts["device"], connecting(sshd), watched),
            Eye(hosts["other"], connecting(sshd, port), watched),
        ]
        threads = [threading.Thread(target=partial(eye.watch, 0.05, 300)) for eye in eyes]
        for thread in threads:
            thread.start()
        wait_until(lambda: watched.tellings.count("device") >= 5)
        assert "other" not in watched.tellings
        for eye in eyes:
            eye.stop()
        for thread in threads:
            thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def test_a_hasty_look_is_given_up_at_once(sshd: Sshd, tmp_path: Path) -> None:
    """Who looks again anyway is told of a lost link, and is not made to wait for another one."""
    host, watched = inventory_of(tmp_path).hosts["device"], Noting("device")
    eye = Eye(host, connecting(sshd), watched)
    eye._look()
    sshd.drop()
    began = time.monotonic()
    with pytest.raises(Unreachable, match="the connection broke"):
        eye._look()
    assert time.monotonic() - began < 2
    eye.cut()
