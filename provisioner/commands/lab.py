"""`provision lab`: start, stop, show and reset the simulated devices of an inventory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from provisioner.connection import simulated
from provisioner.errors import InputError

from .fleet import lab_name

if TYPE_CHECKING:
    import argparse


def run(options: argparse.Namespace) -> int:
    """Do what is asked with the lab; return the exit code."""
    from provisioner import lab
    from provisioner.inventory import load_inventory

    inventory = load_inventory(options.inventory)
    devices = simulated(inventory.hosts)
    if not devices:
        raise InputError(
            f"{options.inventory} has no simulated device", hint="give a host `simulate: orin-nano-36.4.3`"
        )
    name = lab_name(inventory)
    if options.action == "up":
        _show(lab.ensure(name, devices, backend=options.lab_backend))
    elif options.action == "down":
        print("stopped; the devices keep their state" if lab.down(name) else "was not running")
    elif options.action == "reset":
        print("reset: the devices are new again" if lab.reset(name) else "there was nothing to reset")
    else:
        _status(lab.status(name), devices)
    return 0


def _show(started: object) -> None:
    from provisioner.lab import Lab

    assert isinstance(started, Lab)
    print(started.banner, file=sys.stderr)
    for host, address in started.devices.items():
        print(
            f"{host}: ssh -i {address.key_file} -o UserKnownHostsFile={address.known_hosts} "
            f"-p {address.port} {address.user}@{address.host}"
        )


def _status(status: object, devices: dict[str, str]) -> None:
    from provisioner.lab import Status

    assert isinstance(status, Status)
    state = f"running (simulation, backend {status.backend}, pid {status.pid})" if status.running else "not running"
    print(f"lab: {state}; its disks: {status.folder}")
    for host, kind in devices.items():
        print(f"{host}: {kind}{'' if host in status.devices else ' (not made yet)'}")
