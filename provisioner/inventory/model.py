"""An inventory that was read: hosts in order, groups with all their members, vars merged once per set of groups."""

from __future__ import annotations

import os
from dataclasses import field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.errors import InputError, InputErrors
from provisioner.inventory import patterns
from provisioner.records import dataclass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from provisioner.document import Caution, MapNode
    from provisioner.errors import Source

STATE = ".provision"


@dataclass(frozen=True, eq=False)
class Host:
    """A device: its name, its variables (inventory only), its groups in alphabetical order, and where it is named."""

    name: str
    vars: Mapping[str, object]
    groups: tuple[str, ...]
    source: Source


@dataclass(frozen=True, eq=False, kw_only=True)
class Inventory:
    """The hosts and groups of one inventory; `path` is its file or folder, and None for a list of names."""

    path: Path | None
    hosts: Mapping[str, Host]
    groups: Mapping[str, tuple[str, ...]]
    warnings: tuple[Caution, ...] = ()
    layers: Mapping[str, Sequence[MapNode]] = field(default_factory=dict, repr=False)
    """Where each host's variables were written, lowest precedence first; hosts of the same groups share a part."""
    group_layers: Mapping[tuple[str, ...], Sequence[MapNode]] = field(default_factory=dict, repr=False)
    incomplete: bool = False
    """Some part of it could not be read: it serves to find more mistakes, not to work on."""
    _selected: dict[str, tuple[Host, ...]] = field(default_factory=dict, init=False, repr=False)

    def select(self, pattern: str, source: Source | None = None) -> tuple[Host, ...]:
        """Return the hosts that an Ansible pattern means; a name in it that matches nothing is an InputError there."""
        if pattern in self._selected:
            return self._selected[pattern]
        try:
            found = tuple(self.hosts[name] for name in patterns.select(pattern, self.hosts, self.groups))
        except InputError as error:
            for one in error.errors if isinstance(error, InputErrors) else (error,):
                one.source = one.source or source
            raise
        if "@" not in pattern:  # a file may say something else the next time
            self._selected[pattern] = found
        return found

    def var_source(self, host: str | Host, name: str) -> Source | None:
        """Return where the variable that a host sees was written."""
        found = host if isinstance(host, Host) else self.hosts[host]
        for layers in (self.layers.get(found.name, ()), self.group_layers.get(found.groups, ())):
            for layer in reversed(layers):
                if node := layer.get(name):
                    return node.source
        return None

    @cached_property
    def state_dir(self) -> Path:
        """Return the folder for what is kept about these hosts; Ansible skips its dot name."""
        if self.path is None:
            home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
            return Path(home) / "provision"
        return (self.path if self.path.is_dir() else self.path.parent) / STATE

    @property
    def facts_dir(self) -> Path:
        """Return the folder of those files."""
        return self.state_dir / "facts"

    def facts_file(self, name: str) -> Path:
        """Return the file that remembers a host's facts between runs."""
        safe = "".join(c if c.isalnum() or c in "-_.@" else "_" for c in name)
        return self.facts_dir / safe
