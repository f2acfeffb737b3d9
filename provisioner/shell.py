"""Shell text: scripts with a constant body, values quoted in one place, and the few bodies that many share."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


@dataclass(frozen=True)
class Script:
    """A POSIX sh function: its name, its constant body, and the functions that it calls.

    The body sees its values as "$1", "$2", ...; no value is ever spliced into shell text.
    """

    name: str
    body: str
    needs: tuple[Script, ...] = ()

    @property
    def definition(self) -> str:
        """Return the function as shell text."""
        return f"{self.name}() {{\n{self.body.strip()}\n}}\n"


@dataclass(frozen=True)
class Upload:
    """Content too large for the script: it travels beside it, and the script receives the path where it lies."""

    sha256: str
    path: str | None = field(default=None, compare=False)
    content: bytes | None = field(default=None, compare=False, repr=False)

    def source(self) -> Path | bytes:
        """Return the local file, or the content itself."""
        return Path(self.path) if self.path is not None else self.content or b""


Value = str | bytes | Upload


def quote(value: str) -> str:
    """Quote one string for sh; NUL cannot be carried and is refused."""
    if "\0" in value:
        raise ValueError("a NUL byte cannot travel in shell text")
    if value and all((c.isalnum() and c.isascii()) or c in "_-./:=@,+" for c in value):
        return value
    return "'" + value.replace("'", "'\\''") + "'"


def encode_value(value: Value, staging: str = "") -> str:
    """Return one value as a shell word: text quoted, bytes as base64, an upload as the path where it lies."""
    if isinstance(value, Upload):
        return quote(f"{staging}/{value.sha256}")
    if isinstance(value, bytes):
        return quote(base64.b64encode(value).decode("ascii"))
    return quote(value)


def words(values: Iterable[Value], staging: str = "") -> str:
    """Return values as the arguments of a shell call."""
    return " ".join(encode_value(value, staging) for value in values)


def with_needs(scripts: Iterable[Script]) -> Iterator[Script]:
    """Yield scripts and all that they call, each once, callees first."""
    seen: set[str] = set()

    def visit(script: Script) -> Iterator[Script]:
        if script.name in seen:
            return
        seen.add(script.name)
        for need in script.needs:
            yield from visit(need)
        yield script

    for script in scripts:
        yield from visit(script)


SETTLE = Script(
    "settle_file",
    r"""
# Flushes a file or folder where sync takes names (coreutils 8.24 and later), else everything.
sync -- "$1" 2>/dev/null || sync
""",
)

REPLACE_FILE = Script(
    "replace_file",
    r"""
# temp dest owner group mode: gives temp its final owner, then mode, and renames it over dest.
if [ -n "$3$4" ]; then chown -- "$3${4:+:$4}" "$1" || { rm -f -- "$1"; return 1; }; fi
chmod -- "$5" "$1" || { rm -f -- "$1"; return 1; }
settle_file "$1"
if mv -T -- "$1" "$2" 2>/dev/null || { [ ! -d "$2" ] && mv -f -- "$1" "$2"; }; then
  settle_file "${2%/*}/"
else
  rm -f -- "$1"
  printf 'cannot put %s in its place\n' "$2" >&2
  return 1
fi
""",
    (SETTLE,),
)

WRITE_FILE = Script(
    "write_file",
    r"""
# dest owner group mode backup validate sha256 data: writes aside, checks, renames. With a sha256, data is the path
# of an upload, else it is base64. The old file is kept at backup, where that is given.
dest=$1
temp=$(umask 077; mktemp "${dest%/*}/.provision.XXXXXX") || return 1
if [ -n "$7" ]; then
  cat -- "$8" >"$temp" || { rm -f -- "$temp"; return 1; }
  sum=$(sha256sum <"$temp")
  if [ "${sum%% *}" != "$7" ]; then
    rm -f -- "$temp"
    printf 'the content of %s was damaged on its way\n' "$dest" >&2
    return 1
  fi
else
  printf %s "$8" | base64 -d >"$temp" || { rm -f -- "$temp"; return 1; }
fi
if [ -n "$6" ]; then
  check=$(printf %s "$6" | sed "s|%s|$temp|g")
  if ! sh -c "$check" </dev/null; then
    rm -f -- "$temp"
    printf 'validate refused the new content of %s\n' "$dest" >&2
    return 1
  fi
fi
if [ -n "$5" ] && [ -e "$dest" ]; then cp -p -- "$dest" "$5" || { rm -f -- "$temp"; return 1; }; fi
replace_file "$temp" "$dest" "$2" "$3" "$4"
""",
    (REPLACE_FILE,),
)

ESCAPE = Script(
    "escape",
    r"""
# Prints $1 on one line: % and newline as %25 and %0A.
case $1 in
*%* | *"
"*) printf '%s\n' "$1" | sed -e 's/%/%25/g' | sed -e ':a' -e 'N' -e '$!ba' -e 's/\n/%0A/g' ;;
*) printf '%s\n' "$1" ;;
esac
""",
)
