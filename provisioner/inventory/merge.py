"""Which of the vars of groups, hosts and files a host sees."""

from __future__ import annotations

from dataclasses import field
from types import MappingProxyType
from typing import TYPE_CHECKING

from provisioner.document import MapNode, ScalarNode, plain
from provisioner.inventory.model import Host
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from provisioner.errors import Source
    from provisioner.inventory.varfiles import VarFiles

    Merged = tuple[dict[str, Host], dict[str, Sequence[MapNode]], dict[tuple[str, ...], Sequence[MapNode]]]

PRIORITY = "ansible_group_priority"


@dataclass(eq=False)
class Group:
    """A group while files are read: what it names, and the vars written in it."""

    name: str
    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, Source] = field(default_factory=dict)
    layers: list[MapNode] = field(default_factory=list)
    parents: dict[str, None] = field(default_factory=dict)
    depth: int = 0

    @property
    def priority(self) -> int:
        for layer in reversed(self.layers):
            node = layer.get(PRIORITY)
            if isinstance(node, ScalarNode) and isinstance(node.value, int):
                return node.value
        return 1


class Merger:
    """Merges vars: the groups' part once for each set of groups, the hosts' part on top of it."""

    def __init__(
        self,
        groups: Mapping[str, Group],
        hosts: Mapping[str, Source],
        host_layers: Mapping[str, Sequence[MapNode]],
        files: VarFiles,
    ) -> None:
        self.groups = groups
        self.hosts = hosts
        self.host_layers = host_layers
        self.files = files
        self.values: dict[int, Mapping[str, object]] = {}
        self.above: dict[str, frozenset[str]] = {}

    def merged(self) -> Merged:
        """Return the hosts with their vars, and where those were written."""
        direct: dict[str, list[str]] = {name: [] for name in self.hosts}
        for group in self.groups.values():
            for host in group.hosts:
                direct[host].append(group.name)
        shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        layers: dict[tuple[str, ...], Sequence[MapNode]] = {}
        base: dict[tuple[str, ...], Mapping[str, object]] = {}
        hosts: dict[str, Host] = {}
        own: dict[str, Sequence[MapNode]] = {}
        for name, place in self.hosts.items():
            key = tuple(direct[name])
            if key not in shared:
                shared[key] = self._groups_of(key)
                layers[shared[key]] = self._group_layers(shared[key])
                base[shared[key]] = MappingProxyType(self._merge(layers[shared[key]]))
            groups = shared[key]
            own[name] = (*self.host_layers.get(name, ()), *self.files.host(name))
            values = MappingProxyType({**base[groups], **self._merge(own[name])}) if own[name] else base[groups]
            hosts[name] = Host(name, values, groups, place)
        return hosts, own, layers

    def _merge(self, layers: Iterable[MapNode]) -> dict[str, object]:
        merged: dict[str, object] = {}
        for layer in layers:
            if id(layer) not in self.values:
                self.values[id(layer)] = {str(key): value for key, value in _mapping(layer).items()}
            merged |= self.values[id(layer)]
        return merged

    def _groups_of(self, direct: tuple[str, ...]) -> tuple[str, ...]:
        """Return these groups and all above them but `all`, in alphabetical order."""
        return tuple(sorted(frozenset().union(*(self._above(name) for name in direct)) - {"all"}))

    def _above(self, name: str) -> frozenset[str]:
        if name not in self.above:
            parents = self.groups[name].parents
            self.above[name] = frozenset({name}).union(*(self._above(parent) for parent in parents))
        return self.above[name]

    def _group_layers(self, names: tuple[str, ...]) -> Sequence[MapNode]:
        """Return what counts for a member of these groups, lowest precedence first."""
        found = (self.groups[name] for name in names)
        order = sorted(found, key=lambda group: (group.depth, group.priority, group.name))
        layers = [*self.groups["all"].layers, *(layer for group in order for layer in group.layers)]
        for level in self.files.levels:
            layers.extend(self.files.group("all", level))
        for level in self.files.levels:
            layers.extend(layer for group in order for layer in self.files.group(group.name, level))
        return tuple(layers)


def _mapping(node: MapNode) -> Mapping[object, object]:
    value = plain(node)
    return value if isinstance(value, dict) else {}
