"""What is known of devices: a table for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, TextIO

from provisioner.report.text import clean, encodable, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table
    from rich.text import Text

_COLUMN = 24  # columns that a host's facts need to be readable
_LONGEST = 30


def print_facts(table: Mapping[str, Mapping[str, object]], stream: TextIO, *, as_json: bool = False) -> None:
    """Write facts by host and name to a stream."""
    if as_json:
        stream.write(json.dumps(_plain(table), indent=2) + "\n")
        return
    from rich.console import Console

    narrow = Console(file=stream, highlight=False, markup=False, emoji=False)
    console = narrow if stream.isatty() else Console(file=stream, width=max(narrow.width, 160), no_color=True)
    names = list(dict.fromkeys(name for facts in table.values() for name in facts))
    room = max((console.width - _LONGEST) // _COLUMN, 1)
    hosts = list(table)
    for start in range(0, len(hosts), room):
        console.print(_part(table, hosts[start : start + room], names, stream))


def _part(
    table: Mapping[str, Mapping[str, object]], hosts: Sequence[str], names: Sequence[str], stream: TextIO
) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable

    part = RichTable(box=SIMPLE_HEAD, pad_edge=False, safe_box=True)
    part.add_column("", style="bold", overflow="fold")
    for host in hosts:
        part.add_column(_cell(host, stream), overflow="fold")
    for name in names:
        part.add_row(_cell(name, stream), *(_cell(table[host].get(name), stream) for host in hosts))
    return part


def _cell(value: object, stream: TextIO) -> Text:
    from rich.text import Text as RichText

    return RichText(encodable(one_line(_words(value)), stream))


def _words(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_words(item) for item in value)
    return str(value)


def _plain(value: object) -> object:
    """Return a value as JSON can hold it, its text cleaned."""
    if isinstance(value, Mapping):
        return {clean(str(key)): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return clean(str(value))
