"""The law of `provision facts`: all that it tells of a host is asked in one round trip."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from provisioner.commands.facts import gather
from provisioner.commands.fleet import Fleet, Listeners
from provisioner.connection import Credentials
from provisioner.inventory import load_inventory
from provisioner.lab.model import Device, ModelTransport
from provisioner.report import Recap

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from provisioner.wire import Batch, Reply


class Counting(ModelTransport):
    """A device that counts the batches that it is sent."""

    batches = 0

    def exchange(self, batch: Batch) -> Iterator[Reply]:
        """Count, and answer."""
        self.batches += 1
        return super().exchange(batch)


@dataclass
class OneDevice(Fleet):
    """A fleet of one modelled device."""

    folder: Any = None
    made: list[Counting] = field(default_factory=list)

    def connect(self, host: Any, become: bool) -> Any:
        """Return the transport to the device."""
        device = Counting(Device(self.folder, host.name, "orin-nx-36.4.7"), privileged=become)
        self.made.append(device)
        return device


def test_facts_and_details_come_in_one_trip(tmp_path: Path) -> None:
    """One batch brings what every run asks and what only `provision facts` asks, now and the next time."""
    (tmp_path / "hosts.yaml").write_text("all: {hosts: {box: }}\n")
    inventory = load_inventory(str(tmp_path / "hosts.yaml"))
    options = argparse.Namespace(forks=1, become=True)
    for _ in range(2):
        fleet = OneDevice(inventory, tuple(inventory.select("all")), Credentials(), folder=tmp_path)
        (state,) = gather(fleet, options, Listeners([Recap()])).values()
        assert [device.batches for device in fleet.made] == [1]
        assert (state.facts.l4t, state.more.power_mode.name) == ("36.4.7", "MAXN_SUPER")
        assert state.more.readings.source == "tegrastats"
