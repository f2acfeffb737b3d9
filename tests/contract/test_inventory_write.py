"""Writing an inventory: several at once, killed at any moment, over a full disk, through a link; and known_hosts."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pytest

from provisioner.errors import InputError
from provisioner.files import locked
from provisioner.inventory import load_inventory
from provisioner.inventory.edit import Entry, add, check_writable, lock_of, write
from provisioner.transport.forget import forget, held
from provisioner.transport.hostkeys import remember

TOP = Path(__file__).parents[2]
START = "# ours\nall:\n  hosts:\n    first: # the first\n"
ADDS = """
import sys
from functools import partial
from pathlib import Path
from provisioner.inventory.edit import Entry, add, remove, write
path, names, back = Path(sys.argv[1]), sys.argv[2].split(), sys.argv[3:]
print("ready", flush=True)
while True:
    for name in names:
        write(path, partial(add, entries=[Entry(name, "g", {"ansible_host": "10.0.0.5"})]))
    if not back:
        break
    for name in names:
        write(path, partial(remove, names=[name]))
"""
LIMITED = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))\n" + ADDS


def start(script: str, path: Path, names: str, *back: str) -> subprocess.Popen[str]:
    """Start a process that adds hosts, one write each; with `back` it takes them out again, for ever."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path), names, *back],
        env={**os.environ, "PYTHONPATH": str(TOP)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """Return an inventory file."""
    path = tmp_path / "hosts.yaml"
    path.write_text(START)
    return path


def left_behind(path: Path) -> list[str]:
    """Return what lies beside the file that was not there before."""
    return sorted(item.name for item in path.parent.iterdir() if item.name not in (path.name, ".provision"))


def one(name: str = "new") -> partial[str]:
    """Return a change that adds a host."""
    return partial(add, entries=[Entry(name, None, {"ansible_host": "10.0.0.5"})])


def test_no_run_loses_what_another_one_adds(inventory: Path) -> None:
    """Processes that add at once all have their hosts in the file in the end, and what was there is still there."""
    running = [start(ADDS, inventory, " ".join(f"u{n}-{i}" for i in range(4))) for n in range(4)]
    ended = [process.communicate(timeout=90) for process in running]
    assert [process.returncode for process in running] == [0] * 4, ended
    expected = {f"u{n}-{i}" for n in range(4) for i in range(4)}
    assert set(load_inventory(str(inventory)).hosts) == {"first", *expected}
    assert inventory.read_text().startswith(START)
    assert left_behind(inventory) == []


def test_a_run_that_is_killed_leaves_a_whole_inventory(inventory: Path) -> None:
    """Whenever it is killed, the file is one of those that it wrote, and the next run is not kept waiting."""
    for delay in (0.0, 0.01, 0.03, 0.05):
        process = start(ADDS, inventory, "a b c", "back")
        assert process.stdout
        process.stdout.readline()
        time.sleep(delay)
        process.kill()
        process.communicate()
        assert inventory.read_text().startswith(START)
        assert set(load_inventory(str(inventory)).hosts) <= {"first", "a", "b", "c"}
    assert "\n    new:\n" in write(inventory, one()).after


def test_a_write_that_fails_changes_nothing(inventory: Path) -> None:
    """Where the disk takes no more, the error says so, the file is as it was, and nothing is left beside it."""
    process = start(LIMITED, inventory, "new")
    _, err = process.communicate(timeout=60)
    assert process.returncode
    assert "cannot be written: File too large; it is as it was" in err
    assert inventory.read_text() == START
    assert left_behind(inventory) == []


def test_what_cannot_be_written_is_known_before(inventory: Path) -> None:
    """`check_writable` tells what `write` would run into, and neither changes a byte."""
    (inventory.parent / ".provision").write_text("in the way")
    for attempt in (lambda: check_writable(inventory), lambda: write(inventory, one())):
        with pytest.raises(InputError, match="cannot be written"):
            attempt()
    (inventory.parent / ".provision").unlink()
    check_writable(inventory)
    assert inventory.read_text() == START
    assert left_behind(inventory) == []


def as_nobody(path: Path) -> int:
    """Write to a file as a user without rights; return 0 where that was refused as it should be."""
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        os.setgroups([])
        os.setuid(65534)
        write(path, one())
        code = 2
    except InputError as error:
        code = 0 if "cannot be written" in error.message else 3
    finally:
        os._exit(code)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("mode", [0o644, 0o666])
def test_a_file_of_others_is_not_replaced(mode: int) -> None:
    """Who may not write the file, or could not leave it to its owner, gets an error, whatever the folder allows."""
    with tempfile.TemporaryDirectory() as top:
        folder, path = Path(top), Path(top) / "hosts.yaml"
        path.write_text(START)
        path.chmod(mode)
        (folder / ".provision").mkdir()
        for open_to_all in (folder, folder / ".provision"):
            open_to_all.chmod(0o777)
        add(START, [])  # what is imported late cannot be found by nobody
        assert as_nobody(path) == 0
        assert path.read_text() == START
        assert left_behind(path) == []


def test_a_sound_result_is_the_only_one_that_is_written(inventory: Path) -> None:
    """What would not load as an inventory is refused, and the file stays."""
    with pytest.raises(InputError, match=r"hosts\.yaml:2:3: unknown key 'hots'"):
        write(inventory, lambda _: "all:\n  hots:\n")
    assert inventory.read_text() == START


def test_mode_owner_and_link_stay(inventory: Path) -> None:
    """The file behind a link is changed, and keeps its mode and owner; the link stays a link."""
    inventory.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(inventory, 1234, 4321)
    before = inventory.stat()
    link = inventory.parent / "sub" / "link.yaml"
    link.parent.mkdir()
    link.symlink_to(Path("..") / inventory.name)
    write(link, one())
    after = inventory.stat()
    assert link.is_symlink()
    assert "new" in load_inventory(str(inventory)).hosts
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert lock_of(link) == lock_of(inventory)


def test_a_new_file_is_made_and_an_unchanged_one_is_left_alone(tmp_path: Path) -> None:
    """An inventory that is not there is made; a change that changes nothing does not touch the file."""
    path = tmp_path / "new.yaml"
    edit = write(path, one())
    assert (edit.before, path.read_text()) == ("", edit.after)
    stamp = path.stat().st_ino, path.stat().st_mtime_ns
    write(path, one())
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == stamp


def test_a_lock_that_is_held_is_told(tmp_path: Path) -> None:
    """Whoever waits for too long is told for which file."""
    lock = tmp_path / "sub" / "lock"
    with locked(lock), pytest.raises(InputError, match="another process holds"), locked(lock, patience=0.1):
        pass
    with locked(lock, patience=0.1):
        assert lock.exists()


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIE5v"


def test_only_the_keys_of_these_names_are_forgotten(tmp_path: Path) -> None:
    """Other lines, other names of a line, patterns and revoked keys stay, byte for byte."""
    path = tmp_path / "known_hosts"
    lines = [
        f"# ours\r\n10.0.0.5 {KEY}1\n",
        f"[10.0.0.5]:2222 {KEY}2\n",
        f"kitchen,10.0.0.5,[kitchen]:22 {KEY}3 of the  kitchen\n",
        f"@revoked 10.0.0.5 {KEY}4\n10.0.0.* {KEY}5\n10.0.0.50 {KEY}6",
    ]
    path.write_bytes("".join(lines).encode())
    assert held(path, ["10.0.0.5", "other"]) == ["10.0.0.5"]
    assert forget(path, ["10.0.0.5", "other"]) == ["10.0.0.5"]
    expected = ["# ours\r\n", lines[1], f"kitchen,[kitchen]:22 {KEY}3 of the  kitchen\n", lines[3]]
    assert path.read_bytes() == "".join(expected).encode()
    assert forget(path, ["10.0.0.5"]) == []
    remember(path, f"10.0.0.5 {KEY}7")
    assert path.read_text().endswith(f"10.0.0.50 {KEY}6\n10.0.0.5 {KEY}7\n")
    assert forget(path, ["10.0.0.50", "10.0.0.5"]) == ["10.0.0.5", "10.0.0.50"]


def test_hashed_names_are_forgotten_too(tmp_path: Path) -> None:
    """A name that ssh-keygen has hashed is found as ssh finds it."""
    path = tmp_path / "known_hosts"
    path.write_text(
        f"10.0.0.5 {KEY}vT0iWFfLOPZ7Nx8vUjm4l5pVqQm1rXNKvQK8\nother {KEY}vT0iWFfLOPZ7Nx8vUjm4l5pVqQm1rXNKvQK8\n"
    )
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(path)], check=False, capture_output=True)
    assert forget(path, ["10.0.0.5"]) == ["10.0.0.5"]
    assert held(path, ["10.0.0.5", "other"]) == ["other"]
