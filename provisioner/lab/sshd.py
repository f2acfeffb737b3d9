"""The SSH server of a simulated device: paramiko's server side, in front of the device's own shell."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import socket
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko

from provisioner.lab.namespace import Device, NotPossible, Running

if TYPE_CHECKING:
    from collections.abc import Callable

_PIPE = 1 << 20
_CHUNK = 1 << 17
_TICK = 500  # ms; how soon a pump notices that its client is gone
_SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/lib/ssh/sftp-server")
_OWN_SFTP = "/usr/local/lib/simulation/sftp"
_SESSION_DOWN = 1.0  # a device that reboots does not answer for this long


class Server:
    """Listens on a loopback port for one device."""

    def __init__(self, device: Device, host_key: Path, port: int, seen: Callable[[], None]) -> None:
        self.device, self._seen = device, seen
        self._key = paramiko.Ed25519Key.from_private_key_file(str(host_key))
        self._listener: socket.socket | None = None
        self._transports: set[paramiko.Transport] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self.port = port
        device.rebooted = self._reboot

    @property
    def host(self) -> str:
        """Return the name of the device."""
        return self.device.host

    def halt(self) -> None:
        """End every process of the device."""
        self.device.halt()

    def start(self) -> None:
        """Open the port: the one of the last time if it is free."""
        listener = _listen(self.port)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True, name=f"{self.device.host}-ssh").start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._stopping = True
        self._close()

    def busy(self) -> bool:
        """Tell whether anybody is connected."""
        with self._lock:
            self._transports = {transport for transport in self._transports if transport.is_active()}
            return bool(self._transports)

    def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        with self._lock:
            transports, self._transports = self._transports, set()
        for transport in transports:
            transport.close()

    def _reboot(self) -> None:
        self._close()
        time.sleep(_SESSION_DOWN)
        if not self._stopping:
            self.device.boot()
            self.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _address = listener.accept()
            except OSError:
                return
            self._seen()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        transport = _Transport(connection)
        transport.local_version = "SSH-2.0-OpenSSH_8.9p1 simulated"
        transport.add_server_key(self._key)
        with self._lock:
            self._transports.add(transport)
        with contextlib.suppress(paramiko.SSHException, EOFError, OSError):
            transport.start_server(event=threading.Event(), server=_Session(self.device, transport))


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _request_then_start(channel: paramiko.Channel, message: paramiko.Message) -> None:
    """Let paramiko answer a channel's request, and only then let the command speak: it may be over already."""
    paramiko.Channel._handle_request(channel, message)  # type: ignore[attr-defined]  # noqa: SLF001
    session = channel.get_transport().server_object
    if isinstance(session, _Session):
        session.answered(channel)


class _Transport(paramiko.Transport):
    _channel_handler_table = {  # noqa: RUF012 - as paramiko has it
        **paramiko.Transport._channel_handler_table,  # type: ignore[attr-defined]  # noqa: SLF001
        paramiko.common.MSG_CHANNEL_REQUEST: _request_then_start,
    }


class _Session(paramiko.ServerInterface):
    """What one client may do: log in with a key that the device's authorized_keys holds, and run commands."""

    def __init__(self, device: Device, transport: paramiko.Transport) -> None:
        self._device, self._transport = device, transport
        self._env: dict[str, str] = {}
        self._ready: dict[int, _Pumps] = {}
        self._groups: list[int] | None = None  # a connection keeps the groups of its login, whatever usermod does

    def answered(self, channel: paramiko.Channel) -> None:
        """Start what a request that was just answered has prepared."""
        pumps = self._ready.pop(channel.get_id(), None)
        if pumps:
            pumps.start()

    def get_allowed_auths(self, username: str) -> str:  # noqa: ARG002
        """Name the ways to log in."""
        return "publickey,password" if self._password() else "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        """Let in whose key the device holds for this user."""
        keys, self._groups = self._device.login(username)
        held = {word for line in keys.splitlines() for word in line.split()[:2]}
        return _verdict(key.get_base64() in held)

    def check_auth_password(self, username: str, password: str) -> int:
        """Let in the user nvidia, where the lab gave the device a login password."""
        return _verdict(username == "nvidia" and bool(self._password()) and password == self._password())

    def check_channel_request(self, kind: str, chanid: int) -> int:  # noqa: ARG002
        """Open sessions, and nothing else."""
        if kind == "session":
            return paramiko.common.OPEN_SUCCEEDED
        return paramiko.common.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED

    def check_channel_env_request(self, channel: paramiko.Channel, name: bytes, value: bytes) -> bool:  # noqa: ARG002
        """Accept what sshd_config of Ubuntu accepts: LANG and LC_*."""
        word = name.decode(errors="replace")
        if word != "LANG" and not word.startswith("LC_"):
            return False
        self._env[word] = value.decode(errors="replace")
        return True

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        """Run a command through the user's shell."""
        return self._run(channel, command.decode(errors="surrogateescape"))

    def check_channel_subsystem_request(self, channel: paramiko.Channel, name: str) -> bool:
        """Serve files by the machine's sftp-server, or our own, inside the device."""
        if name != "sftp":
            return False
        program = next((path for path in _SFTP if Path(path).exists()), _OWN_SFTP)
        return self._run(channel, [program])

    def _password(self) -> str:
        return self._device.found.settings.get("login_password", "")

    def _run(self, channel: paramiko.Channel, command: str | list[str]) -> bool:
        peer = " ".join(str(word) for word in self._transport.getpeername()[:2])
        here = " ".join(str(word) for word in self._transport.sock.getsockname()[:2])  # type: ignore[union-attr]
        env = {**self._env, "SSH_CLIENT": f"{peer} {here.split()[1]}", "SSH_CONNECTION": f"{peer} {here}"}
        pipes = [os.pipe() for _ in range(3)]
        for reader, _writer in pipes:
            with contextlib.suppress(OSError):
                fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, _PIPE)
        (stdin, to_stdin), (from_stdout, stdout), (from_stderr, stderr) = pipes
        try:
            user = self._transport.get_username() or ""
            running = self._device.spawn(user, command, env, (stdin, stdout, stderr), self._groups)
        except NotPossible:
            for fd in (to_stdin, from_stdout, from_stderr):
                os.close(fd)
            return False
        finally:
            for fd in (stdin, stdout, stderr):
                os.close(fd)
        self._ready[channel.get_id()] = _Pumps(channel, running, to_stdin, from_stdout, from_stderr)
        return True


def _verdict(passed: bool) -> int:
    return paramiko.common.AUTH_SUCCESSFUL if passed else paramiko.common.AUTH_FAILED


class _Pumps:
    """Carries a channel's bytes: one thread in, one out. The status goes as soon as the command ends, as sshd does."""

    def __init__(self, channel: paramiko.Channel, running: Running, stdin: int, stdout: int, stderr: int) -> None:
        self._channel, self._running = channel, running
        self._stdin = stdin
        self._out = {stdout: channel.sendall, stderr: channel.sendall_stderr}
        self._wake = os.eventfd(0)

    def start(self) -> None:
        """Begin to carry."""
        for work in (self._inward, self._outward):
            threading.Thread(target=work, daemon=True).start()

    def _inward(self) -> None:
        with contextlib.suppress(OSError):
            while data := self._channel.recv(_CHUNK):
                view = memoryview(data)
                while view:
                    view = view[os.write(self._stdin, view) :]
        os.close(self._stdin)

    def _outward(self) -> None:
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._carry_all()
        for fd in self._out:
            os.close(fd)
        self._running.wait()  # after its last call the other end is done with the event
        os.close(self._wake)
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()

    def _carry_all(self) -> None:
        poll = select.poll()
        for fd in (*self._out, self._wake):
            poll.register(fd, select.POLLIN)
        self._running.then(lambda: os.eventfd_write(self._wake, 1))
        told = False
        while (self._out or not told) and not self._channel.closed:
            for fd, _event in poll.poll(_TICK):
                if fd == self._wake:
                    poll.unregister(fd)
                    self._tell_status()
                    told = True
                else:
                    self._carry(fd, poll)

    def _carry(self, fd: int, poll: select.poll) -> None:
        data = os.read(fd, _CHUNK)
        if data:
            self._out[fd](data)
            return
        poll.unregister(fd)
        del self._out[fd]
        os.close(fd)

    def _tell_status(self) -> None:
        status = self._running.wait()
        if status is None:
            return
        if status >= 0:
            self._channel.send_exit_status(status)
        else:
            self._signalled(-status)

    def _signalled(self, number: int) -> None:
        message = paramiko.Message()
        message.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        message.add_int(self._channel.remote_chanid)
        message.add_string("exit-signal")
        message.add_boolean(False)
        message.add_string(signal.Signals(number).name.removeprefix("SIG"))
        message.add_boolean(False)
        message.add_string("")
        message.add_string("")
        self._channel.transport._send_user_message(message)  # type: ignore[union-attr]  # noqa: SLF001
