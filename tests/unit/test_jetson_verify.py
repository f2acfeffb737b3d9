"""Laws of the check in the container: it runs under the oldest Python, and its failures are explained."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.jetson.facts import facts_from
from provisioner.jetson.pins import Pin
from provisioner.jetson.verify import SCRIPT, Failure, Verified, parse_verify, verify_command

PIN = Pin(
    family="l4t-pytorch",
    band="32.7",
    reference="nvcr.io/nvidia/l4t-pytorch:r32.7.1-pth1.10-py3",
    index_digest=f"sha256:{1:064x}",
    platform_digest=f"sha256:{1:064x}",
    platform="linux/arm64",
    size=1,
    when="2026-11-22T16:05:00Z",
)
GOOD = {
    "jetson_verify": 1,
    "ok": True,
    "stage": "done",
    "torch": "1.10.0",
    "cuda": "10.2",
    "device": "NVIDIA Tegra X1",
    "capability": "5.3",
    "error_matmul": 1e-5,
    "error_conv2d": 2e-6,
}


def failed(failure: str, **changes: object) -> str:
    return json.dumps({"jetson_verify": 1, "ok": False, "stage": "cuda", "failure": failure, **changes})


def test_the_script_is_python_3_6() -> None:
    """The images of JetPack 4 have Python 3.6, which must be able to read the script."""
    ast.parse(SCRIPT, feature_version=(3, 6))


def test_the_script_answers_without_pytorch() -> None:
    """Where there is no PyTorch the script still ends with its line of JSON and status 0, and that is explained."""
    command = [sys.executable, "-S", "-I", "-"]
    done = subprocess.run(command, input=SCRIPT, capture_output=True, text=True, check=True)
    told = parse_verify(done.returncode, done.stdout, done.stderr)
    assert told == Failure("there is no PyTorch in the image", "is it an l4t-pytorch image?")


@pytest.mark.parametrize(("l4t", "told"), [("32.7.4", True), ("36.4.3", False)])
def test_the_command(l4t: str, told: bool) -> None:
    """The image runs by digest and with the runtime, and is removed; OpenBLAS is told of the old cores on JetPack 4."""
    facts = facts_from({"kernel_arch": "aarch64", "l4t_core": f"{l4t}-1"})
    command = verify_command(PIN, facts)
    assert command[:3] == ["docker", "run", "--rm"]
    assert command[-3:] == [f"nvcr.io/nvidia/l4t-pytorch@sha256:{1:064x}", "python3", "-"]
    assert command[command.index("--runtime") + 1] == "nvidia"
    assert ("OPENBLAS_CORETYPE=ARMV8" in command) == told
    assert SCRIPT not in command
    assert verify_command(PIN, facts, image="sha256:abc")[-3] == "sha256:abc"


def test_success_is_read_behind_a_banner() -> None:
    """What an image prints before does not disturb, and neither does a line that only looks like ours."""
    text = '== PyTorch ==\n{"jetson_verify": broken\n\n' + json.dumps(GOOD) + "\n"
    told = parse_verify(0, text, "", expected="5.3")
    assert told == Verified("NVIDIA Tegra X1", "5.3", "1.10.0", "10.2", {"matmul": 1e-5, "conv2d": 2e-6})


def test_another_chip_warns() -> None:
    """A capability that is not the chip's, and PyTorch's own doubts, are warnings and no failure."""
    stderr = "Orin with CUDA capability sm_87 is not compatible with the current PyTorch installation."
    told = parse_verify(0, json.dumps(GOOD), stderr, expected="8.7")
    assert isinstance(told, Verified)
    assert len(told.warnings) == 2


@pytest.mark.parametrize(
    ("rc", "stdout", "stderr", "said"),
    [
        (125, "", "docker: Error response from daemon: unknown or invalid runtime name: nvidia.", "runtime nvidia"),
        (125, "", "docker: Error response from daemon: Unknown runtime specified nvidia.", "runtime nvidia"),
        (1, "", "exec /usr/bin/python3: exec format error", "another architecture"),
        (125, "", "nvidia-container-cli: requirement error: unsatisfied condition: cuda>=11.5", "newer CUDA"),
        (125, "", "error adding seccomp filter rule for syscall clone3: permission denied: unknown", "Docker is newer"),
        (0, failed("RuntimeError: cudaGetDeviceCount returned 3 -> initialization error"), "", "newer than the host"),
        (0, failed("RuntimeError: Error 801: operation not supported"), "", "refuses the image's CUDA"),
        (0, failed("RuntimeError: CUDA driver version is insufficient for CUDA runtime version"), "", "too old"),
        (0, failed("RuntimeError: no CUDA-capable device is detected"), "", "sees no GPU"),
        (
            0,
            failed("RuntimeError: no kernel image is available for execution on the device"),
            "",
            "no code for this chip",
        ),
        (0, failed("x"), "NvRmMemInitNvmap failed with No such file or directory\n", "not in the container"),
        (0, failed("x"), "NvRmMemInitNvmap failed with Permission denied\n", "may not use"),
        (0, failed("ImportError: libcublas.so.10: cannot open shared object file"), "", "CUDA library"),
        (0, failed("ImportError: libcublas.so.10: file too short"), "", "CUDA library"),
        (0, failed("ImportError: libcudart.so.12: cannot open shared object file"), "", "another CUDA than its own"),
        (0, failed("ImportError: libnvrm.so: cannot open shared object file"), "", "newer major release"),
        (0, failed("ImportError: libnvdla_compiler.so: cannot open shared object file"), "", "JetPack 6"),
        (0, failed("RuntimeError: is_available() is False", torch="2.0", cuda="11.4"), "", "without saying why"),
        (0, failed("AssertionError: Torch not compiled with CUDA enabled", torch="2.0", cuda=None), "", "CPU only"),
        (0, failed("RuntimeError: weird", torch="2.0", cuda=None), "", "CPU only"),
        (0, failed("RuntimeError: GPU and CPU differ by 3.0", stage="matmul"), "", "wrong results"),
        (132, "", "", "illegal instruction"),
        (137, "", "", "memory"),
        (139, "", "", "crashed"),
        (125, "", "docker: something new.", "docker: something new."),
        (1, "", "", "no message"),
    ],
)
def test_failures_are_explained(rc: int, stdout: str, stderr: str, said: str) -> None:
    """Each message that is known from the field is given its meaning and a next step; others are shown as they are."""
    told = parse_verify(rc, stdout, stderr)
    assert isinstance(told, Failure)
    assert said in told.message
    assert told.hint


@given(st.integers(0, 255), st.text(), st.text())
def test_nothing_but_our_line_is_success(rc: int, stdout: str, stderr: str) -> None:
    """Whatever is printed, without the script's own answer the check has failed."""
    assert isinstance(parse_verify(rc, stdout, stderr), Failure)
