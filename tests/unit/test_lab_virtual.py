"""Laws of the pure parts of virtual Jetsons: archives, the order of modules, digests, what an inventory asks for."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from provisioner.connection import lab_backend, lab_devices
from provisioner.errors import InputError
from provisioner.inventory import load_inventory
from provisioner.lab import catalogue
from provisioner.lab.virtual import base, initrd, needs, packages, units

if TYPE_CHECKING:
    from provisioner.inventory import Inventory

DEPENDENCIES = """\
kernel/fs/ext4/ext4.ko: kernel/lib/crc16.ko kernel/fs/mbcache.ko kernel/fs/jbd2/jbd2.ko
kernel/fs/jbd2/jbd2.ko:
kernel/fs/mbcache.ko:
kernel/lib/crc16.ko:
kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/net/core/failover.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
"""


def test_a_module_comes_after_all_that_it_needs() -> None:
    """Each module is loaded once, and nothing is loaded before what it needs; what is built in is left out."""
    order = list(initrd.ordered(DEPENDENCIES, ("built_in", "virtio_net", "ext4")))
    assert len(order) == len(set(order)) == 7
    for line in DEPENDENCIES.splitlines():
        module, _, rest = line.partition(":")
        assert all(order.index(needed) < order.index(module) for needed in rest.split())


def test_the_first_file_system_is_the_same_each_time() -> None:
    """The same files give the same bytes, so that the cache holds."""
    read = {
        "usr/lib/modules/6.1/modules.dep": DEPENDENCIES.encode(),
        "usr/bin/busybox": b"busybox",
        **{f"usr/lib/modules/6.1/{line.partition(':')[0]}": b"module" for line in DEPENDENCIES.splitlines()},
    }.__getitem__
    made = initrd.build(read, "6.1")
    assert made == initrd.build(read, "6.1")
    assert b"insmod" in gzip.decompress(made)


def test_what_goes_into_a_machine_belongs_to_root_and_scripts_can_be_run(tmp_path: Path) -> None:
    """An archive of a folder has root's files, whoever packs it; those that begin with #! are executable."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/settings").write_text("x\n")
    (tmp_path / "run").write_text("#!/bin/sh\n")
    with tarfile.open(fileobj=io.BytesIO(base.tree(tmp_path))) as tar:
        members = {member.name: member for member in tar.getmembers()}
    assert {name: member.mode for name, member in members.items()} == {"./etc/settings": 0o644, "./run": 0o755}
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_a_digest_tells_content_and_names_apart(tmp_path: Path) -> None:
    """Another text, another file name or another byte is another digest; the same is the same."""
    (tmp_path / "a").write_text("1")
    first = base.digest("x", tmp_path)
    assert base.digest("x", tmp_path) == first
    (tmp_path / "a").write_text("2")
    second = base.digest("x", tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    assert len({first, second, base.digest("x", tmp_path), base.digest("y", tmp_path)}) == 4


def test_what_is_missing_is_told_in_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a computer without QEMU the programs are named, and the command that installs their packages."""
    monkeypatch.setenv("PATH", "/nonexistent")
    told = needs.missing(build=True)
    assert told is not None
    assert "\n" not in told
    assert "qemu-system-aarch64" in told
    assert "sudo apt-get install qemu-system-arm" in told


def test_what_virtual_jetsons_take_is_what_the_tests_install() -> None:
    """A new machine has each package that is asked for, since .ci/run installs it or Debian always has it."""
    script = (Path(__file__).parents[2] / ".ci/run").read_text().partition("packages=(")[2].partition(")")[0]
    wanted = {*needs.TO_RUN.values(), *needs.TO_BUILD.values()}
    assert wanted - set(script.split()) == {"dpkg", "tar"}


def test_a_command_is_in_one_package_only() -> None:
    """Two packages of a device never bring the same program: dpkg would refuse the second."""
    for name in units.KINDS:
        others = packages.nvidia(units.kind(name))
        brought = [command for package in others for command in packages._own(package, others)]
        assert sorted(brought) == sorted(set(brought))
        assert "nvidia-container-runtime" in brought


def test_only_devices_whose_images_the_lab_can_serve_are_virtual() -> None:
    """Another device of the catalogue is refused by name, with those that can be had."""
    other = next(name for name in catalogue.everything()["devices"] if name not in units.KINDS)
    with pytest.raises(InputError) as caught:
        units.kind(other)
    assert other in caught.value.message
    assert all(name in str(caught.value.hint) for name in units.KINDS)


def inventory(tmp_path: Path, *words: str) -> Inventory:
    """Return an inventory of hosts with these words."""
    path = tmp_path / "lab.yaml"
    hosts = "".join(f"    host{number}: {{{word}: orin-nano-36.4.3}}\n" for number, word in enumerate(words))
    path.write_text(f"all:\n  hosts:\n{hosts}")
    return load_inventory(str(path))


def test_the_inventory_says_how_a_device_is_made(tmp_path: Path) -> None:
    """`virtual` chooses the virtual backend and `simulate` leaves it open; a backend that was asked for wins."""
    virtual = inventory(tmp_path, "virtual").hosts
    assert lab_devices(virtual) == {"host0": "orin-nano-36.4.3"}
    assert lab_backend(virtual, None) == "virtual"
    assert lab_backend(virtual, "model") == "model"
    assert lab_backend(inventory(tmp_path, "simulate").hosts, None) is None


def test_virtual_and_simulated_devices_do_not_mix(tmp_path: Path) -> None:
    """Their labs serve different images: an inventory with both is refused, with the place."""
    with pytest.raises(InputError) as caught:
        lab_backend(inventory(tmp_path, "simulate", "virtual").hosts, None)
    assert caught.value.source is not None
