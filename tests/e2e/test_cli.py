"""The command line: bad input, hosts that cannot be worked on, exit codes, start-up, and what a terminal is shown."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from user import Ended, User, needs_namespaces

sys.path.insert(0, str(Path(__file__).parent.parent / "contract"))
from sshd import MISSING, Sshd, running

if TYPE_CHECKING:
    from collections.abc import Iterator

COPY = "- hosts: all\n  tasks:\n    - copy: {dest: TOP/a, content: a}\n"


@pytest.fixture(scope="module")
def server() -> Iterator[Sshd]:
    """Yield a real OpenSSH server."""
    if MISSING:
        pytest.skip(MISSING)
    with running() as one:
        yield one


@pytest.fixture
def fleet(user: User, server: Sshd) -> User:
    """Return a user with an inventory of one real host, and a playbook that writes below its folder."""
    (user.folder / ".provision").mkdir()
    (user.folder / ".provision" / "known_hosts").write_text(server.known_hosts.read_text())
    user.write("hosts.yaml", inventory(server))
    user.write("play.yaml", COPY.replace("TOP", str(user.folder)))
    return user


def inventory(server: Sshd, more: str = "") -> str:
    """Return an inventory whose host `real` is the server."""
    return f"""
all:
  vars: {{ansible_user: {server.user}, ansible_ssh_private_key_file: {server.key}}}
  hosts:
    real: {{ansible_host: 127.0.0.1, ansible_port: {server.port}}}
{more}"""


def wait_for(mark: str) -> None:
    """Wait until a process with this in its arguments runs: a task has begun on the device."""
    deadline = time.monotonic() + 60
    while subprocess.run(["pgrep", "-f", mark], capture_output=True, check=False).returncode:
        assert time.monotonic() < deadline, "the task has not begun"
        time.sleep(0.05)


def plain(ended: Ended) -> str:
    """Return all that was printed, having checked that it is no traceback."""
    assert "Traceback" not in ended.all, ended.all
    return ended.all


BROKEN = {
    "not YAML": ("all: [", None, ["hosts.yaml:2:1"]),
    "unknown key": ("all:\n  childern: {}\n", None, ["hosts.yaml:2:3", "did you mean 'children'"]),
    "wrong type": ("all:\n  hosts: 7\n", None, ["hosts.yaml:2:10"]),
    "duplicate host": ("all:\n  hosts:\n    a: {}\n    a: {}\n", None, ["hosts.yaml:4:5", "line 3"]),
    "loop of groups": (
        "all:\n  children:\n    x: {children: {y: }}\n    y: {children: {x: }}\n",
        None,
        ["contain each other"],
    ),
    "unknown module": (None, "- hosts: all\n  tasks:\n    - copyy: {}\n", ["play.yaml:3:7", "did you mean 'copy'"]),
    "unknown argument": (None, "- hosts: all\n  tasks:\n    - copy: {dst: /x, dest: /y}\n", ["play.yaml:3:14", "dest"]),
    "missing template": (None, "- hosts: all\n  tasks:\n    - template: {src: no.j2, dest: /x}\n", ["no.j2"]),
    "unknown handler": (None, "- hosts: all\n  tasks:\n    - debug: {msg: x}\n      notify: nobody\n", ["nobody"]),
    "undefined": (None, "- hosts: all\n  tasks:\n    - debug: {msg: '{{ nothing }}'}\n", ["play.yaml:3:20", "nothing"]),
    "no effect yet": (
        None,
        "- hosts: all\n  tasks:\n    - debug: {}\n      run_once: true\n",
        ["run_once", "not supported"],
    ),
}


@pytest.mark.parametrize("name", list(BROKEN))
def test_bad_input_is_told_before_anything_is_touched(user: User, name: str) -> None:
    """What the user has to mend is told with its place and the line itself, with exit code 1, before a connection."""
    hosts, play, said = BROKEN[name]
    user.write("hosts.yaml", hosts or "all: {hosts: {a: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    user.write("play.yaml", play or COPY)
    ended = user.run("apply", "hosts.yaml", "play.yaml")
    text = plain(ended)
    assert ended.code == 1
    for part in said:
        assert part in text, text
    if name != "not YAML":
        assert re.search(r"^\s*\d+ \|", text, re.MULTILINE), "the line itself is shown"
    assert "unreachable" not in text, "nothing was connected to"


def test_all_mistakes_are_told_at_once(user: User) -> None:
    """A run that cannot begin lists every mistake of inventory and playbook."""
    user.write("hosts.yaml", "all:\n  hosts: {a: {}}\n  foo: 1\n")
    user.write("play.yaml", "- hosts: all\n  tasks:\n    - copyy: {}\n    - debug: {massage: x}\n- hosts: nobody\n")
    text = plain(user.run("apply", "hosts.yaml", "play.yaml"))
    assert all(part in text for part in ("foo", "copyy", "massage")), text


def test_what_differs_in_every_run_is_warned_of(fleet: User) -> None:
    """A value that comes out otherwise each time is pointed at, with its place."""
    fleet.write("now.yaml", "- hosts: all\n  tasks:\n    - debug: {msg: '{{ now() }}'}\n")
    ended = fleet.run("apply", "hosts.yaml", "now.yaml")
    assert "warning: now.yaml:3:20" in ended.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["apply"],
        ["apply", "no-such-file.yaml"],
        ["apply", "hosts.yaml", "no-such-play.yaml"],
        ["apply", "hosts.yaml", "-l", "nobody"],
        ["apply", "hosts.yaml", "-e", "=x"],
        ["apply", "hosts.yaml", "-e", "@nothing.yaml"],
        ["frobnicate"],
        ["lab", "up", "hosts.yaml"],
        ["init", "/proc/nowhere"],
        [],
    ],
)
def test_a_wrong_command_is_bad_input(user: User, arguments: list[str]) -> None:
    """What cannot be meant ends with exit code 1 and a message."""
    user.write("hosts.yaml", "all: {hosts: {a: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n")
    user.write("playbooks/site.yaml", COPY)
    ended = user.run(*arguments)
    assert (ended.code, bool(plain(ended))) == (1, True)


def test_apply_check_and_codes(fleet: User) -> None:
    """A dry run touches nothing and tells with --exit-code that something would change; apply does it, once."""
    target = fleet.folder / "a"
    ended = fleet.run("apply", "hosts.yaml", "play.yaml", "--dry-run", "--exit-code")
    assert (ended.code, target.exists()) == (3, False), plain(ended)
    assert f"+++ after: {target}" in ended.out
    assert fleet.run("apply", "hosts.yaml", "play.yaml").code == 0
    assert target.read_text() == "a"
    ended = fleet.run("apply", "hosts.yaml", "play.yaml", "--check", "--exit-code")
    assert ended.code == 0
    assert re.search(r"real : ok=1 +changed=0 .*unknown=0", ended.out)


@pytest.mark.parametrize(("told_to", "code"), [("full", 1), ("gone", 0), ("closed", 0)])
def test_who_cannot_be_told_anything_is_no_traceback(fleet: User, told_to: str, code: int) -> None:
    """A run goes to its end whoever listens; where its words find no room, the exit code says so."""
    command = shlex.join([sys.executable, "-m", "provisioner", "apply", "hosts.yaml", "play.yaml"])
    ways = {"full": f"{command} >/dev/full", "gone": f"{command} | :", "closed": f"{command} >&-"}
    script = f"set -o pipefail; {ways[told_to]}"
    ended = subprocess.run(["bash", "-c", script], cwd=fleet.folder, capture_output=True, text=True, check=False)
    assert (fleet.folder / "a").read_text() == "a"
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr
    assert ended.returncode == code, ended.stderr


def test_some_hosts_fail_and_the_others_go_on(fleet: User, server: Sshd) -> None:
    """Unreachable is 4, failed or refused is 2, both are 6; every reason has its own message, the rest goes on."""
    more = """    closed: {ansible_host: 127.0.0.1, ansible_port: 1}
    nameless: {ansible_host: no-such-name.invalid}
"""
    fleet.write("hosts.yaml", inventory(server, more))
    ended = fleet.run("apply", "hosts.yaml", "play.yaml")
    text = plain(ended)
    assert ended.code == 4
    assert "refused the connection" in text
    assert "no address is known" in text
    assert re.search(r"real +: ok=1", text)
    fleet.write("bad.yaml", "- hosts: real\n  tasks: [{fail: {msg: on purpose}}]\n")
    assert fleet.run("apply", "hosts.yaml", "bad.yaml", "-l", "real").code == 2
    assert fleet.run("apply", "hosts.yaml", "play.yaml", "bad.yaml").code == 6


@pytest.mark.parametrize("change", ["unknown", "changed"])
def test_a_host_key_that_is_not_known_is_refused(fleet: User, server: Sshd, change: str) -> None:
    """An unknown key and a changed key are refused, each with its message and the fingerprint, with exit code 2."""
    known = fleet.folder / ".provision" / "known_hosts"
    lines = {
        "unknown": "",
        "changed": f"[127.0.0.1]:{server.port} ssh-ed25519 "
        "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl\n",
    }
    known.write_text(lines[change])
    ended = fleet.run("apply", "hosts.yaml", "play.yaml")
    text = plain(ended)
    assert ended.code == 2
    assert "SHA256:" in text
    assert ("is not known" in text) == (change == "unknown"), text
    assert not (fleet.folder / "a").exists()


def test_a_refused_login_is_told(fleet: User, server: Sshd, tmp_path: Path) -> None:
    """A key that the server does not take is refused, with what was tried."""
    other = tmp_path / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    fleet.write("hosts.yaml", inventory(server).replace(str(server.key), str(other)))
    ended = fleet.run("apply", "hosts.yaml", "play.yaml")
    assert ended.code == 2
    assert "refused" in plain(ended)


def test_a_host_needs_no_file(fleet: User, server: Sshd) -> None:
    """`apply user@address,` works without an inventory."""
    home = fleet.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "known_hosts").write_text(server.known_hosts.read_text())
    fleet.environment["HOME"] = str(home)
    spec = f"{server.user}@127.0.0.1:{server.port},"
    ended = fleet.run("apply", spec, "play.yaml", "--private-key", str(server.key))
    assert ended.code == 0, plain(ended)
    assert (fleet.folder / "a").read_text() == "a"


def test_variables_tags_and_limits(fleet: User) -> None:
    """-e, @file, --tags, --skip-tags and --limit do what they do in Ansible."""
    fleet.write("vars.yaml", "word: from file\n")
    fleet.write(
        "tagged.yaml",
        "- hosts: all\n  tasks:\n"
        "    - {debug: {msg: 'word {{ word }}'}, tags: one}\n"
        "    - {debug: {msg: other}, tags: [two, three]}\n"
        "    - {debug: {msg: every time}, tags: always}\n",
    )
    ended = fleet.run("apply", "hosts.yaml", "tagged.yaml", "-e", "@vars.yaml", "-t", "one")
    assert "word from file" in ended.out
    assert "other" not in ended.out
    assert "every time" in ended.out
    ended = fleet.run("apply", "hosts.yaml", "tagged.yaml", "-e", "word=x", "--skip-tags", "three")
    assert "word x" in ended.out
    assert "other" not in ended.out


def test_control_characters_never_reach_the_terminal(fleet: User) -> None:
    """Escape sequences in what a device prints, and in file names, are not printed."""
    fleet.write(
        "evil.yaml",
        "- hosts: all\n  tasks:\n"
        "    - command: printf '\\033]0;owned\\007\\033[2J\\r\\b\\302\\233evil'\n      register: said\n"
        "    - debug: {var: said.stdout}\n"
        "    - fail: {msg: '{{ said.stdout }}'}\n",
    )
    ended = fleet.run("apply", "hosts.yaml", "evil.yaml", "-v", "--diff")
    assert ended.code == 2
    assert "evil" in ended.out
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]", plain(ended))


@pytest.mark.parametrize(("answer", "made"), [("y\n", True), ("n\n", False), ("", False)])
def test_confirm_applies_exactly_what_was_shown(fleet: User, answer: str, made: bool) -> None:
    """--confirm shows the diff and asks; only a yes applies it."""
    ended = fleet.run("apply", "hosts.yaml", "play.yaml", "--confirm", answer=answer)
    assert f"+++ after: {fleet.folder / 'a'}" in plain(ended)
    assert (fleet.folder / "a").exists() == made
    assert ended.code == (0 if made else 130)


def test_ctrl_c_stops_between_tasks(fleet: User) -> None:
    """Interrupted, a run ends with 130, says what is not done, and leaves nothing running on the device."""
    mark = f"provision-test-{os.getpid()}"
    fleet.write(
        "slow.yaml",
        f"- hosts: all\n  tasks:\n    - {{name: slow, command: {{argv: [sh, -c, sleep 3, {mark}]}}}}\n"
        f"    - {{name: after, copy: {{dest: {fleet.folder}/after, content: x}}}}\n",
    )
    process = fleet.start("apply", "hosts.yaml", "slow.yaml", start_new_session=True)
    wait_for(mark)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "Traceback" not in err
    assert "after" in out
    assert not (fleet.folder / "after").exists()
    left = subprocess.run(["pgrep", "-f", mark], capture_output=True, text=True, check=False).stdout
    assert left == ""


def test_a_second_ctrl_c_ends_what_runs(fleet: User) -> None:
    """Interrupted twice, the task that runs is ended on the device, and what is not done is told."""
    mark = f"provision-test-twice-{os.getpid()}"
    fleet.write(
        "long.yaml",
        f"- hosts: all\n  tasks:\n    - {{name: long, command: {{argv: [sh, -c, sleep 300, {mark}]}}}}\n"
        "    - {name: after, debug: }\n",
    )
    process = fleet.start("apply", "hosts.yaml", "long.yaml", start_new_session=True)
    wait_for(mark)
    process.send_signal(signal.SIGINT)
    assert process.stdout is not None
    while "stopping between tasks" not in process.stdout.readline():
        pass
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert "after" in out
    left = subprocess.run(["pgrep", "-f", mark], capture_output=True, text=True, check=False).stdout
    assert left == ""


def test_terminated_is_interrupted(fleet: User) -> None:
    """SIGTERM, as a cancelled job or a closed terminal sends it, is a Ctrl-C."""
    mark = f"provision-test-term-{os.getpid()}"
    fleet.write(
        "slow.yaml",
        f"- hosts: all\n  tasks:\n    - {{name: slow, command: {{argv: [sh, -c, sleep 3, {mark}]}}}}\n"
        f"    - {{name: after, copy: {{dest: {fleet.folder}/after, content: x}}}}\n",
    )
    process = fleet.start("apply", "hosts.yaml", "slow.yaml", start_new_session=True)
    wait_for(mark)
    process.terminate()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, out + err
    assert not (fleet.folder / "after").exists()


def test_ctrl_c_at_the_question_is_a_no(fleet: User) -> None:
    """Interrupted while it asks, a run applies nothing and ends."""
    process = fleet.start("apply", "hosts.yaml", "play.yaml", "--confirm", stdin=subprocess.PIPE)
    assert process.stdout is not None
    while not process.stdout.readline().startswith("    +a"):
        pass
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, out + err
    assert not (fleet.folder / "a").exists()


def test_options_stand_where_people_put_them(fleet: User) -> None:
    """Options may come before the playbooks, behind them, or between."""
    for arguments in (
        ["apply", "--check", "hosts.yaml", "play.yaml"],
        ["apply", "hosts.yaml", "--check", "play.yaml"],
        ["apply", "hosts.yaml", "play.yaml", "--check"],
    ):
        assert fleet.run(*arguments).code == 0
    assert not (fleet.folder / "a").exists()


def test_starting_up_is_cheap() -> None:
    """`provision --version` imports nothing heavy: neither SSH, nor templates, nor YAML, nor rich."""
    heavy = ["paramiko", "fabric", "jinja2", "yaml", "rich", "concurrent.futures", "hashlib"]
    code = (
        "import sys; from provisioner import cli\n"
        "try: cli.main(['--version'])\nexcept SystemExit: pass\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


def test_a_model_lab_needs_nothing_of_the_machine(user: User) -> None:
    """Without namespaces, the whole job runs on states held as data, says so, and is done the second time."""
    user.run("init", ".")
    for changed in (True, False):
        ended, report = user.apply("inventory/lab.yaml", "--lab-backend", "model")
        assert ended.code == 0, plain(ended)
        assert any(one["changed"] for one in report["recap"].values()) == changed
    assert "simulation" in ended.all.lower()
    user.run("lab", "reset", "inventory/lab.yaml")


@needs_namespaces
def test_a_sudo_that_wants_a_password(user: User) -> None:
    """Without -K a device whose sudo asks is refused with a hint; the other hosts go on."""
    user.write(
        "lab.yaml", "all: {hosts: {a: {simulate: agx-thor-39.2.1 sudo_password=x}, b: {simulate: nano-32.7.4}}}\n"
    )
    user.write("play.yaml", "- hosts: all\n  become: true\n  tasks: [{copy: {dest: /etc/x, content: x}}]\n")
    try:
        ended = user.run("apply", "lab.yaml", "play.yaml")
        assert ended.code == 2
        assert "-K" in plain(ended)
        assert re.search(r"b : ok=1 +changed=1", ended.out)
    finally:
        user.run("lab", "reset", "lab.yaml")


@needs_namespaces
def test_a_device_that_runs_no_jetson_image(user: User) -> None:
    """A host that is no Jetson is told so, with what it spares, and is not touched."""
    user.run("init", ".")
    hosts: Any = "all: {hosts: {old: {simulate: nano-32.7.4}}}\n"
    user.write("lab.yaml", hosts)
    fake = "- hosts: all\n  become: true\n  tasks:\n    - command: rm -f /etc/nv_tegra_release\n"
    user.write("fake.yaml", fake + "    - command: dpkg --remove nvidia-l4t-core\n      ignore_errors: true\n")
    try:
        user.run("apply", "lab.yaml", "fake.yaml")
        ended = user.run("facts", "lab.yaml")
        assert ended.code == 0, plain(ended)
    finally:
        user.run("lab", "reset", "lab.yaml")
