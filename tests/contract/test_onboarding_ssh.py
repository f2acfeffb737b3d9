"""First contact, passwords and keys, on a real OpenSSH server: with PAM, and with somebody in the middle."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from impostor import impostor

import provisioner.tasks
from provisioner.errors import Refused, Unreachable
from provisioner.model import task_types
from provisioner.onboarding.access import Door, KeyPair, key_pair, log_in, prove, write_ssh_config
from provisioner.onboarding.contact import greet_all, objection, take
from provisioner.onboarding.stages import OneRun, Stages
from provisioner.onboarding.units import Place, Unit
from provisioner.playbook import load_playbook
from provisioner.transport import Secret, UnknownHostKey
from provisioner.transport.greeting import greet, ways_in
from provisioner.transport.hostkeys import ChangedHostKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sshd import Sshd

needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("useradd"), reason="a user with a password needs root and useradd"
)
PASSWORD, KEYBOARD = "password", "keyboard-interactive"
BOOK = Path(provisioner.__file__).parents[1] / "playbooks" / "onboard.yaml"


@dataclass
class Account:
    """A user of this machine for one test."""

    name: str
    home: Path
    password: Secret


@pytest.fixture
def account() -> Iterator[Account]:
    """Yield a user with a password and an empty home, who is gone after the test."""
    name, word = f"onboard{secrets.token_hex(3)}", secrets.token_hex(8)
    home = Path("/tmp") / name
    subprocess.run(["useradd", "-m", "-d", str(home), "-s", "/bin/sh", name], check=True, capture_output=True)
    try:
        subprocess.run(["chpasswd"], input=f"{name}:{word}\n", text=True, check=True, capture_output=True)
        yield Account(name, home, Secret(word))
    finally:
        subprocess.run(["userdel", "-r", "-f", name], check=False, capture_output=True)


@pytest.fixture
def server(start_sshd: Callable[..., Sshd], request: pytest.FixtureRequest) -> Sshd:
    """Return a server that asks PAM, by the way that the test names, and reads keys from homes."""
    way = getattr(request, "param", PASSWORD)
    return start_sshd(
        {
            "UsePAM": "yes",
            "StrictModes": "yes",
            "PasswordAuthentication": "yes" if way == PASSWORD else "no",
            "KbdInteractiveAuthentication": "yes" if way == KEYBOARD else "no",
            "AuthorizedKeysFile": ".ssh/authorized_keys",
        }
    )


@pytest.fixture
def door(tmp_path: Path) -> Door:
    """Return how units are reached, with nothing accepted yet."""
    write_ssh_config(tmp_path / "ssh_config")
    return Door(tmp_path / "known_hosts", tmp_path / "ssh_config")


def met(server: Sshd, account: Account, door: Door) -> Unit:
    """Return a unit whose host key was accepted."""
    unit = Unit(Place("127.0.0.1", server.port), account.name, password=account.password)
    greet_all([unit], (), door.ssh_config)
    assert unit.greeting is not None
    take(unit, door.known_hosts)
    return unit


def test_first_contact_tells_who_answers_and_tries_no_login(sshd: Sshd, tmp_path: Path) -> None:
    """A greeting has the server's own key and banner, an unknown key is objected to, and nobody has tried to log in."""
    before = sshd.log()
    greeting = greet(sshd.target(known_hosts=(tmp_path / "none",)))
    assert greeting.key.kind == "ssh-ed25519"
    assert greeting.line.split()[1:] == list(sshd.host_key())
    assert greeting.banner.startswith("OpenSSH_")
    assert isinstance(greeting.objection, UnknownHostKey)
    assert "provision onboard 127.0.0.1" in str(greeting.objection.hint)
    time.sleep(0.2)
    told = sshd.log()[len(before) :]
    assert "Accepted" not in told
    assert "Failed" not in told


def test_a_key_on_file_is_no_objection_and_another_one_is(sshd: Sshd, tmp_path: Path) -> None:
    """With the key on file nothing is objected; with another one on file it has changed, whatever --replace is not."""
    assert greet(sshd.target()).objection is None
    assert "publickey" in ways_in(sshd.target())
    other = tmp_path / "other"
    name = f"[127.0.0.1]:{sshd.port}"
    other.write_text(f"{name} ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGDIqXPL1jGN9fXzxpfJ4NlvW1hQvlJ2qJ0FdXHbWcVn\n")
    greeting = greet(sshd.target(known_hosts=(other,)))
    assert isinstance(greeting.objection, ChangedHostKey)
    unit = Unit(Place("127.0.0.1", sshd.port), "nvidia", existing="orin", greeting=greeting)
    refused = objection(unit, None)
    assert refused is not None
    assert "--replace orin" in str(refused.hint)
    assert objection(unit, "xavier") is not None
    assert objection(unit, "orin") is None
    with pytest.raises(ChangedHostKey):
        ways_in(sshd.target(known_hosts=(other,)))


def test_nobody_in_the_middle_is_sent_anything(sshd: Sshd, door: Door) -> None:
    """Where another key answers than the one that was accepted, no login is tried: not a password, not a key."""
    with impostor() as (port, tried):
        accepted = greet(sshd.target()).key.line_for(f"[127.0.0.1]:{port}")
        door.known_hosts.write_text(f"{accepted}\n")
        unit = Unit(Place("127.0.0.1", port), "nvidia", password=Secret("hunter2"))
        for target in (door.by_password(unit), door.by_key(unit, sshd.key)):
            with pytest.raises(Refused, match=r"no longer has a host key|has changed"):
                log_in(target)
        greet_all([unit], (door.known_hosts,), door.ssh_config)
        assert tried == []


def test_what_does_not_speak_ssh_is_told(door: Door) -> None:
    """A server of another kind, and a closed port, end with where they are and what to look at."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            for _ in range(4):
                with suppress(OSError):
                    listener.accept()[0].sendall(b"220 mail.example.org ESMTP\r\n" * 200)

        threading.Thread(target=answer, daemon=True).start()
        mail = Unit(Place("127.0.0.1", port), "nvidia", patience=3)
        greet_all([mail], (), door.ssh_config)
    assert isinstance(mail.error, Unreachable)
    assert "does not speak SSH" in mail.error.message
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    closed = Unit(Place("127.0.0.1", port), "nvidia", patience=3)
    greet_all([closed], (), door.ssh_config)
    assert isinstance(closed.error, Unreachable)
    assert "the port (-p)" in str(closed.error.hint)


@needs_root
@pytest.mark.parametrize("server", [PASSWORD, KEYBOARD], indirect=True, ids=[PASSWORD, KEYBOARD])
def test_a_password_gets_in_by_pam(server: Sshd, account: Account, door: Door) -> None:
    """PAM is asked either way; the right password gets in, a wrong one is refused."""
    unit = met(server, account, door)
    log_in(door.by_password(unit))
    unit.password = Secret("wrong")
    with pytest.raises(Refused, match="Tried: password"):
        log_in(door.by_password(unit))


def installed(unit: Unit, pair: KeyPair, door: Door, scratch: Path) -> None:
    """Run the stage that installs the key, over the password."""
    stages = Stages(
        book=load_playbook(BOOK, modules=task_types()),
        modules=task_types(),
        scratch=scratch,
        run=OneRun(lambda _event: None),
        services={},
        public_key=pair.public,
        sudo="keep",
    )
    stages.apply(("key",), [unit], lambda one, _become: door.by_password(one))


@needs_root
def test_from_a_password_to_a_proven_key(server: Sshd, account: Account, door: Door, tmp_path: Path) -> None:
    """The key is installed as its user, as sshd wants it, and is proven; a second time changes nothing."""
    pair = key_pair(tmp_path / "keys" / "id_ed25519")
    pair.save()
    assert (pair.path.stat().st_mode & 0o777, pair.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    unit = met(server, account, door)
    with pytest.raises(Refused):
        prove(door.by_key(unit, pair.path), pair)
    installed(unit, pair, door, tmp_path)
    assert unit.error is None
    prove(door.by_key(unit, pair.path), pair)
    file = account.home / ".ssh" / "authorized_keys"
    assert file.read_text() == f"{pair.public}\n"
    assert (file.owner(), file.stat().st_mode & 0o777) == (account.name, 0o600)
    assert (file.parent.owner(), file.parent.stat().st_mode & 0o777) == (account.name, 0o700)
    stamp = file.stat().st_mtime_ns
    installed(unit, pair, door, tmp_path)
    assert (unit.error, file.stat().st_mtime_ns) == (None, stamp)


@needs_root
def test_a_key_that_sshd_does_not_take_is_not_proven(
    server: Sshd, account: Account, door: Door, tmp_path: Path
) -> None:
    """In a home that others may write to, the key is refused, the reason told, and the password still gets in."""
    pair = key_pair(tmp_path / "id_ed25519")
    pair.save()
    account.home.chmod(0o777)
    unit = met(server, account, door)
    installed(unit, pair, door, tmp_path)
    with pytest.raises(Refused, match="was installed, and does not log in"):
        prove(door.by_key(unit, pair.path), pair)
    log_in(door.by_password(unit))
