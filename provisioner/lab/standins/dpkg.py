"""dpkg and dpkg-query: what is installed, in every format that people ask for."""

# ruff: noqa: T201 - a program prints

from __future__ import annotations

import os
import sys

from . import state

_WANT = {"unknown": "u", "install": "i", "hold": "h", "deinstall": "r", "purge": "p"}
_STATUS = {"not-installed": "n", "config-files": "c", "half-installed": "H", "unpacked": "U", "half-configured": "F"}
_STATUS |= {"triggers-awaited": "W", "triggers-pending": "t", "installed": "i"}
_UPDATES = "/var/lib/dpkg/updates"
_HEAD = (
    "Desired=Unknown/Install/Remove/Purge/Hold\n"
    "| Status=Not/Inst/Conf-files/Unpacked/halF-conf/Half-inst/trig-aWait/Trig-pend\n"
    "|/ Err?=(none)/Reinst-required (Status,Err: uppercase=bad)\n"
)


def main(argv: list[str]) -> int:  # noqa: C901, PLR0911 - a table of verbs
    """Run dpkg or dpkg-query."""
    words = argv[1:]
    verb = words[0] if words else ""
    if verb == "--print-architecture":
        print(state.device()["architecture"])
        return 0
    if verb == "--print-foreign-architectures":
        return 0
    if verb in ("-s", "--status") and len(words) > 1:
        return _each(argv, words[1:])
    if verb in ("-l", "--list"):
        return _list(words[1:])
    if verb in ("-W", "--show", "-f", "-W=") or verb.startswith(("-f", "--showformat")):
        return _query(argv, words)
    if verb == "--get-selections":
        return _selections(words[1:])
    if verb == "--set-selections" and len(words) == 1:
        return _select()
    if verb in ("--audit", "-C") and not words[1:]:
        return 0  # nothing is ever left half-configured here
    if verb == "--configure" and words[1:2] == ["-a"]:
        return _finish()
    if verb == "--compare-versions" and len(words) == 4:  # noqa: PLR2004
        return _compare(words[1], words[2], words[3])
    if verb == "--version":
        print("Debian 'dpkg' package management program version 1.21.1 (arm64). (simulated)")
        return 0
    return state.unknown(argv)


def key(version: str) -> tuple[object, ...]:
    """Return what sorts versions as dpkg does (Debian policy 5.6.12)."""
    epoch, colon, rest = version.partition(":")
    upstream, _, revision = (rest if colon else version).rpartition("-")
    if not upstream:
        upstream, revision = revision, ""
    return (int(epoch) if colon else 0, _part(upstream), _part(revision))


def _part(text: str) -> tuple[object, ...]:
    """Cut into runs of non-digits and digits: ~ sorts before the end, letters before the rest."""
    out: list[object] = []
    position = 0
    while True:
        start = position
        while position < len(text) and not text[position].isdigit():
            position += 1
        run = text[start:position]
        out.append((*(-1 if c == "~" else ord(c) if c.isalpha() else ord(c) + 256 for c in run), 0))
        if position == len(text):
            return tuple(out)
        start = position
        while position < len(text) and text[position].isdigit():
            position += 1
        out.append(int(text[start:position]))
        if position == len(text):
            return (*out, (0,))


def interrupted() -> list[str]:
    """Return the notes that dpkg left when it was interrupted: while there are any, apt-get does nothing."""
    try:
        return [f"{_UPDATES}/{name}" for name in os.listdir(_UPDATES) if name.isdigit()]  # noqa: PTH208
    except OSError:
        return []


def _finish() -> int:
    """Take in what an interrupted dpkg had noted: here it is in its books already."""
    with state.locked("dpkg"):
        for path in interrupted():
            os.unlink(path)  # noqa: PTH108
    return 0


def _compare(left: str, operator: str, right: str) -> int:
    a, b = key(left), key(right)
    names = {"lt": a < b, "<": a < b, "le": a <= b, "eq": a == b, "=": a == b, "ge": a >= b, "gt": a > b, ">": a > b}
    names |= {"<<": a < b, ">>": a > b, "<=": a <= b, ">=": a >= b, "ne": a != b}
    if operator not in names:
        state.fail(2, f"dpkg: error: --compare-versions takes a relation, not {operator}")
    return 0 if names[operator] else 1


def _matching(database: dict[str, state.Stanza], pattern: str) -> list[state.Stanza]:
    name = pattern.split(":", maxsplit=1)[0]
    if set(name) & set("*?["):
        import fnmatch

        return [database[found] for found in sorted(fnmatch.filter(database, name))]
    return [database[name]] if name in database else []


def _each(argv: list[str], names: list[str]) -> int:
    database, status = state.database(), 0
    program = os.path.basename(argv[0])  # noqa: PTH119
    for place, name in enumerate(names):
        found = _matching(database, name)
        if place and found:
            print()
        for stanza in found:
            sys.stdout.write("".join(f"{key}: {value}\n" for key, value in stanza.items()))
        if not found:
            sys.stdout.flush()
            sys.stderr.write(
                f"dpkg-query: package '{name}' is not installed and no information is available\n"
                f"Use {program} --info (= {program}-deb --info) to examine archive files.\n"
            )
            status = 1
    return status


def _letters(stanza: state.Stanza) -> str:
    want, _error, now = stanza["Status"].split()
    return f"{_WANT[want]}{_STATUS[now]}"


def _list(patterns: list[str]) -> int:
    database, status = state.database(), 0
    found = (
        [s for p in patterns for s in _matching(database, p)] if patterns else [s for _, s in sorted(database.items())]
    )
    if found:
        widths = [max([len(w), *(len(s[f]) for s in found)]) for w, f in (("Name", "Package"), ("Version", "Version"))]
        name, version = widths
        sys.stdout.write(_HEAD)
        print(f"||/ {'Name':<{name}} {'Version':<{version}} {'Architecture':<12} Description")
        print(f"+++-{'=' * name}-{'=' * version}-{'=' * 12}-{'=' * 33}")
        for s in found:
            text = s.get("Description", "").split("\n")[0]
            print(f"{_letters(s)}  {s['Package']:<{name}} {s['Version']:<{version}} {s['Architecture']:<12} {text}")
    for pattern in patterns:
        if not _matching(database, pattern):
            sys.stdout.flush()
            sys.stderr.write(f"dpkg-query: no packages found matching {pattern}\n")
            status = 1
    return status


def _query(argv: list[str], words: list[str]) -> int:
    form = "${binary:Package}\t${Version}\n"
    patterns: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word in ("-W", "--show"):
            continue
        if word in ("-f", "--showformat") and rest:
            form = _unescaped(rest.pop(0))
        elif word.startswith(("-f=", "--showformat=")):
            form = _unescaped(word.partition("=")[2])
        elif word.startswith("-f"):
            form = _unescaped(word[2:])
        elif word.startswith("-") and word != "--":
            state.unknown(argv)
        elif word != "--":
            patterns.append(word)
    return _print(form, patterns)


def _print(form: str, patterns: list[str]) -> int:
    database, status = state.database(), 0
    if not patterns:
        for _, stanza in sorted(database.items()):
            sys.stdout.write(_formatted(form, stanza))
    for pattern in patterns:
        found = _matching(database, pattern)
        for stanza in found:
            sys.stdout.write(_formatted(form, stanza))
        if not found:
            sys.stdout.flush()
            sys.stderr.write(f"dpkg-query: no packages found matching {pattern}\n")
            status = 1
    return status


def _unescaped(text: str) -> str:
    return text.replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r").replace("\\\\", "\\")


def _formatted(form: str, stanza: state.Stanza) -> str:
    out, rest = "", form
    while "${" in rest:
        before, _, tail = rest.partition("${")
        inner, _, rest = tail.partition("}")
        name, _, width = inner.partition(";")
        value = _field(name, stanza)
        if width:
            size = int(width)
            value = f"{value:<{-size}}" if size < 0 else f"{value:>{size}}"
        out += before + value
    return out + rest


def _field(name: str, stanza: state.Stanza) -> str:
    want, error, now = stanza["Status"].split()
    virtual = {
        "binary:Package": stanza["Package"],
        "binary:Summary": stanza.get("Description", "").split("\n")[0],
        "db:Status-Abbrev": f"{_letters(stanza)} ",
        "db:Status-Want": want,
        "db:Status-Status": now,
        "db:Status-Eflag": error,
        "source:Package": stanza.get("Source", stanza["Package"]),
        "source:Version": stanza["Version"],
    }
    return virtual.get(name, stanza.get(name, ""))


def _selections(patterns: list[str]) -> int:
    database = state.database()
    for stanza in (
        [database[n] for n in sorted(database)]
        if not patterns
        else [s for p in patterns for s in _matching(database, p)]
    ):
        name, want = stanza["Package"], stanza["Status"].split()[0]
        print(name + "\t" * max(1, 6 - len(name) // 8) + want)
    return 0


def _select() -> int:
    if os.geteuid():
        state.fail(2, "dpkg: error: requested operation requires superuser privilege")
    with state.locked("dpkg"):
        database = state.database()
        for line in sys.stdin:
            words = line.split()
            if len(words) != 2 or words[1] not in _WANT:  # noqa: PLR2004
                continue
            name = words[0].split(":")[0]
            if name not in database:
                sys.stderr.write(f"dpkg: warning: package not in status nor available database at line 1: {name}\n")
                continue
            _want, rest = database[name]["Status"].split(" ", 1)
            database[name]["Status"] = f"{words[1]} {rest}"
        state.save(database)
    return 0
