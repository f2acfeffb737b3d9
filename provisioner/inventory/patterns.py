"""Ansible's host patterns: a,b  a:b  group:&group:!host  glob*  ~regex  group[0:2]  @file."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path
from typing import TYPE_CHECKING

from provisioner.document import near, raise_all, read_text
from provisioner.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_SUBSCRIPT = re.compile(r"(?P<name>.+)\[(?:(?P<index>-?\d+)|(?P<first>\d*)[:-](?P<last>\d*))\]")
_TERM = re.compile(r"(?:\[[^\]]*\]|[^:\[])+")


def select(pattern: str, hosts: Collection[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names that a pattern means, in its order; report each of its parts that matches nothing."""
    terms = split(pattern)
    wanted = [term for term in terms if term[0] not in "&!"] or ["all"]
    found: dict[str, None] = {}
    errors: list[InputError] = []
    for term in (*wanted, *(t for t in terms if t[0] == "&"), *(t for t in terms if t[0] == "!")):
        try:
            names = _matches(term.lstrip("&!"), hosts, groups)
        except InputError as error:
            errors.append(error)
            continue
        if term[0] == "!":
            for name in names:
                found.pop(name, None)
        elif term[0] == "&":
            keep = set(names)
            found = {name: None for name in found if name in keep}
        else:
            found |= dict.fromkeys(names)
    raise_all(errors)
    if not found:
        raise InputError(f"the pattern {pattern!r} matches no host")
    return tuple(found)


def split(pattern: str) -> list[str]:
    """Return the parts of a pattern; a part that starts with @ names a file of parts."""
    terms: list[str] = []
    for part in pattern.split(","):
        text = part.strip()
        pieces = [text] if "," in pattern or text.startswith(("~", "@")) or _is_v6(text) else _TERM.findall(text)
        for piece in pieces:
            if piece.startswith("@"):
                lines = (line.strip() for line in read_text(Path(piece[1:])).splitlines())
                terms.extend(term for line in lines if line and line[0] != "#" for term in split(line))
            elif piece.strip("&!"):
                terms.append(piece)
    return terms


def _is_v6(text: str) -> bool:
    return bool(re.fullmatch(r"[&!]?\[?[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f.]*\]?", text))


def _matches(term: str, hosts: Collection[str], groups: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the hosts of the groups that a term names, and the hosts that it names."""
    subscript = None if term.startswith("~") or term in groups else _SUBSCRIPT.fullmatch(term)
    name = subscript["name"] if subscript else term
    in_groups = _named(name, groups)
    found = dict.fromkeys(host for group in in_groups for host in groups[group])
    in_hosts = _named(name, hosts) if not in_groups or name[0] == "~" or set(name) & set(".?*[") else []
    found |= dict.fromkeys(in_hosts)
    if not in_groups and not in_hosts and name != "all":
        raise InputError(f"no host or group matches {name!r}{near(name, (*hosts, *groups))}")
    return _subscripted(list(found), subscript) if subscript else list(found)


def _named(term: str, names: Collection[str]) -> list[str]:
    if term.startswith("~"):
        try:
            regex = re.compile(term[1:])
        except re.error as error:
            raise InputError(f"{term!r} is no regular expression: {error}") from error
        return [name for name in names if regex.match(name)]
    if not set(term) & set("?*["):
        return [term] if term in names else []
    glob = re.compile(fnmatch.translate(term))
    return [name for name in names if glob.match(name)]


def _subscripted(names: list[str], subscript: re.Match[str]) -> list[str]:
    if subscript["index"]:
        index = int(subscript["index"])
        return names[index : index + 1 or None]
    last = subscript["last"]
    return names[int(subscript["first"] or 0) : int(last) + 1 if last else None]
