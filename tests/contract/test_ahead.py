"""Devices are dialled ahead where it is clear to where, and what was dialled is the connection that is used."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from test_transport import talk

from provisioner.errors import InputError, Unreachable
from provisioner.transport import SshSession
from provisioner.transport.ahead import IDENTITY, dial_ahead

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sshd import Sshd


class Doorman:
    """Hands connections on to a server, and notes what each client says first."""

    def __init__(self, port: int) -> None:
        self.heard: list[bytes] = []
        self._behind = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Let nobody in any more."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._behind))
            self.heard.append(b"")
            number = len(self.heard) - 1
            threading.Thread(target=self._pass, args=(client, server, number), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, None), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, number: int | None) -> None:
        with source, sink:
            try:
                while data := source.recv(65536):
                    if number is not None:
                        self.heard[number] += data
                    sink.sendall(data)
                sink.shutdown(socket.SHUT_WR)
            except OSError:
                return


@contextmanager
def doorman(sshd: Sshd) -> Iterator[Doorman]:
    """Stand before a server."""
    standing = Doorman(sshd.port)
    try:
        yield standing
    finally:
        standing.close()


def test_what_was_dialled_ahead_is_used(sshd: Sshd) -> None:
    """Who dials ahead and then logs in has one connection, and has said who is there once."""
    with doorman(sshd) as door:
        session = SshSession(sshd.target(port=door.port))
        session.dial()
        session.dial()
        with session:
            assert talk(session, "printf in") == "in"
        (heard,) = door.heard
    assert heard.startswith(f"{IDENTITY}\r\n".encode())
    assert heard.count(b"SSH-2.0-") == 1


@pytest.mark.parametrize(
    "leading",
    [
        "HostName 127.0.0.1",
        "Port 22",
        "ProxyCommand true",
        "ProxyJump other",
        "AddressFamily inet",
        "CanonicalizeHostname yes",
    ],
)
def test_where_ssh_config_may_lead_elsewhere_nothing_is_dialled(sshd: Sshd, tmp_path: Path, leading: str) -> None:
    """A line that says where to, for whatever host and in whatever file, keeps hosts from being dialled."""
    (tmp_path / "more").write_text(f"Host other\n  {leading}\n")
    config = tmp_path / "config"
    for text in (f"Host other\n  {leading.replace(' ', '=', 1).upper()}\n", f"Include {tmp_path}/more\n"):
        config.write_text(text)
        assert dial_ahead(sshd.target(ssh_config=config)) is None


@pytest.mark.parametrize("wrong", ["nonsense", "Host 'x", "Include config", "Match exec"])
def test_where_ssh_config_is_mistaken_nothing_is_dialled(sshd: Sshd, tmp_path: Path, wrong: str) -> None:
    """A line that will be refused as bad input is refused before any connection."""
    config = tmp_path / "config"
    config.write_text(f"Host x\n{wrong.replace('config', str(config))}\n")
    with doorman(sshd) as door:
        with pytest.raises(InputError):
            SshSession(sshd.target(port=door.port, ssh_config=config)).open()
        assert door.heard == []


def test_a_jump_host_is_not_passed_by(sshd: Sshd) -> None:
    """Where the inventory has a jump host, the device itself is not dialled."""
    assert dial_ahead(sshd.target(proxy_jump="jump")) is None


def test_lines_about_other_things_do_not_matter(sshd: Sshd, tmp_path: Path) -> None:
    """A configuration without a word of where connections lead is as good as none."""
    config = tmp_path / "config"
    config.write_text("Host *\n  User somebody\n  HostKeyAlias HostName\n  # Port 22\n")
    dialled = dial_ahead(sshd.target(ssh_config=config))
    assert dialled is not None
    dialled.close()


def test_what_is_not_used_is_hung_up(sshd: Sshd) -> None:
    """A session that is closed before it logged in leaves no connection behind."""
    session = SshSession(sshd.target())
    session.dial()
    dialled = session._dialled
    session.close()
    assert dialled is not None
    assert dialled.fileno() == -1


def test_who_does_not_answer_is_told_at_once() -> None:
    """Dialling a port where nobody listens says so."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
    from provisioner.transport import Target

    with pytest.raises(Unreachable, match="refused"):
        SshSession(Target(name="nobody", address="127.0.0.1", port=port)).dial()


def test_a_server_that_lost_patience_is_dialled_anew(sshd: Sshd) -> None:
    """A server that hung up on what was dialled ahead is asked once more."""
    with doorman(sshd) as door:
        session = SshSession(sshd.target(port=door.port))
        session.dial()
        assert session._dialled is not None
        session._dialled.shutdown(socket.SHUT_RDWR)
        with session:
            assert talk(session, "printf in") == "in"
        assert len(door.heard) == 2
