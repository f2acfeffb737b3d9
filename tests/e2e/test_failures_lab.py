"""Failures that a device of the lab can have, each explained where it shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from user import User, needs_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_namespaces

LIST = "/etc/apt/sources.list.d/nvidia-l4t-apt-source.list"
HELD = "/var/lib/simulation/dpkg-lock-held-by"
NO_DNS = "/var/lib/simulation/no-dns"
HOSTS = """
all:
  hosts:
    nano: {simulate: nano-32.7.4}
    thor: {simulate: agx-thor-39.2.1 sudo_password=x}
"""
BROKEN = f"""
- hosts: nano
  become: true
  tasks:
    - ignore_errors: true
      block:
        - {{name: exec-format, command: docker run --rm lab/amd64-only python3 -c pass}}
        - {{name: small, command: mount -t tmpfs -o size=64k none /mnt}}
        - {{name: disk-full, shell: "head -c 200000 /dev/zero >/mnt/x"}}
        - {{name: not-root, command: apt-get -y install tree, become: false}}
        - {{name: docker-denied, command: docker info, become: false}}
        - {{name: held, copy: {{dest: {HELD}, content: "1234 (unattended-upgr)"}}}}
        - {{name: dpkg-lock, apt: {{name: tree, lock_timeout: 1}}}}
        - {{name: free, file: {{path: {HELD}, state: absent}}}}
        - {{name: mute, copy: {{dest: {NO_DNS}, content: ""}}}}
        - {{name: names, command: docker pull nvcr.io/nvidia/l4t-pytorch:r32.7.1-pth1.9-py3}}
        - {{name: speaking, file: {{path: {NO_DNS}, state: absent}}}}
        - {{name: flashed, command: sed -i s/t210/<SOC>/ {LIST}}}
        - {{name: apt-placeholder, command: apt-get update}}
        - {{name: commented, command: sed -i s/^deb/#deb/ {LIST}}}
        - {{name: apt-list-missing, apt: {{name: nvidia-container}}}}
        - {{name: written, copy: {{dest: /etc/docker/daemon.json, content: '{{"no-such-key": 1}}'}}}}
        - {{name: daemon-json, docker_runtime: {{name: nvidia}}}}
        - {{name: emptied, copy: {{dest: /etc/docker/daemon.json, content: "{{}}"}}}}
        - {{name: restarted, service: {{name: docker, state: restarted}}}}
        - {{name: runtime-unknown, command: docker run --rm --runtime nvidia lab/amd64-only true}}
        - {{name: stopped, service: {{name: docker, state: stopped}}}}
        - {{name: docker-down, command: docker info}}
- hosts: thor
  tasks:
    - ignore_errors: true
      block:
        - {{name: sudo-password, command: sudo -n true}}
"""
EXPLAINED = {
    "exec-format", "disk-full", "not-root", "docker-denied", "dpkg-lock", "names", "apt-placeholder",
    "apt-list-missing", "daemon-json", "runtime-unknown", "docker-down", "sudo-password",
}  # fmt: skip


@pytest.fixture(scope="module")
def broken(lab: User) -> Iterator[dict[str, Any]]:
    """Return what was told of a play in which everything breaks."""
    lab.write("broken.yaml", HOSTS)
    ended, report = lab.apply("broken.yaml", lab.write("play.yaml", BROKEN))
    yield {"ended": ended, "report": report}
    lab.run("lab", "reset", "broken.yaml")


def test_what_breaks_on_a_device_is_explained(broken: dict[str, Any]) -> None:
    """Each failure has cause and fix as its hint, for people and for programs, and what went well has none."""
    results = {one["task"]: one for one in broken["report"]["results"]}
    told = {name: (one["explained"] or {}).get("id") for name, one in results.items()}
    assert told == {name: name if name in EXPLAINED else None for name in results}, broken["ended"].all
    for name in EXPLAINED:
        one = results[name]
        assert one["status"] == "failed"
        assert one["explained"]["fix"] in one["hint"]
        assert one["explained"]["sources"]
    assert "the image is for another architecture" in " ".join(broken["ended"].all.split())


def test_a_device_that_does_not_answer_is_explained(user: User) -> None:
    """What the controller sees of a device is explained as what the device says is."""
    ended, report = user.apply("127.0.0.1:1,", user.write("play.yaml", "- hosts: all\n  tasks: [{command: 'true'}]\n"))
    assert ended.code == 4, ended.all
    (host,) = report["hosts"].values()
    assert host["lost"]["explained"]["id"] == "no-host-keys"
    assert "check ansible_port" in host["lost"]["hint"]
    assert "ssh-keygen -A" in host["lost"]["hint"]


def test_a_preflight_that_finds_much_changes_nothing(lab: User) -> None:
    """A first boot that is not finished, a list with a placeholder and a held lock are told at once, with their fixes.

    Names that do not resolve are a warning. Once all is mended, nothing of it is told any more.
    """
    lab.write("fresh.yaml", "all: {hosts: {fresh: {simulate: orin-nano-36.4.3}}}\n")
    spoiled = f"""
- hosts: all
  become: true
  tasks:
    - copy: {{dest: /etc/nv/nvfirstboot, content: ""}}
    - copy: {{dest: {NO_DNS}, content: ""}}
    - command: sed -i s/t234/<SOC>/ {LIST}
"""
    mended = (
        spoiled.replace("s/t234/<SOC>/", "s/<SOC>/t234/")
        .replace('content: ""', "state: absent")
        .replace("copy: {dest", "file: {path")
    )
    try:
        spoil = "- hosts: all\n  become: true\n  tasks: [{file: {path: /etc/nv, state: directory}}]\n" + spoiled
        ended = lab.run("apply", "fresh.yaml", lab.write("spoil.yaml", spoil))
        assert ended.code == 0, ended.all
        ended, report = lab.apply("fresh.yaml")
        assert ended.code == 2, ended.all
        (told,) = report["results"]
        assert (told["status"], report["recap"]["fresh"]["changed"]) == ("failed", 0)
        for words in ("first boot", "nv-oem-config", "<SOC>", "jetson/t234 r36.4 main"):
            assert words in told["message"], json.dumps(told, indent=1)
        assert "cannot be looked up" in " ".join(told["warnings"])
        ended = lab.run("apply", "fresh.yaml", lab.write("mend.yaml", mended))
        assert ended.code == 0, ended.all
        ended, report = lab.apply("fresh.yaml", "--dry-run")
        assert (report["results"][0]["status"], report["results"][0]["warnings"]) == ("ok", []), ended.all
    finally:
        lab.run("lab", "reset", "fresh.yaml")
