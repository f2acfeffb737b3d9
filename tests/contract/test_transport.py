"""The transport against a real OpenSSH server: what gets in, what is refused, and what it costs."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from proxy import Proxy
from sshd import Sshd, _keygen

from provisioner.errors import InputError, LinkLost, Refused, Unreachable
from provisioner.shell import Upload
from provisioner.transport import Secret, SshSession, Target, UnknownHostKey, remember
from provisioner.transport.shell import boot_command, opening

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="making a user needs root")
needs_sudo = pytest.mark.skipif(not ROOT or not shutil.which("sudo"), reason="needs root and sudo")
DELAY = 0.05


def talk(session: SshSession, script: str, timeout: float = 20) -> str:
    """Run a script in the session's shell and return what it printed, up to a mark of our own."""
    mark = uuid.uuid4().hex
    session.send(f"{script}\necho; echo {mark[:8]}''{mark[8:]}\n".encode())
    output = b""
    while f"{mark}\n".encode() not in output:
        chunk = session.receive(timeout)
        assert chunk, f"the shell ended: {output!r} {session.stderr!r}"
        output += chunk
    return output.partition(f"\n{mark}\n".encode())[0].decode()


def refusal(target: Target, kind: type[Exception]) -> Exception:
    """Open a session that must fail, and return why."""
    with pytest.raises(kind) as caught:
        attempt(target, "echo never")
    return caught.value


def attempt(target: Target, script: str) -> bytes:
    """Open a session, send a script at once, and return the first of the answer."""
    with SshSession(target) as session:
        session.send(f"{script}\n".encode())
        return session.receive(20)


@dataclass
class Account:
    """A user that exists for one test."""

    name: str
    password: str


@contextmanager
def account(rule: str = "", shell: str = "/bin/sh") -> Iterator[Account]:
    """Make a user with a password, and a line for it in sudoers; both are gone afterwards."""
    user = Account(f"prov{uuid.uuid4().hex[:8]}", uuid.uuid4().hex)
    sudoers = Path("/etc/sudoers.d") / user.name
    subprocess.run(["useradd", "-m", "-s", shell, user.name], check=True, capture_output=True)
    try:
        subprocess.run(["chpasswd"], input=f"{user.name}:{user.password}".encode(), check=True)
        if rule:
            sudoers.write_text(f"{user.name} {rule}\n")
            sudoers.chmod(0o440)
        yield user
    finally:
        sudoers.unlink(missing_ok=True)
        _remove(user.name)


def _remove(name: str) -> None:
    # sshd ends a moment after its connection; until then userdel calls the user busy.
    for _ in range(100):
        if subprocess.run(["userdel", "-r", name], check=False, capture_output=True).returncode == 0:
            return
        time.sleep(0.05)
    raise AssertionError(f"user {name} is still there")


# --- getting in ------------------------------------------------------------------------------------------------------


def test_key_login_gives_a_shell(sshd: Sshd) -> None:
    """A configured key logs in, the shell runs what it is sent, and the session knows who it is."""
    with SshSession(sshd.target()) as session:
        assert talk(session, "printf '%s' 'a b'") == "a b"
        assert session.login_user == sshd.user
        assert session.privileged is ROOT
        assert session.tally.sent > 0
        assert session.tally.received > 0


def test_state_lasts_between_batches(session: SshSession) -> None:
    """One shell serves all batches: what one sets, the next one sees."""
    talk(session, "x=1; cd /")
    assert talk(session, 'printf %s "$x$PWD"') == "1/"


def test_bytes_arrive_as_they_are(session: SshSession) -> None:
    """NULs, missing final newlines and quotes pass unchanged in both directions."""
    session.send(b"printf 'a\\000b\\377\"$'; exit\n")
    output = b""
    while chunk := session.receive(10):
        output += chunk
    assert output == b'a\0b\xff"$'


def test_an_agents_key_logs_in(sshd: Sshd, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without a key file the agent is asked."""
    lines = subprocess.run(
        ["ssh-agent", "-s", "-a", str(tmp_path / "agent")], check=True, capture_output=True, text=True
    )
    pid = lines.stdout.partition("SSH_AGENT_PID=")[2].partition(";")[0]
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "agent"))
    try:
        subprocess.run(["ssh-add", "-q", str(sshd.key)], check=True)
        with SshSession(sshd.target(key_files=())) as session:
            assert talk(session, "printf in") == "in"
    finally:
        os.kill(int(pid), 15)


def test_a_certificate_logs_in(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    """A certificate beside a key file is presented, and suffices where only its authority is trusted."""
    _keygen(tmp_path / "ca", "ed25519")
    _keygen(tmp_path / "key", "ed25519")
    server = start_sshd({"TrustedUserCAKeys": str(tmp_path / "ca.pub"), "AuthorizedKeysFile": "none"})
    sign = ["ssh-keygen", "-q", "-s", str(tmp_path / "ca"), "-I", "id", "-n", server.user, str(tmp_path / "key.pub")]
    subprocess.run(sign, check=True, capture_output=True)
    with SshSession(server.target(key_files=(tmp_path / "key",))) as session:
        assert talk(session, "printf in") == "in"


@needs_root
def test_a_password_logs_in(start_sshd: Callable[..., Sshd]) -> None:
    """A password is used when there is no key."""
    server = start_sshd({"PasswordAuthentication": "yes"})
    with account() as user:
        target = server.target(user=user.name, key_files=(), password=Secret(user.password))
        with SshSession(target) as session:
            assert talk(session, "id -un").strip() == user.name


@needs_root
def test_a_password_never_goes_to_an_unverified_host(start_sshd: Callable[..., Sshd]) -> None:
    """With host keys unchecked, a server that nobody vouched for is not sent a password."""
    server = start_sshd({"PasswordAuthentication": "yes"})
    with account() as user:
        target = server.target(
            user=user.name, key_files=(), password=Secret(user.password), known_hosts=(), check_host_keys=False
        )
        assert "not verified" in str(refusal(target, Refused))
        assert "password" not in server.log().replace("PasswordAuthentication", "")


# --- host keys -------------------------------------------------------------------------------------------------------


def test_unknown_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    """A key that no file holds is refused with its type and fingerprint; the line it carries makes it known."""
    own = tmp_path / ".provision" / "known_hosts"
    error = refusal(sshd.target(known_hosts=(own, tmp_path / "none")), UnknownHostKey)
    assert isinstance(error, UnknownHostKey)
    print_of_key = subprocess.run(
        ["ssh-keygen", "-lf", str(sshd.folder / "host_ed25519.pub")], check=True, capture_output=True, text=True
    )
    assert print_of_key.stdout.split()[1] in str(error)
    assert "ssh-ed25519" in str(error)
    assert "ssh-keyscan" in str(error.hint)
    remember(own, error.line)
    with SshSession(sshd.target(known_hosts=(own,))) as session:
        assert talk(session, "printf in") == "in"


def test_changed_host_key_is_refused(sshd: Sshd, tmp_path: Path) -> None:
    """A key that differs from the known one is refused, with both fingerprints and the line of the known one."""
    _keygen(tmp_path / "other", "ed25519")
    words = (tmp_path / "other.pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"# comment\n[127.0.0.1]:{sshd.port} {words[0]} {words[1]}\n")
    message = str(refusal(sshd.target(known_hosts=(known,)), Refused))
    assert "has changed" in message
    assert f"{known}:2" in message
    assert message.count("SHA256:") == 2


def test_a_key_type_that_vanished_is_a_changed_key(sshd: Sshd, tmp_path: Path) -> None:
    """Only the known key types are offered, so a server without them is refused, not asked for another."""
    _keygen(tmp_path / "other", "ecdsa")
    words = (tmp_path / "other.pub").read_text().split()
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{sshd.port} {words[0]} {words[1]}\n")
    error = refusal(sshd.target(known_hosts=(known,)), Refused)
    assert "no longer has a host key of the known type" in str(error)
    assert not isinstance(error, UnknownHostKey)


def test_only_known_key_types_are_offered(start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    """A server with several keys is asked for the one that known_hosts holds, RSA (with SHA-2) included."""
    server = start_sshd(host_keys=("ed25519", "rsa"))
    kind, blob = server.host_key("rsa")
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {kind} {blob}\n")
    with SshSession(server.target(known_hosts=(known,))) as session:
        assert talk(session, "printf in") == "in"


def test_an_authority_alone_is_refused_clearly(sshd: Sshd, tmp_path: Path) -> None:
    """A host that only a certificate authority vouches for is refused, and the message says why."""
    kind, blob = sshd.host_key()
    known = tmp_path / "known_hosts"
    known.write_text(f"@cert-authority * {kind} {blob}\n@cert-authority [127.0.0.1]:* {kind} {blob}\n")
    assert "authority" in str(refusal(sshd.target(known_hosts=(known,)), UnknownHostKey))


def test_unchecked_host_keys_let_anybody_in(sshd: Sshd) -> None:
    """Where checking is switched off, a key login goes on without a known key, and nothing is written."""
    with SshSession(sshd.target(known_hosts=(), check_host_keys=False)) as session:
        assert talk(session, "printf in") == "in"


# --- refusals --------------------------------------------------------------------------------------------------------


def test_refused_login_names_what_was_tried(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A login that fails names the keys that were tried, unusable ones included."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    _keygen(tmp_path / "stranger", "ed25519")
    _keygen(tmp_path / "locked", "ed25519", "passphrase")
    files = (tmp_path / "stranger", tmp_path / "locked", tmp_path / "missing")
    message = str(refusal(sshd.target(key_files=files), Refused))
    assert str(files[0]) in message
    assert "needs a passphrase" in message
    assert "no such file" in message
    assert sshd.user in message


def test_keys_in_home_are_not_tried_unasked(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key in ~/.ssh that neither the inventory nor ssh_config names is left alone."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    shutil.copy(sshd.key, tmp_path / ".ssh" / "id_ed25519")
    assert "Tried: nothing" in str(refusal(sshd.target(key_files=()), Refused))


def test_closed_port_is_unreachable(sshd: Sshd) -> None:
    """A port that nobody listens on is unreachable, at once, with a hint."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        error = refusal(sshd.target(port=probe.getsockname()[1]), Unreachable)
    assert "refused the connection" in str(error)
    assert isinstance(error, Unreachable)
    assert error.hint


def test_unknown_name_is_unreachable(sshd: Sshd) -> None:
    """A name without an address is unreachable, and the message holds the name."""
    assert "no-such-host.invalid" in str(refusal(sshd.target(address="no-such-host.invalid"), Unreachable))


@pytest.mark.parametrize(
    ("words", "told"), [(b"HTTP/1.1 400 Bad \x1b[31mRequest\r\n" * 101, "SSH"), (b"", "SSH"), (None, "word")]
)
def test_a_server_that_is_no_sshd_is_unreachable(sshd: Sshd, words: bytes | None, told: str) -> None:
    """Garbage, silence and a slammed door are told apart, and no control character gets through."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept = []

        def serve() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    client.sendall(words or b"")
                    if words is None:
                        client.close()
                    kept.append(client)

        threading.Thread(target=serve, daemon=True).start()
        target = sshd.target(port=listener.getsockname()[1], connect_timeout=1)
        message = str(refusal(target, Unreachable))
        for client in kept:
            client.close()
    assert told in message
    assert "\x1b" not in message


def test_a_login_without_a_shell_is_refused(start_sshd: Callable[..., Sshd]) -> None:
    """An account whose commands are not run is refused with what it said instead."""
    server = start_sshd({"ForceCommand": "echo This account is currently not available.; exit 1"})
    assert "currently not available" in str(refusal(server.target(), Refused))


def test_no_such_jump_target_is_unreachable(sshd: Sshd) -> None:
    """A device that the jump host cannot reach is unreachable, and the message names both."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        closed = probe.getsockname()[1]
        target = sshd.target(port=closed, proxy_jump=f"{sshd.user}@127.0.0.1:{sshd.port}")
        assert "jump host" in str(refusal(target, Unreachable))


# --- privileges ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not ROOT, reason="needs a root login")
def test_become_as_root_needs_no_sudo(sshd: Sshd) -> None:
    """Who logs in as root has the privileges already."""
    with SshSession(sshd.target(become=True, become_password=Secret("unused"))) as session:
        assert talk(session, "id -u").strip() == "0"
        assert session.privileged


@needs_sudo
@pytest.mark.parametrize("password", [None, "unused"])
def test_sudo_without_password(sshd: Sshd, password: str | None) -> None:
    """Where sudo asks nothing the shell is root's, whether or not a password was given; stdin is untouched."""
    with account("ALL=(ALL) NOPASSWD: ALL") as user:
        secret = Secret(password) if password else None
        with SshSession(sshd.target(user=user.name, become=True, become_password=secret)) as session:
            assert talk(session, "id -u; cat <<'X'\nkept\nX").split() == ["0", "kept"]
            assert session.login_user == user.name
            assert session.privileged


@needs_sudo
def test_sudo_with_password(sshd: Sshd) -> None:
    """Where sudo asks, the password is given at the prompt, shows in no argument, and the shell is root's."""
    with account("ALL=(ALL) ALL") as user:
        target = sshd.target(user=user.name, become=True, become_password=Secret(user.password))
        with SshSession(target) as session:
            assert talk(session, "id -u").strip() == "0"
            seen = talk(session, "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
            assert "ready" in seen
            assert user.password not in seen
            assert session.run_aside(b"id -u", 10) == (0, b"0\n")


@needs_sudo
def test_wrong_sudo_password_is_refused(sshd: Sshd) -> None:
    """A wrong password is given once only, and the message says that it was wrong."""
    with account("ALL=(ALL) ALL") as user:
        target = sshd.target(user=user.name, become=True, become_password=Secret("wrong"))
        error = refusal(target, Refused)
        assert "did not take the password" in str(error)


@needs_sudo
def test_sudo_that_wants_a_password_is_refused(sshd: Sshd) -> None:
    """Without a password the refusal names -K, and what was sent already reaches neither sudo nor a shell."""
    with account("ALL=(ALL) ALL") as user:
        trace = Path("/home") / user.name / "trace"
        with pytest.raises(Refused) as caught:
            attempt(sshd.target(user=user.name, become=True), f"touch {trace}\n" * 10_000)
        assert "-K" in str(caught.value.hint)
        assert not trace.exists()


@needs_sudo
@pytest.mark.parametrize("given", [True, False])
def test_who_may_not_use_sudo_is_refused(sshd: Sshd, given: bool) -> None:
    """A user outside sudoers is told so (or, without a password, that sudo wants one: it tells no more)."""
    with account() as user:
        password = Secret(user.password) if given else None
        error = refusal(sshd.target(user=user.name, become=True, become_password=password), Refused)
        assert ("may not use sudo" if given else "sudo wants the password") in str(error)


@needs_sudo
def test_no_sudo_password_for_an_unverified_host(sshd: Sshd) -> None:
    """The sudo password goes only to a host whose key was verified."""
    with account("ALL=(ALL) ALL") as user:
        target = sshd.target(
            user=user.name, become=True, become_password=Secret(user.password), known_hosts=(), check_host_keys=False
        )
        assert "not verified" in str(refusal(target, Refused))


@needs_root
@pytest.mark.parametrize("shell", ["dash", "bash", "zsh", "fish", "csh", "tcsh", "busybox"])
def test_any_login_shell_will_do(sshd: Sshd, shell: str) -> None:
    """The boot command means the same to each login shell."""
    found = shutil.which(shell)
    if not found:
        pytest.skip(f"{shell} is not installed")
    if shell == "busybox":
        command = boot_command("marker", "prompt:", become=False, password=False)
        said = f"{opening('marker', become=False)}echo x\n".encode()
        answer = subprocess.run([found, "sh", "-c", command], input=said, capture_output=True, check=True)
        assert answer.stdout.startswith(b"marker ready ")
        assert answer.stdout.endswith(b"x\n")
        return
    with account(shell=found) as user, SshSession(sshd.target(user=user.name)) as session:
        assert talk(session, "printf '%s' \"$0\"") == "/bin/sh"


@pytest.mark.parametrize("password", [True, False])
def test_the_boot_command_is_plain(password: bool) -> None:
    """The boot command holds nothing that csh or fish read otherwise inside single quotes; without sudo, no quotes."""
    assert boot_command("0123456789abcdef", "fedcba9876543210:", become=False, password=password) == "exec /bin/sh"
    command = boot_command("0123456789abcdef", "fedcba9876543210:", become=True, password=password)
    words = shlex.split(command)
    assert words[:3] == ["exec", "/bin/sh", "-c"]
    assert not set("'\\!\n") & set(words[3])
    assert command.count("'") == 4


# --- noise, size, order ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "noise", ["printf 'no newline'", "echo ready; echo; echo 0123456789abcdef ready 0 root", "seq 200000"]
)
def test_noise_before_the_shell_is_skipped(start_sshd: Callable[..., Sshd], noise: str) -> None:
    """What a profile prints before the shell starts, on both streams, is no part of the first reply."""
    server = start_sshd({"ForceCommand": f'({noise}) </dev/null; echo err >&2; eval "$SSH_ORIGINAL_COMMAND"'})
    with SshSession(server.target()) as session:
        assert talk(session, "printf first") == "first"


def test_much_in_and_out_at_once(session: SshSession) -> None:
    """20 MB up and the same 20 MB down do not wait for each other, and stay far from quadratic."""
    data = os.urandom(1 << 20) * 20
    session.send(b"echo; exec cat\n")
    assert session.receive(10) == b"\n"
    started = time.monotonic()
    session.send(data)
    output = bytearray()
    while len(output) < len(data):
        output += session.receive(20)
    assert bytes(output) == data
    assert time.monotonic() - started < 20


def test_a_full_stderr_blocks_nothing(session: SshSession) -> None:
    """stderr is drained while stdout is read, and only its end is kept."""
    assert talk(session, "head -c 8000000 /dev/zero | tr '\\0' e >&2; echo last >&2; printf done") == "done"
    deadline = time.monotonic() + 5
    while not session.stderr.endswith(b"last\n") and time.monotonic() < deadline:
        talk(session, ":")
    assert session.stderr.endswith(b"last\n")
    assert len(session.stderr) <= 1 << 16


def test_receive_keeps_its_deadline(session: SshSession) -> None:
    """Silence ends in TimeoutError at the deadline, and the session lives on."""
    talk(session, ":")
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        session.receive(0.2)
    assert 0.2 <= time.monotonic() - started < 2
    assert talk(session, "printf on") == "on"


# --- ends ------------------------------------------------------------------------------------------------------------


def test_a_cut_connection_is_a_lost_link(start_sshd: Callable[..., Sshd]) -> None:
    """When the server's side dies, receive and send say LinkLost; reconnect gives a new shell."""
    server = start_sshd()
    with SshSession(server.target()) as session:
        talk(session, ":")
        server.drop()
        with pytest.raises(LinkLost):
            session.receive(10)
        with pytest.raises(LinkLost):
            session.send(b"x" * 1_000_000)
        with pytest.raises(LinkLost):
            session.run_aside(b"true", 5)
        with pytest.raises(LinkLost):
            session.put(Upload(hashlib.sha256(b"x").hexdigest(), (b"x",)))
        session.reconnect()
        assert talk(session, "printf again") == "again"


def test_a_shell_that_exits_is_an_end_of_file(session: SshSession) -> None:
    """A shell that ends by itself is no lost link."""
    session.send(b"echo last; exit 3\n")
    assert session.receive(10) == b"last\n"
    assert session.receive(10) == b""
    with pytest.raises(LinkLost):
        session.send(b"echo\n" * 100_000)


def test_run_aside_while_a_command_runs(session: SshSession, tmp_path: Path) -> None:
    """A second shell answers while the first is busy, as Ctrl-C needs; its status and output come back."""
    stop = tmp_path / "stop"
    session.send(f"while [ ! -e {stop} ]; do sleep 0.05; done; echo stopped\n".encode())
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(session.receive, 20)
        assert session.run_aside(f"touch {stop}; echo ok; exit 7\n".encode(), 10) == (7, b"ok\n")
        assert waiting.result() == b"stopped\n"


def test_run_aside_keeps_its_deadline(session: SshSession) -> None:
    """A script aside that does not end in time is given up."""
    with pytest.raises(TimeoutError):
        session.run_aside(b"sleep 30\n", 0.3)


def test_close_is_quick_and_leaves_nothing(start_sshd: Callable[..., Sshd]) -> None:
    """Closing takes no time, twice is no error, and neither connections nor threads stay behind."""
    server = start_sshd()
    before = threading.active_count()
    session = SshSession(server.target())
    session.open()
    talk(session, ":")
    started = time.monotonic()
    session.close()
    session.close()
    assert time.monotonic() - started < 0.5
    deadline = time.monotonic() + 5
    while (server.connections() or threading.active_count() > before) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not server.connections()
    assert threading.active_count() <= before


@pytest.mark.parametrize("kind", ["none", "ecdsa"])
def test_a_refused_session_leaves_no_thread(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    """A refusal, of the key or before one was shown, closes what it had opened: nothing keeps the process alive."""
    known = tmp_path / "known_hosts"
    if kind != "none":
        _keygen(tmp_path / "other", kind)
        remember(known, f"[127.0.0.1]:{sshd.port} {(tmp_path / 'other.pub').read_text()}")
    before = threading.active_count()
    refusal(sshd.target(known_hosts=(known,)), Refused)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert threading.active_count() <= before


def test_a_crowded_server_is_asked_again(start_sshd: Callable[..., Sshd]) -> None:
    """A server that drops newcomers while others still log in (MaxStartups) gets them a moment later."""
    server = start_sshd({"MaxStartups": "2:100:2"})

    def one(number: int) -> str:
        with SshSession(server.target()) as session:
            return talk(session, f"printf {number}")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(one, range(4))) == ["0", "1", "2", "3"]


def test_many_sessions_at_once(sshd: Sshd) -> None:
    """50 sessions in one process work side by side."""

    def one(number: int) -> str:
        with SshSession(sshd.target(connect_timeout=30)) as session:
            return talk(session, f"printf {number}", 60)

    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(one, range(50))) == [str(number) for number in range(50)]


# --- ways ------------------------------------------------------------------------------------------------------------


def test_proxy_jump(sshd: Sshd, start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    """A device behind a jump host is reached through it, and both host keys are checked."""
    jump = start_sshd()
    known = tmp_path / "known_hosts"
    remember(known, " ".join((f"[127.0.0.1]:{sshd.port}", *sshd.host_key())))
    (jump.folder / "authorized_keys").write_text(sshd.key.with_suffix(".pub").read_text())
    target = sshd.target(known_hosts=(known,), proxy_jump=f"{sshd.user}@127.0.0.1:{jump.port}")
    assert f"[127.0.0.1]:{jump.port}" in str(refusal(target, UnknownHostKey))
    remember(known, " ".join((f"[127.0.0.1]:{jump.port}", *jump.host_key())))
    with SshSession(target) as session:
        assert talk(session, "printf through") == "through"
        assert jump.connections()
        jump.drop()
        with pytest.raises(LinkLost):
            session.receive(10)


def test_hops_are_taken_in_order(sshd: Sshd, start_sshd: Callable[..., Sshd], tmp_path: Path) -> None:
    """`ProxyJump a,b` in ssh_config goes to a, from there to b, from there to the device."""
    first, second = start_sshd(), start_sshd({"PermitOpen": f"127.0.0.1:{sshd.port}"})
    known = tmp_path / "known_hosts"
    for server in (sshd, first, second):
        (server.folder / "authorized_keys").write_text(sshd.key.with_suffix(".pub").read_text())
        remember(known, " ".join((f"[127.0.0.1]:{server.port}", *server.host_key())))
    config = tmp_path / "config"
    hops = ",".join(f"{sshd.user}@127.0.0.1:{server.port}" for server in (first, second))
    config.write_text(f"Host device\n  HostName 127.0.0.1\n  ProxyJump {hops}\n")
    with SshSession(sshd.target(address="device", known_hosts=(known,), ssh_config=config)) as session:
        assert talk(session, "printf through") == "through"


def test_proxy_command(sshd: Sshd, tmp_path: Path) -> None:
    """A ProxyCommand carries the connection, with the port that the inventory gave."""
    script = tmp_path / "carry.py"
    script.write_text(
        "import socket, sys, threading, os\n"
        "s = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n"
        "def up():\n"
        "    while d := os.read(0, 65536): s.sendall(d)\n"
        "    s.shutdown(1)\n"
        "threading.Thread(target=up, daemon=True).start()\n"
        "while d := s.recv(65536): os.write(1, d)\n"
    )
    config = tmp_path / "config"
    config.write_text(f"Host *\n  ProxyCommand {sys.executable} {script} %p\n")
    with SshSession(sshd.target(ssh_config=config)) as session:
        assert talk(session, "printf carried") == "carried"
    config.write_text("Host *\n  ProxyCommand echo no way >&2; false\n")
    assert "no way" in str(refusal(sshd.target(ssh_config=config), Unreachable))


def test_ssh_config_includes(sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Include is expanded: relative to ~/.ssh, with globs, and inside the Host block in which it stands."""
    home = tmp_path / "home"
    (home / ".ssh" / "conf.d").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    (home / ".ssh" / "conf.d" / "10-device").write_text(
        f"Host jetson\n  HostName 127.0.0.1\n  Port {sshd.port}\n  IdentityFile {sshd.key}\n"
    )
    (home / ".ssh" / "inner").write_text("Host jetson\n  User nobody-at-all\nHost other\n  User wrong\n")
    config = tmp_path / "config"
    config.write_text(
        "Include conf.d/*\nHost elsewhere\n  Include inner\n  Port 1\n"
        f"Host jetson\n  User {sshd.user}\n  HostKeyAlias alias\n"
    )
    known = tmp_path / "known_hosts"
    remember(known, " ".join((f"[alias]:{sshd.port}", *sshd.host_key())))
    target = Target(name="device", address="jetson", known_hosts=(known,), ssh_config=config)
    with SshSession(target) as session:
        assert talk(session, "printf in") == "in"
        assert session.login_user == sshd.user


def test_a_broken_ssh_config_is_bad_input(sshd: Sshd, tmp_path: Path) -> None:
    """An ssh_config that is missing or cannot be read is an input error, before any connection."""
    assert refusal(sshd.target(ssh_config=tmp_path / "missing"), InputError)
    (tmp_path / "broken").write_text("Host x\nnonsense\n")
    assert refusal(sshd.target(ssh_config=tmp_path / "broken"), InputError)


# --- figures ---------------------------------------------------------------------------------------------------------


def test_round_trips(sshd: Sshd) -> None:
    """Connecting, logging in and one exchange take at most 8 round trips, the next exchange exactly one."""
    with Proxy(sshd.port, DELAY) as proxy, SshSession(sshd.target(port=proxy.port)) as session:
        talk(session, "printf look")
        assert proxy.trips <= 8
        first = proxy.trips
        talk(session, "printf apply")
        assert proxy.trips - first == 1


@needs_sudo
@pytest.mark.parametrize(("rule", "most"), [("ALL=(ALL) NOPASSWD: ALL", 8), ("ALL=(ALL) ALL", 9)])
def test_round_trips_with_sudo(sshd: Sshd, rule: str, most: int) -> None:
    """sudo costs no round trip of its own, and one more when it wants a password."""
    with account(rule) as user, Proxy(sshd.port, DELAY) as proxy:
        secret = Secret(user.password) if most == 9 else None
        target = sshd.target(port=proxy.port, user=user.name, become=True, become_password=secret)
        with SshSession(target) as session:
            talk(session, "printf look")
            assert proxy.trips <= most


def test_importing_the_transport_is_cheap() -> None:
    """Neither paramiko nor fabric is imported before a connection is made or warm_up is called."""
    code = "import provisioner.transport, sys; sys.exit('paramiko' in sys.modules or 'fabric' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
