"""Joins standard input and output to a port: QEMU starts it for each connection that a machine makes to the lab."""

import os
import selectors
import socket
import sys

CHUNK = 1 << 16


def main() -> None:
    """Carry bytes both ways until the port closes, or the machine does."""
    link = socket.create_connection((sys.argv[1], int(sys.argv[2])))
    ways = selectors.DefaultSelector()
    ways.register(0, selectors.EVENT_READ)
    ways.register(link, selectors.EVENT_READ)
    while ways.get_map():
        for key, _ in ways.select():
            if key.fileobj == 0:
                data = os.read(0, CHUNK)
                link.sendall(data)
                if not data:
                    link.shutdown(socket.SHUT_WR)
                    ways.unregister(0)
            else:
                data = link.recv(CHUNK)
                if not data:
                    return
                send(data)


def send(data: bytes) -> None:
    """Write it all, however little is taken at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
