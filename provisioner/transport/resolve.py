"""Where a connection leads: fabric asks ssh_config, which is read and prepared once for many hosts.

Imports fabric at the top: only what is itself imported late may import this module.
"""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from fabric import Config, Connection

from provisioner.errors import InputError
from provisioner.transport import sshconfig

if TYPE_CHECKING:
    from provisioner.transport.settings import Settings
    from provisioner.transport.target import Target

PATIENCE = 30.0
"""Seconds for a busy machine's handshake and PAM, once it has answered."""

_PREPARING = threading.Lock()


class _Connection(Connection):  # type: ignore[misc]  # fabric has no types
    """A fabric connection whose attributes are its own: with a configuration for many, none may end up in there."""

    # invoke lists all of its names at each assignment, to tell which ones are configuration; and searches its levels
    # at each question.
    __setattr__ = object.__setattr__
    authentication = SimpleNamespace(strategy_class=None)  # ours comes with the arguments


def configuration(target: Target, *, user: str | None = None, port: int | None = None) -> Config:
    """Return what ssh_config says, as fabric wants it, for all hosts with the same user and port."""
    parsed = sshconfig.load(target.ssh_config, user=user, port=port)
    with _PREPARING:  # the many that begin together wait for one that prepares it
        return _configured(parsed)


@lru_cache(maxsize=256)
def _configured(parsed: Settings) -> Config:
    # Lazy: fabric's own configuration files and environment have no say here.
    config = Config(lazy=True, ssh_config=parsed)
    config._set(user=config.user, port=config.port, connect_kwargs={})  # noqa: SLF001 - as attributes, found at once
    return config


def resolved(host: str, config: Config, target: Target, **given: Any) -> Connection:
    """Return a connection that is not open yet, with what the configuration says of the host."""
    # Ours is the socket, so this bounds the handshake alone: longer than the banner's own limit, which tells more.
    timeout = math.ceil(target.connect_timeout + PATIENCE)
    own = {"banner_timeout": target.connect_timeout}  # were it empty, fabric would write into the configuration's
    given.update(connect_timeout=timeout, connect_kwargs=own, forward_agent=False, inline_ssh_env=True)
    try:
        # gateway=False: fabric reads a list of hops backwards, and checks no host key on the way.
        return _Connection(host, config=config, gateway=False, **given)
    except (ValueError, KeyError) as error:
        raise InputError(f"ssh_config has no usable answer for {host}: {error}") from error
