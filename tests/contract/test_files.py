"""The laws of files on their way, on a real sshd: what travels, what is left when it breaks, and what it costs."""

from __future__ import annotations

import hashlib
import os
import pwd
import random
import subprocess
import time
import tracemalloc
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fleet import Told, meanwhile, play
from proxy import Proxy

from provisioner.errors import Refused
from provisioner.shell import Part, Upload
from provisioner.transport import SshSession, remember
from provisioner.transport.upload import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sshd import Sshd

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="mounts and owners need root")
SLOW = 0.2
"""Seconds that each byte takes one way, so that the link counts as a slow one."""


def upload(content: bytes, near: Path, sha256: str = "") -> Upload:
    """Return bytes as an upload."""
    return Upload(sha256 or hashlib.sha256(content).hexdigest(), (content,), str(near))


def tree(folder: Path, files: int, size: int, folders: int = 10) -> Path:
    """Make files of random bytes in folders."""
    for number in range(files):
        within = folder / f"d{number % folders}"
        within.mkdir(parents=True, exist_ok=True)
        (within / f"f{number}").write_bytes(random.Random(number).randbytes(size))
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files of a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def aside(folder: Path) -> list[Path]:
    """Return what lies about of files on their way."""
    return list(folder.rglob(".provision*"))


def push(sshd: Sshd, folder: Path, more: str, **settings: Any) -> Told:
    """Run one copy task."""
    text = f"- hosts: all\n  become: {'true' if ROOT else 'false'}\n  gather_facts: false\n"
    return play(sshd, folder, f"{text}  tasks:\n    - copy: {{{more}}}\n", **settings)


def counted(sshd: Sshd, folder: Path, more: str, delay: float = 0.0) -> tuple[Proxy, Told]:
    """Run one copy task through a proxy that counts."""
    with Proxy(sshd.port, delay) as proxy:
        return proxy, push(sshd, folder, more, target={"port": proxy.port})


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    """Mount a disk with little room."""
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def test_only_what_differs_travels(sshd: Sshd, tmp_path: Path) -> None:
    """Of a folder with three changed files these are sent, of one with none nothing, and no file twice."""
    source, device = tree(tmp_path / "source", 100, 20_000), tmp_path / "device"
    device.mkdir()
    task = f"src: {source}/, dest: {device}/to"
    first, told = counted(sshd, tmp_path, task)
    assert told.statuses == ["changed"]
    assert contents(device / "to") == contents(source)
    for name in ("d1/f1", "d2/f2", "d3/f3"):
        (source / name).write_bytes(os.urandom(20_000))
    second, told = counted(sshd, tmp_path, task)
    assert told.statuses == ["changed"]
    assert contents(device / "to") == contents(source)
    none, told = counted(sshd, tmp_path, task)
    assert told.statuses == ["ok"]
    assert first.bytes["up"] < 1.2 * 100 * 20_000
    assert second.bytes["up"] < 10 * 20_000
    assert none.bytes["up"] < 100 * 500
    assert aside(device) == []


def test_an_upload_that_a_power_cut_left_goes_with_the_next(sshd: Sshd, tmp_path: Path) -> None:
    """What lies about of an upload of another boot goes when something is sent there; what is of this boot stays."""
    (tmp_path / "big").write_bytes(os.urandom(600_000))
    device = tmp_path / "device"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()[:8]
    old, running = (device / f".provision-{name}-0123456789abcdef" for name in ("0000beef", boot))
    for folder in (old, running):
        folder.mkdir(parents=True)
        (folder / "content").write_text("half")
    assert push(sshd, tmp_path, f"src: {tmp_path}/big, dest: {device}/there").statuses == ["changed"]
    assert aside(device) == [running]


def test_the_same_content_travels_once(sshd: Sshd, tmp_path: Path) -> None:
    """A large file that goes to three places of one batch is sent once."""
    (tmp_path / "big").write_bytes(os.urandom(2_000_000))
    device = tmp_path / "device"
    device.mkdir()
    text = f"- hosts: all\n  become: {'true' if ROOT else 'false'}\n  gather_facts: false\n  tasks:\n"
    for name in "abc":
        text += f"    - copy: {{src: {tmp_path}/big, dest: {device}/{name}.bin}}\n"
    with Proxy(sshd.port) as proxy:
        assert play(sshd, tmp_path, text, target={"port": proxy.port}).statuses == ["changed"] * 3
        assert proxy.bytes["up"] < 2_500_000
    assert set(contents(device).values()) == {(tmp_path / "big").read_bytes()}
    assert len({path.stat().st_ino for path in device.iterdir()}) == 3
    assert aside(device) == []


@pytest.mark.parametrize("files", [1, 300])
def test_a_link_that_is_cut_leaves_nothing_half(sshd: Sshd, tmp_path: Path, files: int) -> None:
    """Cut in the middle of sending, each file is the old one or the new one, and in the end all are the new ones."""
    source, device = tree(tmp_path / "source", files, 12_000_000 // files), tmp_path / "device"
    tree(device / "to", files, 100)
    old, new = contents(device / "to"), contents(source)
    with Proxy(sshd.port, 0.02) as proxy:

        def cut() -> None:
            deadline = time.monotonic() + 60
            while proxy.bytes["up"] < 3_000_000 and time.monotonic() < deadline:
                time.sleep(0.01)
            sshd.cut()

        task = f"src: {source}/, dest: {device}/to"
        meanwhile(cut, lambda: push(sshd, tmp_path, task, target={"port": proxy.port}))
    for name, content in contents(device / "to").items():
        if ".provision" not in name:
            assert content in (old[name], new[name])
    assert push(sshd, tmp_path, f"src: {source}/, dest: {device}/to").statuses in (["ok"], ["changed"])
    assert contents(device / "to") == new
    deadline = time.monotonic() + 20  # whoever received what was cut tidies up by itself
    while aside(device) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert aside(device) == []


def test_what_was_compared_is_noted_as_it_is(session: SshSession, tmp_path: Path) -> None:
    """A file that came has its hash noted with what tells whether it is still the same one."""
    sent = upload(os.urandom(5_000_000), tmp_path)
    place = Path(session.put(sent))
    command = ["stat", "-c", "%d|%i|%s|%y", place / "content"]
    seen = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "LC_ALL": "C"}).stdout
    assert (place / "hashed").read_text() == f"{sent.sha256} {seen}"


@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr"])
@pytest.mark.parametrize("wants", ["device", "controller"])
def test_keys_are_exchanged_while_a_file_is_sent(
    start_sshd: Callable[..., Sshd], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cipher: str, wants: str
) -> None:
    """Whichever side wants new keys again and again while much is sent, it arrives as it was."""
    from provisioner.transport.client import Packets

    options = {"Ciphers": cipher}
    if wants == "device":
        options["RekeyLimit"] = "1M"
    else:
        monkeypatch.setattr(Packets, "REKEY_BYTES", 1_000_000)
    content = os.urandom(20_000_000)
    with SshSession(start_sshd(options).target()) as session:
        place = session.put(upload(content, tmp_path))
        assert (Path(place) / "content").read_bytes() == content
        assert session.run_aside(b"echo on\n", 20) == (0, b"on\n")


def test_a_file_goes_through_a_jump_host(start_sshd: Callable[..., Sshd], sshd: Sshd, tmp_path: Path) -> None:
    """What is sent over a channel of another connection arrives as it was."""
    jump = start_sshd()
    (jump.folder / "authorized_keys").write_text(sshd.key.with_suffix(".pub").read_text())
    known = tmp_path / "known_hosts"
    for server in (sshd, jump):
        remember(known, " ".join((f"[127.0.0.1]:{server.port}", *server.host_key())))
    target = sshd.target(known_hosts=(known,), proxy_jump=f"{sshd.user}@127.0.0.1:{jump.port}")
    content = os.urandom(20_000_000)
    with SshSession(target) as session:
        place = session.put(upload(content, tmp_path))
        assert (Path(place) / "content").read_bytes() == content


def test_what_was_damaged_is_refused(session: SshSession, tmp_path: Path) -> None:
    """Bytes that are not those that were hashed are refused, and nothing is left of them."""
    with pytest.raises(Refused, match="damaged"):
        session.put(upload(b"x" * 700_000, tmp_path, "0" * 64))
    with pytest.raises(Refused, match="tar: "):
        session.put(Upload("0" * 64, (b"no archive" * 100,), str(tmp_path), archive=True))
    assert list(tmp_path.iterdir()) == []


def test_a_source_that_becomes_shorter_is_no_success(session: SshSession, tmp_path: Path) -> None:
    """A file that is cut while it is read does not arrive as if it were whole, and nothing hangs."""
    (tmp_path / "source").write_bytes(b"x" * 600_000)
    part = Part(str(tmp_path / "source"), 0, 900_000)
    with pytest.raises(Refused, match="damaged"):
        session.put(Upload(hashlib.sha256(b"x" * 900_000).hexdigest(), (part,), str(tmp_path)))


def test_an_upload_lies_beside_what_it_replaces(session: SshSession, tmp_path: Path) -> None:
    """It goes to the nearest folder that there is, for nobody else to read, whole and with progress."""
    seen: list[tuple[int, int]] = []
    content = os.urandom(5_000_000)
    place = session.put(upload(content, tmp_path / "not" / "there"), None, lambda *so_far: seen.append(so_far))
    assert Path(place).parent == tmp_path
    assert (Path(place) / "content").read_bytes() == content
    assert Path(place).stat().st_mode & 0o777 == 0o700
    assert seen[-1] == (len(content), len(content))
    assert len(seen) > 5
    empty = session.put(upload(b"", tmp_path))
    assert (Path(empty) / "content").read_bytes() == b""


@needs_root
@pytest.mark.parametrize("files", [1, 40])
def test_a_full_disk_is_told_and_keeps_what_was_there(sshd: Sshd, tmp_path: Path, files: int) -> None:
    """Where there is no room the device's own words are told; the old files stay, whole, and nothing else does."""
    source = tree(tmp_path / "source", files, 8_000_000 // files, folders=1)
    with small_disk(tmp_path / "disk", "2m") as disk:
        tree(disk, files, 100, folders=1)
        old = contents(disk)
        told = push(sshd, tmp_path, f"src: {source}/, dest: {disk}")
        assert "No space left on device" in str([*told.lost, *(result.message for result in told.results)])
        assert contents(disk) == old
        assert aside(disk) == []


def test_memory_does_not_grow_with_the_size(session: SshSession, tmp_path: Path) -> None:
    """A file is streamed: what is held of 80 MB is no more than what is held of 8 MB."""
    peaks = []
    for size in (8_000_000, 80_000_000):
        with (tmp_path / "big").open("wb") as file:
            file.truncate(size)
        sha256 = hashlib.file_digest((tmp_path / "big").open("rb"), "sha256").hexdigest()
        tracemalloc.start()
        session.put(Upload(sha256, (Part(str(tmp_path / "big"), 0, size),), str(tmp_path)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 2_000_000
    assert peaks[1] < 8_000_000


def test_round_trips_do_not_grow_with_the_number_of_files(sshd: Sshd, tmp_path: Path) -> None:
    """900 kB in 10 files and in 600 cost the same round trips; both are more than the 512 KiB that are timed."""
    trips = {}
    for files in (10, 600):
        device = tmp_path / f"device{files}"
        device.mkdir()
        source = tree(tmp_path / f"source{files}", files, 900_000 // files)
        proxy, told = counted(sshd, tmp_path, f"src: {source}/, dest: {device}/to", 0.03)
        assert told.statuses == ["changed"]
        assert contents(device / "to") == contents(source)
        trips[files] = proxy.trips
    assert trips[600] <= trips[10] + 1, trips


def test_a_slow_link_carries_less(sshd: Sshd, tmp_path: Path) -> None:
    """Where the first bytes take long the others are packed, unless they get no smaller; it arrives as it was."""
    for name, content, most in (
        ("text", b"".join(b"line %d of some text\n" % n for n in range(300_000)), 2_500_000),
        ("noise", os.urandom(3_000_000), 3_200_000),
    ):
        (tmp_path / name).write_bytes(content)
        proxy, told = counted(sshd, tmp_path, f"src: {tmp_path}/{name}, dest: {tmp_path}/{name}.arrived", SLOW)
        assert told.statuses == ["changed"]
        assert (tmp_path / f"{name}.arrived").read_bytes() == content
        assert proxy.bytes["up"] < most


def test_noise_between_text_stays_as_it_is(
    session: SshSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that packs well in parts arrives as it was."""
    from provisioner.transport import upload as sending

    monkeypatch.setattr(sending, "SLOW", 1e12)
    content = b"text " * 300_000 + os.urandom(2_000_000) + b"text " * 300_000
    place = session.put(upload(content, tmp_path))
    assert (Path(place) / "content").read_bytes() == content
    assert session.tally.sent < len(content) - 1_000_000


def test_an_upload_can_be_stopped(session: SshSession, tmp_path: Path) -> None:
    """Asked to stop, it ends before all is sent; what had arrived is taken away, and the session goes on."""
    with (tmp_path / "big").open("wb") as file:
        file.truncate(200_000_000)
    seen: list[int] = []
    big = Upload("0" * 64, (Part(str(tmp_path / "big"), 0, 200_000_000),), str(tmp_path))
    with pytest.raises(Stopped):
        session.put(big, None, lambda done, _: seen.append(done), lambda: bool(seen) and seen[-1] > 5_000_000)
    assert seen[-1] < 20_000_000
    assert session.run_aside(b"echo on\n", 20) == (0, b"on\n")
    deadline = time.monotonic() + 20
    while aside(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert aside(tmp_path) == []


@needs_root
@pytest.mark.parametrize("files", [1, 50])
def test_another_user_takes_what_was_sent(sshd: Sshd, tmp_path: Path, files: int) -> None:
    """Files that a task puts as another user are that user's, though root received them."""
    source, device = tree(tmp_path / "source", files, 600_000 // files), tmp_path / "device"
    device.mkdir()
    user = pwd.getpwnam("daemon")
    os.chown(device, user.pw_uid, user.pw_gid)
    for path in (*tmp_path.parents, tmp_path):
        if path.stat().st_uid == os.getuid() and str(path) not in ("/", "/tmp"):
            path.chmod(path.stat().st_mode | 0o011)
    text = "- hosts: all\n  become: true\n  gather_facts: false\n  tasks:\n    - become_user: daemon\n"
    told = play(sshd, tmp_path, f"{text}      copy: {{src: {source}/, dest: {device}/to}}\n")
    assert told.statuses == ["changed"], told.results
    assert contents(device / "to") == contents(source)
    assert {path.owner() for path in device.rglob("*")} == {"daemon"}


@needs_root
def test_a_folder_over_two_disks_is_put_by_renames(sshd: Sshd, tmp_path: Path) -> None:
    """Where a part of the folder is another disk its files are brought there first, and get there whole."""
    source, device = tree(tmp_path / "source", 60, 5000, folders=3), tmp_path / "device"
    device.mkdir()
    with small_disk(device / "d1", "8m") as disk:
        assert push(sshd, tmp_path, f"src: {source}/, dest: {device}").statuses == ["changed"]
        assert contents(device) == contents(source)
        assert aside(device) == []
        with small_disk(device / "d2", "40k"):
            for path in source.rglob("f*"):
                path.write_bytes(os.urandom(6000))
            told = push(sshd, tmp_path, f"src: {source}/, dest: {device}")
            assert "No space left on device" in str([*told.lost, *told.results])
            assert {name: body for name, body in contents(device).items() if name.startswith("d2")} == {}
        assert len(contents(disk)) == 20
