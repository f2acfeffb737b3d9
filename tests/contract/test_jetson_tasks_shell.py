"""Laws of the bodies that change Docker, run against stand-ins in a folder, under each shell of a device."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from provisioner.jetson.failures import explain
from provisioner.shell import Script, Value, with_needs, words
from provisioner.tasks.docker_runtime import SET_DOCKER
from provisioner.tasks.jetson_image import PULL_IMAGE, RECORD_IMAGE, REMOVE_IMAGE
from provisioner.tasks.jetson_packages import HOLD_PACKAGES
from provisioner.tasks.jetson_verify import VERIFY_IMAGE

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [shell.split() for shell in ("dash", "bash --posix", "busybox ash") if shutil.which(shell.split()[0])]
DIGEST = "sha256:" + "a" * 64
PINNED = f"repo/x@{DIGEST}"

# The daemon runs with what daemon.json said when it was started; it does not start with one that says "broken".
DAEMON = r"""
log() { printf '%s\n' "$*" >>"$ROOT/log"; }
live() { sed -n 's/.*"default-runtime": *"\([^"]*\)".*/\1/p' "$ROOT/live" 2>/dev/null; }
"""
SYSTEMCTL = r"""
log "systemctl $*"
case $1 in
restart)
  if grep -q broken "$ROOT/daemon.json" 2>/dev/null || [ -e "$ROOT/dead" ]; then
    cat "$ROOT/dies" >>"$ROOT/journal" 2>/dev/null
    echo 'Job failed.' >&2
    exit 1
  fi
  [ -e "$ROOT/deaf" ] || cp "$ROOT/daemon.json" "$ROOT/live" 2>/dev/null || : >"$ROOT/live" ;;
show) printf 'ActiveState=active\nSubState=running\nType=notify\n' ;;
status) echo 'docker.service: failed to start daemon: it is broken' ;;
esac
"""
DOCKER = r"""
case "$1 $2" in
"info --format") runtime=$(live); printf '%s {"%s":{"path":"x"}}\n' "${runtime:-runc}" "${runtime:-runc}" ;;
"ps -q") cat "$ROOT/running" 2>/dev/null ;;
pull*)
  n=$(($(cat "$ROOT/pulls" 2>/dev/null || echo 0) + 1))
  echo "$n" >"$ROOT/pulls"
  printf 'aaaaaaaaaaaa: Pulling fs layer\nbbbbbbbbbbbb: Pulling fs layer\naaaaaaaaaaaa: Pull complete\n'
  [ ! -e "$ROOT/slow" ] || /usr/bin/sleep 0.3
  if [ "$n" -le "$(cat "$ROOT/breaks" 2>/dev/null || echo 0)" ]; then cat "$ROOT/why"; exit 1; fi
  printf 'bbbbbbbbbbbb: Pull complete\n'
  echo "$2" >>"$ROOT/images" ;;
"image inspect") grep -qxF -- "$5" "$ROOT/images" 2>/dev/null || exit 1; cat "$ROOT/arch" 2>/dev/null || echo arm64 ;;
"image rm")
  log "rm $3"
  grep -vxF -- "$3" "$ROOT/images" >"$ROOT/left"; mv "$ROOT/left" "$ROOT/images" ;;
tag*) log "tag $2 $3" ;;
run*) log "$*"; cat >"$ROOT/stdin"; cat "$ROOT/says" ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
STANDINS = {
    "systemctl": SYSTEMCTL,
    "docker": DOCKER,
    "dockerd": r"""
if [ -e "$ROOT/old" ]; then echo 'unknown flag: --validate' >&2; exit 125; fi
if grep -q refused "$3"; then echo "unable to configure the Docker daemon with file $3: no" >&2; exit 1; fi
""",
    "timeout": """
case " $(cat "$ROOT/silent" 2>/dev/null) " in *" $2 $3 "*) exit 124 ;; esac
exec /usr/bin/timeout "$@"
""",
    "journalctl": 'cat "$ROOT/journal" 2>/dev/null',
    "sleep": 'case $1 in 0.*) exec /usr/bin/sleep 0.05 ;; esac; log "sleep $1"',
    "dpkg-query": "case $4 in gone) exit 1 ;; half) echo config-files ;; *) echo installed ;; esac",
    "apt-mark": 'log "apt-mark $*"',
}
HELPERS = 'say() { printf \'%s\\n\' "$*" >>"$ROOT/said"; }\n'


@dataclass
class Device:
    """A folder that plays a device, and the shell that it has."""

    root: Path
    shell: list[str]

    def write(self, name: str, text: str = "") -> Path:
        """Write a file of it."""
        path = self.root / name
        path.write_text(text)
        return path

    def read(self, name: str) -> str:
        """Return a file of it, empty where there is none."""
        path = self.root / name
        return path.read_text() if path.exists() else ""

    def run(self, script: Script, *values: Value) -> subprocess.CompletedProcess[str]:
        """Run one effect."""
        definitions = HELPERS + "".join(one.definition for one in with_needs([script]))
        if script is not HOLD_PACKAGES:
            definitions = definitions.replace("root root 0644", f"{os.getuid()} {os.getgid()} 0644")
        text = f"{definitions}\n{script.name} {words(values)}\n"
        command = [shutil.which(self.shell[0]) or self.shell[0], *self.shell[1:]]
        environment = {"PATH": f"{self.root}/bin:/usr/bin:/bin", "LC_ALL": "C", "ROOT": str(self.root)}
        return subprocess.run(
            command, input=text, capture_output=True, text=True, env=environment, timeout=60, check=False
        )


@pytest.fixture(params=SHELLS, ids=" ".join)
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Device:
    """A device with every stand-in, under each shell."""
    (tmp_path / "bin").mkdir()
    for name, body in STANDINS.items():
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/sh\nROOT={tmp_path}\n{DAEMON}\n{body}")
        program.chmod(0o755)
    return Device(tmp_path, request.param)


GOOD = '{"default-runtime": "nvidia"}\n'


def set_docker(
    device: Device, content: str = GOOD, *, allowed: str = "", backup: bool = True, drop_in: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the effect of docker_runtime."""
    config = device.root / "daemon.json"
    return device.run(
        SET_DOCKER,
        "nvidia",
        "yes",
        allowed,
        str(config),
        *("=", "=", "0600"),
        f"{config}.1~" if backup else "",
        content.encode() if content else "",
        str(device.root / "drop" / "jetson.conf"),
        drop_in.encode() if drop_in else "",
    )


def test_the_file_is_put_docker_restarted_and_asked(device: Device) -> None:
    """The new file is in place with the mode that it has to have, the old one beside it, and Docker says yes."""
    device.write("daemon.json", "{}\n")
    done = set_docker(device)
    assert done.returncode == 0, done.stderr
    assert device.read("daemon.json") == GOOD
    assert device.read("daemon.json.1~") == "{}\n"
    assert (device.root / "daemon.json").stat().st_mode & 0o777 == 0o600
    assert "systemctl restart docker.service" in device.read("log")
    assert not list(device.root.glob(".provision.*"))


def test_nothing_to_write_is_a_restart(device: Device) -> None:
    """Where the file is right and the daemon is not, Docker is restarted and nothing written."""
    device.write("daemon.json", GOOD)
    assert set_docker(device, "", backup=False).returncode == 0
    assert not (device.root / "daemon.json.1~").exists()
    assert "restart" in device.read("log")


@pytest.mark.parametrize("obstacle", ["broken", "deaf"])
def test_what_does_not_take_is_put_back(device: Device, obstacle: str) -> None:
    """Docker may not start, or run with something else: the old file is back, and Docker runs with it."""
    device.write("daemon.json", '{"old": 1}\n')
    content = '{"default-runtime": "nvidia", "broken": 1}\n' if obstacle == "broken" else GOOD
    if obstacle == "deaf":
        device.write("deaf")
    done = set_docker(device, content, drop_in="[Service]\n")
    assert done.returncode == 1
    assert device.read("daemon.json") == '{"old": 1}\n'
    assert not (device.root / "drop" / "jetson.conf").exists()
    assert device.read("log").count("systemctl restart") == 2
    assert "and Docker runs with them" in done.stderr
    assert ("it is broken" if obstacle == "broken" else "without the runtime nvidia") in done.stderr


DIES = """\
Starting docker.service - Docker Application Container Engine...
time="2026-01-01T00:00:01Z" level=info msg="Starting up"
time="2026-01-01T00:00:02Z" level=error msg="no such runtime"
failed to start daemon: it is broken
docker.service: Main process exited, code=exited, status=1/FAILURE
Failed to start docker.service - Docker Application Container Engine.
docker.service: Scheduled restart job, restart counter is at 1.
time="2026-01-01T00:00:04Z" level=error msg="no such runtime"
failed to start daemon: it is broken
docker.service: Start request repeated too quickly.
"""


def test_the_cause_is_dockerds_own_words_since_the_restart(device: Device) -> None:
    """What dockerd said is told first and once; neither systemd's words nor what an earlier failure left are shown."""
    device.write("daemon.json", "{}\n")
    device.write("journal", "failed to start daemon: another matter of last week\n")
    device.write("dies", DIES)
    done = set_docker(device, '{"broken": 1}\n')
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        'level=error msg="no such runtime"',
        "failed to start daemon: it is broken",
        "the old files are back in place, and Docker runs with them",
    ]


def test_a_file_that_was_not_there_is_gone_again(device: Device) -> None:
    """Put back means as it was: without a file."""
    device.write("deaf")
    assert set_docker(device, backup=False).returncode == 1
    assert not (device.root / "daemon.json").exists()


def test_a_docker_that_never_starts_is_told_as_such(device: Device) -> None:
    """Where even the old file does not help, that is said."""
    device.write("daemon.json", "{}\n")
    device.write("dead")
    done = set_docker(device)
    assert done.returncode == 1
    assert "does not start with them either" in done.stderr
    assert device.read("daemon.json") == "{}\n"


def test_dockerd_is_asked_before_anything_is_put_in_place(device: Device) -> None:
    """What dockerd refuses is never put there, and Docker goes on undisturbed."""
    device.write("daemon.json", "{}\n")
    done = set_docker(device, '{"refused": 1}\n')
    assert done.returncode == 1
    assert f"file {device.root}/daemon.json: no" in done.stderr
    assert device.read("daemon.json") == "{}\n"
    assert "restart" not in device.read("log")
    assert not list(device.root.glob(".provision.*"))


@pytest.mark.parametrize(
    ("silent", "told"),
    [
        ("dockerd --validate", "dockerd does not say whether it takes"),
        ("docker ps", "does not say which containers run"),
    ],
)
def test_silence_is_neither_a_yes_nor_a_refusal(device: Device, silent: str, told: str) -> None:
    """Where Docker does not answer in time, nothing is put in place, nothing restarted, and the silence is named."""
    device.write("daemon.json", "{}\n")
    device.write("silent", silent)
    done = set_docker(device)
    assert done.returncode == 1
    assert told in done.stderr
    assert "refuses" not in done.stderr
    assert device.read("daemon.json") == "{}\n"
    assert not (device.root / "log").exists() or "restart" not in device.read("log")


def test_an_old_dockerd_cannot_be_asked(device: Device) -> None:
    """Before Docker 23 there is nobody to ask, and the restart is the proof."""
    device.write("daemon.json", "{}\n")
    device.write("old")
    assert set_docker(device).returncode == 0


@pytest.mark.parametrize(("allowed", "rc"), [("", 1), ("11", 1), ("11 22", 0), ("any", 0)])
def test_a_container_that_came_meanwhile_is_not_stopped(device: Device, allowed: str, rc: int) -> None:
    """Only the containers that the plan named may be stopped; otherwise nothing is touched."""
    device.write("daemon.json", "{}\n")
    device.write("running", "11\n22\n")
    assert set_docker(device, allowed=allowed).returncode == rc
    assert device.read("daemon.json") == (GOOD if rc == 0 else "{}\n")


def test_a_drop_in_is_written_and_read_by_systemd(device: Device) -> None:
    """Its folder is made, and systemd is told before Docker is restarted."""
    device.write("daemon.json", "{}\n")
    done = set_docker(device, drop_in="[Service]\n")
    assert done.returncode == 0, done.stderr
    assert device.read("drop/jetson.conf") == "[Service]\n"
    log = device.read("log")
    assert log.index("daemon-reload") < log.index("systemctl restart")


def pull(device: Device, layers: str = "aaaaaaaaaaaa:700 bbbbbbbbbbbb:300") -> subprocess.CompletedProcess[str]:
    """Run the effect of a pull of 1000 bytes."""
    values = (PINNED, "repo/x:1", "arm64", "60", "1", str(device.root), "1000", layers)
    return device.run(PULL_IMAGE, *values)


def test_a_pull_tells_how_far_it_is_and_tags_what_came(device: Device) -> None:
    """Bytes and layers are said whenever they move: `pull DONE TOTAL N/M layers`."""
    device.write("slow")
    done = pull(device)
    assert done.returncode == 0, done.stderr
    assert "pull 700 1000 1/2 layers" in device.read("said")
    assert f"tag {PINNED} repo/x:1" in device.read("log")


def test_layers_of_unknown_size_count_the_same(device: Device) -> None:
    """Without the sizes of the layers half of them is half of the bytes."""
    device.write("slow")
    assert pull(device, "").returncode == 0
    assert "pull 500 1000 1/2 layers" in device.read("said")


def test_bytes_that_are_still_coming_count(device: Device) -> None:
    """What Docker has of a layer in its temporary file is counted, and never more than all."""
    device.write("slow")
    (device.root / "tmp").mkdir()
    (device.root / "tmp" / "GetImageBlob1").write_bytes(b"x" * 120)
    assert pull(device).returncode == 0
    assert "pull 820 1000 1/2 layers" in device.read("said")


def test_a_pull_that_breaks_off_is_tried_again(device: Device) -> None:
    """Layers that came are kept, so that a bad line gets there in the end."""
    device.write("breaks", "2")
    device.write("why", "error pulling image: read tcp: connection reset by peer\n")
    assert pull(device).returncode == 0
    assert device.read("pulls") == "3\n"
    assert device.read("log").split()[:4] == ["sleep", "1", "sleep", "2"]


@pytest.mark.parametrize(
    ("why", "meaning", "tries"),
    [
        ("write /x: no space left on device", "disk-full", "1\n"),
        ("unauthorized: authentication required", "unauthorized", "1\n"),
        ("x509: certificate has expired or is not yet valid", "clock", "3\n"),
        ("dial tcp: lookup nvcr.io on 127.0.0.53:53: i/o timeout", "names", "3\n"),
        ("error pulling image: read tcp: connection reset by peer", "pull-broken", "3\n"),
    ],
)
def test_a_pull_that_fails_is_explained(device: Device, why: str, meaning: str, tries: str) -> None:
    """The end of Docker's own words is shown, and means something; what no second try mends is tried once."""
    device.write("breaks", "9")
    device.write("why", f"{why}\n")
    done = pull(device)
    assert done.returncode == 1
    assert why in done.stderr
    known = explain(done.stderr)
    assert known is not None
    assert known.id == meaning
    assert device.read("pulls") == tries
    assert "tag" not in device.read("log")


def test_an_image_for_another_machine_is_not_kept(device: Device) -> None:
    """What was built for another architecture is taken away again, and never tagged."""
    device.write("arch", "amd64\n")
    done = pull(device)
    assert done.returncode == 1
    assert "is built for amd64" in done.stderr
    assert f"rm {PINNED}" in device.read("log")
    assert "tag" not in device.read("log")


def test_names_that_are_gone_are_no_error(device: Device) -> None:
    """Docker takes a digest away with the last tag of its repository."""
    device.write("images", "b\n")
    assert device.run(REMOVE_IMAGE, "a", "b").returncode == 0
    assert device.read("log") == "rm b\n"


def test_the_record_is_written_where_there_was_no_folder(device: Device) -> None:
    """The record lies in a folder of ours, and anybody may read it."""
    path = device.root / "lib" / "provision" / "image.json"
    done = device.run(RECORD_IMAGE, str(path), b"{}\n")
    assert done.returncode == 0, done.stderr
    assert path.read_text() == "{}\n"
    assert path.stat().st_mode & 0o777 == 0o644


def test_only_what_is_installed_is_held(device: Device) -> None:
    """A package that did not come along is passed over; with none left apt-mark is not called."""
    assert device.run(HOLD_PACKAGES, "1", "one", "gone", "half", "two").returncode == 0
    assert device.read("log") == "apt-mark hold one two\n"
    assert device.run(HOLD_PACKAGES, "1", "gone").returncode == 0
    assert device.read("log") == "apt-mark hold one two\n"


@pytest.mark.parametrize(
    ("says", "rc"),
    [
        ('noise\n{"jetson_verify": 1, "stage": "done", "ok": true}', 0),
        ('{"jetson_verify": 1, "ok": false}', 1),
        ("", 1),
    ],
)
def test_the_check_passes_only_where_its_script_says_so(device: Device, says: str, rc: int) -> None:
    """The script arrives whole on stdin; a container that ends well without a proof has proved nothing."""
    device.write("says", f"{says}\n")
    script = "print('it''s', \"x\")\n$HOME\n"
    done = device.run(VERIFY_IMAGE, "60", script.encode(), "docker", "run", "--rm", "x", "python3", "-")
    assert done.returncode == rc
    assert device.read("stdin") == script
    assert says in done.stdout
