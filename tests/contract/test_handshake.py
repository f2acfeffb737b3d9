"""How a connection comes about on a real OpenSSH server: with what is on file, however it is filed, and in how much."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from proxy import Proxy
from sshd import Sshd, _keygen
from test_transport import DELAY, refusal, talk

from provisioner.errors import Refused
from provisioner.transport import SshSession, UnknownHostKey, remember
from provisioner.transport.client import ClientTransport
from provisioner.transport.hostkeys import ChangedHostKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BOTH = ("ed25519", "rsa")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have an agent that holds no key yet."""
    place = tmp_path / "agent"
    lines = subprocess.run(["ssh-agent", "-s", "-a", str(place)], check=True, capture_output=True, text=True)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(place))
    yield
    os.kill(int(lines.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0]), 15)


def filed(server: Sshd, path: Path, *kinds: str, name: str | None = None) -> Path:
    """Write a known_hosts with the server's keys of these types, names hashed as ssh does; return its path."""
    for kind in kinds:
        remember(path, " ".join((name or f"[127.0.0.1]:{server.port}", *server.host_key(kind))))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=True, capture_output=True)
    return path


def gets_in(server: Sshd, **changes: object) -> bool:
    """Tell whether a session can be had, and works."""
    with SshSession(server.target(**changes)) as session:
        return talk(session, "printf in") == "in"


@pytest.mark.parametrize("kind", BOTH)
def test_a_hashed_name_is_known(start_sshd: Callable[..., Sshd], tmp_path: Path, kind: str) -> None:
    """A key under a hashed name counts, also where it is not of the type that the server would show by itself."""
    server = start_sshd(host_keys=BOTH)
    assert gets_in(server, known_hosts=(filed(server, tmp_path / "known_hosts", kind),))


def test_a_hashed_name_without_port_is_known(sshd: Sshd, tmp_path: Path) -> None:
    """A key that is filed under the hashed name alone counts for every port, as with ssh."""
    assert gets_in(sshd, known_hosts=(filed(sshd, tmp_path / "known_hosts", "ed25519", name="127.0.0.1"),))


def test_under_a_hashed_name_keys_change_and_are_revoked_too(sshd: Sshd, tmp_path: Path) -> None:
    """A changed key, a revoked key and another host's key are refused as under plain names."""
    place = f"[127.0.0.1]:{sshd.port}"
    _keygen(tmp_path / "other", "ed25519")
    changed, revoked, others = (tmp_path / name for name in ("changed", "revoked", "others"))
    remember(changed, f"{place} {(tmp_path / 'other.pub').read_text()}")
    remember(revoked, " ".join((place, *sshd.host_key())))
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(changed)], check=True, capture_output=True)
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(revoked)], check=True, capture_output=True)
    revoked.write_text(revoked.read_text() + "@revoked " + revoked.read_text())
    filed(sshd, others, "ed25519", name="another")
    assert refusal(sshd.target(known_hosts=(changed,)), ChangedHostKey)
    assert "revoked" in str(refusal(sshd.target(known_hosts=(revoked,)), Refused))
    assert refusal(sshd.target(known_hosts=(others,)), UnknownHostKey)


def test_an_agent_signs_for_many_hosts_at_once(sshd: Sshd, agent: None) -> None:
    """Twelve logins side by side share one agent."""
    subprocess.run(["ssh-add", "-q", str(sshd.key)], check=True)
    with ThreadPoolExecutor(12) as pool:
        assert all(pool.map(lambda _: gets_in(sshd, key_files=()), range(12)))


def test_what_an_agent_cannot_sign_is_one_refused_key(sshd: Sshd, agent: None, tmp_path: Path) -> None:
    """An agent that has lost its key since it was asked refuses to sign; what else there is is tried after it."""
    subprocess.run(["ssh-add", "-q", str(sshd.key)], check=True)
    assert gets_in(sshd, key_files=())
    subprocess.run(["ssh-add", "-q", "-D"], check=True)
    assert "agent key" in str(refusal(sshd.target(key_files=()), Refused))


@pytest.mark.parametrize("kind", ["rsa", "ecdsa"])
def test_keys_of_any_type_log_in(start_sshd: Callable[..., Sshd], tmp_path: Path, kind: str) -> None:
    """A key of another type logs in, after one that was refused."""
    _keygen(tmp_path / "stranger", "ed25519")
    _keygen(tmp_path / "key", kind)
    server = start_sshd()
    (server.folder / "authorized_keys").write_text((tmp_path / "key.pub").read_text())
    assert gets_in(server, key_files=(tmp_path / "stranger", tmp_path / "key"))


def test_what_is_weak_is_not_offered(start_sshd: Callable[..., Sshd]) -> None:
    """A server that has nothing but CBC, or nothing but SHA-1, is refused with that reason; CTR and SHA-2 do."""
    for weak in ({"Ciphers": "aes128-cbc"}, {"Ciphers": "aes128-ctr", "MACs": "hmac-sha1"}):
        assert "no algorithm in common" in str(refusal(start_sshd(weak).target(), Refused))
    assert gets_in(start_sshd({"Ciphers": "aes256-ctr", "MACs": "hmac-sha2-512-etm@openssh.com"}))


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr"])
def test_keys_are_exchanged_anew_in_between(start_sshd: Callable[..., Sshd], cipher: str) -> None:
    """A server that wants new keys after every 256 KB gets them, while much goes both ways."""
    server = start_sshd({"RekeyLimit": "256K", "Ciphers": cipher})
    text = "x" * 60 + "\n"
    with SshSession(server.target()) as session:
        sent = text * 40_000
        answer = talk(session, f"cat <<'END' | tee /dev/stderr | cat\n{sent}END", 60)
    assert answer == sent.removesuffix("\n") or answer == sent


def test_a_connection_costs_one_thread(sshd: Sshd) -> None:
    """Beside the thread that uses them, four connections have four threads."""
    before = threading.active_count()
    with ExitStack() as stack:
        for _ in range(4):
            talk(stack.enter_context(SshSession(sshd.target())), "printf in")
        assert threading.active_count() - before == 4


def test_login_and_a_look_take_six_round_trips(sshd: Sshd) -> None:
    """Greeting, key exchange and login are a round trip each; a session and its first answer three more."""
    with Proxy(sshd.port, DELAY) as proxy, SshSession(sshd.target(port=proxy.port)) as session:
        talk(session, "printf look")
        assert proxy.trips <= 6


def test_an_ssh_config_for_many_is_not_written_into(sshd: Sshd, tmp_path: Path) -> None:
    """Hosts share what was read of ssh_config, and none sees what another one had of it."""
    config = tmp_path / "config"
    config.write_text(
        f"Host one\n  HostName 127.0.0.1\n  IdentityFile {sshd.key}\n  ForwardAgent /some/socket\n"
        "Host two\n  HostName 127.0.0.1\n"
    )
    for name in ("one", "two"):
        remember(tmp_path / "known_hosts", " ".join((f"[127.0.0.1]:{sshd.port}", *sshd.host_key())))
        target = sshd.target(
            address=name, ssh_config=config, key_files=(), known_hosts=(tmp_path / "known_hosts",), name=name
        )
        if name == "one":
            with SshSession(target) as session:
                assert talk(session, "printf in") == "in"
        else:
            assert "nothing: no key file" in str(refusal(target, Refused))


@pytest.mark.parametrize(
    ("has", "agreed"),
    [
        ("curve25519-sha256@libssh.org,ecdh-sha2-nistp256,diffie-hellman-group14-sha256", "ecdh-sha2-nistp256"),
        ("diffie-hellman-group14-sha256,curve25519-sha256@libssh.org", "curve25519-sha256@libssh.org"),
        ("diffie-hellman-group14-sha256", "diffie-hellman-group14-sha256"),
    ],
)
def test_keys_are_exchanged_as_costs_a_device_least(start_sshd: Callable[..., Sshd], has: str, agreed: str) -> None:
    """Of what a server has, the exchange is taken that is quick there; each is enough to get in."""
    server = start_sshd({"KexAlgorithms": has, "LogLevel": "DEBUG"})
    assert gets_in(server)
    assert f"kex: algorithm: {agreed} " in server.log()


def test_what_may_be_kept_until_it_can_be_read_is_exchanged_first() -> None:
    """The exchange that a quantum computer does not break comes before all, and none rests on SHA-1."""
    here, there = socket.socketpair()
    with here, there:
        offered = ClientTransport(here).get_security_options().kex
    hybrid = [name for name in offered if name.startswith("mlkem")]
    assert list(offered[: len(hybrid)]) == hybrid
    assert not [name for name in offered if "sha1" in name]
