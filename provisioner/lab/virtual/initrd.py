"""The first file system of a virtual Jetson: busybox, and the modules that lead to the disk."""

from __future__ import annotations

import gzip
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Read = Callable[[str], bytes]

WANTED = ("crc32c_generic", "virtio_mmio", "virtio_pci", "virtio_blk", "virtio_net", "ext4")

_INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc none /proc
/bin/busybox mount -t sysfs none /sys
/bin/busybox mount -t devtmpfs none /dev
for module in {modules}; do /bin/busybox insmod "/modules/$module"; done
until [ -b /dev/vda ]; do /bin/busybox sleep 0.1; done
/bin/busybox mount -t ext4 -o rw /dev/vda /root
/bin/busybox umount /proc /sys
/bin/busybox mount --move /dev /root/dev
exec /bin/busybox switch_root /root /sbin/init
"""

_FILE, _FOLDER = 0o100755, 0o040755


def build(read: Read, version: str) -> bytes:
    """Return the archive for a kernel version, from the files of a root file system that `read` returns."""
    home = f"usr/lib/modules/{version}"
    paths = list(ordered(read(f"{home}/modules.dep").decode(), WANTED))
    names = [path.rpartition("/")[2] for path in paths]
    files: dict[str, bytes | None] = dict.fromkeys(("bin", "dev", "proc", "sys", "root", "modules"))
    files["bin/busybox"] = read("usr/bin/busybox")
    files |= {f"modules/{name}": read(f"{home}/{path}") for name, path in zip(names, paths, strict=True)}
    files["init"] = _INIT.format(modules=" ".join(names)).encode()
    return gzip.compress(cpio(files), mtime=0)


def ordered(dependencies: str, wanted: tuple[str, ...]) -> Iterator[str]:
    """Yield the paths of modules and of what they need, in the order of loading.

    `dependencies` is the content of modules.dep, in which what the kernel has built in is not named.
    """
    needs = {path: rest.split() for path, _, rest in (line.partition(":") for line in dependencies.splitlines())}
    named = {path.rpartition("/")[2].split(".")[0].replace("-", "_"): path for path in needs}
    done: set[str] = set()
    for name in wanted:
        path = named.get(name)
        # modules.dep names all that a module needs, what comes first last
        for each in [*reversed(needs[path]), path] if path else []:
            if each not in done:
                done.add(each)
                yield each


def cpio(files: dict[str, bytes | None]) -> bytes:
    """Return a cpio archive in the "newc" format; None is a folder."""
    stream = io.BytesIO()
    for number, (name, content) in enumerate([*files.items(), ("TRAILER!!!", b"")], 1):
        data = content or b""
        mode = _FOLDER if content is None else _FILE
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0)
        stream.write(b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0")
        stream.write(b"\0" * (-stream.tell() % 4) + data)
        stream.write(b"\0" * (-stream.tell() % 4))
    return stream.getvalue()
