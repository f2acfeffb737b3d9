"""The benchmark's instruments on real things: what the wire counts, what a host is, what a command cost."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from contextlib import closing, suppress

import pytest

from bench import hosts, measure
from bench.wire import Wire


@pytest.fixture
def echo() -> int:
    """Return the port of a server that sends back all that it is sent, on every loopback address."""
    listener = socket.create_server(("0.0.0.0", 0))

    def serve(sock: socket.socket) -> None:
        with suppress(OSError), closing(sock):
            while data := sock.recv(65536):
                sock.sendall(data)

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return int(listener.getsockname()[1])


def free_port() -> int:
    with socket.create_server(("0.0.0.0", 0)) as probe:
        return int(probe.getsockname()[1])


def exchange(address: str, port: int, messages: list[bytes]) -> bytes:
    """Send each message when the one before is answered; return all answers to the connection's end."""
    answer = b""
    with socket.create_connection((address, port), timeout=30) as sock:
        for message in messages:
            sock.sendall(message)
            while len(answer) < sum(map(len, messages[: messages.index(message) + 1])):
                answer += sock.recv(65536)
        sock.shutdown(socket.SHUT_WR)
        while data := sock.recv(65536):
            answer += data
    return answer


def test_the_wire_counts_bytes_and_round_trips_of_each_host(echo: int) -> None:
    """Each answer that was waited for is a round trip of its host, and all bytes arrive."""
    with Wire(free_port(), echo, 0.02) as wire:
        talk = [b"one", b"two", b"three"]
        assert exchange("127.0.0.2", wire.port, talk) == b"onetwothree"
        big = os.urandom(3_000_000)
        threads = [threading.Thread(target=exchange, args=("127.0.0.3", wire.port, [b"x"])) for _ in range(50)]
        for thread in threads:
            thread.start()
        with socket.create_connection(("127.0.0.4", wire.port), timeout=30) as sock:
            sender = threading.Thread(target=sock.sendall, args=(big,))
            sender.start()
            found = b""
            while len(found) < len(big):
                found += sock.recv(1 << 20)
        for thread in [*threads, sender]:
            thread.join()
        count = wire.read()
    assert found == big
    assert (count["127.0.0.2"].trips, count["127.0.0.2"].up, count["127.0.0.2"].down) == (3, 11, 11)
    assert (count["127.0.0.3"].connections, count["127.0.0.3"].up) == (50, 50)
    assert (count["127.0.0.4"].up, count["127.0.0.4"].down) == (len(big), len(big))


@pytest.mark.skipif(bool(hosts.missing()), reason=str(hosts.missing()))
def test_a_host_is_a_plain_login_of_its_own() -> None:
    """Each host has a HOME, a folder for its state and an address of its own, and its shell reads no start-up file."""
    with hosts.fleet(2) as fleet:
        told = []
        for host in fleet.hosts:
            known = f"UserKnownHostsFile={fleet.known_hosts}"
            ssh = ["ssh", "-F", "none", "-p", str(fleet.port), "-i", str(fleet.key), "-o", known, "-o", "BatchMode=yes"]
            script = (
                'd=/run/provision; [ "$(id -u)" = 0 ] || d=$XDG_RUNTIME_DIR; echo "$HOME" $-; echo mine >>"$d/mark"'
            )
            done = subprocess.run([*ssh, host.address, script], capture_output=True, text=True, check=True, timeout=60)
            told.append(done.stdout.split())
            assert (host.run / "mark").read_text() == "mine\n"
        assert [words[0] for words in told] == [str(host.home) for host in fleet.hosts]
        assert len({host.address for host in fleet.hosts}) == 2


def test_the_cost_of_a_command_has_what_it_left_behind() -> None:
    """A process that outlives the command is ended, and its CPU counted; output and exit code are the command's."""
    spin = "import time\nwhile time.process_time() < .4: pass\nprint(flush=True)\ntime.sleep(600)"
    other = f"subprocess.Popen([sys.executable, '-c', {spin!r}], stdout=subprocess.PIPE)"
    script = f"import subprocess, sys\n{other}.stdout.readline()\nprint('done')\nsys.exit(3)"
    sample = measure.run([sys.executable, "-c", script])
    assert (sample.rc, sample.output) == (3, "done\n")
    assert sample.cpu >= 0.4


def test_a_figure_is_the_median_and_a_failure_stays_one() -> None:
    """One slow run moves no median; one failed run fails the figure, with its words."""
    samples = [measure.Sample(wall, 1, 1) for wall in (1, 9, 2)]
    assert measure.median(samples).wall == 2
    failed = measure.median([*samples, measure.Sample(1, 1, 1, rc=4, output="no")])
    assert (failed.rc, failed.output) == (4, "no")
