"""Somebody in the middle: an SSH server with a key of its own, who notes what anybody tries to log in with."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import paramiko

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def impostor() -> Iterator[tuple[int, list[str]]]:
    """Answer on a port with a key of one's own, and note whatever anybody tries to log in with."""
    tried: list[str] = []
    listener = socket.create_server(("127.0.0.1", 0))
    key = paramiko.ECDSAKey.generate()
    open_ones: list[paramiko.Transport] = []

    class Curious(paramiko.ServerInterface):
        def get_allowed_auths(self, username: str) -> str:
            tried.append(f"asked for {username}")
            return "password,publickey"

        def check_auth_password(self, username: str, password: str) -> int:
            tried.append(f"password {username} {password}")
            return paramiko.common.AUTH_SUCCESSFUL

        def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
            tried.append(f"key {username} {key.get_name()}")
            return paramiko.common.AUTH_FAILED

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            transport = paramiko.Transport(connection)
            transport.add_server_key(key)
            open_ones.append(transport)
            with suppress(paramiko.SSHException, EOFError, OSError):
                transport.start_server(event=threading.Event(), server=Curious())

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1], tried
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for transport in open_ones:
            transport.close()
