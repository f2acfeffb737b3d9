"""The law of the dry run where packages and services are at play, on a device of the lab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from user import User, needs_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_namespaces

PLAY = """
- hosts: all
  become: true
  tasks:
    - {name: group, group: {name: web, system: true}}
    - {name: user, user: {name: www, group: web, create_home: false, shell: /usr/sbin/nologin}}
    - {name: folder, file: {path: /srv/www, state: directory, owner: www, group: web, mode: "2775"}}
    - {name: page, copy: {dest: /srv/www/index.html, content: "hello\\n"}}
    - {name: installed, apt: {name: nginx}}
    - {name: configured, copy: {dest: /etc/nginx.conf, content: "worker 1;\\n"}, notify: restarted}
    - {name: kept, dpkg_selections: {name: nginx, selection: hold}}
    - {name: running, service: {name: nginx, state: started, enabled: true}}
    - {name: looked, stat: {path: /srv/www/index.html}, register: page}
    - {name: acted, copy: {dest: /srv/www/size, content: "{{ page.stat.exists }}"}}
  handlers:
    - {name: restarted, service: {name: nginx, state: restarted}}
"""

EMPTY = "- hosts: all\n  tasks: []\n"
HALF = """
- hosts: all
  become: true
  tasks:
    - apt: {name: nginx}
    - service: {name: nginx, state: stopped, enabled: false}
    - file: {path: /srv/www, state: directory}
"""
DRIFTED = """
- hosts: all
  become: true
  tasks:
    - group: {name: web, system: true}
    - user: {name: www, group: web, create_home: false, shell: /bin/sh}
    - apt: {name: nginx}
    - dpkg_selections: {name: nginx, selection: hold}
    - service: {name: nginx, state: stopped}
    - copy: {dest: /etc/nginx.conf, content: "worker 7;\\n", mode: "0600"}
    - file: {path: /var/www, state: directory, mode: "0700"}
    - file: {path: /srv/www, state: link, src: /var/www}
"""


AGAIN = """
- hosts: all
  become: true
  tasks:
    - {name: brought, apt: {name: tree}}
    - {name: taken, apt: {name: tree, state: absent, purge: true}}
    - {name: brought again, apt: {name: tree}}
    - {name: removed, apt: {name: tree, state: absent}}
    - {name: purged, apt: {name: tree, state: absent, purge: true}}
"""
READY = """
- hosts: all
  become: true
  tasks:
    - {name: packages, jetson_runtime_packages: {hold: true}}
    - {name: runtime, docker_runtime: {name: nvidia}}
    - {name: image, jetson_image: {}}
"""
STOP = "- hosts: all\n  become: true\n  tasks: [{command: systemctl stop docker}]\n"
NEEDED = "- hosts: all\n  become: true\n  tasks: [{name: needed, apt: {name: runc, state: absent}}]\n"


@pytest.fixture
def device(user: User) -> Iterator[User]:
    """Yield a user with one new device."""
    user.write("hosts.yaml", "all: {hosts: {orin: {simulate: orin-nano-36.4.3}}}\n")
    user.write("play.yaml", PLAY)
    yield user
    user.run("lab", "reset", "hosts.yaml")


def claims(report: dict[str, Any]) -> dict[str, Any]:
    """Return what was, or would be, done, by task."""
    return {one["task"]: (one["status"], json.dumps(one["shows"])) for one in report["results"]}


@pytest.mark.parametrize("start", [EMPTY, HALF, DRIFTED], ids=["empty", "half-done", "drifted"])
def test_packages_and_services_keep_the_law(device: User, start: str) -> None:
    """What was claimed without reservation is done to the letter; what had one names the install; then all is ok."""
    begun = device.run("apply", "hosts.yaml", device.write("start.yaml", start))
    assert begun.code == 0, begun.all
    ended, dry = device.apply("hosts.yaml", "play.yaml", "--dry-run")
    assert ended.code == 0, ended.all
    ended, real = device.apply("hosts.yaml", "play.yaml")
    assert ended.code == 0, ended.all
    done = claims(real)
    for one in dry["results"]:
        if one["status"] in ("ok", "changed") and not one["assumed_after"]:
            assert done[one["task"]] == (one["status"], json.dumps(one["shows"]))
        else:
            assert one["status"] != "failed"
    ended, again = device.apply("hosts.yaml", "play.yaml")
    assert {one["status"] for one in again["results"]} == {"ok"}, ended.all
    # A link that is followed costs one more look: where it leads shows only in the first.
    assert again["batches"] <= 2


def kept(dry: dict[str, Any], real: dict[str, Any]) -> None:
    """Hold what a dry run claimed without reservation against what was done."""
    done = claims(real)
    for one in dry["results"]:
        if one["status"] in ("ok", "changed") and not one["assumed_after"]:
            assert done[one["task"]] == (one["status"], json.dumps(one["shows"]))


def test_a_package_that_comes_and_goes_keeps_the_law(device: User) -> None:
    """What earlier tasks of the play do to a package counts, not what apt said before them."""
    ended, dry = device.apply("hosts.yaml", device.write("again.yaml", AGAIN), "--dry-run")
    assert ended.code == 0, ended.all
    ended, real = device.apply("hosts.yaml", "again.yaml")
    assert ended.code == 0, ended.all
    kept(dry, real)
    assert {one["task"]: one["status"] for one in dry["results"] if one["status"] != "unknown"} == {
        "brought": "changed",
        "taken": "changed",
        "brought again": "changed",
        "removed": "changed",
    }
    assert [one["status"] for one in real["results"][:4]] == ["changed"] * 4


def test_a_docker_that_is_stopped_keeps_the_law(device: User) -> None:
    """A daemon that does not answer says nothing of its images: a finished device gets its daemon, and no pull."""
    ended, _ = device.apply("hosts.yaml", device.write("ready.yaml", READY))
    assert ended.code == 0, ended.all
    ended, _ = device.apply("hosts.yaml", device.write("stop.yaml", STOP))
    assert ended.code == 0, ended.all
    ended, dry = device.apply("hosts.yaml", "ready.yaml", "--dry-run")
    assert {one["task"]: one["status"] for one in dry["results"]} == {
        "packages": "ok",
        "runtime": "changed",
        "image": "unknown",
    }, ended.all
    ended, real = device.apply("hosts.yaml", "ready.yaml")
    kept(dry, real)
    assert claims(real)["image"][0] == "ok", ended.all


def test_what_a_held_package_needs_is_not_announced_for_removal(device: User) -> None:
    """The dry run refuses, as apt would, what would take a held package along."""
    ended, _ = device.apply("hosts.yaml", device.write("ready.yaml", READY))
    assert ended.code == 0, ended.all
    device.write("needed.yaml", NEEDED)
    for more in (["--dry-run"], []):
        ended, report = device.apply("hosts.yaml", "needed.yaml", *more)
        assert claims(report)["needed"][0] == "failed", ended.all
        assert "apt would change docker.io, held" in ended.all
