"""Laws of the looks at GPUs and NPUs, under every shell that a device may have, on files and programs made up here."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from provisioner.observables.accelerator import GpusState, NpuState, NvidiaGpus, RockchipNpu
from provisioner.shell import with_needs, words

if TYPE_CHECKING:
    from pathlib import Path

    from provisioner.model import Observable

SHELLS = [shell.split() for shell in ("dash", "bash --posix", "busybox ash") if shutil.which(shell.split()[0])]
HEADER = "| NVIDIA-SMI 580.95.05   Driver Version: 580.95.05   CUDA Version: 13.0     |"
SMI = r"""
case "$*" in
'') echo "$HEADER" ;;
'--query-gpu=compute_cap --format=csv,noheader') printf '%b' "$CAPS" ;;
*) echo "unexpected: $*" >&2; exit 9 ;;
esac
"""
LIBRARY = b"\x7fELF\x00\x01librknnrt version: 2.3.2 (429f97ae6b@2025-04-09T09:09:27)\x00\xff\nrest\x00"


@pytest.fixture(params=SHELLS, ids=" ".join)
def shell(request: pytest.FixtureRequest) -> list[str]:
    """Each shell that may be a device's /bin/sh."""
    command: list[str] = request.param
    return command


def look(shell: list[str], root: Path, thing: Observable[Any]) -> str:
    """Return what a probe prints of a device whose files lie below a folder."""
    definitions = "".join(script.definition for script in with_needs([thing.probe]))
    for top in ("/sys/", "/proc/", "/usr/lib", "/usr/local/lib"):
        definitions = definitions.replace(f" {top}", f" {root}{top}")
    call = f"{thing.probe.name} {words(thing.arguments())}"
    text = f"next() {{ printf '\\n=====\\n'; }}\n{definitions}\n{call}\n"
    command = [shutil.which(shell[0]) or shell[0], *shell[1:]]
    environment = {"PATH": f"{root}/bin:/usr/bin:/bin", "LC_ALL": "C"}
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=environment, timeout=30, check=False)
    assert done.stderr == ""
    return done.stdout.split("\n=====\n")[1].strip("\n")


def smi(root: Path, header: str = HEADER, capabilities: str = "") -> None:
    """Put an nvidia-smi in place."""
    program = root / "bin" / "nvidia-smi"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f"#!/bin/sh\nHEADER='{header}' CAPS='{capabilities}'\n{SMI}")
    program.chmod(0o755)


@pytest.mark.parametrize(
    ("capabilities", "told"),
    [
        ("8.9\\n", ("8.9",)),
        ("8.9\\n12.0\\n", ("8.9", "12.0")),
        ('Field "compute_cap" is not a valid field to query.\\n', None),
        ("[N/A]\\n", None),
    ],
)
def test_gpus_tell_cuda_and_capabilities(
    shell: list[str], tmp_path: Path, capabilities: str, told: tuple[str, ...] | None
) -> None:
    """The newest CUDA and one capability for each GPU; what an older nvidia-smi says instead is no capability."""
    smi(tmp_path, capabilities=capabilities)
    state = GpusState.parse(look(shell, tmp_path, NvidiaGpus()))
    assert state == GpusState(cuda="13.0", capabilities=told)


def test_without_a_gpu_nothing_is_told(shell: list[str], tmp_path: Path) -> None:
    """A host without nvidia-smi, and one where it fails, tell nothing and do not fail."""
    if shutil.which("nvidia-smi", path="/usr/bin:/bin"):
        pytest.skip("this machine has an nvidia-smi of its own")
    assert GpusState.parse(look(shell, tmp_path, NvidiaGpus())) == GpusState()
    smi(tmp_path, header="NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.")
    assert GpusState.parse(look(shell, tmp_path, NvidiaGpus())) == GpusState()


def files(root: Path, **contents: bytes) -> None:
    """Write the files of an RK3588: the kernel's version, the library."""
    places = {"version": "sys/kernel/debug/rknpu/version", "library": "usr/lib/librknnrt.so"}
    for name, content in contents.items():
        path = root / places[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def test_an_npu_tells_its_driver_and_its_runtime(shell: list[str], tmp_path: Path) -> None:
    """Both versions are read, the one of the library out of its bytes, without `strings`."""
    files(tmp_path, version=b"RKNPU driver: v0.9.6\n", library=LIBRARY)
    assert NpuState.parse(look(shell, tmp_path, RockchipNpu())) == NpuState(driver="0.9.6", runtime="2.3.2")


def test_what_of_an_npu_is_missing_is_not_told(shell: list[str], tmp_path: Path) -> None:
    """Without the vendor's kernel and library there is nothing; mainline's driver has its name."""
    assert NpuState.parse(look(shell, tmp_path, RockchipNpu())) == NpuState()
    (tmp_path / "sys/module/rocket").mkdir(parents=True)
    assert NpuState.parse(look(shell, tmp_path, RockchipNpu())) == NpuState(driver="rocket")


@pytest.mark.parametrize("text", [b"", b"RKNPU driver: v0.9\x1b[31m\n", b"$(reboot)\n", b"a\\nb=c\n"])
def test_odd_text_of_an_npu_is_no_version(shell: list[str], tmp_path: Path, text: bytes) -> None:
    """What is no version is not told, and makes no other line; a library without its mark is of an unknown one."""
    files(tmp_path, version=text, library=b"\x7fELF\x00")
    assert NpuState.parse(look(shell, tmp_path, RockchipNpu())) == NpuState(runtime="unknown")
