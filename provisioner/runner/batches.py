"""How many hosts of a play are under way at once, where `serial` says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from provisioner.playbook import Play

T = TypeVar("T")


def batches(play: Play, hosts: Sequence[T]) -> list[Sequence[T]]:
    """Return the hosts in the batches that `serial` asks for; the last size is repeated."""
    if not play.serial:
        return [hosts]
    sizes = [_size(one, len(hosts)) for one in play.serial]
    found: list[Sequence[T]] = []
    start = 0
    while start < len(hosts):
        size = sizes[min(len(found), len(sizes) - 1)]
        found.append(hosts[start : start + size])
        start += size
    return found


def _size(size: int | str, hosts: int) -> int:
    if isinstance(size, str) and size.endswith("%"):
        return max(1, int(hosts * float(size[:-1]) / 100))
    return max(1, int(size))
