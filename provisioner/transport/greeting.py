"""First contact: what answers at an address, and with which host key. Nobody logs in, and no secret is at hand here.

Imports paramiko at the top, like `connect`; import it late.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import paramiko

from provisioner.errors import HostError, Unreachable
from provisioner.records import dataclass
from provisioner.transport.client import ClientTransport
from provisioner.transport.connect import _carry, _handshake_failure
from provisioner.transport.hostkeys import KnownHosts, host_name
from provisioner.transport.knownhosts import HostKey
from provisioner.transport.resolve import configuration, resolved
from provisioner.transport.text import gist

if TYPE_CHECKING:
    import socket

    from fabric import Connection

    from provisioner.transport.connect import Link
    from provisioner.transport.network import Proxy
    from provisioner.transport.target import Target

_TRIES = 3
_PATIENCE = 30.0  # for a busy machine's key exchange, once it has answered


@dataclass(frozen=True)
class Greeting:
    """Who answered: the name that known_hosts files it under, its banner, its key, and what is said against the key."""

    name: str
    banner: str
    key: HostKey
    objection: HostError | None = None

    @property
    def line(self) -> str:
        """Return the known_hosts line that accepts the key."""
        return self.key.line_for(self.name)


def greet(target: Target) -> Greeting:
    """Return what answers at the target's address; raises Unreachable or Refused where it is no SSH server."""
    return _met(target)[0]


def ways_in(target: Target) -> tuple[str, ...]:
    """Return the ways to log in that the target's server names to somebody who tries none; its key must be known."""
    greeting, ways = _met(target, ask=True)
    if greeting.objection is not None:
        raise greeting.objection
    return ways


def _met(target: Target, *, ask: bool = False) -> tuple[Greeting, tuple[str, ...]]:
    connection = resolved(target.address, configuration(target, user=target.user, port=target.port), target)
    carriers: list[Link | Proxy] = []
    try:
        for attempt in range(1, _TRIES + 1):
            sock = _carry(connection, target, carriers)
            try:
                return _greet(connection, target, sock, ask=ask)
            except Unreachable:
                raise
            except (paramiko.SSHException, EOFError, OSError) as error:
                # sshd drops connections at random when many come at once.
                if attempt == _TRIES or "banner" not in str(error):
                    raise _told(error, connection, target) from error
                time.sleep(0.3 * attempt)
        raise AssertionError
    finally:
        for carrier in reversed(carriers):
            carrier.close()


def _greet(
    connection: Connection, target: Target, sock: socket.socket, *, ask: bool
) -> tuple[Greeting, tuple[str, ...]]:
    place, port = connection.ssh_config.get("hostkeyalias") or connection.host, int(connection.port)
    known = KnownHosts(target.known_hosts, place, port)
    transport = ClientTransport(sock)
    transport.banner_timeout = target.connect_timeout
    try:
        transport.start_client(timeout=target.connect_timeout + _PATIENCE)
        shown = transport.get_remote_server_key()
        key = HostKey(shown.get_name(), shown.asbytes())
        banner = gist(transport.remote_version, lines=1, width=100).removeprefix("SSH-2.0-")
        greeting = Greeting(host_name(place, port), banner, key, _objection(known, key))
        return greeting, _ways(transport, str(connection.user)) if ask and greeting.objection is None else ()
    finally:
        transport.close()
        with contextlib.suppress(OSError):
            sock.close()


def _objection(known: KnownHosts, key: HostKey) -> HostError | None:
    try:
        known.check(key)
    except HostError as error:
        return error
    return None


def _ways(transport: paramiko.Transport, user: str) -> tuple[str, ...]:
    try:
        transport.auth_none(user)
    except paramiko.BadAuthenticationType as error:
        return tuple(error.allowed_types)
    return ("none",)


def _told(error: Exception, connection: Connection, target: Target) -> Exception:
    place = f"{connection.host} port {connection.port}"
    known = KnownHosts((), target.address, int(connection.port))
    told = _handshake_failure(error, place, known, quick=False)
    if isinstance(told, Unreachable) and told.hint == "check ansible_port":
        told.hint = "is it the right address and port (-p)?"
    return told
