"""The laws of writing packets: whatever the source takes at a time, and whatever becomes of it."""

from __future__ import annotations

from typing import Any

import pytest

from provisioner.transport.client import Packets


class Source:
    """What packets go over: a socket, or a channel of a jump host; it takes as many bytes as it is told to."""

    def __init__(self, *takes: int) -> None:
        self.takes, self.got = list(takes), b""

    def settimeout(self, _seconds: float) -> None:
        """Do not wait."""

    def send(self, data: Any) -> int:
        """Take the next number of bytes."""
        number = self.takes.pop(0)
        self.got += bytes(data[:number])
        return number


def test_a_packet_goes_out_whole() -> None:
    """What did not fit at once follows, in order and once."""
    source = Source(3, 1, 6)
    Packets(source).write_all(b"0123456789")  # type: ignore[arg-type]
    assert source.got == b"0123456789"


def test_a_source_that_takes_nothing_has_ended() -> None:
    """A jump host's closed channel takes 0 bytes and says no more: that is an end, and not to be tried for ever."""
    with pytest.raises(EOFError):
        Packets(Source(4, 0)).write_all(b"0123456789")  # type: ignore[arg-type]
