"""Device text comes from outside: nothing in it may steer the terminal that shows it."""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, erase
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c|\Z)"  # OSC, DCS, SOS, PM, APC with their text
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI as one C1 byte
    r"|\x1b[ -/]*[0-~]"  # the two-byte escapes
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


def clean(text: str | bytes) -> str:
    """Return the text without escape sequences and control characters, newline and tab excepted."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    text = text.replace("\r\n", "\n")
    return _CONTROLS.sub("", _SEQUENCES.sub("", text))


def gist(text: str | bytes, *, lines: int = 3, width: int = 200) -> str:
    """Return the last lines of device text, cleaned, as one short line for a message."""
    kept = [line.strip() for line in clean(text).splitlines() if line.strip()][-lines:]
    joined = "; ".join(kept)
    return joined if len(joined) <= width else joined[: width - 1] + "…"
