"""`provision lab`: start, stop, show and reset the lab of an inventory."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from provisioner.connection import lab_backend, lab_devices
from provisioner.errors import InputError

from .fleet import lab_name

if TYPE_CHECKING:
    import argparse

    from provisioner.lab import Lab, Status


def run(options: argparse.Namespace) -> int:
    """Do what is asked with the lab; return the exit code."""
    from provisioner import lab
    from provisioner.inventory import load_inventory

    inventory = load_inventory(options.inventory)
    devices = lab_devices(inventory.hosts)
    if not devices:
        raise InputError(
            f"{options.inventory} has no device of the lab",
            hint="give a host `simulate: orin-nano-36.4.3`, or `virtual:` and the same",
        )
    name = lab_name(inventory)
    if options.action == "up":
        _show(lab.ensure(name, devices, backend=lab_backend(inventory.hosts, options.lab_backend)))
    elif options.action == "down":
        print("stopped; the devices keep their state" if lab.down(name) else "was not running")
    elif options.action == "reset":
        print("reset: the devices are new again" if lab.reset(name) else "there was nothing to reset")
    else:
        _status(lab.status(name), devices)
    return 0


def _show(started: Lab) -> None:
    print(started.banner, file=sys.stderr)
    for host, address in started.devices.items():
        print(
            f"{host}: ssh -i {address.key_file} -o UserKnownHostsFile={address.known_hosts} "
            f"-p {address.port} {address.user}@{address.host}"
        )


def _status(status: Status, devices: dict[str, str]) -> None:
    kind = "" if status.backend == "virtual" else "simulation, "
    state = f"running ({kind}backend {status.backend}, pid {status.pid})" if status.running else "not running"
    print(f"lab: {state}; its disks: {status.folder}")
    for host, device in devices.items():
        print(f"{host}: {device}{_condition(host, status)}")


def _condition(host: str, status: Status) -> str:
    """Return what else there is to say of a device: of a virtual one, the process that is its plug."""
    if host not in status.devices:
        return " (not made yet)"
    if status.running and status.backend == "virtual":
        return f" (pid {status.machines[host]})" if host in status.machines else " (off)"
    return ""
