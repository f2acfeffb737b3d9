"""The inside of a simulated device of the container backend: process 1 of its container.

The engine has made the root: its image read-only, the device's own disk, /run and /tmp. What an engine cannot do (the
device tree, an id of this boot) is done here, with the right to mount inside the container's own namespace of users;
that right is given up for good before anything of the device runs.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from provisioner.lab import inside
from provisioner.lab import syscalls as sc
from provisioner.lab.agent import serve

SHOWN = "/run/lab"  # where the container sees the folder that it shares with the supervisor
_PUT_THERE = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv")  # by engines, over the disk


def main() -> int:
    """Become a device, and stay until the supervisor hangs up or the device reboots."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link.connect(f"{SHOWN}/link")
    try:
        spec = json.loads(Path(SHOWN, "boot.json").read_text(encoding="utf-8"))
        _finish_root(spec)
        sc.give_up((sc.SYS_ADMIN, sc.SETPCAP))
        inside.first_boot(spec)
        serve(spec, link)
    except OSError as error:
        with suppress(OSError):
            link.send(json.dumps({"failed": str(error)}).encode())
        return 1
    return 0


def _finish_root(spec: dict[str, Any]) -> None:
    sc.mount("", "/", flags=sc.REC | sc.PRIVATE)
    sc.mount("tmpfs", "/sys", "tmpfs", sc.NODEV, "mode=755,size=1m")
    inside.firmware(spec, "/")
    inside.boot_id(spec, "/")
    inside.memory(spec, "/")
    inside.hide(spec, "/")
    for path in _PUT_THERE:
        with suppress(OSError):
            sc.unmount(path)
    sc.unmount(SHOWN)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main())
