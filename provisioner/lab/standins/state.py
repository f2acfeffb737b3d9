"""What the stand-ins know: the device's catalogue entry, dpkg's database, and JSON files under a lock."""

from __future__ import annotations

import fcntl
import os
import sys

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from typing import Any, NoReturn


DISK = "/var/lib/simulation"
RUN = "/run/simulation"
STATUS = "/var/lib/dpkg/status"
COMMANDS = f"{DISK}/commands"
BROUGHT = "/usr/local/lib/simulation/brought"
NOT_SIMULATED = 96


def unknown(argv: list[str]) -> NoReturn:
    """End a program that has no recorded answer."""
    sys.stdout.flush()
    sys.stderr.write(f"{os.path.basename(argv[0])}: not simulated: {' '.join(argv[1:])}\n")  # noqa: PTH119
    sys.exit(NOT_SIMULATED)


def fail(status: int, *lines: str) -> NoReturn:
    """End with a status, and with lines on stderr."""
    sys.stdout.flush()
    sys.stderr.write("".join(f"{line}\n" for line in lines))
    sys.exit(status)


def read(path: str, default: Any = None) -> Any:
    """Return the JSON in a file, or default."""
    import json

    try:
        with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs every call 5 ms
            return json.load(file)
    except FileNotFoundError:
        return default


def write(path: str, value: Any, mode: int = 0o644) -> None:
    """Replace a JSON file in one step."""
    import json

    replace(path, json.dumps(value, indent=1), mode)


def replace(path: str, text: str, mode: int = 0o644) -> None:
    """Replace a text file in one step."""
    draft = f"{path}.{os.getpid()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(draft, path)  # noqa: PTH105


class locked:  # noqa: N801 - used as a function; contextlib costs every call 3 ms
    """Hold one of the simulation's locks."""

    def __init__(self, name: str) -> None:
        self._fd = os.open(f"{RUN}/{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> None:
        """Wait for it."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_error: object) -> None:
        """Let it go."""
        os.close(self._fd)


def device() -> dict[str, Any]:
    """Return what the lab's catalogue says about this device."""
    found = read(f"{DISK}/device.json")
    return found if isinstance(found, dict) else {}


Stanza = dict[str, str]


def database() -> dict[str, Stanza]:
    """Return dpkg's database, by package."""
    with open(STATUS, encoding="utf-8") as file:  # noqa: PTH123
        stanzas = [_stanza(block) for block in file.read().split("\n\n") if block.strip()]
    return {stanza["Package"]: stanza for stanza in stanzas}


def _stanza(block: str) -> Stanza:
    found: Stanza = {}
    last = ""
    for line in block.strip("\n").split("\n"):
        if line[:1] in " \t":
            found[last] += "\n" + line
        else:
            last, _, value = line.partition(":")
            found[last] = value.strip()
    return found


def save(database: dict[str, Stanza]) -> None:
    """Write dpkg's database."""
    blocks = ["".join(f"{key}: {value}\n" for key, value in stanza.items()) for _, stanza in sorted(database.items())]
    replace(STATUS, "\n".join(blocks))


def installed(stanza: Stanza | None) -> bool:
    """Tell whether a package is unpacked and configured."""
    return stanza is not None and stanza["Status"].endswith(" ok installed")
