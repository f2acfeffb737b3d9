"""Fixtures of the contract tests: a real sshd, and sessions on it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from sshd import MISSING, Sshd, running

from provisioner.transport import SshSession

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """Yield one server for all tests that need nothing special of it."""
    if MISSING:
        pytest.skip(MISSING)
    with running() as server:
        yield server


@pytest.fixture
def start_sshd() -> Iterator[Callable[..., Sshd]]:
    """Yield a function that starts a server of the test's own."""
    if MISSING:
        pytest.skip(MISSING)
    with ExitStack() as stack:
        yield lambda options=None, **more: stack.enter_context(running(options, **more))


@pytest.fixture
def session(sshd: Sshd) -> Iterator[SshSession]:
    """Yield an open session as the user that runs the tests."""
    with SshSession(sshd.target()) as opened:
        yield opened
