"""Files to the device: over a channel of their own, into a folder of their own, beside what they are to replace."""

from __future__ import annotations

import secrets
import time
import zlib
from typing import TYPE_CHECKING

from provisioner.errors import LinkLost, Refused
from provisioner.shell import quote
from provisioner.transport.shell import FLIGHT
from provisioner.transport.text import clean, gist

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from provisioner.shell import Upload
    from provisioner.transport.shell import Shell

    Progress = Callable[[int, int], None]

FIRST = 1 << 19
"""Bytes that are sent as they are, and whose way is timed."""

SLOW = 1_500_000
"""Bytes a second below which it pays to pack: controllers pack, and devices unpack, many times faster than that."""

LARGE = 4 << 20
"""Bytes above which it pays to start openssl: unlike most sha256sum it uses what the processor has for SHA-256."""

_WORTH = 0.95  # of what it was: what gets no smaller than this is not packed
_SKIPPED = 8  # pieces that are not tried after one that did not get smaller
_BUFFERED = 4 << 20  # what is on its way, or waits for it, before sending takes any time
_LEVEL = 1
_PATIENCE = 900.0  # for a slow disk to take in, and hash, what was sent
_GREETING = 60.0
_TURN = 1.0  # how long a wait may be before we look whether somebody wants it to end


class Stopped(Exception):  # noqa: N818 - no error: somebody asked for it
    """The upload was ended on request."""


class Sending:
    """One upload over one shell, which ends with it."""

    def __init__(self, shell: Shell, upload: Upload, *, user: str | None, is_stopped: Callable[[], bool]) -> None:
        self._shell = shell
        self._upload = upload
        self._user = user
        self._is_stopped = is_stopped
        self._heard = bytearray()
        self._mark = secrets.token_hex(8)

    def run(self, progress: Progress | None = None) -> str:
        """Send it, and return the folder on the device in which it lies; it was compared with its hash."""
        size, first = self._upload.size, min(FIRST, self._upload.size)
        kind = "archive" if self._upload.archive else "file"
        token = secrets.token_hex(8)
        values = [self._mark, self._upload.near, token, kind, str(first), self._upload.sha256, self._user or ""]
        values.append("openssl" if size > LARGE else "sha256sum")
        self._shell.send(f"{RECEIVE}receive {' '.join(map(quote, values))}; exit\n".encode())
        place = self._word("ready", _GREETING)
        self._send(size, first, progress)
        self._shell.end()
        self._word("kept", _PATIENCE)
        return place

    def _hand(self, data: bytes) -> None:
        """Send data; a device that took no more may have said why."""
        if self._is_stopped():
            raise Stopped
        try:
            self._shell.send(data)
        except LinkLost:
            self._listen()
            raise
        self._listen()

    def _listen(self) -> None:
        """Raise what the device complains of while we are sending: a full disk ends it early."""
        self._heard += self._shell.received()
        self._check(bytes(self._heard))

    def _send(self, size: int, first: int, progress: Progress | None) -> None:
        """Send the first bytes, see how long they take, and then the rest, in the way that is quickest."""
        pieces = _cut(self._upload.pieces(FLIGHT), first)
        began = time.monotonic()
        sample = next(pieces, b"")
        self._hand(sample)
        packed = False
        if size > first:
            self._word("first", _PATIENCE)
            slow = first / max(time.monotonic() - began, 1e-9) < SLOW
            packed = slow and _gets_smaller(sample)
        self._hand(b"packed\n" if packed else b"plain\n")
        done = len(sample)
        if progress:
            progress(done, size)
        packer = Packer() if packed else None
        for piece in pieces:
            self._hand(packer.pack(piece) if packer else piece)
            done += len(piece)
            if progress:
                progress(done, size)

    def _word(self, word: str, patience: float) -> str:
        """Return what comes behind one of the device's words."""
        marker = f"{self._mark} {word} ".encode()
        deadline = time.monotonic() + patience
        while True:
            _, found, rest = bytes(self._heard).partition(marker)
            line, ended, _ = rest.partition(b"\n")
            if found and ended:
                return line.decode("utf-8", "surrogateescape")
            self._check(bytes(self._heard))
            if self._is_stopped():
                raise Stopped
            self._heard += self._more(deadline)

    def _more(self, deadline: float) -> bytes:
        try:
            data = self._shell.receive(min(_TURN, max(deadline - time.monotonic(), 0.0)))
        except TimeoutError:
            if time.monotonic() > deadline:
                raise
            return b""
        if not data:
            raise LinkLost(f"the device's shell ended: {gist(self._shell.stderr)}")
        return data

    def _check(self, heard: bytes) -> None:
        _, found, rest = heard.partition(f"{self._mark} failed ".encode())
        if not found:
            return
        why, ended, _ = rest.partition(f"{self._mark} over".encode())
        if ended:
            raise Refused(f"the device did not take a file near {self._upload.near}: {gist(clean(why))}")


def _cut(pieces: Iterator[bytes], first: int) -> Iterator[bytes]:
    """Yield the first bytes in one piece, and then the others as they come."""
    head = b""
    for piece in pieces:
        head += piece
        if len(head) >= first:
            yield head[:first]
            if head[first:]:
                yield head[first:]
            break
    else:
        yield head
    yield from pieces


def _gets_smaller(sample: bytes) -> bool:
    return len(zlib.compress(sample, _LEVEL)) < _WORTH * len(sample)


class Packer:
    """Makes pieces into members of a gzip file; what gets no smaller stays as it is.

    So does all the rest, once it shows that packing takes longer than sending.
    """

    def __init__(self) -> None:
        self._left_out = 0
        self._made = 0
        self._packing = self._sending = 0.0
        self._handed = time.monotonic()

    def pack(self, piece: bytes) -> bytes:
        """Return a piece as a member of a gzip file; it is sent before the next one is packed."""
        began = time.monotonic()
        self._sending += began - self._handed
        plain = self._left_out or (self._made > _BUFFERED and self._packing > self._sending)
        packed = _member(piece, 0 if plain else _LEVEL)
        self._left_out = max(self._left_out - 1, 0)
        if not plain and len(packed) > _WORTH * len(piece):
            self._left_out = _SKIPPED
        self._made += len(packed)
        self._handed = time.monotonic()
        self._packing += self._handed - began
        return packed


def _member(piece: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return packer.compress(piece) + packer.flush()


RECEIVE = r"""
receive() {
  # mark near token kind first sha256 user hash: what comes on stdin, into a new folder of ours on near's disk. Its name
  # tells the boot, so that what a power cut left there is known, and goes.
  umask 077
  trap '' HUP PIPE
  exec 3>&1
  near=$2
  while [ ! -d "$near/" ]; do
    case $near in */*) near=${near%/*} ;; *) near= ;; esac
  done
  boot=
  read -r boot 2>/dev/null </proc/sys/kernel/random/boot_id
  boot=${boot%%-*}
  for left in "$near"/.provision-????????-????????????????; do
    case $left in *"/.provision-$boot-"*) continue ;; esac
    if [ -n "$boot" ] && [ -O "$left" ]; then rm -rf -- "$left"; fi
  done
  place=$near/.provision-$boot-$3
  if ! why=$(mkdir -- "$place" 2>&1); then
    place=${TMPDIR:-/tmp}/.provision-$boot-$3
    why=$(mkdir -- "$place" 2>&1) || { complain "$1" "$why"; return; }
  fi
  cd -- "$place" || return
  printf '%s ready %s\n' "$1" "$place" >&3
  why=$(store "$1" "$4" "$5" 2>&1) && why=$(compare "$4" "$6" "$8" 2>&1) && why=$(give "$7" 2>&1) && {
    printf '%s kept \n' "$1" >&3
    return
  }
  cd / && rm -rf -- "$place"
  complain "$1" "$why"
}
complain() {
  printf '%s failed %s\n%s over\n' "$1" "$2" "$1"
}
store() {
  # The shell that came for the input reads on where head stopped, byte by byte.
  if [ "$2" = archive ]; then incoming "$1" "$3" | tar -xpmof -
  else incoming "$1" "$3" >content
  fi
}
incoming() {
  head -c "$2" && printf '%s first \n' "$1" >&3 && read -r how &&
    case $how in packed) gzip -dc ;; *) cat ;; esac
}
compare() {
  # kind sha256 hash: what was hashed is noted as it was before that, so that nobody has to hash it again.
  fast=
  [ "$3" != openssl ] || ! { command -v openssl && command -v xargs; } >/dev/null || fast=yes
  if [ "$1" = archive ]; then
    find . -type f -exec stat -c '%d|%i|%s|%y|%n' '{}' + >seen 2>/dev/null
    sum=$(sha256sum <sums) && compare_all
  else
    stat -c '%d|%i|%s|%y|./content' content >seen 2>/dev/null
    if [ -n "$fast" ]; then sum=$(openssl dgst -sha256 -r <content); else sum=$(sha256sum <content); fi
    printf '%s  ./content\n' "${sum%% *}" 2>/dev/null >sums || :
  fi || return
  [ "${sum%% *}" = "$2" ] || { echo 'it was damaged on its way, or has changed meanwhile'; return 1; }
  note
}
compare_all() {
  if [ -z "$fast" ]; then sha256sum -c sums 2>&1 >/dev/null; return; fi
  found=$(cut -c 67- sums | tr '\n' '\0' | xargs -0 openssl dgst -sha256 -r | sed 's/ [*]/  /')
  [ "$found" = "$(cat sums)" ] || { echo 'some of it was damaged on its way, or has changed meanwhile'; return 1; }
}
note() {
  # What file_choice knows again: a file as it was, if its time is told to the nanosecond.
  awk '
    NR == FNR { sum[substr($0, 67)] = substr($0, 1, 64); next }
    {
      split($0, one, "|")
      name = substr($0, length(one[1] one[2] one[3] one[4]) + 5)
      if (name in sum && one[4] ~ /[.][0-9]*[1-9]/) print sum[name] " " one[1] "|" one[2] "|" one[3] "|" one[4]
    }' sums seen >hashed 2>/dev/null
  rm -f -- seen
}
give() {
  [ -z "$1" ] || chown -R -- "$1" .
}
"""
