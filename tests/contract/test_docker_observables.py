"""Laws of the looks at Docker, its images, the disk and the clock, under every shell that a device may have."""

from __future__ import annotations

import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.jetson.described import FullFacts, FullFactsState
from provisioner.jetson.observed import Facts, FactsState, derive, fact_names
from provisioner.model import Observable, Unknown, View
from provisioner.observables.docker import (
    Container,
    ContainersState,
    DockerDaemon,
    DockerState,
    RunningContainers,
)
from provisioner.observables.image import ContainerImage, ImageState, ImageUsers
from provisioner.observables.package import Package, PackageState
from provisioner.observables.preflight import Clock, DiskSpace, Names, NamesState, SpaceState
from provisioner.shell import with_needs, words

if TYPE_CHECKING:
    from pathlib import Path

SHELLS = [shell.split() for shell in ("dash", "bash --posix", "busybox ash") if shutil.which(shell.split()[0])]
DIGEST = "sha256:" + "a" * 64
OTHER = "sha256:" + "b" * 64

DOCKER = r"""
case "$1 $2" in
"info --format")
  cat "$ROOT/info" 2>/dev/null || { echo 'Cannot connect to the Docker daemon' >&2; exit 1; } ;;
"ps --no-trunc") cat "$ROOT/ps" ;;
"ps -a") cat "$ROOT/users" 2>/dev/null ;;
"images --digests") cat "$ROOT/images" 2>/dev/null ;;
"image inspect")
  shift 4
  rc=0
  for name do
    row=$(grep -F "$name " "$ROOT/rows" 2>/dev/null | head -n 1)
    if [ -n "$row" ]; then printf '%s\n' "${row#* }"; else echo "No such image: $name" >&2; rc=1; fi
  done
  exit $rc ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Each shell that may be a device's /bin/sh."""
    command: list[str] = request.param
    return command


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with a docker that answers from files."""
    program = tmp_path / "bin" / "docker"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\nROOT={tmp_path}\n{DOCKER}")
    program.chmod(0o755)
    return tmp_path


def look(shell: list[str], root: Path, *observables: Observable[Any], docker: bool = True) -> list[str]:
    """Return the text that a probe prints of each observable."""
    probe = observables[0].probe
    definitions = "".join(script.definition for script in with_needs([probe]))
    arguments = " ".join(words(one.arguments()) for one in observables)
    text = f"next() {{ printf '\\n=====\\n'; }}\n{definitions}\n{probe.name} {arguments}\n"
    path = f"{root}/bin:/usr/bin:/bin" if docker else f"{root}/none:/usr/bin:/bin"
    environment = {"PATH": path, "LC_ALL": "C"}
    command = [shutil.which(shell[0]) or shell[0], *shell[1:]]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert done.stderr == ""
    return [part.strip("\n") for part in done.stdout.split("\n=====\n")[1:]]


def compared(text: str) -> str:
    """Return a probe's text without the lines that are never compared."""
    return "\n".join(line for line in text.split("\n") if line and not line.startswith("."))


INFO = """\
version=28.2.2
default_runtime=nvidia
data_root=/data/50% full
driver=overlay2
live_restore=true
runtimes={"io.containerd.runc.v2":{"path":"runc","status":{"features":"{\\"hooks\\":{\\"path\\":1}}"}},\
"nvidia":{"path":"nvidia-container-runtime","runtimeArgs":[]},"runc":{"path":"runc"},"own":{"runtimeType":"x"}}
"""


def test_the_daemon_tells_what_it_runs_with(shell: list[str], root: Path) -> None:
    """What docker info says is what the state has, and the text is canonical: render(parse(text)) == text."""
    (root / "info").write_text(INFO)
    (text,) = look(shell, root, DockerDaemon())
    state = DockerState.parse(text)
    assert state == DockerState(
        present=True,
        answers=True,
        version="28.2.2",
        default_runtime="nvidia",
        data_root="/data/50% full",
        driver="overlay2",
        live_restore=True,
        runtimes=("io.containerd.runc.v2", "nvidia", "own", "runc"),
    )
    assert state.render() == text


@pytest.mark.parametrize("info", [None, INFO.replace("28.2.2", "")])
def test_a_daemon_that_does_not_answer_is_told_apart(shell: list[str], root: Path, info: str | None) -> None:
    """Whether the client fails or fills in nothing, the daemon does not answer."""
    if info is not None:
        (root / "info").write_text(info)
    (text,) = look(shell, root, DockerDaemon())
    assert DockerState.parse(text) == DockerState(present=True, answers=False)
    assert DockerState.parse(text).render() == text


def test_without_docker_everything_is_absent(shell: list[str], root: Path) -> None:
    """A device without docker has no daemon, no image and no container, and the probes say nothing else."""
    if shutil.which("docker", path="/usr/bin:/bin"):
        pytest.skip("this machine has a docker of its own")
    (text,) = look(shell, root, DockerDaemon(), docker=False)
    assert DockerState.parse(text) == DockerState()
    assert DockerState.parse(text).render() == text
    assert look(shell, root, ContainerImage("a:1"), ContainerImage("b:1"), docker=False) == ["present=no"] * 2
    assert look(shell, root, RunningContainers(), docker=False) == [""]
    assert look(shell, root, ImageUsers(DIGEST), docker=False) == [""]


def test_containers_are_never_compared(shell: list[str], root: Path) -> None:
    """Names, images and labels arrive whole, and none of it enters a guard."""
    (root / "ps").write_text("11|web|nginx:1|a=b c,provision=yes\n22|x|img%20|\n")
    (text,) = look(shell, root, RunningContainers())
    state = ContainersState.parse(text)
    assert state.running == (
        Container("11", "web", "nginx:1", ("a=b c", "provision=yes")),
        Container("22", "x", "img%20"),
    )
    assert state.render() == compared(text) == ""


ROWS = (
    f"one:1 sha256:1111|arm64|repo/one@{DIGEST} |repo/one:1 repo/one:latest \n"
    f"two:1 sha256:2222|amd64||two:1 \n"
    f"sha256:3333 sha256:3333|arm64|mirror.local/x@{OTHER} ||\n"
)


def test_images_are_told_in_the_order_in_which_they_are_asked_for(shell: list[str], root: Path) -> None:
    """One call tells of images that are all there; where one is not, each still gets its own answer."""
    (root / "rows").write_text(ROWS)
    first, second = look(shell, root, ContainerImage("one:1"), ContainerImage("two:1"))
    again = look(shell, root, ContainerImage("two:1"), ContainerImage("none:1"), ContainerImage("one:1"))
    assert again == [second, "present=no", first]
    state = ImageState.parse(first)
    assert (state.id, state.architecture) == ("sha256:1111", "arm64")
    assert state.digests == (f"repo/one@{DIGEST}",)
    assert state.tags == ("repo/one:1", "repo/one:latest")
    assert ImageState.parse(second).digests == ()
    for text in (first, second, "present=no"):
        assert ImageState.parse(text).render() == compared(text)


def test_an_image_counts_by_its_digest_under_whatever_name(shell: list[str], root: Path) -> None:
    """A digest that came through a mirror is found; a tag is not looked for under other names."""
    (root / "info").write_text("28.2.2")
    (root / "rows").write_text(ROWS)
    (root / "images").write_text(f"sha256:1111 <none>\nsha256:3333 {OTHER}\n")
    found, absent, tag = look(
        shell, root, ContainerImage(f"nvcr.io/x@{OTHER}"), ContainerImage(f"y@{DIGEST}"), ContainerImage("y:1")
    )
    assert ImageState.parse(found).id == "sha256:3333"
    assert absent == tag == "present=no"


@pytest.mark.parametrize("info", [None, ""])
def test_a_silent_daemon_is_no_absent_image(shell: list[str], root: Path, info: str | None) -> None:
    """Where the daemon does not answer the look says so; where it answers, what it does not have is absent."""
    if info is not None:
        (root / "info").write_text(info)
    texts = look(shell, root, ContainerImage("one:1"), ContainerImage(f"y@{DIGEST}"))
    assert texts == ["present=no\nanswers=no"] * 2
    assert ImageState.parse(texts[0]) == ImageState(answers=False)
    assert ImageState.parse(texts[0]).render() == texts[0]
    (root / "info").write_text("28.2.2")
    assert look(shell, root, ContainerImage("one:1"), ContainerImage(f"y@{DIGEST}")) == ["present=no"] * 2


def test_users_of_an_image_are_sorted(shell: list[str], root: Path) -> None:
    """Containers of an image are a set: two looks say the same, whatever Docker's order."""
    (root / "users").write_text("web\napi\n")
    (text,) = look(shell, root, ImageUsers(DIGEST))
    assert text == "containers=api web"


def free(text: str) -> int:
    """Return the bytes that a look told of."""
    state = SpaceState.parse(text)
    assert state.free is not None
    return state.free


def test_space_is_that_of_the_nearest_folder(shell: list[str], root: Path) -> None:
    """A folder that is not there yet will lie where the nearest one above it does; nothing is compared."""
    there, below, top = look(
        shell, root, DiskSpace(str(root)), DiskSpace(f"{root}/not/there yet"), DiskSpace("/no-such-folder")
    )
    # Others write to this disk meanwhile.
    assert abs(free(there) - free(below)) < 10**9
    assert free(there) > 0
    assert free(top) >= 0
    assert DiskSpace.state.parse(there).render() == ""


def test_the_clock_is_told_and_not_compared(shell: list[str], root: Path) -> None:
    """Seconds since 1970, in a line that no guard reads."""
    (text,) = look(shell, root, Clock())
    assert int(text.removeprefix(".epoch=")) > 1_600_000_000
    assert Clock.state.parse(text).render() == ""


def test_names_that_do_not_resolve_are_told(shell: list[str], root: Path) -> None:
    """Of each list of names those are told that getent does not find; nothing of it is compared."""
    program = root / "bin" / "getent"
    program.write_text('#!/bin/sh\ncase $2 in *.good) echo "192.0.2.1 $2" ;; *) exit 2 ;; esac\n')
    program.chmod(0o755)
    texts = look(shell, root, Names(("a.good", "b.bad", "c.bad")), Names(("a.good",)), Names(("b.bad; false",)))
    assert [NamesState.parse(text).lost for text in texts] == [("b.bad", "c.bad"), (), ("b.bad;", "false")]
    assert {NamesState.parse(text).render() for text in texts} == {""}


def test_names_are_not_asked_for_where_a_file_says_that_all_is_there(shell: list[str], root: Path) -> None:
    """A device that is done is not kept waiting by a resolver; one that is not waits a few seconds at most."""
    program = root / "bin" / "getent"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    (root / "done").touch()
    began = time.monotonic()
    texts = look(shell, root, Names(("a.lan",), str(root / "done")), Names(("b.lan",), str(root / "not-done")))
    assert [NamesState.parse(text).lost for text in texts] == [None, ("b.lan",)]
    assert time.monotonic() - began < 30


def test_a_device_without_getent_tells_nothing_of_names(shell: list[str], root: Path) -> None:
    """Where nobody can be asked, nothing is known, and nothing is claimed."""
    probe = "".join(script.definition for script in with_needs([Names.probe]))
    command = [shutil.which(shell[0]) or shell[0], *shell[1:], "-c", f"next() {{ :; }}\n{probe}\nprobe_names '' x.bad"]
    done = subprocess.run(command, capture_output=True, text=True, env={"PATH": str(root / "none")}, check=True)
    assert NamesState.parse(done.stdout).lost is None


def test_facts_come_back_as_they_were_rendered(shell: list[str], root: Path) -> None:
    """What is kept of the last run is what a look tells, without the clock; both derive the same variables."""
    (text,) = look(shell, root, Facts())
    state = FactsState.parse(text)
    assert state.clock is not None
    kept = FactsState.parse(state.render())
    assert kept.render() == state.render() == compared(text)
    assert kept.clock is None
    assert derive(kept) == derive(state)
    assert set(derive(state)) == fact_names()


def test_full_facts_are_facts_with_what_is_not_compared(shell: list[str], root: Path) -> None:
    """What `provision facts` asks for is the same state as every run's, and Docker's answers lie beside it."""
    (text,) = look(shell, root, FullFacts())
    (plain,) = look(shell, root, Facts())
    state = FullFactsState.parse(text)
    assert state.render() == FactsState.parse(plain).render()
    assert state.more.docker.answers == (state.details["docker_answers"] == "yes")
    assert state.more.clock is not None


def test_a_planned_engine_implies_a_daemon() -> None:
    """Once Docker's package is planned the daemon will be there, and nothing else can be told of it."""
    view = View(probed={DockerDaemon(): DockerState()})
    assert view.peek(DockerDaemon()) == DockerState()
    view.planned[Package("docker.io")] = PackageState(status="installed", version="28")
    state = view.peek(DockerDaemon())
    assert state.present is True
    assert isinstance(state.answers, Unknown)
    assert state.known_fields() == ("present",)


def test_a_planned_upgrade_leaves_a_daemon_as_it_is() -> None:
    """A daemon that is there goes on until something restarts it."""
    now = DockerState(present=True, answers=True, default_runtime="runc")
    view = View(probed={DockerDaemon(): now})
    view.planned[Package("docker.io")] = PackageState(status="installed", version="28")
    assert view.peek(DockerDaemon()) == now
