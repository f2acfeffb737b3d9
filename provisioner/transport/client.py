"""paramiko's client side as a fleet needs it: fewer threads, system calls and round trips for each connection.

Imports paramiko at the top: only what is itself imported late may import this module.
"""

from __future__ import annotations

import math
import os
import socket
import struct
import threading
import time
from contextlib import suppress
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import paramiko
from paramiko.auth_handler import AuthHandler
from paramiko.packet import NeedRekeyException, Packetizer

from provisioner.transport.ahead import IDENTITY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer

_TICK = 1.0  # paramiko's own is a tenth of it, and a tick of an idle connection costs as much as a packet
_AHEAD = 1 << 16
_LONGEST_LINE = 1 << 16
# How long what comes may lie while much is sent, for each connection that sends: what comes says that there is room,
# little by little; one alone is not to wait for it, and of many each has its turn only so often.
_PAUSE, _LONGEST_PAUSE = 0.001, 0.01
_MUCH = 3  # packets: about what OpenSSH takes before it says so
_SENDING = 0.02  # how long much that was sent counts as being sent
_AROUND = 128  # more than a packet has around what it carries
_HEAD = struct.Struct(">BII")
_CHANNEL_DATA = 94
# What is fast in paramiko comes first; CBC, 3DES, MD5 and SHA-1 are not offered.
_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
# What a quantum computer could not read comes first. Of the curves, OpenSSH takes P-256 from OpenSSL, which has it in
# the processor's own words; its own curve25519 costs a device 3 ms more.
_EXCHANGES = ("mlkem768x25519-sha256", "ecdh-sha2-nistp256")
_MACS = ("hmac-sha2-256", "hmac-sha2-512", "hmac-sha2-256-etm@openssh.com", "hmac-sha2-512-etm@openssh.com")


class Data:
    """What a channel carries, as a message: no copy of it before it is a packet."""

    __slots__ = ("content", "head")

    def __init__(self, channel: int, content: memoryview) -> None:
        self.head = _HEAD.pack(_CHANNEL_DATA, channel, len(content))
        self.content = content

    def __len__(self) -> int:
        """Return the length of the message."""
        return len(self.head) + len(self.content)

    def asbytes(self) -> bytes:
        """Return the message, as paramiko asks for it."""
        return b"".join((self.head, self.content))


Flight = tuple[Data, ...]
"""Messages that leave one after the other, at once."""


_senders: set[Packets] = set()


class Packets(Packetizer):
    """Packets in few system calls: what has come is read, and a flight sent, in one go.

    paramiko asks the system twice for each packet, and every time that it does all its threads queue for their turn at
    the interpreter. Its handshake needs a timer's thread, too.
    """

    # paramiko's state of what is sent, by its names in there: what makes packets goes on from it, and leaves it.
    REKEY_BYTES: int
    REKEY_PACKETS: int
    _Packetizer__block_engine_out: Any
    _Packetizer__iv_out: bytes
    _Packetizer__sequence_number_out: int
    _Packetizer__sent_bytes: int
    _Packetizer__sent_packets: int

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.greeted = False
        self._turn = threading.Lock()
        self._room = bytearray()
        self._filled = 0
        self._gathering = False
        self._sending_until = 0.0
        self._source = sock
        self._hurries = _acknowledges(sock)
        self._ahead = b""
        self._deadline: float | None = None

    def close(self) -> None:
        """Close what the packets go over."""
        super().close()
        _senders.discard(self)

    def start_handshake(self, timeout: float) -> None:
        """Bound the handshake, beginning now."""
        self._deadline = time.monotonic() + timeout

    def complete_handshake(self) -> None:
        """Bound nothing any more."""
        self._deadline = None

    def handshake_timed_out(self) -> bool:
        """Return whether the handshake took too long."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:
        """Return n bytes, however long that takes; EOFError at the end of the stream."""
        while len(self._ahead) < n:
            if self.handshake_timed_out():
                raise EOFError
            if self._fetch():
                continue
            if check_rekey and not self._ahead and self.need_rekey():
                raise NeedRekeyException
            self._check_keepalive()  # type: ignore[attr-defined]
        wanted, self._ahead = self._ahead[:n], self._ahead[n:]
        return wanted

    def readline(self, timeout: float) -> str:
        """Return a line of the banner; TimeoutError where none has come in time."""
        deadline = time.monotonic() + timeout
        while b"\n" not in self._ahead:
            if not self._fetch() and time.monotonic() >= deadline:
                raise TimeoutError
            if len(self._ahead) > _LONGEST_LINE:
                raise paramiko.SSHException("a line without end")
        line, _, self._ahead = self._ahead.partition(b"\n")
        return line.removesuffix(b"\r").decode("utf-8", "replace")

    def send_message(self, data: paramiko.Message | Flight) -> None:
        """Send a message, or a flight of them."""
        with self._turn:
            if isinstance(data, tuple):
                self._send_flight(data)
            else:
                super().send_message(data)

    def _send_flight(self, flight: Flight) -> None:
        size = sum(map(len, flight)) + _AROUND * len(flight)
        put: Any = self._seal if self._may_seal(size, len(flight)) else super().send_message
        if len(flight) >= _MUCH and not self.closed:
            _senders.add(self)
            self._sending_until = time.monotonic() + _SENDING
        self._make_room(size)
        try:
            for data in flight:
                put(data)
        finally:  # what has its number has to leave, or nothing after it is understood
            self._gathering = False
            self.write_all(memoryview(self._room)[: self._filled])

    def _may_seal(self, size: int, packets: int) -> bool:
        """Tell whether paramiko's state is one that we know to go on from, and new keys are not due."""
        state = vars(self)
        return (
            state.get("_Packetizer__aead_out") is True
            and state.get("_Packetizer__compress_engine_out", self) is None
            and hasattr(self._Packetizer__block_engine_out, "encrypt_into")
            and self._Packetizer__sent_bytes + size < self.REKEY_BYTES
            and self._Packetizer__sent_packets + packets < self.REKEY_PACKETS
        )

    def _seal(self, data: Data) -> None:
        """Add a packet to the flight just as paramiko makes it under AES-GCM, with one copy where that takes six."""
        padding = 19 - (len(data) + 4) % 16
        plain = b"".join((bytes((padding,)), data.head, data.content, os.urandom(padding)))
        length = len(plain).to_bytes(4, "big")
        packet = self._space(len(length) + len(plain) + 16)
        packet[:4] = length
        self._Packetizer__block_engine_out.encrypt_into(self._Packetizer__iv_out, plain, length, packet[4:])
        self._Packetizer__iv_out = self._inc_iv_counter(self._Packetizer__iv_out)  # type: ignore[attr-defined]
        self._Packetizer__sequence_number_out = (self._Packetizer__sequence_number_out + 1) & 0xFFFFFFFF
        self._Packetizer__sent_bytes += len(packet)
        self._Packetizer__sent_packets += 1
        self._filled += len(packet)

    def _make_room(self, size: int) -> None:
        # It is used again: new room would have to be cleared, and given back, each time.
        if len(self._room) < size:
            self._room = bytearray(size)
        self._filled = 0
        self._gathering = True

    def _space(self, size: int) -> memoryview:
        return memoryview(self._room)[self._filled : self._filled + size]

    def write_all(self, out: Buffer) -> None:
        """Send a packet, however long that takes, or add it to the flight; what did not fit at once is not copied."""
        left = memoryview(out)
        if self.greeted:  # whoever dialled has sent what comes first
            self.greeted = False
            return
        if self._gathering:
            self._space(len(left))[:] = left
            self._filled += len(left)
            return
        while left:
            try:
                sent = self._source.send(left)
            except TimeoutError:
                if self.closed:
                    raise EOFError from None
                continue
            except OSError as error:
                raise EOFError from error
            if not sent:  # as a jump host's channel says that it is closed
                raise EOFError
            left = left[sent:]

    def _fetch(self) -> bool:
        """Take what has come; tell whether anything has before the socket's tick."""
        if time.monotonic() < self._sending_until:
            time.sleep(min(_PAUSE * len(_senders), _LONGEST_PAUSE))
        else:
            _senders.discard(self)
        try:
            chunk = self._source.recv(_AHEAD)
        except TimeoutError:
            if self.closed:
                raise EOFError from None
            return False
        except OSError as error:
            if self.closed:
                raise EOFError from error
            raise
        if not chunk:
            raise EOFError
        if self._hurries:
            # Until a command runs, sshd sends no small packet before the one ahead of it is acknowledged (Nagle): the
            # system puts that off for 40 ms.
            with suppress(OSError):  # closed from here meanwhile
                self._source.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        self._ahead = self._ahead + chunk if self._ahead else chunk
        return True


class _Login(AuthHandler):
    """Asks for the service and logs in with one flight: servers take requests in their order, and so answer both."""

    def _request_auth(self) -> None:
        super()._request_auth()  # type: ignore[misc]
        accepted = paramiko.Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        """Nothing is left to do: the request went along."""

    def wait_for_response(self, event: threading.Event) -> list[str]:
        """Return what is still to do once the server has judged; paramiko's own wait looks ten times a second."""
        _wait(event, self.transport, self.transport.auth_timeout)
        answered: list[str] = super().wait_for_response(event)
        return answered


class ClientTransport(paramiko.Transport):
    """A connection of ours."""

    _active_check_timeout = _TICK
    active: bool
    packetizer: Packets
    server_extensions: dict[str, bytes]

    def __init__(self, sock: socket.socket, *, greeted: bool = False, **options: Any) -> None:
        super().__init__(sock, packetizer_class=Packets, **options)
        self.local_version = IDENTITY
        self.packetizer.greeted = greeted
        choices = self.get_security_options()
        choices.kex = _exchanges(choices.kex)
        choices.ciphers = _known(_CIPHERS, choices.ciphers)
        choices.digests = _known(_MACS, choices.digests)

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        """Shake hands; without an event, wait until that is over."""
        done = event or threading.Event()
        super().start_client(event=done)
        if event is None:
            _wait(done, self, timeout)
            if not self.active:
                raise self.get_exception() or paramiko.SSHException("Negotiation failed.")

    def send_data(self, channel: Any, data: memoryview) -> int:
        """Send what the channel has room for, and return its length; 0 and TimeoutError as Channel.send has them."""
        sizes = _allotted(channel, len(data))
        parts = [data[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]
        if parts:
            carrier: Any = self
            carrier._send_user_message(tuple(Data(channel.remote_chanid, part) for part in parts))  # noqa: SLF001
        return sum(sizes)

    def _parse_debug(self, _message: paramiko.Message) -> None:
        """Read no word of what a server tells those who debug it: OpenSSH's has some for each login."""

    def auth_publickey(self, username: str, key: paramiko.PKey, event: threading.Event | None = None) -> list[str]:
        """Log in with a key, in one round trip; an RSA key waits for the server to say how it may sign."""
        unsure = "rsa" in key.get_name() and not self.server_extensions
        if event is not None or unsure or not self.active or not self.initial_kex_done:
            return super().auth_publickey(username, key, event)
        done = threading.Event()
        login = self.auth_handler = _Login(self)
        login.auth_publickey(username, key, done)
        return login.wait_for_response(done)


def _acknowledges(sock: socket.socket) -> bool:
    """Tell whether it is a socket that can be told to acknowledge at once: no jump host's channel, no program's."""
    family = getattr(sock, "family", None)
    return hasattr(socket, "TCP_QUICKACK") and family in (socket.AF_INET, socket.AF_INET6)


def _allotted(channel: Any, size: int) -> list[int]:
    """Take so many bytes of a channel's window, or as many as there are, and return the packets that they make."""
    sizes: list[int] = []
    with channel.lock:
        if channel.closed:
            raise OSError("the channel is closed")
        while size and (channel.out_window_size or not sizes):
            if not (taken := channel._wait_for_send_window(size)):  # noqa: SLF001 - what Channel.send asks, too
                break
            sizes.append(taken)
            size -= taken
    return sizes


def _wait(event: threading.Event, transport: paramiko.Transport, timeout: float | None) -> None:
    """Wait for an event, for as long as the transport lives: one that is closed from here tells nobody."""
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while transport.is_active() and (left := deadline - time.monotonic()) > 0:
        if event.wait(min(left, _TICK)):
            return


def _exchanges(offered: Sequence[str]) -> tuple[str, ...]:
    """Return the key exchanges of this paramiko, ours first, without those by SHA-1."""
    rest = (name for name in offered if name not in _EXCHANGES and not name.endswith("sha1"))
    return (*(name for name in _EXCHANGES if name in offered), *rest)


def _known(wanted: tuple[str, ...], offered: Sequence[str]) -> tuple[str, ...]:
    """Return what this paramiko has of the algorithms that we want."""
    return tuple(name for name in wanted if name in offered) or tuple(offered)
