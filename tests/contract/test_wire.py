"""The wire under every shell: what a batch says arrives, whatever the output in between looks like."""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from shells import APART, ShellTransport, available

from provisioner.model import Effect
from provisioner.observables.file import CONTENT, HASHED, METADATA, File, FileState
from provisioner.shell import Script, with_needs
from provisioner.wire import Batch, Check, Decoder, Encoder, Ended, Finished, Guard, Probed, Progress, Stale, Step
from provisioner.wire.owed import Owed

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.parametrize("shell", list(available()))

HOSTILE = [
    "it's",
    '"quoted"',
    "$HOME `id` $(id)",
    "semi;colon && |",
    "-n leading",
    "new\nline\n\n",
    "back\\slash\\n",
    "ü€\t",
]


@pytest.fixture
def device(shell: str, tmp_path: Path) -> Iterator[ShellTransport]:
    """Yield an open shell of the kind that is asked for."""
    (tmp_path / "home").mkdir()
    with ShellTransport(available()[shell], tmp_path / "home") as transport:
        yield transport


def wait_for(path: Path) -> None:
    """Wait until a file is there: the step that makes it has begun."""
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)


def effect(body: str, *values: str | bytes, **more: Any) -> Effect:
    """Return an effect of a body."""
    return Effect(script=Script(f"trial_{abs(hash(body))}", body), values=values, **more)


def run(device: ShellTransport, *effects: Effect, **step: Any) -> Finished:
    """Run effects as one step and return how it ended."""
    replies = list(device.exchange(Batch(steps=(Step(number=0, effects=effects, **step),))))
    return next(reply for reply in replies if isinstance(reply, Finished))


@pytest.mark.parametrize("value", HOSTILE)
def test_values_arrive_as_they_are(device: ShellTransport, value: str) -> None:
    """Quotes, dollars, newlines and leading dashes of a value reach the script byte by byte."""
    ended = run(device, effect('printf %s "$1"', value))
    assert (ended.rc, ended.stdout) == (0, value)


@pytest.mark.parametrize("size", [0, 1, 255, 70_000, 300_000])
def test_bytes_arrive_as_they_are(device: ShellTransport, size: int) -> None:
    """Any content, NULs included, reaches the script."""
    content = bytes(range(256)) * (size // 256 + 1)
    ended = run(device, effect('printf %s "$1" | base64 -d | sha256sum', content[:size]))
    import hashlib

    assert ended.stdout.split()[0] == hashlib.sha256(content[:size]).hexdigest()


@pytest.mark.parametrize(
    ("body", "stdout"),
    [
        ("printf 'no newline'", "no newline"),
        ("printf 'a\\0b'", "a\0b"),
        ("printf '\\n\\n'", "\n\n"),
        ("printf ''", ""),
        ("cat; echo after", "after\n"),
        ("exit 0", ""),
        ("(sleep 300 & echo $!)", None),
        ("exec 1>&-; echo nobody hears", ""),
        ("set -e; false; true", ""),
        ("trap 'echo bye' EXIT; echo hi", None),
    ],
)
def test_the_reply_survives_what_a_script_does(device: ShellTransport, body: str, stdout: str | None) -> None:
    """No final newline, NULs, exit, eaten stdin and children that keep stdout open cannot hold up or forge a reply."""
    began = time.monotonic()
    ended = run(device, effect(body))
    if stdout is not None:
        assert ended.stdout == stdout
    assert time.monotonic() - began < 30
    assert run(device, effect("echo still there")).stdout == "still there\n"
    if "sleep" in body:
        os.kill(int(ended.stdout), 9)


def test_an_old_nonce_does_not_fool_the_reader(device: ShellTransport) -> None:
    """Output that looks like a marker, but has not this batch's nonce, is output."""
    ended = run(device, effect("printf '\\n0123456789abcdef0123456789abcdef end done\\n'"))
    assert "end done" in ended.stdout


def test_a_failing_script_ends_the_batch(device: ShellTransport) -> None:
    """After a failure nothing further is done; its rc, stdout and stderr are told."""
    steps = (
        Step(number=0, effects=(effect("echo out; echo err >&2; return 7"),)),
        Step(number=1, effects=(effect("echo never"),)),
    )
    replies = list(device.exchange(Batch(steps=steps)))
    ended = [reply for reply in replies if isinstance(reply, Finished)]
    assert [(one.step, one.rc, one.stdout, one.stderr) for one in ended] == [(0, 7, "out\n", "err\n")]
    assert replies[-1] == Ended("failed")


def test_a_failure_that_may_be_goes_on(device: ShellTransport) -> None:
    """A step that may fail is told of, and the next one runs."""
    steps = (
        Step(number=0, effects=(effect("return 3"),), goes_on=True),
        Step(number=1, effects=(effect("echo next"),)),
    )
    replies = list(device.exchange(Batch(steps=steps)))
    assert [one.rc for one in replies if isinstance(one, Finished)] == [3, 0]
    assert replies[-1] == Ended("done")


def test_the_second_effect_needs_the_first(device: ShellTransport) -> None:
    """The effects of one step stop at the first that fails."""
    ended = run(device, effect("echo one; return 1"), effect("echo two"))
    assert (ended.rc, ended.stdout) == (1, "one\n")


def test_a_guard_that_fails_stops_before_anything_is_done(device: ShellTransport, tmp_path: Path) -> None:
    """Where the ground moved nothing of the step is done, and fresh looks follow."""
    path = tmp_path / "x"
    path.write_text("theirs\n")
    guard = Guard(File(str(path)), FileState(type="absent", real=str(path)))
    step = Step(number=0, guards=(guard,), effects=(effect('echo ours >"$1"', str(path)),))
    replies = list(device.exchange(Batch(steps=(step,), relook=(File(str(path), CONTENT),))))
    assert any(isinstance(reply, Stale) for reply in replies)
    looks = [reply for reply in replies if isinstance(reply, Probed) and reply.again]
    assert looks[0].state.content == b"theirs\n"
    assert path.read_text() == "theirs\n"
    assert replies[-1] == Ended("stale")


def test_a_guard_compares_known_fields_only(device: ShellTransport, tmp_path: Path) -> None:
    """A field that nobody could predict is not compared."""
    from dataclasses import replace

    from provisioner.model import Unknown

    path = tmp_path / "x"
    path.write_text("x")
    looked = next(r for r in device.exchange(Batch(looks=(File(str(path)),))) if isinstance(r, Probed))
    state = looked.state
    wrong = replace(state, mode="0111")
    unknown = replace(state, mode=Unknown())
    for expected, status in ((wrong, "stale"), (unknown, "done"), (state, "done")):
        step = Step(number=0, guards=(Guard(File(str(path)), expected),))
        assert list(device.exchange(Batch(steps=(step,))))[-1] == Ended(status)


def test_what_did_not_take_is_told(device: ShellTransport, tmp_path: Path) -> None:
    """A step whose effects did not leave what was predicted fails, and tells what is there instead."""
    path = str(tmp_path / "x")
    check = Check(File(path), FileState(type="file", real=path, mode="0600"))
    replies = list(device.exchange(Batch(steps=(Step(number=0, effects=(effect("true"),), checks=(check,)),))))
    ended = next(reply for reply in replies if isinstance(reply, Finished))
    assert ended.differs == ((File(path), f"type=absent\nreal={path}"),)
    assert replies[-1] == Ended("failed")


@pytest.mark.parametrize("number", [2, 3, 7, 250])
def test_many_guards_and_checks_are_as_exact_as_one(device: ShellTransport, tmp_path: Path, number: int) -> None:
    """Of many files the one that changed is told, before anything is done; of many checks all that did not take."""
    paths = [tmp_path / (f"f{n} %\n--" if n % 50 == 1 else f"f{n}") for n in range(number)]
    for path in paths:
        path.write_text(path.name)
    (tmp_path / "folder").mkdir()
    things = [*(File(str(path)) for path in paths), File(str(tmp_path / "folder"), METADATA)]
    looked = [r.state for r in device.exchange(Batch(looks=tuple(things))) if isinstance(r, Probed)]
    guards = tuple(Guard(one, state) for one, state in zip(things, looked, strict=True))
    made = tmp_path / "made"
    step = Step(number=0, guards=guards, effects=(effect('echo x >"$1"', str(made)),))
    assert list(device.exchange(Batch(steps=(step,))))[-1] == Ended("done")
    made.unlink()

    paths[1].write_text("theirs")
    paths[-1].unlink()
    replies = list(device.exchange(Batch(steps=(step,), relook=tuple(things))))
    stale = next(reply for reply in replies if isinstance(reply, Stale))
    assert stale.observable in (things[1], things[number - 1])
    assert stale.text.startswith("type=file" if stale.observable == things[1] and number > 2 else "type=")
    assert stale.text.count("type=") == 1
    assert replies[-1] == Ended("stale")
    assert not made.exists()
    assert len([reply for reply in replies if isinstance(reply, Probed)]) == len(things)

    checks = tuple(Check(one, state) for one, state in zip(things, looked, strict=True))
    replies = list(device.exchange(Batch(steps=(Step(number=0, effects=(effect("true"),), checks=checks),))))
    differs = dict(next(reply for reply in replies if isinstance(reply, Finished)).differs)
    assert set(differs) == {things[1], things[number - 1]}
    assert differs[things[number - 1]].startswith("type=absent")
    assert "sha256=" not in differs[things[number - 1]]
    assert replies[-1] == Ended("failed")


def kept(state: Any) -> dict[str, int]:
    """Return what stat says of a file, but for what a look itself may change."""
    return {name: value for name, value in state.stat().items() if name != "atime"}


@pytest.mark.parametrize(
    "target", ["f1", "none", "a|b|", "|12345678", "12345678", "50%0A", "a b\\", "ü", "-x", "two\n\nlines"]
)
def test_links_lead_where_they_lead(device: ShellTransport, tmp_path: Path, target: str) -> None:
    """What a link holds is told as it is, alone and among others, in a look and in a guard."""
    (tmp_path / "f1").write_text("x")
    (tmp_path / "link").symlink_to(target)
    looks = tuple(File(str(tmp_path / name), CONTENT) for name in ("f1", "link", "none"))
    for asked in (looks, looks[1:2]):
        states = {r.observable: r.state for r in device.exchange(Batch(looks=asked)) if isinstance(r, Probed)}
        assert states[looks[1]].target == target
        assert states[looks[1]].stat()["mtime"] == int((tmp_path / "link").lstat().st_mtime)
        assert states[looks[1]].large is None
        guards = tuple(Guard(one, state) for one, state in states.items())
        assert list(device.exchange(Batch(steps=(Step(number=0, guards=guards),))))[-1] == Ended("done")


@pytest.mark.parametrize("kind", ["missing", "link", "unreadable name", "content", "folders"])
def test_looks_at_many_tell_what_looks_at_each_tell(device: ShellTransport, tmp_path: Path, kind: str) -> None:
    """However many paths one look is about, and whatever stands there, each is told of as by a look at it alone."""
    for number in range(6):
        (tmp_path / f"f{number}").write_text(f"{number}")
    odd = tmp_path / "odd"
    if kind == "link":
        odd.symlink_to("f1")
    elif kind == "unreadable name":
        odd = tmp_path / "o d%0A\n\\ --"
        odd.write_text("x")
    elif kind == "folders":
        odd.mkdir()
    elif kind == "content":
        odd.write_text("some text")
    want = CONTENT if kind == "content" else METADATA if kind == "folders" else "-"
    things = [File(str(tmp_path / f"f{number}")) for number in range(6)]
    things.insert(3, File(str(odd), want))
    together = [r.state for r in device.exchange(Batch(looks=tuple(things))) if isinstance(r, Probed)]
    alone = [r.state for one in things for r in device.exchange(Batch(looks=(one,))) if isinstance(r, Probed)]
    told = [[(state, state.content, state.large, kept(state)) for state in states] for states in (together, alone)]
    assert told[0] == told[1]
    assert all(state.real == one.path for state, one in zip(together, things, strict=True))


def test_a_truncated_batch_does_nothing(shell: str, tmp_path: Path) -> None:
    """However much of a batch arrives, unless it is all of it, nothing of it is done."""
    path = tmp_path / "made"
    batch = Batch(steps=(Step(number=0, effects=(effect('echo x >"$1"', str(path)),)),))
    script = Encoder().encode(batch, "00")
    ends = script.rindex(b"}")
    for cut in [*range(0, ends, max(1, ends // 40)), ends]:
        environment = {**os.environ, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
        command = [*(APART if os.getuid() == 0 else []), *available()[shell]]
        subprocess.run(command, input=script[:cut], capture_output=True, check=False, env=environment)
        assert not path.exists(), cut


def test_two_batches_do_not_run_beside_each_other(device: ShellTransport, shell: str, tmp_path: Path) -> None:
    """A second batch waits until the first is over."""
    with ShellTransport(available()[shell], tmp_path / "home") as other:
        begun = tmp_path / "begun"
        first = Batch(steps=(Step(number=0, effects=(effect('touch "$1"; sleep 2; date +%s%N', str(begun)),)),))
        script = device.encoder.encode(first, "aa")
        assert device.process.stdin is not None
        device.process.stdin.write(script)
        device.process.stdin.flush()
        wait_for(begun)
        second = run(other, effect("date +%s%N"))
        ended = next(r for r in device.listen(Decoder(first, "aa")) if isinstance(r, Finished))
        assert int(ended.stdout) < int(second.stdout)


def test_a_batch_that_waits_gives_up_with_its_client(device: ShellTransport, shell: str, tmp_path: Path) -> None:
    """Who waits for the device, and has nobody to tell any more, does nothing later."""
    made, begun = tmp_path / "made", tmp_path / "begun"
    first = Batch(steps=(Step(number=0, effects=(effect('touch "$1"; sleep 3', str(begun)),)),))
    assert device.process.stdin is not None
    device.process.stdin.write(device.encoder.encode(first, "aa"))
    device.process.stdin.flush()
    wait_for(begun)
    with ShellTransport(available()[shell], tmp_path / "home") as gone:
        assert gone.process.stdin is not None
        assert gone.process.stdout is not None
        batch = Batch(steps=(Step(number=0, effects=(effect('echo x >"$1"', str(made)),)),))
        gone.process.stdin.write(gone.encoder.encode(batch, "bb"))
        gone.process.stdin.close()
        gone.process.stdout.close()
        gone.process.wait(timeout=20)
    list(device.listen(Decoder(first, "aa")))
    time.sleep(1.5)
    assert not made.exists()


def test_a_killed_batch_frees_the_device(device: ShellTransport, shell: str, tmp_path: Path) -> None:
    """When the shell of a batch is killed, the next one need not wait for anybody's word."""
    with ShellTransport(available()[shell], tmp_path / "home") as other:
        assert other.process.stdin is not None
        begun = tmp_path / "begun"
        batch = Batch(steps=(Step(number=0, effects=(effect('touch "$1"; sleep 1', str(begun)),)),))
        other.process.stdin.write(other.encoder.encode(batch, "bb"))
        other.process.stdin.flush()
        wait_for(begun)
        other.process.kill()
        assert run(device, effect("echo free")).stdout == "free\n"


def test_a_batch_outlives_its_link_and_tells_afterwards(device: ShellTransport, shell: str, tmp_path: Path) -> None:
    """Nobody listens any more: the batch goes on to its end, and whoever asks later is handed its journal."""
    made = tmp_path / "made"
    batch = Batch(
        steps=(
            Step(number=0, effects=(effect('touch "$1"; sleep 1; echo first', str(tmp_path / "begun")),)),
            Step(number=1, effects=(effect('echo x >"$1"; echo second', str(made)),)),
        )
    )
    with ShellTransport(available()[shell], tmp_path / "home") as lost:
        assert lost.process.stdin is not None
        assert lost.process.stdout is not None
        lost.process.stdin.write(lost.encoder.encode(batch, "cc"))
        lost.process.stdin.close()
        lost.process.stdout.close()
        attach = device.encoder.encode(Batch(attach=batch.name), "cc")
        wait_for(tmp_path / "begun")
        replies = list(device.converse(attach, Decoder(batch, "cc")))
        lost.process.wait(timeout=20)
    ended = [reply for reply in replies if isinstance(reply, Finished)]
    assert [(one.step, one.stdout) for one in ended] == [(0, "first\n"), (1, "second\n")]
    assert made.exists()


def test_what_is_secret_is_not_in_the_journal(device: ShellTransport) -> None:
    """The output of a no_log step reaches the controller, and no file on the device."""
    ended = run(device, effect("echo hunter2"), secret=True)
    assert ended.stdout == "hunter2\n"
    kept = [path for path in device.run_dir.rglob("*") if path.is_file()]
    assert kept, "there is a journal"
    assert not any(b"hunter2" in path.read_bytes() for path in kept)


def test_owed_handlers_are_written_before_and_struck_out_after(device: ShellTransport) -> None:
    """What a change owes is on the device before the change, stays after a failure, and goes once it was run."""
    show = effect('cat "$1"/owed; false', str(device.state_dir))
    owes = Step(number=0, effects=(show,), owes=("p: a b", "p: c%"))
    seen = next(r for r in device.exchange(Batch(steps=(owes,))) if isinstance(r, Finished))
    assert seen.stdout == "p: a b\np: c%\n"

    def owed() -> object:
        look = next(r for r in device.exchange(Batch(looks=(Owed(),))) if isinstance(r, Probed))
        return look.state.handlers

    assert owed() == ("p: a b", "p: c%")
    run(device, settles=("p: a b",))
    assert owed() == ("p: c%",)
    run(device, settles=("p: c%",))
    assert owed() is None


def test_a_stop_file_ends_a_batch_between_steps(device: ShellTransport) -> None:
    """Asked to stop, the device ends after the step that it is in, and says before which one."""
    batch = Batch(
        steps=(
            Step(number=0, effects=(effect('touch "$1"/stop-"$2"', str(device.run_dir), "NAME"),)),
            Step(number=1, effects=(effect("echo never"),)),
        ),
        name="NAME",
    )
    replies = list(device.exchange(batch))
    assert [reply.step for reply in replies if isinstance(reply, Finished)] == [0]
    assert replies[-1] == Ended("stopped")


def test_progress_arrives_while_a_script_runs(device: ShellTransport) -> None:
    """What an effect says of its progress does not wait for its end."""
    replies = device.exchange(Batch(steps=(Step(number=0, effects=(effect("say 'half way'; sleep 1; say done"),)),)))
    told = [(reply.text, time.monotonic()) for reply in replies if isinstance(reply, Progress)]
    assert [text for text, _ in told] == ["half way", "done"]
    assert told[1][1] - told[0][1] > 0.5


def test_looks_bring_back_every_kind_of_name(device: ShellTransport, tmp_path: Path) -> None:
    """A path with quotes, spaces, newlines or a leading dash is looked at, and told of, under its own name."""
    names = ["plain", "two words", "it's", "new\nline", "-dash", "per%cent", "$HOME", "ü"]
    for name in names:
        (tmp_path / name).write_text(name)
    (tmp_path / "link").symlink_to("new\nline")
    files = tuple(File(str(tmp_path / name), CONTENT) for name in names)
    replies = list(device.exchange(Batch(looks=(*files, File(str(tmp_path / "link"))))))
    states = {r.observable: r.state for r in replies if isinstance(r, Probed)}
    for one, name in zip(files, names, strict=True):
        assert states[one].content == name.encode(), name
        assert states[one].real == str(tmp_path / name)
    assert states[File(str(tmp_path / "link"))].target == "new\nline"


def test_what_a_look_told_is_what_a_guard_finds(device: ShellTransport, tmp_path: Path) -> None:
    """A look's survey is read here, a guard's text is made there: they never differ, whatever stands at the paths."""
    (tmp_path / "file").write_text("x")
    (tmp_path / "dir").mkdir(mode=0o1777)
    (tmp_path / "link").symlink_to("a b%")
    (tmp_path / "folder link").symlink_to("dir")
    (tmp_path / "two lines").symlink_to("a\n\nb")
    (tmp_path / "dir/50%\n").write_bytes(b"\n\x00\xff")
    (tmp_path / "dir/a|b").write_bytes(b"")
    (tmp_path / "setuid").write_text("x")
    (tmp_path / "setuid").chmod(0o4007)
    os.mkfifo(tmp_path / "fifo")
    names = (
        "file",
        "dir",
        "link",
        "fifo",
        "none/deep",
        "two lines",
        "folder link/50%\n",
        "dir/a|b",
        "setuid",
        "dir/..",
    )
    for want in (METADATA, HASHED, CONTENT, hashlib.sha256(b"x").hexdigest()):
        looks = tuple(File(f"{tmp_path}/{name}", want) for name in names)
        states = {r.observable: r.state for r in device.exchange(Batch(looks=looks)) if isinstance(r, Probed)}
        assert tuple(states) == looks
        guards = tuple(Guard(one, state) for one, state in states.items())
        assert list(device.exchange(Batch(steps=(Step(number=0, guards=guards),))))[-1] == Ended("done")
        for one in looks:
            path = Path(one.path)
            wanted = want == CONTENT or (len(want) == 64 and path.name not in {"file", "setuid"})
            is_file = path.is_file() and not path.is_symlink()
            assert states[one].content == (path.read_bytes() if wanted and is_file else None)


def test_a_look_writes_nothing(device: ShellTransport, tmp_path: Path) -> None:
    """Looking leaves no file, no folder and no state behind."""
    list(device.exchange(Batch(looks=(Owed(),))))
    before = sorted(map(str, tmp_path.rglob("*")))
    list(device.exchange(Batch(looks=(File(str(tmp_path / "x")), Owed()))))
    assert sorted(map(str, tmp_path.rglob("*"))) == before


def test_definitions_are_told_once(device: ShellTransport) -> None:
    """A session's shell keeps its functions: the second batch does not send them again."""
    first = device.encoder.encode(Batch(looks=(Owed(),)), "aa")
    second = device.encoder.encode(Batch(looks=(Owed(),)), "aa")
    assert b"probe_owed() {" in first
    assert b"probe_owed() {" not in second
    assert len(second) < len(first) / 3
    assert all(script.definition for script in with_needs([Script("x", "true")]))
