"""The proof that PyTorch computes on the GPU in a container, and what its failures mean.

`is_available()` proves little: an image without kernels for the chip says yes and fails later. So a matrix product
(cuBLAS) and a convolution (cuDNN) run on the GPU and are compared with the CPU's.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provisioner.jetson.catalogue import version

if TYPE_CHECKING:
    from provisioner.jetson.facts import HostFacts
    from provisioner.jetson.pins import Pin

_MARK = "jetson_verify"

SCRIPT = r"""
import json
import sys

def main(told):
    told["stage"] = "import"
    import torch
    told["torch"] = torch.__version__
    told["cuda"] = torch.version.cuda
    told["stage"] = "cuda"
    torch.zeros(1).cuda()
    if not torch.cuda.is_available():
        raise RuntimeError("is_available() is False")
    told["device"] = torch.cuda.get_device_name(0)
    told["capability"] = "%d.%d" % torch.cuda.get_device_capability(0)
    # TF32 rounds to ten bits and would differ from the CPU for no fault of its own
    for backend in (getattr(torch.backends.cuda, "matmul", None), torch.backends.cudnn):
        if hasattr(backend, "allow_tf32"):
            backend.allow_tf32 = False
    torch.manual_seed(0)
    told["stage"] = "matmul"
    a, b = torch.randn(256, 256), torch.randn(256, 256)
    compare(torch, told, a.matmul(b), a.cuda().matmul(b.cuda()).cpu())
    told["stage"] = "conv2d"
    image, kernel = torch.randn(1, 3, 64, 64), torch.randn(8, 3, 3, 3)
    conv = torch.nn.functional.conv2d
    compare(torch, told, conv(image, kernel, padding=1), conv(image.cuda(), kernel.cuda(), padding=1).cpu())
    told["stage"] = "done"

def compare(torch, told, wanted, got):
    error = float((wanted - got).abs().max())
    told["error_" + told["stage"]] = error
    if not error < 0.01:
        raise RuntimeError("GPU and CPU differ by %r" % error)

told = {"jetson_verify": 1}
try:
    main(told)
    told["ok"] = True
except Exception as error:
    told["ok"] = False
    told["failure"] = "%s: %s" % (type(error).__name__, error)
sys.stdout.write("\n" + json.dumps(told) + "\n")
sys.stdout.flush()
"""
"""Runs under Python 3.6 with any PyTorch; prints one line of JSON at the end, after whatever the image says."""


@dataclass(frozen=True)
class Verified:
    """What the container proved: device and capability, PyTorch and its CUDA, greatest errors against the CPU."""

    device: str
    capability: str
    torch: str
    cuda: str
    errors: dict[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """Why it did not prove anything, and what to do."""

    message: str
    hint: str | None = None


def verify_command(pin: Pin, facts: HostFacts, *, image: str | None = None) -> list[str]:
    """Return the command that runs SCRIPT, which goes to its stdin; `image` overrides the name by digest."""
    jetpack4 = facts.l4t is not None and version(facts.l4t)[0] == 32  # noqa: PLR2004 - JetPack 4 is R32
    # OpenBLAS mistakes the old cores for others and dies of an illegal instruction
    environment = ["--env", "OPENBLAS_CORETYPE=ARMV8"] if jetpack4 else []
    # no network: nothing is fetched, and a Docker that cannot make a bridge does not hide a GPU that works
    options = ["--rm", "--interactive", "--runtime", "nvidia", "--network", "none", *environment]
    return ["docker", "run", *options, image or pin.pinned, "python3", "-"]


def parse_verify(rc: int, stdout: str, stderr: str, *, expected: str | None = None) -> Verified | Failure:
    """Return what a run of the command proved; `expected` is the capability that the chip should have."""
    told = _told(stdout)
    if told and told.get("ok") is True:
        return _verified(told, stderr, expected)
    failure = str(told.get("failure", "")) if told else ""
    text = f"{failure}\n{stderr}\n{stdout}"
    for pattern, message, hint in _MEANINGS:
        if re.search(pattern, text):
            return Failure(message, hint)
    if told and told.get("stage") == "cuda" and told.get("cuda") is None and "torch" in told:
        return Failure(
            "the image's PyTorch is built for the CPU only", "was a wheel from PyPI installed over NVIDIA's?"
        )
    return _by_status(rc, failure, stderr)


def _told(stdout: str) -> dict[str, Any] | None:
    for line in reversed(stdout.splitlines()):
        if _MARK not in line:
            continue
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if isinstance(told, dict) and told.get(_MARK) == 1:
            return told
    return None


def _verified(told: dict[str, Any], stderr: str, expected: str | None) -> Verified:
    capability = str(told.get("capability"))
    warnings = []
    if expected and capability != expected:
        warnings.append(f"the GPU's compute capability is {capability}, the chip should have {expected}")
    if re.search(r"is not compatible with the current PyTorch|compute capability.*not.*(?:build|support)", stderr):
        warnings.append("PyTorch was not built for this very chip; it computes with the kernels of an older one")
    return Verified(
        device=str(told.get("device")),
        capability=capability,
        torch=str(told.get("torch")),
        cuda=str(told.get("cuda")),
        errors={key.removeprefix("error_"): float(value) for key, value in told.items() if key.startswith("error_")},
        warnings=tuple(warnings),
    )


def _by_status(rc: int, failure: str, stderr: str) -> Failure:
    if rc in _STATUSES:
        return Failure(*_STATUSES[rc])
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = failure or (lines[-1] if lines else "no message")
    return Failure(
        f"the check failed (rc {rc}): {said}", "run `docker run --rm -it --runtime nvidia IMAGE python3` and look"
    )


_ILLEGAL = (
    "the image's numerics died of an illegal instruction",
    "on JetPack 4, OPENBLAS_CORETYPE=ARMV8 helps; it must be set in your own containers too",
)
_STATUSES: dict[int, tuple[str, str | None]] = {
    132: _ILLEGAL,
    134: ("the check was aborted by one of its libraries", "the last lines of its output say which"),
    137: ("the check was killed, most likely for want of memory", "stop other containers, or add swap on a disk"),
    139: ("the check crashed", "do image and release belong together? `provision facts` shows what was detected"),
}

_MEANINGS: tuple[tuple[str, str, str | None], ...] = (
    (
        r"[Uu]nknown runtime specified nvidia|unknown or invalid runtime name: nvidia",
        "Docker does not know the runtime nvidia",
        "the runtime is not in /etc/docker/daemon.json, or the daemon was not restarted since: apply the playbook",
    ),
    (
        r"exec format error",
        "the image is for another architecture",
        "l4t images are arm64 and run on nothing else; an amd64 image does not run on a Jetson",
    ),
    (
        r"unsatisfied condition: cuda",
        "the image wants a newer CUDA than the host's driver can give",
        "choose an image of the device's own band, or upgrade the device",
    ),
    (
        r"error adding seccomp filter rule for syscall clone3",
        "Docker is newer than the NVIDIA runtime can bear",
        "upgrade nvidia-container-toolkit, or hold docker.io at an earlier version",
    ),
    (
        r"iptables table .?raw|DIRECT ACCESS FILTERING",
        "Docker 28 wants a kernel table that this kernel lacks",
        "set DOCKER_INSECURE_NO_IPTABLES_RAW=1 for the daemon, or use Docker 27.5.1",
    ),
    (
        r"no space left on device",
        "the disk is full",
        "images need about 2.5 times their compressed size; put Docker's data-root on a larger disk",
    ),
    (
        r"Permission denied.*NvRm|NvRmMemInitNvmap failed with Permission denied",
        "the container may not use the GPU's devices",
        "add the numeric groups of /dev/nvmap (video) and /dev/dri/renderD* (render) with --group-add",
    ),
    (
        r"NvRmMemInitNvmap|NvRmMemMgrInit failed",
        "the GPU's devices are not in the container",
        "was it started with --runtime nvidia, and is it an image for Jetson and not for servers?",
    ),
    (
        r"no kernel image is available",
        "the image has no code for this chip",
        "choose an image of the device's own band (sm 5.3 Nano, 6.2 TX2, 7.2 Xavier, 8.7 Orin, 11.0 Thor)",
    ),
    (
        r"libnvdla_compiler\.so",
        "the image was made for JetPack 6, whose library for the DLA is gone on this release",
        "on R38 and R39 take nvcr.io/nvidia/pytorch:<YY.MM>-py3",
    ),
    (
        r"libnvrm\w*\.so",
        "the image is for a newer major release than the device has",
        "choose an image of the device's own band",
    ),
    (
        r"lib(?:cublas|curand|cudnn|nvToolsExt|cufft|cusparse)\S*\.so\S*: (?:cannot open|file too short)",
        "a CUDA library that the host should lend is missing",
        "on JetPack 4, nvidia-container-csv-cuda, -cudnn and -tensorrt must be installed, and the release must match",
    ),
    (
        r"libcudart\.so\S*: cannot open",
        "the image brings a program for another CUDA than its own",
        "the image is broken: pin another one",
    ),
    (
        r"(?:[Ee]rror|returned) 801|cudaErrorNotSupported",
        "the driver refuses the image's CUDA",
        "an image for CUDA 12 on a JetPack 7 host, or a user without the groups of /dev/nvmap and /dev/dri/renderD*",
    ),
    (
        r"[Ee]rror 80[34]|forward compatibility was attempted|driver/library version mismatch",
        "driver and CUDA libraries are of different versions",
        "reboot after a driver upgrade, or upgrade the driver",
    ),
    (
        r"returned 35|[Ee]rror 35\b|CUDA driver version is insufficient",
        "the driver is too old for the image's CUDA, or the host's libraries were not lent",
        "is the container run with --runtime nvidia, and is the image of the device's own band?",
    ),
    (
        r"returned 100|[Ee]rror 100\b|no CUDA-capable device",
        "the container sees no GPU",
        "a user outside the group video, or --runtime nvidia missing",
    ),
    (
        r"returned 3\b|[Ee]rror 3\b|initialization error",
        "CUDA cannot start: the image is newer than the host",
        "choose an image of the device's own band",
    ),
    (
        r"failed to process request",
        "the NVIDIA runtime is not the one for Jetson",
        "reinstall nvidia-container-toolkit and libnvidia-container from NVIDIA's Jetson repository",
    ),
    (r"Illegal instruction", *_ILLEGAL),
    (
        r"No module named .?torch",
        "there is no PyTorch in the image",
        "is it an l4t-pytorch image?",
    ),
    (
        r"GPU and CPU differ",
        "the GPU computes wrong results",
        "do image and release belong together? If so, look at the device: power supply, heat, memory",
    ),
    (
        r"NvMapMemAlloc|[Oo]ut of memory|NVML_SUCCESS == r INTERNAL ASSERT",
        "the GPU shares the system's memory, and there was none left",
        "stop other containers; a reboot ends fragmentation; swap on a disk helps the rest of the system",
    ),
    (
        r"Torch not compiled with CUDA enabled",
        "the image's PyTorch is built for the CPU only",
        "was a wheel from PyPI installed over NVIDIA's?",
    ),
    (
        r"is_available\(\) is False|No CUDA GPUs are available|Found no NVIDIA driver",
        "PyTorch sees no GPU, without saying why",
        "was the container started with --runtime nvidia?",
    ),
    (
        r"[Pp]ermission denied while trying to connect to the Docker daemon",
        "the user may not talk to Docker",
        "a new membership in group docker counts from the next login on",
    ),
    (
        r"Cannot connect to the Docker daemon",
        "the Docker daemon does not run",
        "`journalctl -u docker` says why",
    ),
)
