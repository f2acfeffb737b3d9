"""What onboarding asks: is this the right key, what is the password, shall it go on."""

from __future__ import annotations

import getpass
import os
import sys
import warnings
from typing import TYPE_CHECKING

from provisioner.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from provisioner.onboarding.units import Unit
    from provisioner.transport import Secret

VARIABLE = "PROVISION_PASSWORD"
TRIES = 3


def say(text: str) -> None:
    """Print a line for people, at once; what a device said is cleaned."""
    from provisioner.transport import clean

    print(clean(text), flush=True)


def is_right_key(unit: Unit) -> bool:
    """Ask whether the shown key is the unit's: yes, or its fingerprint."""
    assert unit.greeting is not None
    fingerprint = unit.greeting.key.fingerprint
    answer = _answer(f"Is this the key of {unit.label}? [y/N, or the fingerprint that you expect] ")
    return answer.lower() in ("y", "yes") or answer == fingerprint


def goes_on(count: int) -> bool:
    """Ask whether what was shown is to be done."""
    what = "it" if count == 1 else f"these {count}"
    return _answer(f"\nOnboard {what}? [y/N] ").lower() in ("y", "yes")


def _answer(question: str) -> str:
    sys.stdout.flush()
    try:
        return input(question).strip()
    except EOFError:
        print(flush=True)
        return ""


def given_password(options: argparse.Namespace) -> Secret | None:
    """Return the password of a file descriptor or of the environment, if there is one."""
    from provisioner.transport import Secret

    text = None
    if options.password_fd is not None:
        try:
            with os.fdopen(os.dup(options.password_fd), "r", encoding="utf-8") as stream:
                text = stream.readline().rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"--password-fd {options.password_fd} cannot be read: {error}") from error
        if not text:
            raise InputError(f"--password-fd {options.password_fd} has no password")
    elif os.environ.get(VARIABLE):
        text = os.environ[VARIABLE]
    return Secret(text) if text else None


def asked_password(units: Sequence[Unit], purpose: str = "") -> Secret | None:
    """Ask for the password of some units; None where nobody answers."""
    from provisioner.transport import Secret

    users = list(dict.fromkeys(unit.user for unit in units))
    where = ", ".join(unit.label for unit in units)
    try:
        # Without a terminal the password is read from stdin, and nothing is shown anyway.
        warnings.simplefilter("ignore", getpass.GetPassWarning)
        text = getpass.getpass(f"Password of {' and '.join(users)} at {where}{purpose}: ")
    except EOFError:
        return None
    return Secret(text) if text else None
