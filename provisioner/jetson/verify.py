"""The proof that PyTorch computes on the GPU in a container, and what its failures mean.

`is_available()` proves little: an image without kernels for the chip says yes and fails later. So a matrix product
(cuBLAS) and a convolution (cuDNN) run on the GPU and are compared with the CPU's.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from provisioner.jetson.catalogue import version
from provisioner.jetson.failures import failures
from provisioner.records import dataclass

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
    row = failures().meaning(text, in_check=True)
    if row is not None:
        return Failure(row.cause, row.fix)
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
    if rc == _ILLEGAL_INSTRUCTION:
        row = failures().named("illegal-instruction")
        return Failure(row.cause, row.fix)
    if rc in _STATUSES:
        return Failure(*_STATUSES[rc])
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    said = failure or (lines[-1] if lines else "no message")
    return Failure(
        f"the check failed (rc {rc}): {said}", "run `docker run --rm -it --runtime nvidia IMAGE python3` and look"
    )


_ILLEGAL_INSTRUCTION = 132
_STATUSES: dict[int, tuple[str, str]] = {
    134: ("the check was aborted by one of its libraries", "the last lines of its output say which"),
    137: ("the check was killed, most likely for want of memory", "stop other containers, or add swap on a disk"),
    139: ("the check crashed", "do image and release belong together? `provision facts` shows what was detected"),
}
