"""The law of the dry run where packages and services are at play, on a device of the lab."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from conftest import User, needs_namespaces

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
