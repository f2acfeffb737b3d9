"""What is known of devices: blocks for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TextIO

from provisioner.report.factlines import lines_of, title_of
from provisioner.report.text import clean, encodable, one_line

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_BLOCK = 66  # columns that a host's facts need to be readable
_GAP = 3
_PLAIN = 100  # columns where the output is no terminal


def print_facts(table: Mapping[str, Mapping[str, Any]], stream: TextIO, *, as_json: bool = False) -> None:
    """Write facts by host and name to a stream."""
    if as_json:
        stream.write(json.dumps(as_data(table), indent=2) + "\n")
        return
    from rich.console import Console

    terminal = stream.isatty()
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not terminal:
        console = Console(file=stream, width=_PLAIN, no_color=True)
    side_by_side = max((console.width + _GAP) // (_BLOCK + _GAP), 1) if terminal else 1
    hosts = list(table)
    for start in range(0, len(hosts), side_by_side):
        some = {host: table[host] for host in hosts[start : start + side_by_side]}
        width = (console.width + _GAP) // min(len(hosts), side_by_side) - _GAP
        with console.capture() as written:
            console.print(_row(some, stream, width))
        lines = ["", *written.get().splitlines()] if start else written.get().splitlines()
        stream.write("".join(f"{line.rstrip()}\n" for line in lines))


def _row(some: Mapping[str, Mapping[str, Any]], stream: TextIO, width: int) -> Table:
    """Return the blocks of some hosts, one beside the other."""
    from rich.table import Table as RichTable

    row = RichTable.grid(padding=(0, _GAP, 0, 0))
    for _ in some:
        row.add_column(width=width)
    row.add_row(*(_block(host, facts, stream) for host, facts in some.items()))
    return row


def _block(host: str, facts: Mapping[str, Any], stream: TextIO) -> Table:
    from rich.table import Table as RichTable
    from rich.text import Text as RichText

    block = RichTable.grid(padding=(0, 2, 0, 0))
    block.add_column(no_wrap=True)
    block.add_column(overflow="fold")
    block.add_row(_cell(host, stream, "bold"), _cell(title_of(facts), stream, "bold"))
    for name, words in lines_of(facts):
        if name == "hostname" and words == host:
            continue
        block.add_row(RichText(f"  {name}", style="dim"), _cell(words, stream))
    for warning in facts.get("warnings") or ():
        block.add_row(RichText("  warning", style="yellow"), _cell(warning, stream, "yellow"))
    return block


def _cell(words: str, stream: TextIO, style: str = "") -> Text:
    from rich.text import Text as RichText

    return RichText(encodable(one_line(words), stream), style=style)


def as_data(value: object) -> object:
    """Return a value as JSON can hold it, its text cleaned."""
    if isinstance(value, Mapping):
        return {clean(str(key)): as_data(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_data(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return clean(str(value))
