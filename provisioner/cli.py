"""The command line: arguments, exit codes, and the only place that prints an error."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, NoReturn

from . import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

BAD_INPUT = 1
INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """A parser whose complaints end with the exit code of bad input."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how the command is used."""
        self.print_usage(sys.stderr)
        self.exit(BAD_INPUT, f"error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    options = parser().parse_args(arguments)
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


def run(options: argparse.Namespace) -> int:
    """Hand the arguments to the command that they name."""
    from importlib import import_module

    module = import_module(f"provisioner.commands.{options.command}")
    code: int = module.run(options)
    return code


def parser() -> Parser:
    """Return the parser of all commands."""
    top = Parser(prog="provision", description="Bring NVIDIA Jetson devices to the state that a playbook declares.")
    top.add_argument("--version", action="version", version=f"provision {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    _apply(commands.add_parser("apply", help="bring devices to the state that playbooks declare"))
    _facts(commands.add_parser("facts", help="tell what the devices are"))
    _pin(commands.add_parser("pin", help="show, move or take back the pinned images"))
    _verify(commands.add_parser("verify", help="prove that PyTorch runs on the GPU, in the pinned container"))
    _lab(commands.add_parser("lab", help="start, stop and reset simulated devices"))
    init = commands.add_parser("init", help="copy the shipped inventory, playbooks and templates to a folder")
    init.add_argument("folder", metavar="DIR")
    return top


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
    add("inventory", metavar="INVENTORY", help="a file, a folder, or a list with a comma: nvidia@192.168.55.1,")
    add("-l", "--limit", metavar="PATTERN", help="only these hosts")
    add("-f", "--forks", type=int, default=50, metavar="N", help="hosts at a time (default: 50)")
    add("-u", "--user", help="log in as this user, where the inventory names none")
    add("--private-key", metavar="FILE", help="log in with this key, where the inventory names none")
    add("-k", "--ask-pass", action="store_true", help="ask for the password to log in with")
    add("-K", "--ask-become-pass", action="store_true", help="ask for the password of sudo")
    add("-T", "--timeout", type=float, default=10, metavar="SECONDS", help="to connect (default: 10)")
    add("-v", "--verbose", action="count", default=0, help="also what is in order; -vv more")
    add("--lab-backend", choices=("namespace", "container", "model"), help="how simulated devices are made")


def _facts(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    one.add_argument("--json", action="store_true", help="for programs")


def _pin(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    which = one.add_mutually_exclusive_group()
    which.add_argument("--update", action="store_true", help="ask the registries, show what moves, and move it")
    which.add_argument("--rollback", action="store_true", help="go back to the pins before the last update")
    one.add_argument("--dry-run", action="store_true", help="show what would move, and move nothing")


def _verify(one: argparse.ArgumentParser) -> None:
    _fleet(one)
    one.add_argument("--json", metavar="FILE", help="also write the results as JSON")


def _lab(one: argparse.ArgumentParser) -> None:
    one.add_argument("action", choices=("up", "down", "status", "reset"))
    one.add_argument("inventory", metavar="INVENTORY")
    one.add_argument("--lab-backend", choices=("namespace", "container", "model"), help="how the devices are made")


if __name__ == "__main__":
    raise SystemExit(main())
