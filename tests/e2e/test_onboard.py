"""From an address and a password to a member of the fleet: `provision onboard` on the devices of the lab."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import paramiko
import pytest
from user import Ended, User, needs_namespaces

sys.path.insert(0, str(Path(__file__).parent.parent / "contract"))
from impostor import impostor

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = needs_namespaces

WORD = "jetson-word"
NAMES = ("plain", "named", "closed", "left", "right", "flashed", "broken", "undone", "asked")
FLEET = "fleet.yaml"


@dataclass
class Bench:
    """A user with new units on the bench: each has a password, an address of its own, and none of the user's keys."""

    user: User
    inventory: str = "bench/units.yaml"

    def port(self, name: str) -> int:
        """Return the port of a unit on loopback."""
        up = self.user.run("lab", "up", self.inventory)
        found = re.search(rf"^{name}: ssh .* -p (\d+) ", up.out, re.MULTILINE)
        assert found, up.all
        return int(found[1])

    def device(self, name: str) -> Path:
        """Return the folder of a unit."""
        return next((self.user.state / "provision" / "lab").glob(f"*/devices/{name}"))

    def read(self, name: str, path: str) -> str:
        """Return a file of a unit's disk."""
        return (self.device(name) / "root" / path).read_text()

    def fingerprint(self, name: str) -> str:
        """Return the fingerprint of a unit's host key, as somebody reads it on the unit."""
        key = self.device(name) / "host_key.pub"
        told = subprocess.run(["ssh-keygen", "-lf", str(key)], capture_output=True, text=True, check=True)
        return told.stdout.split()[1]

    def onboard(self, name: str, *more: str, answer: str | None = None, password: str | None = WORD) -> Ended:
        """Onboard a unit by its address; its key is told beforehand, unless there is an answer to the question."""
        known = () if answer is not None else ("--host-key", self.fingerprint(name), "--yes")
        address = f"127.0.0.1:{self.port(name)}"
        return self.at(address, *known, *more, answer=answer, password=password)

    def at(self, *arguments: str, answer: str | None = None, password: str | None = WORD) -> Ended:
        """Onboard what is at some addresses."""
        given = {} if password is None else {"PROVISION_PASSWORD": password}
        someone = User(self.user.folder, self.user.state, {**self.user.environment, **given})
        return someone.run("onboard", "-i", FLEET, *arguments, answer=answer)

    def fleet(self) -> dict[str, str]:
        """Return all that is kept of the fleet, but for locks and memories."""
        top = self.user.folder
        files = [top / FLEET, top / ".provision" / "known_hosts"]
        return {file.name: file.read_text() for file in files if file.exists()}

    def ways_in(self, name: str) -> list[str]:
        """Return the ways to log in that a unit offers."""
        transport = paramiko.Transport(("127.0.0.1", self.port(name)))
        try:
            transport.start_client(timeout=30)
            with pytest.raises(paramiko.BadAuthenticationType) as caught:
                transport.auth_none("nvidia")
            return list(caught.value.allowed_types)
        finally:
            transport.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Yield a bench, whose lab is stopped and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="bench-") as top:
        work, home = Path(top) / "work", Path(top) / "home"
        (work / "bench").mkdir(parents=True)
        home.mkdir()
        user = User(work, Path(top) / "state", {"HOME": str(home), "SSH_AUTH_SOCK": ""})
        kind = f"orin-nano-36.4.3 login_password={WORD} sudo_password={WORD}"
        hosts = "".join(f"    {name}: {{simulate: {kind}}}\n" for name in NAMES)
        user.write("house.yaml", "all:\n  hosts:\n    kitchen:\n")
        user.write("bench/units.yaml", f"all:\n  hosts:\n{hosts}")
        try:
            up = user.run("lab", "up", "bench/units.yaml")
            assert up.code == 0, up.all
            yield Bench(user)
        finally:
            user.run("lab", "reset", "bench/units.yaml")


def test_from_a_password_to_a_member_of_the_fleet(bench: Bench) -> None:
    """A dry run touches nothing; the run asks for the key; after it the key alone is enough; the next one is done."""
    before = bench.read("plain", "home/nvidia/.ssh/authorized_keys")
    told = bench.onboard("plain", "--dry-run", "--name", "kitchen", answer="y\n")
    assert told.code == 0, told.all
    for part in (
        "Orin Nano",
        "36.4.3",
        "sudo without a password",
        "-> kitchen in jetsons",
        "host name: plain -> kitchen",
        "+          ansible_port:",
    ):
        assert part in told.out
    assert "nothing was touched" in told.out
    assert bench.read("plain", "home/nvidia/.ssh/authorized_keys") == before
    assert bench.fleet() == {}
    assert not (Path(bench.user.environment["HOME"]) / ".ssh").exists()

    done = bench.onboard("plain", "--name", "kitchen", answer="y\ny\n")
    assert done.code == 0, done.all
    assert bench.fingerprint("plain") in done.out
    assert WORD not in done.all
    key = Path(bench.user.environment["HOME"]) / ".ssh" / "id_ed25519"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.with_suffix(".pub").read_text().strip() in bench.read("plain", "home/nvidia/.ssh/authorized_keys")
    assert bench.read("plain", "etc/sudoers.d/90-provision-nvidia") == "nvidia ALL=(ALL:ALL) NOPASSWD: ALL\n"
    assert bench.read("plain", "etc/hostname") == "kitchen\n"
    assert "127.0.1.1\tkitchen\n" in bench.read("plain", "etc/hosts")
    assert "jetson_l4t: 36.4.3" in bench.fleet()[FLEET]

    facts = bench.user.run("facts", FLEET)
    assert facts.code == 0, facts.all
    play = bench.user.write(
        "sudo.yaml", "- hosts: all\n  become: true\n  tasks: [{file: {path: /etc/x, state: touch}}]\n"
    )
    as_root = bench.user.run("apply", FLEET, play)
    assert as_root.code == 0, as_root.all
    kept = bench.fleet()
    again = bench.onboard("plain", password=None)
    assert (again.code, bench.fleet()) == (0, kept), again.all
    assert "is kitchen of fleet.yaml already" in again.out


def test_a_host_that_somebody_wrote_down_goes_on_to_apply(bench: Bench) -> None:
    """By its name in the inventory, from password-only to applied; the next apply changes nothing."""
    someone = User(bench.user.folder, bench.user.state, {**bench.user.environment, "PROVISION_PASSWORD": WORD})
    port = bench.port("named")
    assert port
    arguments = ("named", "-i", bench.inventory, "--host-key", bench.fingerprint("named"), "--yes", "--apply")
    done = someone.run("onboard", *arguments)
    assert done.code == 0, done.all
    assert "dustynv/l4t-pytorch" in done.out
    _, report = bench.user.apply(bench.inventory, "-l", "named")
    assert report["recap"]["named"]["changed"] == 0
    text = (bench.user.folder / bench.inventory).read_text()
    assert "jetson_l4t: 36.4.3" in text
    assert text.count("simulate:") == len(NAMES)


def test_passwords_are_turned_off_when_the_key_is_proven(bench: Bench) -> None:
    """--disable-password leaves the key as the only way in, and the settings are at the top of sshd_config."""
    assert "password" in bench.ways_in("closed")
    done = bench.onboard("closed", "--disable-password", "--name", "closed")
    assert done.code == 0, done.all
    assert bench.ways_in("closed") == ["publickey"]
    assert bench.read("closed", "etc/ssh/sshd_config").startswith(
        "# BEGIN provision onboard\nPasswordAuthentication no"
    )
    assert bench.user.run("facts", FLEET, "-l", "closed").code == 0


def test_one_units_failure_stops_no_other(bench: Bench) -> None:
    """Of two units the one whose key was not given fails; the next run picks up only that one."""
    addresses = [f"127.0.0.1:{bench.port(name)}" for name in ("left", "right")]
    first = bench.at(*addresses, "--host-key", bench.fingerprint("left"), "--yes")
    assert first.code == 2, first.all
    assert "1 of 2 are in" in first.err
    left = [line for line in bench.fleet()["known_hosts"].splitlines() if addresses[1].rpartition(":")[2] in line]
    assert left == []
    keys = ("--host-key", bench.fingerprint("left"), "--host-key", bench.fingerprint("right"))
    second = bench.at(*addresses, *keys, "--yes")
    assert second.code == 0, second.all
    assert "left of fleet.yaml already" in second.out
    assert re.search(r"^right +changed ", second.out, re.MULTILINE)
    assert not re.search(r"^left +changed ", second.out, re.MULTILINE)


def test_a_unit_that_was_flashed_anew_waits_for_replace(bench: Bench) -> None:
    """Same address and a new key: refused, with nothing changed, until --replace names it; then the old key is gone."""
    assert bench.onboard("flashed", "--name", "flashed").code == 0
    kept = bench.fleet()
    bench.user.run("lab", "down", bench.inventory)
    for file in bench.device("flashed").glob("host_key*"):
        file.unlink()
    port = bench.port("flashed")
    refused = bench.onboard("flashed")
    assert refused.code == 2, refused.all
    assert "--replace flashed" in refused.err
    assert bench.fleet() == kept
    done = bench.onboard("flashed", "--replace", "flashed")
    assert done.code == 0, done.all
    lines = [line for line in bench.fleet()["known_hosts"].splitlines() if f":{port} " in line]
    assert len(lines) == 1
    assert lines[0].split()[2] in (bench.device("flashed") / "host_key.pub").read_text()


def test_a_failure_leaves_the_unit_as_reachable_as_it_was(bench: Bench) -> None:
    """A rule that visudo refuses is never put in place: the password still gets in, and the fleet is as it was."""
    shipped = (Path(__file__).parents[2] / "playbooks" / "onboard.yaml").read_text()
    wrong = shipped.replace("NOPASSWD: ALL", "NOPASSWD ALL:")
    assert wrong != shipped
    kept = bench.fleet()
    own = bench.user.folder / bench.user.write("playbooks/onboard.yaml", wrong)
    try:
        failed = bench.onboard("broken", "--disable-password")
    finally:
        own.unlink()
    assert failed.code == 2, failed.all
    assert "validate refused" in failed.out
    assert not (bench.device("broken") / "root/etc/sudoers.d/90-provision-nvidia").exists()
    assert "password" in bench.ways_in("broken")
    assert bench.fleet() == kept
    assert bench.onboard("broken", "--name", "broken").code == 0


def test_passwords_are_on_again_where_turning_them_off_did_not_take(bench: Bench) -> None:
    """Where sshd still offers passwords, the setting is undone, the unit fails, and both ways in still work."""
    shipped = (Path(__file__).parents[2] / "playbooks" / "onboard.yaml").read_text()
    idle = shipped.replace("PasswordAuthentication no", "X11Forwarding no")
    assert idle != shipped
    before, kept = bench.read("undone", "etc/ssh/sshd_config"), bench.fleet()
    own = bench.user.folder / bench.user.write("playbooks/onboard.yaml", idle)
    try:
        failed = bench.onboard("undone", "--disable-password")
    finally:
        own.unlink()
    assert failed.code == 2, failed.all
    assert "sshd still offers password" in failed.err
    assert bench.read("undone", "etc/ssh/sshd_config") == before
    assert set(bench.ways_in("undone")) == {"password", "publickey"}
    assert bench.fleet() == kept


def test_what_is_no_linux_is_told(bench: Bench) -> None:
    """Something that takes the password and gives no shell ends with what it said, and with a guess at what it is."""
    kept = bench.fleet()
    with impostor() as (port, _):
        ended = bench.at(f"127.0.0.1:{port}", answer="y\n")
    assert ended.code == 2, ended.all
    assert "is it a Linux" in ended.err
    assert bench.fleet() == kept


def test_nobody_in_the_middle_gets_the_password(bench: Bench) -> None:
    """Whether the key is told or asked about: a server with another one is sent no login at all."""
    with impostor() as (port, tried):
        for arguments, answer in (
            (("--host-key", bench.fingerprint("asked")), None),
            ((), "n\n"),
            ((), bench.fingerprint("asked")),
        ):
            ended = bench.at(f"127.0.0.1:{port}", *arguments, answer=answer)
            assert ended.code == 2, ended.all
            assert "no password was sent" in ended.err
        assert tried == []


BAD = [
    (("127.0.0.1:9",), 4, "refused the connection"),
    (("nobody.invalid",), 4, "no address is known"),
    (("127.0.0.1:0",), 1, "is not between"),
    (("one two",), 1, "is no address"),
    (("127.0.0.1", "--name", "a_b"), 1, "cannot be a host's name"),
    (("127.0.0.1", "127.0.0.2", "--name", "a"), 1, "is for one unit"),
    (("127.0.0.1", "-i", "house.yaml", "--replace", "kitche"), 1, "kitchen"),
    (("127.0.0.1", "--password-fd", "77"), 1, "cannot be read"),
    (("127.0.0.1", "--private-key", "x.pub"), 1, "is the public key"),
    (("127.0.0.1", "-i", "nowhere/fleet.yaml"), 1, "there is no folder"),
    (("127.0.0.1", "-i", "a,b"), 1, "cannot be written to"),
    (("127.0.0.1", "-i", "/proc/fleet.yaml"), 1, "cannot be written"),
]


@pytest.mark.parametrize(("arguments", "code", "told"), BAD)
def test_bad_input_is_told(bench: Bench, arguments: tuple[str, ...], code: int, told: str) -> None:
    """One clear message, the exit code of its kind, and a fleet that is as it was."""
    kept = bench.fleet()
    ended = bench.at(*arguments)
    assert (ended.code, told in ended.err) == (code, True), ended.all
    assert "Traceback" not in ended.err
    assert bench.fleet() == kept


def test_a_wrong_password_is_asked_for_three_times(bench: Bench) -> None:
    """Three tries, then it stops; one try where the password came from a script. Nothing is changed."""
    kept, keys = bench.fleet(), bench.read("asked", "home/nvidia/.ssh/authorized_keys")
    ended = bench.onboard("asked", answer="y\nwrong\nwrong\nwrong\n" + WORD + "\n", password=None)
    assert ended.code == 2, ended.all
    assert ended.err.count("Password of nvidia") == 3
    assert "refused to log in nvidia" in ended.err
    ended = bench.onboard("asked", password="wrong")
    assert ended.code == 2, ended.all
    assert "wrong" not in ended.out.replace("wrong password", "")
    assert (bench.fleet(), bench.read("asked", "home/nvidia/.ssh/authorized_keys")) == (kept, keys)


QUESTIONS = [("Is this the key", ""), ("Password of", "y\n"), ("Onboard it?", f"y\n{WORD}\n")]


@pytest.mark.parametrize(("question", "answers"), QUESTIONS)
def test_ctrl_c_at_a_question_changes_nothing(bench: Bench, question: str, answers: str) -> None:
    """At each prompt: exit code 130, a message that says so, and unit and fleet as they were."""
    kept, keys = bench.fleet(), bench.read("asked", "home/nvidia/.ssh/authorized_keys")
    process = bench.user.start(
        "onboard", f"127.0.0.1:{bench.port('asked')}", "-i", FLEET, stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    heard: list[str] = []

    def listen(descriptor: int) -> None:
        while piece := os.read(descriptor, 4096):
            heard.append(piece.decode())

    threads = [
        threading.Thread(target=listen, args=(one.fileno(),), daemon=True) for one in (process.stdout, process.stderr)
    ]
    for thread in threads:
        thread.start()
    process.stdin.write(answers)
    process.stdin.flush()
    deadline = time.monotonic() + 60
    while question not in "".join(heard):
        assert time.monotonic() < deadline, "".join(heard)
        assert process.poll() is None, "".join(heard)
        time.sleep(0.05)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    for thread in threads:
        thread.join(10)
    assert "no unit and no inventory was changed" in "".join(heard)
    assert (bench.fleet(), bench.read("asked", "home/nvidia/.ssh/authorized_keys")) == (kept, keys)
