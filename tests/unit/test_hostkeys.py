"""known_hosts as OpenSSH reads it, and the verdict on a key."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

import pytest

from provisioner.errors import Refused
from provisioner.transport.hostkeys import KnownHosts, UnknownHostKey, host_name, remember, split_name
from provisioner.transport.knownhosts import HostKey
from provisioner.transport.text import clean, gist

if TYPE_CHECKING:
    from pathlib import Path

A, B = HostKey("ssh-ed25519", b"key a"), HostKey("ssh-ed25519", b"key b")
RSA = HostKey("ssh-rsa", b"rsa key")


def hashed(name: str) -> str:
    """Return a name as HashKnownHosts writes it."""
    salt = b"0123456789abcdefghij"
    digest = hmac.digest(salt, name.encode(), "sha1")
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def known(tmp_path: Path, text: str, host: str = "jetson", port: int = 22) -> KnownHosts:
    """Return what a file with this text says about a host."""
    path = tmp_path / "known_hosts"
    path.write_text(text)
    return KnownHosts([path], host, port)


@pytest.mark.parametrize(
    ("names", "host", "port", "found"),
    [
        ("jetson", "jetson", 22, True),
        ("jetson", "JETSON", 22, True),
        ("other,jetson", "jetson", 22, True),
        ("[jetson]:2222", "jetson", 2222, True),
        ("[jetson]:2222", "jetson", 22, False),
        ("[jetson]:2222", "jetson", 2223, False),
        ("jetson", "jetson", 2222, True),  # the very same key without a port counts, as with ssh
        ("jet*", "jetson", 22, True),
        ("jets?n", "jetson", 22, True),
        ("jets?n", "jetsoon", 22, False),
        ("*,!jetson", "jetson", 22, False),
        ("*,!other", "jetson", 22, True),
        ("!other", "jetson", 22, False),
        ("[10.0.0.*]:22??", "10.0.0.7", 2200, True),
        ("[jetson]:22", "j", 22, False),
        (hashed("jetson"), "jetson", 22, True),
        (hashed("[jetson]:2222"), "jetson", 2222, True),
        (hashed("other"), "jetson", 22, False),
        ("|1|broken", "jetson", 22, False),
    ],
)
def test_names(tmp_path: Path, names: str, host: str, port: int, found: bool) -> None:
    """A line speaks of the hosts that OpenSSH says it speaks of."""
    assert known(tmp_path, A.line_for(names) + "\n", host, port).is_known(A) is found


def test_unreadable_lines_are_passed_over(tmp_path: Path) -> None:
    """Comments, blanks, unknown markers, short lines and broken base64 harm no other line."""
    text = "# c\n\njetson\njetson ssh-ed25519 ???\n@odd jetson ssh-ed25519 AAAA\n\xff\n" + A.line_for("jetson")
    assert known(tmp_path, text).is_known(A)


def test_unknown_key(tmp_path: Path) -> None:
    """An unknown key is refused with fingerprint, and carries the line that would accept it."""
    with pytest.raises(UnknownHostKey) as caught:
        known(tmp_path, "", "jetson", 2222).check(A)
    assert A.fingerprint in str(caught.value)
    assert caught.value.line == A.line_for("[jetson]:2222")
    assert "ssh-keyscan -t ed25519 -p 2222 jetson" in str(caught.value.hint)


def test_changed_key(tmp_path: Path) -> None:
    """A changed key is refused with both fingerprints and the line of the known one."""
    with pytest.raises(Refused) as caught:
        known(tmp_path, f"#\n{A.line_for('jetson')}\n").check(B)
    assert A.fingerprint in str(caught.value)
    assert B.fingerprint in str(caught.value)
    assert "known_hosts:2" in str(caught.value)
    assert not isinstance(caught.value, UnknownHostKey)


def test_any_known_key_of_the_host_counts(tmp_path: Path) -> None:
    """Two keys of a type may be on file, in one file or several; either is known."""
    (tmp_path / "more").write_text(B.line_for("jetson"))
    (tmp_path / "own").write_text(A.line_for("jetson"))
    both = KnownHosts([tmp_path / "own", tmp_path / "none", tmp_path / "more"], "jetson", 22)
    assert both.is_known(A)
    assert both.is_known(B)


def test_a_revoked_key_is_refused_even_if_known(tmp_path: Path) -> None:
    """@revoked wins over any other line."""
    table = known(tmp_path, f"{A.line_for('jetson')}\n@revoked {A.line_for('*')}\n")
    assert not table.is_known(A)
    with pytest.raises(Refused, match="revoked"):
        table.check(A)


def test_an_authority_is_no_key(tmp_path: Path) -> None:
    """The key of @cert-authority is not taken for the host's own."""
    with pytest.raises(UnknownHostKey, match="authority"):
        known(tmp_path, f"@cert-authority {A.line_for('*')}\n").check(A)


def test_only_known_types_are_offered(tmp_path: Path) -> None:
    """A known host is offered its known types only, an unknown one all, RSA with SHA-2 only; first what is quick."""
    assert known(tmp_path, A.line_for("jetson")).algorithms() == ("ssh-ed25519",)
    assert known(tmp_path, RSA.line_for("jetson") + " ").algorithms() == ("rsa-sha2-512", "rsa-sha2-256")
    assert len(KnownHosts([], "jetson", 22).algorithms()) == 6
    both = known(tmp_path, f"{RSA.line_for('jetson')}\n{A.line_for('jetson')}").algorithms()
    assert both == ("ssh-ed25519", "rsa-sha2-512", "rsa-sha2-256")
    likely = known(tmp_path, RSA.line_for("jetson") + "\n\n", "jetson", 2222).algorithms()
    assert (likely[0], len(likely)) == ("rsa-sha2-512", 6)


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second host costs no parsing; a line that was added is seen."""
    path = tmp_path / "known_hosts"
    remember(path, A.line_for("one"))
    calls = []
    real = type(path).read_text
    monkeypatch.setattr(type(path), "read_text", lambda self, **more: calls.append(self) or real(self, **more))
    assert KnownHosts([path], "one", 22).is_known(A)
    assert not KnownHosts([path], "two", 22).is_known(A)
    assert len(calls) == 1
    monkeypatch.undo()
    remember(path, A.line_for("two"))
    assert KnownHosts([path], "two", 22).is_known(A)


@pytest.mark.parametrize("port", [22, 2222])
@pytest.mark.parametrize(
    "lines",
    [
        [A.line_for(hashed("jetson"))],
        [A.line_for(hashed("other"))],
        [A.line_for("jetson"), B.line_for(hashed("jetson"))],
        [A.line_for(hashed("[jetson]:2222")), "@revoked " + A.line_for(hashed("jetson"))],
        ["@revoked " + A.line_for(hashed("jetson")), A.line_for("*")],
        ["@cert-authority " + A.line_for(hashed("jetson"))],
        [RSA.line_for(hashed("jetson")), "|1| ssh-ed25519", "|1|x ssh-ed25519 AAAA"],
    ],
)
def test_a_quick_look_knows_the_same_keys(tmp_path: Path, lines: list[str], port: int) -> None:
    """Whether a key is known does not depend on whether hashed names are looked through."""
    path = tmp_path / "known_hosts"
    path.write_text("\n".join(lines))
    whole, quick = (KnownHosts([path], "jetson", port, thorough=thorough) for thorough in (True, False))
    assert [quick.is_known(key) for key in (A, B, RSA)] == [whole.is_known(key) for key in (A, B, RSA)]
    assert (whole.complete, quick.complete) == (True, False)


def test_plain_names_are_complete(tmp_path: Path) -> None:
    """Without hashed names a quick look has seen all that there is."""
    path = tmp_path / "known_hosts"
    path.write_text(A.line_for("jet*") + "\n" + B.line_for("jetson"))
    quick = KnownHosts([path], "jetson", 22, thorough=False)
    assert quick.complete
    assert quick.algorithms() == ("ssh-ed25519",)


def test_remember_keeps_what_is_there(tmp_path: Path) -> None:
    """A file without a final newline is not spoiled, and a missing folder is made."""
    path = tmp_path / "deep" / "known_hosts"
    remember(path, "one")
    path.write_text("old")
    remember(path, "new")
    assert path.read_text() == "old\nnew\n"


@pytest.mark.parametrize(("host", "port"), [("a", 22), ("a", 2222), ("fe80::1", 2222)])
def test_names_split_as_they_were_made(host: str, port: int) -> None:
    """split_name undoes host_name."""
    assert split_name(host_name(host, port)) == (host, port)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain\ttext\n", "plain\ttext\n"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPdevice control\x1b\\after", "after"),
        ("a\rb\x08\x00\x7f\x9bc", "ab"),
        ("\u202eabc\u2066", "abc"),
        ("line\r\nnext", "line\nnext"),
        ("\x1b(Bx\x1bcy", "xy"),
        (b"\xff\x1b[2Jok", "\ufffdok"),
    ],
)
def test_clean(raw: str | bytes, shown: str) -> None:
    """No escape sequence, control character or direction override survives."""
    assert clean(raw) == shown


def test_gist() -> None:
    """A message gets the last lines on one line, cut to a width."""
    assert gist(b"one\n\n two \nthree\nfour\x1b[K\n") == "two; three; four"
    assert len(gist("x" * 999)) == 200
