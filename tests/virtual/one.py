"""One machine to try faults on: its inventory, moments of an apply, and what has to be true of it afterwards."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from machine import Jetson, Point

INVENTORY = "inventory/one.yaml"
ONE = "all:\n  hosts:\n    board:\n      virtual: orin-nano-36.4.3\n"

UNPACKING: Point = "pgrep -x dpkg"
RESTARTING: Point = "grep -q nvidia /etc/docker/daemon.json"
PULLING: Point = "ls /var/lib/docker-data/tmp | grep -q GetImageBlob"
POINTS = (UNPACKING, RESTARTING, PULLING)
"""Three moments of an apply, as the machine sees them."""


def sound(board: Jetson) -> None:
    """Assert that Docker runs, that dpkg's and our own books can be read, and that no file is half written."""
    board.until("systemctl is-active docker && docker info >/dev/null")
    assert set(board.daemon_json()) in (FOREIGN, FOREIGN | {"runtimes", "default-runtime"})
    json.loads(board.run("cat /var/lib/provision/image.json 2>/dev/null || echo '{}'"))
    script = board.run("cat /home/nvidia/l4t-pytorch 2>/dev/null || :")
    assert not script or script.endswith('"$@"')
    assert board.run("dpkg-query -W -f '${Status}' docker.io") in ("install ok installed", "hold ok installed")


FOREIGN = {"data-root", "insecure-registries", "log-opts", "registry-mirrors"}


def converges(board: Jetson) -> None:
    """Assert that an apply ends well, and that the next one finds nothing to do."""
    ended, _ = board.user.apply(INVENTORY)
    assert ended.code == 0, ended.all
    is_done(board)


def is_done(board: Jetson) -> None:
    """Assert that an apply finds nothing to do, and that nothing half written is left."""
    ended, report = board.user.apply(INVENTORY)
    assert ended.code == 0, ended.all
    assert report["recap"]["board"]["changed"] == 0
    assert board.docker("{{.DefaultRuntime}}") == "nvidia"
    assert board.run("find / -xdev -name '.provision.*' ! -path '/proc/*'") == ""


SERVICE = """
- hosts: board
  become: true
  handlers:
    - name: tell
      shell: echo handled >>/srv/log
  tasks:
    - copy: {dest: /srv/settings, content: "new\\n"}
      notify: tell
    - shell: echo begin >>/srv/log; sleep 25; echo end >>/srv/log
      args: {creates: /srv/done}
    - file: {path: /srv/done, state: touch}
"""
