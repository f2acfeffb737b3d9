"""From a Target to an authenticated transport: fabric resolves and connects, on our socket and our terms.

Imports fabric and paramiko at the top; `ssh` imports this module when the first connection is made.
"""

from __future__ import annotations

import provisioner.transport.lean  # isort: skip  # noqa: F401 - before paramiko and fabric

import contextlib
import getpass
import logging
import random
import re
import socket
import time
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.auth_strategy import AuthFailure

from provisioner.errors import HostError, InputError, Refused, Unreachable
from provisioner.records import dataclass
from provisioner.transport.client import ClientTransport
from provisioner.transport.hostkeys import KnownHosts
from provisioner.transport.knownhosts import HostKey
from provisioner.transport.login import Attempts, Login
from provisioner.transport.network import Proxy, dial
from provisioner.transport.resolve import PATIENCE, configuration, resolved
from provisioner.transport.text import gist

if TYPE_CHECKING:
    from collections.abc import Callable

    from fabric import Connection

    from provisioner.transport.target import Target

_MAX_HOPS = 8
_TRIES = 4  # sshd drops connections at random when many come at once (MaxStartups)

# A library must not print: without a handler, Python's last resort shows paramiko's thread errors.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass
class Link:
    """An authenticated connection, with what carries it."""

    connection: Connection
    verified: bool
    carriers: list[Link | Proxy] = field(default_factory=list)

    @property
    def transport(self) -> ClientTransport:
        """Return paramiko's transport, which is ours."""
        transport: ClientTransport = self.connection.transport
        return transport

    @property
    def user(self) -> str:
        """Return the name that logged in."""
        return str(self.connection.user)

    def close(self) -> None:
        """Hang up, and then what carried the connection."""
        hang_up(self.connection)
        for carrier in reversed(self.carriers):
            carrier.close()


class _Unsettled(Exception):  # noqa: N818 - as below
    """The key cannot be judged by what was read of known_hosts."""


class _Dropped(Exception):  # noqa: N818 - never leaves this module
    """The server closed the connection before it said a word."""


def connect(target: Target, dialled: socket.socket | None = None) -> Link:
    """Return a link to the device, through whatever its configuration says lies between; or what was dialled ahead."""
    try:
        return _persist(target, dialled, thorough=not target.check_host_keys)
    except _Unsettled:
        return _persist(target, thorough=True)


def _persist(target: Target, dialled: socket.socket | None = None, *, thorough: bool) -> Link:
    for attempt in range(1, _TRIES + 1):
        try:
            return _connect(target, dialled if attempt == 1 else None, thorough=thorough)
        except _Dropped as error:
            if attempt == _TRIES:
                raise Unreachable(
                    f"{target.address} closed the connection before it said a word",
                    hint="does sshd run there, and does it limit connections (MaxStartups)?",
                ) from error
            time.sleep(random.uniform(0.2, 0.5) * attempt)  # noqa: S311 - spreads the retries
    raise AssertionError


def _connect(target: Target, dialled: socket.socket | None, *, thorough: bool) -> Link:
    carriers: list[Link | Proxy] = []
    try:
        connection = resolved(target.address, configuration(target, user=target.user, port=target.port), target)
        sock = dialled or _carry(connection, target, carriers, thorough=thorough)
        link = _open(connection, target, sock, thorough=thorough, greeted=dialled is not None)
    except BaseException as error:
        if dialled is not None:
            dialled.close()
        failure = _proxy_failure(error, carriers)
        for carrier in reversed(carriers):
            carrier.close()
        if failure:
            raise failure from error
        raise
    link.carriers = carriers
    return link


def _proxy_failure(error: BaseException, carriers: list[Link | Proxy]) -> Unreachable | None:
    """Return what the ProxyCommand complained of, where it brought no connection about."""
    proxy = next((carrier for carrier in carriers if isinstance(carrier, Proxy)), None)
    if proxy is None or not isinstance(error, _Dropped | Unreachable):
        return None
    return Unreachable(f"the ProxyCommand brought no connection: {proxy.complaint() or 'it said nothing'}")


def _carry(
    connection: Connection, target: Target, carriers: list[Link | Proxy], depth: int = 0, *, thorough: bool = True
) -> socket.socket:
    """Return what the connection runs over: a socket of our own, a tunnel, or a program."""
    settings = connection.ssh_config
    jump = target.proxy_jump if depth == 0 and target.proxy_jump else settings.get("proxyjump")
    hops = [hop.strip() for hop in (jump or "").split(",") if hop.strip().lower() not in ("", "none")]
    if hops and depth < _MAX_HOPS and not _is_itself(hops[0], connection):
        return _through(hops, connection, target, carriers, depth, thorough=thorough)
    if settings.get("proxycommand") and depth < _MAX_HOPS and not hops:
        carriers.append(proxy := Proxy(settings["proxycommand"]))
        return proxy.sock
    family = str(settings.get("addressfamily", "any")).lower()
    return dial(connection.host, connection.port, target.connect_timeout, family=family)


def _is_itself(hop: str, connection: Connection) -> bool:
    # `Host *` with a ProxyJump matches the jump host too.
    given = _split_hop(hop)
    same_port = given["port"] in (None, int(connection.port))
    return same_port and given["host"] in (connection.host, connection.original_host)


def _through(
    hops: list[str],
    connection: Connection,
    target: Target,
    carriers: list[Link | Proxy],
    depth: int,
    *,
    thorough: bool,
) -> socket.socket:
    carrier: Link | None = None
    for hop in hops:
        given = _split_hop(hop)
        station = resolved(given.pop("host"), configuration(target), target, **given)
        if carrier:
            sock = _tunnel(carrier, station, target)
        else:
            sock = _carry(station, target, carriers, depth + 1, thorough=thorough)
        carrier = _open(station, target, sock, own=False, thorough=thorough)
        carrier.transport.set_keepalive(15)
        carriers.append(carrier)
    if carrier is None:
        raise AssertionError(hops)
    return _tunnel(carrier, connection, target)


def _split_hop(hop: str) -> dict[str, Any]:
    found = re.fullmatch(r"(?:ssh://)?(?:([^@]+)@)?(\[[^\]]+\]|[^:]+|[^\[].*:.*:.*?)(?::(\d+))?/?", hop)
    if not found:
        raise InputError(f"ProxyJump: {hop!r} is no [user@]host[:port]")
    user, host, port = found.groups()
    return {"host": host.strip("[]"), "user": user, "port": int(port) if port else None}


def _tunnel(carrier: Link, connection: Connection, target: Target) -> socket.socket:
    """Return a channel of the jump host that leads to the connection's address."""
    address = (connection.host, int(connection.port))
    try:
        channel = carrier.transport.open_channel(
            "direct-tcpip", address, ("127.0.0.1", 0), timeout=target.connect_timeout
        )
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise Unreachable(
            f"no way from the jump host {carrier.connection.host} to {address[0]} port {address[1]}: {gist(str(error))}"
        ) from error
    return channel  # type: ignore[return-value]  # a channel is as much of a socket as paramiko needs


def _open(
    connection: Connection,
    target: Target,
    sock: socket.socket,
    *,
    own: bool = True,
    thorough: bool = True,
    greeted: bool = False,
) -> Link:
    """Shake hands, check the host key, and log in."""
    settings = connection.ssh_config
    files = [*target.known_hosts, *_more_known_hosts(settings)]
    host = settings.get("hostkeyalias") or connection.host
    known = KnownHosts(files, host, int(connection.port), thorough=thorough)
    attempts = Attempts(connection.user or getpass.getuser())
    login = Login(target, settings, attempts, own=own)
    client: Any = connection.client
    # Keys are judged here: paramiko's own table, which is empty, makes a class of its own for each question.
    client._system_host_keys = client._host_keys = {}  # noqa: SLF001
    client.set_missing_host_key_policy(_Check(known, login, strict=target.check_host_keys))
    connection.connect_kwargs = {
        "sock": sock,
        "transport_factory": _factory(known, strict=target.check_host_keys, greeted=greeted),
        "auth_strategy": login,
        "banner_timeout": target.connect_timeout,
        "auth_timeout": PATIENCE,
        "channel_timeout": PATIENCE,
    }
    started = time.monotonic()
    try:
        connection.open()
    except BaseException as error:
        hang_up(connection)
        sock.close()
        quick = time.monotonic() - started < target.connect_timeout / 2
        told = _explain(error, connection, known, attempts, quick=quick)
        if told is error:
            raise
        raise told from error
    return Link(connection, login.verified)


def _more_known_hosts(settings: Any) -> list[Path]:
    names = str(settings.get("userknownhostsfile", "")).split()
    return [Path(name).expanduser() for name in names if name.lower() != "none"]


def _factory(known: KnownHosts, *, strict: bool, greeted: bool) -> Callable[..., paramiko.Transport]:
    def make(sock: socket.socket, **options: Any) -> paramiko.Transport:
        transport = ClientTransport(sock, greeted=greeted, **options)
        transport.handshake_timeout = PATIENCE
        if strict or known.kinds:
            transport.get_security_options().key_types = known.algorithms()
        return transport

    return make


class _Check(paramiko.MissingHostKeyPolicy):
    """Judges every host key: the client itself is given no known_hosts, so it asks here each time."""

    def __init__(self, known: KnownHosts, login: Login, *, strict: bool) -> None:
        self._known = known
        self._login = login
        self._strict = strict

    def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:  # noqa: ARG002
        """Raise Refused unless the key is known, or nobody wants it checked."""
        shown = HostKey(key.get_name(), key.asbytes())
        self._login.verified = self._known.is_known(shown)
        if self._strict and not self._login.verified:
            if not self._known.complete:
                raise _Unsettled
            self._known.check(shown)


def hang_up(connection: Connection) -> None:
    """Close a connection at once, whatever state it is in."""
    transport = connection.client.get_transport()
    if transport is not None:
        # Shut down first: paramiko's thread then wakes at once instead of at its next tick.
        with contextlib.suppress(OSError, AttributeError, EOFError):
            transport.sock.shutdown(socket.SHUT_RDWR)
    with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
        connection.client.close()


def _explain(
    error: BaseException, connection: Connection, known: KnownHosts, attempts: Attempts, *, quick: bool
) -> BaseException:
    """Return the error that the user is told; what is none of the network's is handed back."""
    place = f"{connection.host} port {connection.port}"
    if isinstance(error, HostError):
        return error
    if isinstance(error, AuthFailure):
        return attempts.refusal(place)
    if isinstance(error, paramiko.SSHException | EOFError | OSError):
        return _handshake_failure(error, place, known, quick=quick)
    return error


def _handshake_failure(error: Exception, place: str, known: KnownHosts, *, quick: bool) -> Exception:
    text = str(error)
    if isinstance(error, paramiko.ssh_exception.IncompatiblePeer):
        if "host key" in text and not known.complete:
            return _Unsettled()
        if "host key" in text and known.kinds:
            return known.mismatch()
        return Refused(
            f"{place} and this program have no algorithm in common: {gist(text)}", hint="is its sshd too old?"
        )
    if "banner" in text and quick:
        return _Dropped(place)
    if "banner" in text or "protocol version" in text:
        said = gist(text.partition("protocol version ")[2], lines=1, width=80) or "nothing"
        return Unreachable(f"{place} does not speak SSH; it said {said}", hint="check ansible_port")
    cause = gist(text) or type(error).__name__
    return Unreachable(f"{place} broke off the handshake: {cause}", hint="is the device shutting down or overloaded?")
