"""File modes as chmod takes them, made four octal digits."""

from __future__ import annotations

import re

SETUID, SETGID, STICKY = 0o4000, 0o2000, 0o1000
ANY_EXECUTE = 0o111
UMASK = 0o022

_SHIFT = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": SETUID, "g": SETGID, "o": STICKY}
_RWX = {"r": 4, "w": 2, "x": 1}
_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")


def digits(mode: int) -> str:
    """Return a number as four octal digits."""
    return f"{mode & 0o7777:04o}"


def octal(mode: str | int | None, current: str, *, folder: bool = False) -> str:
    """Return a mode as four octal digits, a symbolic one as it changes the current mode; ValueError if it is none."""
    if mode is None:
        return current
    if isinstance(mode, int):
        return digits(mode)
    if re.fullmatch(r"0*o?[0-7]{1,4}", mode.strip()):
        return digits(int(mode.replace("o", ""), 8))
    result = int(current, 8)
    for clause in mode.strip().split(","):
        found = _CLAUSE.fullmatch(clause)
        if not found:
            raise ValueError(f"bad symbolic permission for mode: {mode}")
        for operator, letters in _ACTION.findall(found[2]):
            result = _apply(result, found[1], operator, letters, folder=folder)
    return digits(result)


def _apply(mode: int, whom: str, operator: str, letters: str, *, folder: bool) -> int:
    """Return a mode after one action; as with chmod the umask counts where nobody is named."""
    mask = 0 if whom else UMASK
    before = mode
    for who in "ugo" if not whom or "a" in whom else whom:
        bits = _bits(before, who, letters, folder=folder) & ~mask
        if operator == "=":
            mode &= ~(7 << _SHIFT[who] | _SPECIAL[who])
        mode = mode & ~bits if operator == "-" else mode | bits
    return mode


def _bits(mode: int, who: str, letters: str, *, folder: bool) -> int:
    """Return the bits that letters mean for one of u, g and o."""
    if letters and letters in "ugo":
        return (mode >> _SHIFT[letters] & 7) << _SHIFT[who]
    plain = sum(_RWX.get(letter, 0) for letter in set(letters))
    if "X" in letters and (folder or mode & ANY_EXECUTE):
        plain |= 1
    special = _SPECIAL[who] if ("t" if who == "o" else "s") in letters else 0
    return plain << _SHIFT[who] | special
