"""The command line: arguments, exit codes, and the only place that prints an error."""

from __future__ import annotations

import argparse
import gc
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

from . import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BACKENDS = ("namespace", "container", "model", "virtual")
BAD_INPUT = 1
INTERRUPTED = 130
_STDERR = 2
_WIDTH = 80
_ALLOCATIONS = 100_000  # of objects, between two looks of the garbage collector at the youngest


class Formatter(argparse.HelpFormatter):
    """Knows how wide a terminal is without shutil, whose archives would be imported at every start."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=_columns() - 2)


def _columns() -> int:
    try:
        return int(os.environ.get("COLUMNS") or os.get_terminal_size(1).columns) or _WIDTH
    except (OSError, ValueError):
        return _WIDTH


class _Raw(Formatter, argparse.RawDescriptionHelpFormatter):
    pass


class Parser(argparse.ArgumentParser):
    """A parser whose complaints end with the exit code of bad input."""

    def __init__(self, *, formatter_class: type[Formatter] = Formatter, **options: Any) -> None:
        super().__init__(formatter_class=formatter_class, **options)

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how the command is used."""
        self.print_usage(sys.stderr)
        self.exit(BAD_INPUT, f"error: {message}\n")


class Interrupt(KeyboardInterrupt):
    """Ctrl-C, or a request to end. A class of its own: Python may end by the signal where the plain one was raised."""


def _interrupt(_number: int, _frame: object) -> NoReturn:
    raise Interrupt


def program() -> NoReturn:
    """Run as a program: `main`, and the end of the process.

    What the process holds is not taken apart first, object by object: at the end of a fleet's run that is as much work
    as a host. Whoever has something to finish has done so.
    """
    _stand()
    code = main()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever wrote there has told it, or was told
            stream.flush()
    os._exit(code)


def _stand() -> None:
    """Have all standard streams: where whoever started this closed one, a file or a socket would take its place."""
    if None not in (sys.stdin, sys.stdout, sys.stderr):
        return
    while (handle := os.open(os.devnull, os.O_RDWR)) <= _STDERR:
        pass
    os.close(handle)
    sys.stdin = sys.stdin or os.fdopen(0)
    sys.stdout = sys.stdout or os.fdopen(1, "w")
    sys.stderr = sys.stderr or os.fdopen(_STDERR, "w")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    # Python's own 700 is for small programs: starting makes a hundred times as many objects, and hardly any garbage.
    gc.set_threshold(_ALLOCATIONS, 20, 20)
    options = parse(list(sys.argv[1:] if arguments is None else arguments))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return run(options)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()
        return INTERRUPTED
    except Exception as error:
        from .errors import ProvisionError

        if not isinstance(error, ProvisionError):
            raise
        from .report.errors import print_error

        print_error(error, sys.stderr)
        return BAD_INPUT
    finally:
        gc.freeze()  # what is left ends with the process: Python would go over all of it for garbage once more


def run(options: argparse.Namespace) -> int:
    """Hand the arguments to the command that they name."""
    from importlib import import_module

    module = import_module(f"provisioner.commands.{options.command}")
    code: int = module.run(options)
    return code


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command that comes first; they may stand before or behind what it works on."""
    if not arguments or arguments[0] not in COMMANDS:
        _top(arguments).parse_args(arguments)
    name, *rest = arguments
    _, declare = COMMANDS[name]
    one = Parser(prog=f"provision {name}")
    declare(one)
    options = one.parse_intermixed_args(rest)
    options.command = name
    return options


def _top(arguments: list[str]) -> Parser:
    top = Parser(
        prog="provision",
        description="Bring NVIDIA Jetson devices to the state that a playbook declares.",
        epilog="\n".join(["commands:", *(f"  {name:<8} {told}" for name, (told, _) in COMMANDS.items())]),
        formatter_class=_Raw,
    )
    top.add_argument("--version", action="version", version=f"provision {__version__}")
    top.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    if arguments and not arguments[0].startswith("-"):
        top.error(f"there is no command {arguments[0]!r}{_near(arguments[0])}; there are {', '.join(COMMANDS)}")
    return top


def _near(name: str) -> str:
    from difflib import get_close_matches

    found = get_close_matches(name, COMMANDS, n=1)
    return f", did you mean {found[0]!r}?" if found else ""


def _apply(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    one.add_argument("playbooks", metavar="PLAYBOOK", nargs="*", help="default: site.yaml")
    add = one.add_argument
    add("--dry-run", action="store_true", help="show what would change, exactly, and touch nothing: --check --diff")
    add("-C", "--check", action="store_true", help="tell what would change, and touch nothing")
    add("-D", "--diff", action="store_true", help="show what changes in files")
    add("-t", "--tags", action="append", default=[], metavar="TAGS", help="only tasks with one of these tags")
    add("--skip-tags", action="append", default=[], metavar="TAGS", help="no tasks with one of these tags")
    add("-e", "--extra-vars", action="append", default=[], metavar="VARS", help="key=value, JSON, YAML or @file")
    add("-b", "--become", action="store_true", help="run all tasks as root, by sudo")
    add("--become-user", metavar="USER", help="whom to become (default: root)")
    add("--confirm", action="store_true", help="show the diff, ask, and apply exactly that")
    add("--allow-restart", action="store_true", help="let a restart of Docker stop containers that are not ours")
    add("--force-handlers", action="store_true", help="run notified handlers also after a failure")
    add("--exit-code", action="store_true", help="with --check: 3 when something would change or is unknown")
    add("--json", metavar="FILE", help="also write the results as JSON")
    add("--junit", metavar="FILE", help="also write the results as JUnit XML")


def _fleet(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add(
        "inventory",
        metavar="INVENTORY",
        type=_named,
        help="a file, a folder, or a list with a comma: nvidia@192.168.55.1,",
    )
    add("-l", "--limit", metavar="PATTERN", help="only these hosts")
    add("-f", "--forks", type=_count, default=50, metavar="N", help="hosts at a time (default: 50)")
    add("-u", "--user", help="log in as this user, where the inventory names none")
    add("--private-key", metavar="FILE", help="log in with this key, where the inventory names none")
    add("-k", "--ask-pass", action="store_true", help="ask for the password to log in with")
    add("-K", "--ask-become-pass", action="store_true", help="ask for the password of sudo")
    add("-T", "--timeout", type=_seconds, default=10, metavar="SECONDS", help="to connect (default: 10)")
    add("-v", "--verbose", action="count", default=0, help="also what is in order; -vv more")
    add("--lab-backend", choices=BACKENDS, help="how the devices of the lab are made")


def _named(text: str) -> str:
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 on")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds")
    return seconds


def _facts(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    one.add_argument("-b", "--become", action="store_true", help="ask as root, by sudo: Docker's daemon answers root")
    one.add_argument("--json", action="store_true", help="for programs")


def _status(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    add = one.add_argument
    add("-w", "--watch", action="store_true", help="look again and again, until Ctrl-C")
    add("--interval", type=_seconds, default=5, metavar="SECONDS", help="with --watch: between two looks (default: 5)")
    add("--drift-every", type=_seconds, default=300, metavar="SECONDS", help="... and for drift (default: 300)")
    add("--no-drift", action="store_true", help="do not look for what the last playbook would change")
    add("-e", "--extra-vars", action="append", default=[], metavar="VARS", help="what that playbook was given, again")
    add("-b", "--become", action="store_true", help="ask as root, by sudo: some sensors answer root only")
    add("--json", action="store_true", help="for programs; with --watch a line each time")


def _pin(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    which = one.add_mutually_exclusive_group()
    which.add_argument("--update", action="store_true", help="ask the registries, show what moves, and move it")
    which.add_argument("--rollback", action="store_true", help="go back to the pins before the last update")
    one.add_argument("--dry-run", action="store_true", help="show what would move, and move nothing")


def _verify(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    one.add_argument("--json", metavar="FILE", help="also write the results as JSON")


def _onboard(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("addresses", metavar="ADDRESS", nargs="+", type=_named, help="[user@]host[:port], or a host of the inventory")
    add("-i", "--inventory", metavar="INVENTORY", required=True, type=_named, help="the file that it comes into")
    add("-g", "--group", help="its group there (default: its release's, as jetpack6, or jetsons)")
    add("--name", help="its name (default: its host name, or module and serial number)")
    add("-u", "--user", help="log in as this user (default: nvidia)")
    add("-p", "--port", type=_count, metavar="PORT", help="SSH port, where the address has none (default: 22)")
    add("--private-key", metavar="FILE", help="the key that will log in; made where there is none")
    add("--password-fd", type=int, metavar="N", help="read the password from this descriptor, or PROVISION_PASSWORD")
    add("--host-key", action="append", default=[], metavar="SHA256:...", help="accept this host key without asking")
    add("--replace", metavar="NAME", help="the unit is this host, flashed anew: accept that its key has changed")
    add("--sudo", choices=("nopasswd", "keep"), default="nopasswd", help="sudo without a password, or left as it is")
    add("--disable-password", action="store_true", help="no login with a password, once the key is proven")
    add("--dry-run", action="store_true", help="show what would change, exactly, and touch nothing")
    add("--yes", action="store_true", help="do not ask before changing anything; the host key is asked about still")
    add("--apply", action="store_true", help="go straight on to `provision apply` for the unit")
    add("-T", "--timeout", type=_seconds, default=10, metavar="SECONDS", help="to connect (default: 10)")
    add("-v", "--verbose", action="count", default=0, help="also what is in order; -vv more")


def _images(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("--l4t", metavar="RELEASE", help="only what runs on this release, as 35.4.1, and all of it")
    add("--family", metavar="NAME", default="l4t-pytorch", help="what is in the image (default: l4t-pytorch)")
    add("--json", action="store_true", help="for programs")


def _lab(one: argparse.ArgumentParser) -> None:
    one.add_argument("action", choices=("up", "down", "status", "reset"))
    one.add_argument("inventory", metavar="INVENTORY")
    one.add_argument("--lab-backend", choices=BACKENDS, help="how the devices are made")


def _explain(one: argparse.ArgumentParser) -> None:
    one.add_argument("text", metavar="TEXT", nargs="+", help="what was printed, or - to read it from stdin")


def _init(one: argparse.ArgumentParser) -> None:
    one.add_argument("folder", metavar="DIR")


def _offboard(one: argparse.ArgumentParser) -> None:
    add = one.add_argument
    add("names", metavar="NAME", nargs="+", help="hosts of the inventory")
    add("-i", "--inventory", metavar="INVENTORY", type=_named, required=True, help="a file or a folder")
    add("--dry-run", action="store_true", help="show what would be taken out, and take out nothing")
    add("-y", "--yes", action="store_true", help="do not ask")


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None]]] = {
    "apply": ("bring devices to the state that playbooks declare", _apply),
    "facts": ("tell what the devices are", _facts),
    "status": ("tell how the devices do, and what drifted", _status),
    "pin": ("show, move or take back the pinned images", _pin),
    "images": ("tell which image runs where, and why", _images),
    "verify": ("prove that PyTorch runs on the GPU, in the pinned container", _verify),
    "onboard": ("bring new units into the fleet: host key, login key, sudo, names, clock, inventory", _onboard),
    "explain": ("tell cause and fix of what a device or a container printed", _explain),
    "lab": ("start, stop, show and reset the devices of a lab", _lab),
    "offboard": ("take units out of the inventory, and forget their host keys", _offboard),
    "init": ("copy the shipped inventory, playbooks and templates to a folder", _init),
}
"""What there is to do: a line for people, and what declares its arguments."""


if __name__ == "__main__":
    raise SystemExit(main())
