"""One channel that runs one /bin/sh, privileged if asked for: what is sent is its stdin."""

from __future__ import annotations

import re
import secrets
import shlex
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

from provisioner.errors import LinkLost, Refused
from provisioner.records import dataclass
from provisioner.transport.text import clean, gist

if TYPE_CHECKING:
    import paramiko

    from provisioner.transport.client import ClientTransport
    from provisioner.transport.target import Target

FLIGHT = 8 * (32_768 - 64)
"""Bytes that are sent at once: so many packets, full to the last."""

_READ = 1 << 18
_TICK = 0.02  # how long a full window may block before we look whether the other side waits for us
_TAIL = 1 << 16  # how much of stderr, and of noise before the ready line, is kept
_MOST_AHEAD = 1 << 28  # stdout that came while we were sending
_SUDO_PATIENCE = 60.0
_STALL = 600.0

# The login shell may be fish or csh: no single quote, backslash, exclamation mark or newline in here.
# Nothing below reads stdin before the shell that it is meant for; sudo -S does, and then nothing was sent yet.
_LOGIN = "LC_ALL=C; export LC_ALL; u=${LOGNAME:-$(id -un 2>/dev/null || id -u)}"
_HERE = 'r=$2; set -- "$1" "$u"; eval "$r"'
# The kernel tells a shell who it is as well as id does, and needs no process for that.
_UID = '{ while read -r k _ i _; do [ "$k" = Uid: ] && break; done </proc/self/status; } 2>/dev/null || i=$(id -u)'
_SUDO = (
    f'{_UID}; if [ "$i" = 0 ]; then {_HERE}; fi; '
    'command -v sudo >/dev/null 2>&1 || { printf "%s denied sudo: not found" "$1"; exit 1; }; '
    'r=$(sudo -n true 2>&1 </dev/null) && exec sudo -n -- /bin/sh -c "$2" sh "$1" "$u"; '
)
_DENIED = 'printf "%s denied %s" "$1" "$r"; exit 1'
_ASK = 'exec sudo -k -S -p "$3" -- /bin/sh -c "$2" sh "$1" "$u"'
_READY = f'{_UID}; PROVISION_UID=$i; export PROVISION_UID; echo "$1 ready $i $2"'


@dataclass
class Tally:
    """Bytes of payload that went each way."""

    sent: int = 0
    received: int = 0


class _Bell:
    """Rung by paramiko when either stream has something; only its owner silences it."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        self._event.set()

    def clear(self) -> None:
        # paramiko clears when one stream is empty, while the other may hold data.
        pass

    def silence(self) -> None:
        self._event.clear()

    def wait(self, timeout: float) -> None:
        self._event.wait(timeout)


def boot_command(marker: str, prompt: str, *, become: bool, password: bool) -> str:
    """Return the command that ends in /bin/sh: constant text, and two random words that are no secrets."""
    if not become:
        return "exec /bin/sh"
    steps = [_LOGIN, _SUDO + (_ASK if password else _DENIED)]
    words = [shlex.quote("; ".join(steps)), "sh", marker, shlex.quote(f"{_READY}; exec /bin/sh"), prompt]
    return f"exec /bin/sh -c {' '.join(words)}"


def opening(marker: str, *, become: bool) -> str:
    """Return what /bin/sh is told first, where nothing ran before it that could tell who it is."""
    return "" if become else f'{_LOGIN}; set -- {marker} "$u"; {_READY}; set --\n'


def request(channel: paramiko.Channel, kind: str, argument: str) -> None:
    """Ask for an exec or a subsystem without waiting for the answer: a refusal closes the channel."""
    from paramiko import Message, common

    message = Message()
    message.add_byte(common.cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string(kind)
    message.add_boolean(True)
    message.add_string(argument)
    # Channel.exec_command waits a round trip for the reply, and without any deadline.
    carrier: Any = channel.get_transport()
    carrier._send_user_message(message)  # noqa: SLF001


class Shell:
    """A running /bin/sh; one thread uses it at a time."""

    def __init__(self, transport: ClientTransport, target: Target, user: str, tally: Tally, *, verified: bool) -> None:
        self._target = target
        self._user = user
        self._tally = tally
        self._verified = verified
        self._marker = secrets.token_hex(8)
        self._prompt = f"{secrets.token_hex(8)}:"
        self._bell = _Bell()
        self._head = bytearray()
        self._ahead: deque[bytes] = deque()
        self._ahead_size = 0
        self._stderr = bytearray()
        self._ready = False
        self._opening = opening(self._marker, become=target.become).encode()
        self.uid: int | None = None
        self.login_user = user
        self._transport = transport
        self._channel = self._start(transport)

    def _start(self, transport: paramiko.Transport) -> paramiko.Channel:
        channel = open_channel(transport, self._target.name)
        channel.settimeout(_TICK)
        streams: Any = channel
        streams.in_buffer.set_event(self._bell)
        streams.in_stderr_buffer.set_event(self._bell)
        password = self._target.become_password is not None
        command = boot_command(self._marker, self._prompt, become=self._target.become, password=password)
        request(channel, "exec", command)
        return channel

    @property
    def stderr(self) -> bytes:
        """Return the last of what the shell wrote to stderr."""
        return bytes(self._stderr)

    def unlock(self) -> None:
        """Where sudo may want the password, wait for its prompt, answer once, and wait until the shell runs."""
        if not self._target.become or self._target.become_password is None:
            return
        deadline = time.monotonic() + _SUDO_PATIENCE
        answered = False
        while not self._ready:
            over = self._over()
            self._pump()
            asked = self._stderr.count(self._prompt.encode())
            if asked > 1:
                raise self._wrong_password()
            if asked and not answered:
                answered = True
                self._answer()
            if over and not self._ready:
                raise self._no_shell()
            self._wait_for_sudo(deadline)

    def _wait_for_sudo(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise Refused(f"sudo did not ask for the password of {self._user} as it should: {gist(self.stderr)}")
        if not self._ready:
            self._rest(left)

    def _answer(self) -> None:
        password = self._target.become_password
        if password is None or not self._verified:
            raise Refused(
                "sudo wants a password, and the host key was not verified: it is not sent",
                hint="verify the host key first, and put it into known_hosts",
            )
        self._send_all(password.reveal().encode() + b"\n")

    def send(self, data: bytes) -> None:
        """Write to the shell's stdin, reading on meanwhile, so that neither side waits for the other."""
        if self._over():  # a shell that closed its stdout can answer nothing more
            raise self._cannot_send()
        # In one with what comes first: a packet of its own would cost more.
        first, self._opening = self._opening, b""
        self._send_all(first + data if first else data)
        self._tally.sent += len(data)

    def _begin(self) -> None:
        """Say what comes first, where nothing was sent yet."""
        if self._opening:
            self.send(b"")

    def _send_all(self, data: bytes) -> None:
        view = memoryview(data)
        position = 0
        stalled = time.monotonic() + _STALL
        while position < len(view):
            sent = self._send_piece(view[position : position + FLIGHT])
            if sent:
                position += sent
                stalled = time.monotonic() + _STALL
            elif time.monotonic() > stalled:
                raise TimeoutError("the device stopped reading")

    def _send_piece(self, piece: memoryview) -> int:
        try:
            sent = self._transport.send_data(self._channel, piece)
        except TimeoutError:
            self._pump()
            return 0
        except (OSError, EOFError) as error:
            raise self._cannot_send() from error
        if not sent:
            raise self._cannot_send()
        return sent

    def _cannot_send(self) -> LinkLost | Refused:
        self._pump()
        if self._ready:
            return LinkLost(f"the shell on {self._target.name} is gone: {gist(self.stderr) or 'no last words'}")
        return self._no_shell()

    def receive(self, timeout: float) -> bytes:
        """Return the next bytes of stdout, b"" when the shell has ended; TimeoutError at the deadline."""
        deadline = time.monotonic() + timeout
        self._begin()
        while True:
            over = self._over()
            self._pump(_READ)
            if self._ahead:
                return self._take()
            if over:
                return self._end()
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"no word from {self._target.name} for {timeout:g} s")
            self._rest(left)

    def received(self) -> bytes:
        """Return what of stdout has come by now."""
        self._pump()
        ahead = b"".join(self._ahead)
        self._ahead.clear()
        self._ahead_size = 0
        return ahead

    def end(self) -> None:
        """Close stdin."""
        self._begin()
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError) as error:
            raise self._cannot_send() from error

    def finish(self, timeout: float) -> tuple[int, bytes]:
        """Close stdin, and return exit status and stdout once the shell has ended."""
        deadline = time.monotonic() + timeout
        self.end()
        output = bytearray()
        while chunk := self.receive(deadline - time.monotonic()):
            output += chunk
        # recv_exit_status knows no deadline.
        if not self._channel.status_event.wait(max(deadline - time.monotonic(), 0.0)):
            raise TimeoutError(f"no exit status from {self._target.name} within {timeout:g} s")
        return self._channel.exit_status, bytes(output)

    def close(self) -> None:
        """Hang up; what runs on the device sees its stdin end."""
        self._channel.close()

    def _over(self) -> bool:
        # Asked before the streams are read: what came earlier is then certainly seen.
        return bool(self._channel.eof_received or self._channel.closed)

    def _end(self) -> bytes:
        if not self._ready:
            raise self._no_shell()
        if self._is_lost():
            raise LinkLost(f"the connection to {self._target.name} broke")
        return b""

    def _is_lost(self) -> bool:
        # When the transport dies, paramiko closes the channel without either of these.
        return not self._channel.eof_received and self._channel.exit_status == -1

    def _rest(self, timeout: float) -> None:
        # A pump that stopped at its limit has silenced the bell with bytes still there.
        if not self._channel.recv_ready():
            self._bell.wait(timeout)

    def _take(self) -> bytes:
        self._ahead_size -= len(self._ahead[0])
        return self._ahead.popleft()

    def _pump(self, most: int = _MOST_AHEAD) -> None:
        """Move what has come from paramiko's buffers to ours; that opens the window again."""
        self._bell.silence()
        while self._channel.recv_stderr_ready():
            self._stderr += self._channel.recv_stderr(_READ)
            del self._stderr[:-_TAIL]
        taken = 0
        while taken < most and self._channel.recv_ready():
            chunk = self._channel.recv(_READ)
            taken += len(chunk)
            self._tally.received += len(chunk)
            self._accept(chunk)

    def _accept(self, chunk: bytes) -> None:
        if not self._ready:
            chunk = self._boot(chunk)
        if not chunk:
            return
        self._ahead.append(chunk)
        self._ahead_size += len(chunk)
        if self._ahead_size > _MOST_AHEAD:
            raise LinkLost(f"{self._target.name} sends more than can be taken")

    def _boot(self, chunk: bytes) -> bytes:
        """Skip a profile's noise up to the ready line; return what comes after it."""
        self._head += chunk
        marker = f"{self._marker} ready ".encode()
        start = self._head.find(marker)
        end = self._head.find(b"\n", start)
        if start < 0 or end < 0:
            del self._head[: -_TAIL if start < 0 else start]
            return b""
        uid, _, user = bytes(self._head[start + len(marker) : end]).partition(b" ")
        rest = bytes(self._head[end + 1 :])
        self.uid, self.login_user = int(uid), clean(user) or self._user
        self._ready = True
        self._head.clear()
        self._stderr.clear()  # a profile's complaints and sudo's prompt are none of the batch's
        return rest

    def _no_shell(self) -> LinkLost | Refused:
        """Return why there is no shell: sudo's refusal, the account's, or a broken link."""
        _, denied, reason = bytes(self._head).partition(f"{self._marker} denied ".encode())
        complaint = clean(reason if denied else self.stderr)
        if self._target.become and (refusal := self._sudo_refusal(complaint)):
            return refusal
        if self._is_lost():
            return self._lost_or_no_exec()
        said = gist(complaint) or gist(bytes(self._head)) or "it said nothing"
        return Refused(f"{self._user} logged in, but got no shell: {said}", hint="what is the account's login shell?")

    def _lost_or_no_exec(self) -> LinkLost | Refused:
        transport = self._channel.get_transport()
        if transport is not None:
            transport.join(0.2)  # a dying transport closes its channels a moment before it calls itself dead
            if transport.is_active():
                return Refused(
                    f"the sshd of {self._target.name} runs no commands", hint="see ForceCommand in its sshd_config"
                )
        return LinkLost(f"the connection to {self._target.name} broke before its shell ran")

    def _sudo_refusal(self, complaint: str) -> Refused | None:
        user = self._user
        wants_password = "password is required" in complaint and self._target.become_password is None
        refusal = None
        if "sudo: not found" in complaint:
            refusal = Refused("there is no sudo on the device", hint="install it, or log in as root")
        elif re.search("not in the sudoers|may not run sudo|not allowed to", complaint):
            told = gist(complaint, lines=1)
            refusal = Refused(
                f"{user} may not use sudo: {told}", hint=f"as root on the device: usermod -aG sudo {user}"
            )
        elif wants_password:
            refusal = Refused(f"sudo wants the password of {user}", hint="give it with -K (--ask-become-pass)")
        elif re.search("incorrect password|Sorry, try again", complaint):
            refusal = self._wrong_password()
        elif "sudo: " in complaint:
            refusal = Refused(f"sudo refused {user}: {gist(complaint, lines=1)}")
        return refusal

    def _wrong_password(self) -> Refused:
        return Refused(f"sudo did not take the password of {self._user}", hint="give the right one with -K")


def open_channel(transport: paramiko.Transport, name: str, timeout: float = 30.0) -> paramiko.Channel:
    """Return a new session channel, or say why there is none."""
    import paramiko

    try:
        return transport.open_session(timeout=timeout)
    except paramiko.ChannelException as error:
        raise Refused(
            f"{name} opens no more sessions: {gist(str(error))}", hint="MaxSessions in its sshd_config"
        ) from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise LinkLost(f"the connection to {name} broke: {gist(str(error))}") from error
