"""Laws of the catalogue of failures: each is dealt with as it says, and no text is taken for what it is not."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.errors import InputError
from provisioner.jetson.failures import ENTRIES, KnownFailure, explain, failures, read
from provisioner.jetson.verify import Failure, Verified, parse_verify
from provisioner.model import task_types
from provisioner.playbook import load_playbook
from provisioner.tasks.jetson_checks import CHECKS

if TYPE_CHECKING:
    from provisioner.jetson.failures import Handling

TOP = Path(__file__).parents[2]
ROWS = failures().failures
HANDLED = [(row, one) for row in ROWS for one in row.handled]
SEEN = [(row, text) for row in ROWS for text in row.seen]


@cache
def named_tests(path: str) -> frozenset[str]:
    """Return the names of the tests of a module."""
    tree = ast.parse((TOP / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name[:5] == "test_")


def test_every_entry_is_worked_off() -> None:
    """Each failure of the field, and each error in a container, has a row."""
    assert {entry for row in ROWS for entry in row.entries} == set(ENTRIES)


@pytest.mark.parametrize(("row", "one"), HANDLED, ids=[f"{row.id}-{one.how}" for row, one in HANDLED])
def test_what_handles_a_failure_is_there(row: KnownFailure, one: Handling) -> None:
    """The test that is named exists, a preflight's check has that name, and what is explained has a text to try it."""
    if one.test:
        path, _, name = one.test.partition("::")
        assert name in named_tests(path)
    if one.how == "preflight":
        assert one.by in CHECKS
    if one.how == "explained":
        assert row.seen
    if one.how == "prevented" and one.by and one.by.startswith(("jetson_", "docker_")):
        assert one.by in task_types()


@pytest.mark.parametrize(("row", "text"), SEEN, ids=[f"{row.id}-{number}" for number, (row, _) in enumerate(SEEN)])
def test_a_text_means_its_own_row(row: KnownFailure, text: str) -> None:
    """A recorded text is told by no row above its own, alone or among other lines, and has a cause and a fix."""
    assert failures().meaning(text, in_check=True) is row
    assert failures().meaning(f"before\n{text}\nafter", in_check=True) is row
    if any(one.how == "explained" for one in row.handled) and row.patterns:
        known = explain(text)
        assert known is not None
        assert (known.id, known.cause, known.fix) == (row.id, row.cause, row.fix)
        assert all(known.sources)


def test_cause_and_fix_read_as_one_line() -> None:
    """A cause has no colon, behind which its fix is told; both are sentences without an end."""
    assert [row.id for row in ROWS if ": " in row.cause or row.cause.endswith(".") or row.fix.endswith(".")] == []


def test_every_pattern_is_needed_by_a_text() -> None:
    """No pattern stands there that none of its row's texts has."""
    import re

    idle = [
        (row.id, pattern)
        for row in ROWS
        for pattern in (*row.patterns, *row.in_check)
        if not any(re.search(pattern, text) for text in row.seen)
    ]
    assert idle == []


APT = """\
Hit:1 http://ports.ubuntu.com/ubuntu-ports jammy InRelease
Get:2 https://repo.download.nvidia.com/jetson/common r36.4 InRelease [2,555 B]
Err:3 http://ports.ubuntu.com/ubuntu-ports jammy-backports InRelease
Reading package lists...
Building dependency tree...
The following NEW packages will be installed:
  nvidia-container-toolkit libnvidia-container1 docker.io
0 upgraded, 3 newly installed, 0 to remove and 41 not upgraded.
Need to get 68.1 MB of archives. After this operation, 259 MB of additional disk space will be used.
dlstatus:1:33.3333:Retrieving file 1 of 3
pmstatus:docker.io:60.0000:Installing docker.io (arm64)
Selecting previously unselected package docker.io.
Setting up docker.io (28.2.2-0ubuntu1~22.04.1) ...
Created symlink /etc/systemd/system/multi-user.target.wants/docker.service
docker.io set on hold.
"""
PULL = """\
nvcr.io/nvidia/l4t-pytorch@sha256:abc: Pulling from nvidia/l4t-pytorch
4f4fb700ef54: Pulling fs layer
4f4fb700ef54: Waiting
4f4fb700ef54: Verifying Checksum
4f4fb700ef54: Download complete
4f4fb700ef54: Extracting [===>      ]  801.0kB/6.2GB
4f4fb700ef54: Pull complete
Digest: sha256:abc
Status: Downloaded newer image for nvcr.io/nvidia/l4t-pytorch@sha256:abc
"""
VERIFY = """\
== PyTorch == NVIDIA Release 24.12 (build 126674149), Container image Copyright (c) 2024
ERROR: This container was built for NVIDIA Driver Release 560.35 or later, but version 540.4.0 was detected
NOTE: The SHMEM allocation limit is set to the default of 64MB.
{"jetson_verify": 1, "stage": "done", "torch": "2.4.0", "cuda": "12.6", "device": "Orin", "capability": "8.7",\
 "error_matmul": 1e-05, "error_conv2d": 2e-06, "ok": true}
"""
JOURNAL = """\
systemd[1]: Starting Docker Application Container Engine...
dockerd[712]: time="2026-11-22T16:05:00Z" level=info msg="Loading containers: start."
dockerd[712]: time="2026-11-22T16:05:01Z" level=warning msg="WARNING: DOCKER_INSECURE_NO_IPTABLES_RAW is set"
dockerd[712]: time="2026-11-22T16:05:01Z" level=info msg="API listen on /run/docker.sock"
systemd[1]: Started Docker Application Container Engine.
"""
TOOLKIT = """\
time="2026-11-22T16:05:00Z" level=info msg="Loading config from /etc/docker/daemon.json"
time="2026-11-22T16:05:00Z" level=info msg="Wrote updated config to /etc/docker/daemon.json"
time="2026-11-22T16:05:00Z" level=info msg="It is recommended that docker daemon be restarted."
"""
POWER = "NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_30W\n2\n"
ORDINARY = [
    "non-zero return code 1",
    "did not take: file:/etc/hosts: sha256 wanted ab, got cd",
    "E: Sub-process /usr/bin/dpkg returned an error code (1)",
    "curl: (35) OpenSSL SSL_connect: Connection reset by peer",
    "make: *** [Makefile:3: all] Error 3",
    "sh: 1: Syntax error: Unterminated quoted string",
    "bash: -c: line 1: unexpected EOF while looking for matching `\"'",
    "cp: cannot stat 'x': No such file or directory",
    "sudo: x: command not found",
    "error: 801 items",
    "Job for nginx.service failed because the control process exited with error code.",
]


@pytest.mark.parametrize("text", [APT, PULL, VERIFY, JOURNAL, TOOLKIT, POWER, *ORDINARY])
def test_ordinary_output_means_nothing(text: str) -> None:
    """What apt, Docker, the check and systemd print when all is well is no failure, and neither is what is general."""
    assert explain(text) is None


def test_a_check_that_passes_is_not_explained() -> None:
    """A proof is a proof, whatever its container has printed before."""
    assert isinstance(parse_verify(0, VERIFY, "libnvrm.so: cannot open"), Verified)


def test_what_the_check_has_told_is_known_by_its_cause() -> None:
    """The cause that the check tells in our own words is the row's, so that programs learn its id."""
    told = parse_verify(0, '{"jetson_verify": 1, "ok": false, "failure": "Error 3"}', "")
    assert isinstance(told, Failure)
    known = explain(told.message)
    assert known is not None
    assert (known.id, known.fix) == ("cuda-3", told.hint)


def test_a_text_is_read_at_both_ends() -> None:
    """However long an output is, its first and its last lines are read; a line without an end costs nothing."""
    noise = "ok\n" * 100_000
    for text in (f"exec format error\n{noise}", f"{noise}exec format error"):
        known = explain(text)
        assert known is not None
        assert known.id == "exec-format"
    assert explain("lookup x on " * 200_000) is None


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    """Whatever a device says, there is an answer or none, and no exception."""
    assert explain(text) is None or failures().meaning(text) is not None


ROW = "  - {id: a, cause: c, fix: f, handled: [{how: explained}], patterns: [x], source: [s]}\n"
HEAD = "sources: {s: 'x: y'}\nfailures:\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + ROW + ROW, "a is there twice"),
        (HEAD + ROW.replace("[s]", "[t]"), "no such source: t"),
        (HEAD + ROW.replace("[s]", "[]"), "needs a source"),
        (HEAD + ROW.replace("[x]", "['(']"), "is no pattern"),
        (HEAD + ROW.replace("[x]", "[]"), "explained without a pattern"),
        (HEAD + ROW.replace("explained", "prevented"), "needs `by` and `test`"),
        (HEAD + ROW.replace("explained", "unseen"), "needs `why`"),
        (HEAD + ROW.replace("explained", "guessed"), "guessed"),
        (HEAD + ROW.replace("{id: a", "{entries: [99], id: a"), "no such entry: 99"),
        (HEAD + ROW.replace("fix: f, ", ""), "fix"),
        (HEAD + ROW.replace("{id: a", "{colour: red, id: a"), "colour"),
    ],
)
def test_the_file_is_read_strictly(text: str, told: str) -> None:
    """A row with a mistake is refused, with the file that it stands in."""
    with pytest.raises(InputError) as caught:
        read(text, "failures.yaml")
    assert told in str(caught.value)
    assert "failures.yaml" in str(caught.value)


def shipped() -> list[tuple[str, dict[str, object]]]:
    """Return module and arguments of every task that the shipped playbooks have."""
    books = [load_playbook(path, task_types()) for path in sorted((TOP / "playbooks").glob("*.yaml"))]
    tasks = [one for book in books for play in book.plays for one in play.everything()]
    return [(one.module, {name: node.value for name, node in one.args.items()}) for one in tasks]


def test_the_shipped_playbooks_upgrade_nothing() -> None:
    """No task of theirs upgrades what is installed: bootloader, kernel and snapd stay what they are."""
    assert [args for module, args in shipped() if module == "apt" and ("upgrade" in args or "state" in args)] == []
    assert not {"command", "shell"} & {module for module, _ in shipped()}
    assert ("jetson_runtime_packages", {"hold": True}) in shipped()


def test_the_shipped_playbooks_set_no_power_mode() -> None:
    """Nothing of theirs asks a question on a device: all they run is their own."""
    assert "nvpmodel" not in "".join(path.read_text() for path in (TOP / "playbooks").glob("*.yaml"))
