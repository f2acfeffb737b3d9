"""An SFTP server (version 3) for machines that have none: files of the device, on stdin and stdout."""

from __future__ import annotations

import os
import stat
import struct
import sys

TYPE_CHECKING = False  # importing typing costs 3 ms, and these programs are called often
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


_STATUS, _HANDLE, _DATA, _NAME, _ATTRS = 101, 102, 103, 104, 105
_OK, _EOF, _MISSING, _DENIED, _FAILURE, _UNSUPPORTED = 0, 1, 2, 3, 4, 8
_READ, _WRITE, _APPEND, _CREATE, _TRUNCATE, _EXCLUSIVE = 1, 2, 4, 8, 16, 32
_HAS_SIZE, _HAS_OWNER, _HAS_MODE, _HAS_TIMES = 1, 2, 4, 8


class _Packet:
    """Reads the fields of a request."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def number(self, kind: str = ">I") -> int:
        (value,) = struct.unpack_from(kind, self._data, self._at)
        self._at += struct.calcsize(kind)
        return int(value)

    def text(self) -> bytes:
        size = self.number()
        self._at += size
        return self._data[self._at - size : self._at]

    def attributes(self) -> dict[str, Any]:
        flags = self.number()
        found: dict[str, Any] = {}
        if flags & _HAS_SIZE:
            found["size"] = self.number(">Q")
        if flags & _HAS_OWNER:
            found["owner"] = (self.number(), self.number())
        if flags & _HAS_MODE:
            found["mode"] = self.number()
        if flags & _HAS_TIMES:
            found["times"] = (self.number(), self.number())
        return found


def _text(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _attributes(found: os.stat_result) -> bytes:
    flags = _HAS_SIZE | _HAS_OWNER | _HAS_MODE | _HAS_TIMES
    times = (int(found.st_atime), int(found.st_mtime))
    return struct.pack(">IQIIIII", flags, found.st_size, found.st_uid, found.st_gid, found.st_mode, *times)


class _Server:
    def __init__(self) -> None:
        self._open: dict[bytes, int | list[bytes]] = {}
        self._count = 0
        self._verbs: dict[int, Callable[[_Packet], tuple[int, bytes]]] = {
            3: self._open_file,
            4: self._close,
            5: self._read,
            6: self._write,
            7: self._lstat,
            8: self._fstat,
            9: self._setstat,
            10: self._fsetstat,
            11: self._opendir,
            12: self._readdir,
            13: self._remove,
            14: self._mkdir,
            15: self._rmdir,
            16: self._realpath,
            17: self._stat,
            18: self._rename,
            19: self._readlink,
            20: self._symlink,
            200: self._extended,
        }

    def answer(self, kind: int, packet: _Packet) -> tuple[int, bytes]:
        verb = self._verbs.get(kind)
        if verb is None:
            return _said(_UNSUPPORTED, "not simulated")
        try:
            return verb(packet)
        except FileNotFoundError as error:
            return _said(_MISSING, str(error))
        except PermissionError as error:
            return _said(_DENIED, str(error))
        except (OSError, KeyError) as error:
            return _said(_FAILURE, str(error))

    def _keep(self, thing: int | list[bytes]) -> tuple[int, bytes]:
        self._count += 1
        name = str(self._count).encode()
        self._open[name] = thing
        return _HANDLE, _text(name)

    def _file(self, packet: _Packet) -> int:
        found = self._open[packet.text()]
        if not isinstance(found, int):
            raise KeyError("not a file")
        return found

    def _open_file(self, packet: _Packet) -> tuple[int, bytes]:
        path, wanted, attributes = packet.text(), packet.number(), packet.attributes()
        flags = {_READ: os.O_RDONLY, _WRITE: os.O_WRONLY}.get(wanted & (_READ | _WRITE), os.O_RDWR)
        for bit, flag in (
            (_APPEND, os.O_APPEND),
            (_CREATE, os.O_CREAT),
            (_TRUNCATE, os.O_TRUNC),
            (_EXCLUSIVE, os.O_EXCL),
        ):
            flags |= flag if wanted & bit else 0
        return self._keep(os.open(path, flags, attributes.get("mode", 0o666) & 0o7777))

    def _close(self, packet: _Packet) -> tuple[int, bytes]:
        found = self._open.pop(packet.text())
        if isinstance(found, int):
            os.close(found)
        return _said(_OK)

    def _read(self, packet: _Packet) -> tuple[int, bytes]:
        file, offset, size = self._file(packet), packet.number(">Q"), packet.number()
        data = os.pread(file, min(size, 1 << 18), offset)
        return (_DATA, _text(data)) if data else _said(_EOF)

    def _write(self, packet: _Packet) -> tuple[int, bytes]:
        file, offset, data = self._file(packet), packet.number(">Q"), packet.text()
        while data:
            done = os.pwrite(file, data, offset)
            data, offset = data[done:], offset + done
        return _said(_OK)

    def _stat(self, packet: _Packet) -> tuple[int, bytes]:
        return _ATTRS, _attributes(os.stat(packet.text()))  # noqa: PTH116 - bytes, as the protocol has it

    def _lstat(self, packet: _Packet) -> tuple[int, bytes]:
        return _ATTRS, _attributes(os.lstat(packet.text()))

    def _fstat(self, packet: _Packet) -> tuple[int, bytes]:
        return _ATTRS, _attributes(os.fstat(self._file(packet)))

    def _setstat(self, packet: _Packet) -> tuple[int, bytes]:
        return _set(packet.text(), packet.attributes())

    def _fsetstat(self, packet: _Packet) -> tuple[int, bytes]:
        return _set(self._file(packet), packet.attributes())

    def _opendir(self, packet: _Packet) -> tuple[int, bytes]:
        path = packet.text()
        return self._keep([path + b"/" + name for name in [b".", b"..", *os.listdir(path)]])  # noqa: PTH208

    def _readdir(self, packet: _Packet) -> tuple[int, bytes]:
        found = self._open[packet.text()]
        if not isinstance(found, list) or not found:
            return _said(_EOF)
        names, found[:] = found[:100], found[100:]
        return _names(names)

    def _remove(self, packet: _Packet) -> tuple[int, bytes]:
        os.unlink(packet.text())  # noqa: PTH108
        return _said(_OK)

    def _mkdir(self, packet: _Packet) -> tuple[int, bytes]:
        path, attributes = packet.text(), packet.attributes()
        os.mkdir(path, attributes.get("mode", 0o777) & 0o7777)  # noqa: PTH102
        return _said(_OK)

    def _rmdir(self, packet: _Packet) -> tuple[int, bytes]:
        os.rmdir(packet.text())  # noqa: PTH106
        return _said(_OK)

    def _realpath(self, packet: _Packet) -> tuple[int, bytes]:
        path = os.path.realpath(packet.text() or b".")
        return _NAME, struct.pack(">I", 1) + _text(path) + _text(path) + struct.pack(">I", 0)

    def _rename(self, packet: _Packet) -> tuple[int, bytes]:
        old, new = packet.text(), packet.text()
        os.link(old, new, follow_symlinks=False)  # fails where the target is there, as version 3 asks for
        os.unlink(old)  # noqa: PTH108
        return _said(_OK)

    def _readlink(self, packet: _Packet) -> tuple[int, bytes]:
        path = os.readlink(packet.text())  # noqa: PTH115
        return _NAME, struct.pack(">I", 1) + _text(path) + _text(path) + struct.pack(">I", 0)

    def _symlink(self, packet: _Packet) -> tuple[int, bytes]:
        target, path = packet.text(), packet.text()
        os.symlink(target, path)  # noqa: PTH211
        return _said(_OK)

    def _extended(self, packet: _Packet) -> tuple[int, bytes]:
        if packet.text() != b"posix-rename@openssh.com":
            return _said(_UNSUPPORTED, "not simulated")
        old, new = packet.text(), packet.text()
        os.replace(old, new)  # noqa: PTH105
        return _said(_OK)


def _set(where: bytes | int, wanted: dict[str, Any]) -> tuple[int, bytes]:
    if "size" in wanted:
        os.truncate(where, wanted["size"])
    if "owner" in wanted:
        os.chown(where, *wanted["owner"])
    if "mode" in wanted:
        os.chmod(where, stat.S_IMODE(wanted["mode"]))  # noqa: PTH101
    if "times" in wanted:
        os.utime(where, wanted["times"])
    return _said(_OK)


def _names(paths: list[bytes]) -> tuple[int, bytes]:
    out = struct.pack(">I", len(paths))
    for path in paths:
        name = path.rpartition(b"/")[2]
        out += _text(name) + _text(name) + _attributes(os.lstat(path))
    return _NAME, out


def _said(code: int, text: str = "") -> tuple[int, bytes]:
    return _STATUS, struct.pack(">I", code) + _text(text.encode()) + _text(b"")


def _exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = sys.stdin.buffer.read(size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def main(_argv: list[str]) -> int:
    """Serve until stdin ends."""
    server = _Server()
    while True:
        (size,) = struct.unpack(">I", _exactly(4))
        data = _exactly(size)
        kind = data[0]
        if kind == 1:
            reply = struct.pack(">BI", 2, 3) + _text(b"posix-rename@openssh.com") + _text(b"1")
        else:
            packet = _Packet(data[1:])
            number = packet.number()
            answer, body = server.answer(kind, packet)
            reply = struct.pack(">BI", answer, number) + body
        sys.stdout.buffer.write(struct.pack(">I", len(reply)) + reply)
        sys.stdout.buffer.flush()
