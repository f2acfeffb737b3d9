"""The recap as rows: Ansible's table, what went wrong and what is left, how to start, and one sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisioner.report.blocks import title
from provisioner.report.recap import COUNTED, HostRecap, Recap
from provisioner.report.text import (
    Row,
    clean,
    count,
    duration,
    indented,
    listed,
    one_line,
    paragraph,
    row,
    tail,
    to_plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from provisioner.events import TaskResult

_LAST_LINES = 6
_FAILURES = 5
_RULE = 80
_STYLE = {
    "ok": "ok",
    "changed": "changed",
    "unreachable": "failed",
    "failed": "failed",
    "skipped": "skipped",
    "rescued": "skipped",
    "ignored": "skipped",
    "unknown": "unknown",
}
_HOST_STYLE = {"failed": "failed", "refused": "failed", "unreachable": "failed", "unfinished": "warning", "idle": "dim"}
_DROPPED = (("rescued", "ignored"), ("unreachable",), ("skipped",), ("unknown",), ("failed",))  # in this order


def closing(recap: Recap, width: int = 0) -> list[Row]:
    """Return everything that is told at the end; with a width, as a terminal of that many columns can show it."""
    rows = [row(), _heading(recap, width), *_table(recap, width)]
    for part in (_troubles(recap, width), _warnings(recap, width), _start(recap, width)):
        rows += [row(), *part] if part else []
    return [*rows, row(), *paragraph(sentence(recap), "strong", width=width)]


def sentence(recap: Recap) -> str:
    """Return the whole run in one sentence."""
    stopped = "interrupted; " if recap.interrupted else ""
    hosts = count(len(recap.hosts), "simulated host" if recap.simulated else "host")
    states = ", ".join([f"{len(recap.desired())} in the desired state", *_elsewhere(recap)])
    took = f"in {duration(recap.seconds)}, {recap.trips} {'batch' if recap.trips == 1 else 'batches'}"
    if recap.check:
        return f"{stopped}{hosts}: {states}; {_would(recap)}; nothing was touched ({took})"
    return f"{stopped}{hosts}: {states}, {_changed(recap)}, {took}"


def _changed(recap: Recap) -> str:
    changed = recap.total("changed")
    return f"{changed} changed" + (f" on {_on(recap, 'changed')}" if changed else "")


def _would(recap: Recap) -> str:
    changed, unknown = recap.total("changed"), recap.total("unknown")
    what = f"{count(changed, 'thing')} on {_on(recap, 'changed')}" if changed else "nothing"
    parts = [f"would change {what}"]
    if unknown:
        parts.append(f"{count(unknown, 'thing')} unknown until applied")
    return ", ".join(parts)


def _on(recap: Recap, name: str) -> str:
    return count(sum(bool(host.counts[name]) for host in recap.hosts.values()), "host")


def _elsewhere(recap: Recap) -> Iterator[str]:
    named = (("failed", "failed"), ("refused", "refused"), ("unreachable", "unreachable"))
    for state, words in (*named, ("unfinished", "not finished"), ("idle", "not begun")):
        number = sum(host.state == state for host in recap.hosts.values())
        if number:
            yield f"{number} {words}"


def _heading(recap: Recap, width: int) -> Row:
    kinds = ["dry run"] * recap.check + [f"simulation: {recap.simulated}"] * bool(recap.simulated)
    text = f"PLAY RECAP ({', '.join(kinds)}) " if kinds else "PLAY RECAP "
    return row((text + "*" * max(min(width or _RULE, _RULE) - len(text), 3), "strong"))


def _table(recap: Recap, width: int) -> list[Row]:
    names = list(COUNTED)
    rows = _table_rows(recap, names)
    for group in _DROPPED:
        if not width or all(len(to_plain(line)) <= width for line in rows):
            break
        names = [name for name in names if name not in group or recap.total(name)]
        rows = _table_rows(recap, names)
    return rows


def _table_rows(recap: Recap, names: list[str]) -> list[Row]:
    hosts = list(recap.hosts.values())
    wide = max((len(one_line(host.name)) for host in hosts), default=0)
    digits = {name: max((len(str(host.counts[name])) for host in hosts), default=1) for name in names}
    return [_table_row(host, wide, digits) for host in hosts]


def _table_row(host: HostRecap, wide: int, digits: dict[str, int]) -> Row:
    style = _HOST_STYLE.get(host.state, "changed" if host.counts["changed"] else "ok")
    pieces: list[str | tuple[str, str]] = [(f"{one_line(host.name):<{wide}}", style), " :"]
    for name, width in digits.items():
        number = host.counts[name]
        pieces += [" ", (f"{f'{name}={number}':<{len(name) + 1 + width}}", _STYLE[name] if number else "")]
    return row(*pieces)


def _troubles(recap: Recap, width: int) -> list[Row]:
    """Return what went wrong and what is left to do, hosts of which the same is to be told together."""
    told: dict[tuple[Row, ...], list[HostRecap]] = {}
    for host in recap.hosts.values():
        rows = tuple(_trouble(host, max(width - 2, 20) if width else 0))
        if rows:
            told.setdefault(rows, []).append(host)
    out: list[Row] = []
    for rows, hosts in told.items():
        style = _HOST_STYLE.get(hosts[0].state, "strong")
        out += [row((f"{listed(host.name for host in hosts)}:", style)), *indented(rows, 2)]
    return out


def _trouble(host: HostRecap, width: int) -> Iterator[Row]:
    if host.lost:
        yield from paragraph(host.lost.message, lead=f"{host.state}: ", width=width)
        yield from paragraph(host.lost.hint, lead="hint: ", width=width) if host.lost.hint else ()
    for result in host.failures[:_FAILURES]:
        yield from _failure(result, width)
    if len(host.failures) > _FAILURES:
        yield row(f"... and {count(len(host.failures) - _FAILURES, 'more failure')}")
    if host.finished and host.finished.not_done:
        yield from paragraph(listed(host.finished.not_done), lead="not done: ", width=width)
    elif host.state == "unfinished":
        yield row("not finished")
    if host.finished and host.finished.owed:
        owed = f"{listed(host.finished.owed)} (runs at the end of the next run that succeeds)"
        yield from paragraph(owed, "changed", lead="owed handlers: ", width=width)


def _failure(result: TaskResult, width: int) -> Iterator[Row]:
    place = f" ({result.source.path}:{result.source.line})" if result.source else ""
    yield row(("failed", "failed"), " at ", (title(result), "strong"), (place, "dim"))
    cause = result.message or "the device gave no reason"
    if result.rc and str(result.rc) not in cause:
        cause = f"{cause} (rc {result.rc})"
    yield from indented(paragraph(cause, width=width), 2)
    for line in tail(result.stderr, _LAST_LINES) or tail(result.stdout, _LAST_LINES):
        if line.strip() not in cause:
            yield row(("  | ", "dim"), line)
    if result.hint:
        yield from indented(paragraph(result.hint, lead="hint: ", width=width), 2)


def _warnings(recap: Recap, width: int) -> list[Row]:
    rows: list[Row] = []
    for message, hosts in recap.warnings.items():
        where = f" ({listed(hosts)})" if hosts else ""
        first, *more = paragraph(clean(message) + where, lead="warning: ", width=width)
        rows += [row(("warning: ", "warning"), *first[1:]), *more]
    return rows


def _start(recap: Recap, width: int) -> list[Row]:
    """Return the commands with which to start, each on a line of its own, so that it can be copied whole."""
    grouped: dict[str, list[str]] = {}
    for host, command in recap.start_with.items():
        grouped.setdefault(command, []).append(host)
    if not grouped:
        return []
    rows = [row(("Start working with" + (" (once applied)" if recap.check else "") + ":", "strong"))]
    for command, hosts in grouped.items():
        rows += [*paragraph(f"{listed(hosts, limit=12)}:", lead="  ", width=width), *indented(paragraph(command, "ok"))]
    return rows
