"""Pins on the lab: what is pinned is what devices get, until somebody moves it, or takes the move back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from user import User, needs_namespaces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_namespaces

SITE = "- hosts: all\n  become: true\n  tasks: []\n"


@pytest.fixture
def device(user: User) -> Iterator[User]:
    """Yield a user with one device that has been through the main job."""
    user.run("init", ".")
    user.write("hosts.yaml", "all: {hosts: {xavier: {simulate: agx-xavier-35.4.1}}}\n")
    ended = user.run("apply", "hosts.yaml")
    assert ended.code == 0, ended.all
    yield user
    user.run("lab", "reset", "hosts.yaml")


def lock(user: User) -> Path:
    """Return the lock file."""
    return user.folder / ".provision" / "hosts.lock.yaml"


def images(user: User) -> str:
    """Return the images of the device, as its Docker lists them."""
    user.write(
        "images.yaml",
        "- hosts: all\n  become: true\n  tasks:\n    - command: docker images --digests\n      register: there\n"
        "      changed_when: false\n    - debug: {var: there.stdout}\n",
    )
    return user.run("apply", "hosts.yaml", "images.yaml").out


def results(report: dict[str, Any]) -> set[str]:
    """Return the tasks that changed something."""
    return {one["task"] for one in report["results"] if one["status"] == "changed"}


def test_a_pin_holds_until_it_is_moved(device: User) -> None:
    """An older pin is what the device gets; --update shows and moves it, the old image goes, --rollback goes back."""
    newest = lock(device).read_text()
    assert "r35.4.1" in newest
    older = _older(device, newest)
    lock(device).write_text(older)
    ended, report = device.apply("hosts.yaml")
    assert ended.code == 0, ended.all
    assert any("image" in task for task in results(report))
    assert "r35.2.1" in images(device)

    shown = device.run("pin", "hosts.yaml", "--update", "--dry-run")
    assert "+ docker.io/dustynv/l4t-pytorch:r35.4.1" in shown.out, shown.all
    assert lock(device).read_text() == older
    assert device.run("pin", "hosts.yaml", "--update").code == 0
    ended, report = device.apply("hosts.yaml")
    assert ended.code == 0, ended.all
    there = images(device)
    assert "r35.4.1" in there
    assert "r35.2.1" not in there, "what was superseded is removed"

    assert device.run("pin", "hosts.yaml", "--rollback").code == 0
    assert device.run("apply", "hosts.yaml").code == 0
    assert "r35.2.1" in images(device)
    assert results(device.apply("hosts.yaml")[1]) == set()


def _older(device: User, newest: str) -> str:
    """Return the lock file with the band's other image, asked for by its name."""
    import json

    code = (
        "import sys, json; from provisioner.jetson.registry import Registry, Platform\n"
        "found = Registry({'docker.io': sys.argv[1]}).resolve('docker.io/dustynv/l4t-pytorch:r35.2.1', Platform())\n"
        "print(json.dumps([found.tag_digest, found.platform_digest, found.compressed_size]))"
    )
    import subprocess
    import sys

    from provisioner.lab import places

    registry = next(device.state.rglob("lab.json"))
    address = places.read_json(registry)["registry"]
    out = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=True).stdout
    index, platform, size = json.loads(out)
    lines = []
    for line in newest.splitlines():
        name = line.strip().removeprefix("- ").split(":")[0]
        new = {
            "reference": "docker.io/dustynv/l4t-pytorch:r35.2.1",
            "index_digest": index,
            "platform_digest": platform,
            "size": size,
        }.get(name)
        lines.append(line if new is None else f"{line.split(name)[0]}{name}: {new}")
    return "\n".join(lines) + "\n"


def test_a_tag_that_does_not_exist_is_told(device: User) -> None:
    """Where the preferred tag is not in the registry, the next one is taken, and said so."""
    text = (
        "- hosts: all\n  become: true\n  tasks:\n    - jetson_image: {family: l4t-pytorch, tag: r35.3.1-pth2.0-py3}\n"
    )
    ended = device.run("apply", "hosts.yaml", device.write("phantom.yaml", text), "--dry-run")
    assert "Traceback" not in ended.all
    assert "r35.3.1-pth2.0-py3" in ended.all
