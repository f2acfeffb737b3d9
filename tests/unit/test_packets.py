"""The laws of packets: the other side reads what was sent, in order, however it was put together and cut."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import paramiko
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given, settings
from hypothesis import strategies as st
from paramiko.compress import ZlibCompressor, ZlibDecompressor
from paramiko.packet import Packetizer

from provisioner.transport.client import Data, Packets, _allotted, _senders

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CIPHERS = ("none", "gcm", "gcm-plain", "gcm-zlib", "ctr", "ctr-etm")
LARGE = 32_768 - 64
FLIGHTS = st.lists(st.lists(st.integers(0, 200) | st.just(LARGE), max_size=9), max_size=6)


class Source:
    """What packets go over: a socket, or a channel of a jump host; it takes as many bytes as it is told to."""

    def __init__(self, *takes: int) -> None:
        self.takes, self.got, self.calls = list(takes), b"", 0

    def settimeout(self, _seconds: float) -> None:
        """Do not wait."""

    def send(self, data: Any) -> int:
        """Take the next number of bytes, or all."""
        self.calls += 1
        number = self.takes.pop(0) if self.takes else len(data)
        self.got += bytes(data[:number])
        return number

    def close(self) -> None:
        """Take no more."""

    def recv(self, size: int) -> bytes:
        """Return what was sent."""
        data, self.got = self.got[:size], self.got[size:]
        return data


class Noting:
    """AES-GCM that notes under which nonce it seals: what paramiko makes, and what we make."""

    def __init__(self, key: bytes) -> None:
        self.nonces: list[bytes] = []
        self._real = AESGCM(key)

    def encrypt(self, nonce: bytes, *what: Any) -> bytes:
        """Seal, and return what comes of it."""
        self.nonces.append(nonce)
        return self._real.encrypt(nonce, *what)

    def encrypt_into(self, nonce: bytes, *what: Any) -> int:
        """Seal into a buffer."""
        self.nonces.append(nonce)
        return self._real.encrypt_into(nonce, *what)


class Plain:
    """AES-GCM as an older library has it."""

    def __init__(self, key: bytes) -> None:
        self.encrypt = AESGCM(key).encrypt


class Broken(Data):
    """What cannot be made a packet."""

    def __init__(self) -> None:
        super().__init__(7, memoryview(b""))
        self.content = None  # type: ignore[assignment]

    def __len__(self) -> int:
        """Return some length."""
        return 9


def keyed(writer: Packetizer, reader: Packetizer, cipher: str) -> Noting | None:
    """Give both the same new keys; return what seals, under AES-GCM."""
    key, iv = os.urandom(16), os.urandom(16)
    if cipher.startswith("gcm"):
        engine: Any = Plain(key) if cipher == "gcm-plain" else Noting(key)
        writer.set_outbound_cipher(engine, 16, None, 16, None, aead=True, iv_out=iv[:12])
        reader.set_inbound_cipher(AESGCM(key), 16, None, 16, None, aead=True, iv_in=iv[:12])
    packs = cipher == "gcm-zlib"
    writer.set_outbound_compressor(ZlibCompressor() if packs else None)
    reader.set_inbound_compressor(ZlibDecompressor() if packs else None)
    if cipher.startswith("ctr"):
        mac, etm = (hashlib.sha256, 32, key), cipher == "ctr-etm"
        pair = Cipher(algorithms.AES(key), modes.CTR(iv))
        writer.set_outbound_cipher(pair.encryptor(), 16, *mac, sdctr=True, etm=etm)
        reader.set_inbound_cipher(pair.decryptor(), 16, *mac, etm=etm)
    return engine if cipher == "gcm" else None


def joined(cipher: str) -> tuple[Source, Any, Any]:
    """Return a source, our writer, and paramiko's own reader."""
    source = Source()
    writer, reader = Packets(source), Packetizer(source)  # type: ignore[arg-type]
    keyed(writer, reader, cipher)
    return source, writer, reader


def flight(*contents: bytes) -> tuple[Data, ...]:
    """Return contents as what a channel carries."""
    return tuple(Data(7, memoryview(content)) for content in contents)


def message(content: bytes) -> paramiko.Message:
    """Return content as paramiko's channel would send it."""
    made = paramiko.Message()
    made.add_byte(bytes((94,)))
    made.add_int(7)
    made.add_string(content)
    return made


def read(reader: Packetizer) -> bytes:
    """Return what the next packet carries for the channel."""
    kind, got = reader.read_message()
    assert (kind, got.get_int()) == (94, 7)
    content: bytes = got.get_binary()
    assert got.get_remainder() == b""
    return content


def test_a_packet_goes_out_whole() -> None:
    """What did not fit at once follows, in order and once."""
    source = Source(3, 1, 6)
    Packets(source).write_all(b"0123456789")  # type: ignore[arg-type]
    assert source.got == b"0123456789"


def test_a_source_that_takes_nothing_has_ended() -> None:
    """A jump host's closed channel takes 0 bytes and says no more: that is an end, and not to be tried for ever."""
    with pytest.raises(EOFError):
        Packets(Source(4, 0)).write_all(b"0123456789")  # type: ignore[arg-type]


@pytest.mark.parametrize("cipher", CIPHERS)
@settings(max_examples=25)
@given(sizes=FLIGHTS)
def test_what_is_sent_is_read(cipher: str, sizes: list[list[int]]) -> None:
    """Under each cipher paramiko's own reader takes messages and flights in the order in which they were sent."""
    source, writer, reader = joined(cipher)
    sent = [[os.urandom(size) for size in one] for one in sizes]
    for contents in sent:
        writer.send_message(flight(*contents))
        writer.send_message(message(b"in between"))
    for contents in sent:
        assert [read(reader) for _ in contents] == contents
        assert read(reader) == b"in between"
    assert source.got == b""


@pytest.mark.parametrize("cipher", CIPHERS)
def test_a_flight_is_one_system_call(cipher: str) -> None:
    """However many packets leave together, the system is asked once; what it does not take at once follows."""
    source, writer, reader = joined(cipher)
    contents = [os.urandom(LARGE) for _ in range(8)]
    writer.send_message(flight(*contents))
    assert source.calls == 1
    source.takes = [100_000, 1]
    writer.send_message(flight(*contents))
    assert source.calls == 4
    assert [read(reader) for _ in range(16)] == contents * 2


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="this system cannot be told to acknowledge at once")
def test_what_comes_is_acknowledged_at_once() -> None:
    """Where one side speaks in turn with another, its system puts acknowledgements off; for packets it does not.

    sshd waits for each before it sends its next small packet, until a command runs.
    """
    with conversation() as (plain, answering):
        for _ in range(4):
            answering(lambda: plain.recv(1), plain.send)
        assert not plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    with conversation() as (ours, answering):
        packets = Packets(ours)
        for _ in range(4):
            answering(lambda: packets.read_all(1), packets.write_all)
        assert ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)


@contextmanager
def conversation() -> Iterator[tuple[socket.socket, Callable[..., None]]]:
    """Yield a TCP connection, and a way to speak and be answered over it."""
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as here:
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        there, _ = server.accept()

        def answering(listen: Callable[[], bytes], speak: Callable[[bytes], Any]) -> None:
            speak(b"?")
            assert there.recv(1) == b"?"
            there.send(b"!")
            assert listen() == b"!"

        with there:
            yield here, answering


def test_no_nonce_is_used_twice() -> None:
    """Each packet under AES-GCM has a nonce of its own, one more than the last, whoever made it."""
    source, writer, reader = joined("none")
    engine: Any = keyed(writer, reader, "gcm")
    for _ in range(3):
        writer.send_message(flight(b"a", b"b" * LARGE, b"c"))
        writer.send_message(message(b"d"))
    first = int.from_bytes(engine.nonces[0][4:], "big")
    assert engine.nonces == [engine.nonces[0][:4] + (first + n).to_bytes(8, "big") for n in range(12)]
    assert len(source.got) > 3 * LARGE


@pytest.mark.parametrize("cipher", CIPHERS)
def test_keys_change_between_flights(cipher: str) -> None:
    """With new keys, of the same cipher or another one, what follows is read as well."""
    _, writer, reader = joined(cipher)
    for again in (cipher, *CIPHERS[1:], cipher):
        writer.send_message(flight(b"a", b"b"))
        assert [read(reader), read(reader)] == [b"a", b"b"]
        keyed(writer, reader, again)
    writer.send_message(message(b"c"))
    assert read(reader) == b"c"


@pytest.mark.parametrize("cipher", CIPHERS[1:])
@pytest.mark.parametrize("limit", ["REKEY_BYTES", "REKEY_PACKETS"])
def test_new_keys_are_asked_for_in_time(cipher: str, limit: str) -> None:
    """After as many bytes or packets as paramiko allows new keys are asked for; with them it counts anew."""
    _, writer, _reader = joined(cipher)
    setattr(writer, limit, 1_000_000 if limit == "REKEY_BYTES" else 30)
    for _ in range(2):
        sent = 0
        while not writer.need_rekey():
            writer.send_message(flight(*(os.urandom(LARGE) for _ in range(8))))
            sent += 1
            assert sent <= 4
        assert sent == 4
        keyed(writer, writer, cipher)


def test_what_was_numbered_leaves() -> None:
    """Where the third message of a flight cannot be made, the first two are sent, and what comes later is read."""
    for cipher in CIPHERS:
        _, writer, reader = joined(cipher)
        with pytest.raises(TypeError):
            writer.send_message((*flight(b"a", b"b"), Broken(), *flight(b"c")))
        writer.send_message(flight(b"d", b"e"))
        assert [read(reader) for _ in range(4)] == [b"a", b"b", b"d", b"e"]


@pytest.mark.parametrize("cipher", CIPHERS)
def test_many_may_send_at_once(cipher: str) -> None:
    """Flights and messages of several threads are all read, and nothing comes between the packets of a flight."""
    _, writer, reader = joined(cipher)

    def send(name: int) -> None:
        for number in range(20):
            writer.send_message(flight(*(f"{name} {number} {part}".encode() for part in range(5))))
            writer.send_message(message(f"{name} {number}".encode()))

    threads = [threading.Thread(target=send, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    got = [read(reader).decode() for _ in range(4 * 20 * 6)]
    for name in range(4):
        wanted = [f"{name} {number}{part}" for number in range(20) for part in (*(f" {n}" for n in range(5)), "")]
        assert [text for text in got if text.startswith(f"{name} ")] == wanted
    starts = [at for at, text in enumerate(got) if text.endswith(" 0") and text.count(" ") == 2]
    assert all(got[at + n] == f"{got[at][:-1]}{n}" for at in starts for n in range(5))


def test_who_sends_no_more_holds_nobody_up() -> None:
    """A connection counts among those that send from its first large flight until it is closed, and not after that."""
    _, writer, _reader = joined("gcm")
    writer.send_message(flight(b"a"))
    assert writer not in _senders
    writer.send_message(flight(*[bytes(LARGE)] * 8))
    assert writer in _senders
    writer.close()
    writer.send_message(flight(*[bytes(LARGE)] * 8))
    assert writer not in _senders


def channel(window: int, packet: int = 32_768) -> Any:
    """Return a channel with so much room."""
    made: Any = paramiko.Channel(1)
    made.out_window_size, made.out_max_packet_size = window, packet
    made.settimeout(0.0)
    return made


@given(size=st.integers(1, 400_000), window=st.integers(1, 400_000), packet=st.integers(4096, 65_536))
def test_no_more_is_sent_than_there_is_room_for(size: int, window: int, packet: int) -> None:
    """Packets are as large as the other side takes them, and together no more than its window."""
    one = channel(window, packet)
    sizes = _allotted(one, size)
    assert sum(sizes) == min(size, window)
    assert one.out_window_size == window - sum(sizes)
    assert all(part == packet - 64 for part in sizes[:-1])
    assert 0 < sizes[-1] <= packet - 64


def test_without_room_nothing_is_sent() -> None:
    """A full window is a time-out, a closed channel an error, and one whose end was sent takes nothing."""
    with pytest.raises(TimeoutError):
        _allotted(channel(0), 10)
    ended, closed = channel(100), channel(100)
    ended.eof_sent = closed.closed = True
    assert _allotted(ended, 10) == []
    with pytest.raises(OSError, match="closed"):
        _allotted(closed, 10)
