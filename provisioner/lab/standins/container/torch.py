# ruff: noqa: INP001 - a folder of PYTHONPATH in a container
"""A stand-in for torch in a simulated container: it knows shapes and devices, and calculates nothing.

A tensor carries the name of what it is the result of. Two tensors are close if they are the same calculation: so a
check that compares GPU with CPU runs to its end, and only where CUDA is: where the container's runtime is nvidia's.
"""

from __future__ import annotations

import math
import os
import sys
import types
from typing import Any, Self

if not os.environ.get("SIMULATED_TORCH"):
    raise ModuleNotFoundError("No module named 'torch'", name="torch")

__version__ = os.environ["SIMULATED_TORCH"]
float32 = "torch.float32"
float16 = half = "torch.float16"
int64 = long = "torch.int64"
_CUDA = os.environ.get("SIMULATED_RUNTIME") == "nvidia"
_count = [0]


class device(str):  # noqa: N801, SLOT000 - torch's own name
    """Where a tensor is."""

    __hash__ = str.__hash__

    @property
    def type(self) -> str:
        """Return cpu or cuda."""
        return self.partition(":")[0]


def _place(where: Any) -> str:
    name = str(where or "cpu").partition(":")[0]
    if name == "cuda" and not _CUDA:
        message = (
            "Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU and installed a driver "
            "from http://www.nvidia.com/Download/index.aspx"
        )
        raise RuntimeError(message)
    return name


class Tensor:
    """A shape, a place, and the name of a calculation."""

    def __init__(self, shape: tuple[int, ...], key: Any, where: str = "cpu") -> None:
        self.shape, self.key, self._where = shape, key, where

    @property
    def device(self) -> device:
        """Return where it is."""
        return device(self._where + (":0" if self._where == "cuda" else ""))

    @property
    def is_cuda(self) -> bool:
        """Tell whether it is on the GPU."""
        return self._where == "cuda"

    def to(self, where: Any = None, *_args: Any, **_more: Any) -> Tensor:
        """Move."""
        moves = str(where).startswith(("cuda", "cpu"))
        return Tensor(self.shape, self.key, _place(where) if moves else self._where)

    def cuda(self, *_args: Any) -> Tensor:
        """Move to the GPU."""
        return self.to("cuda")

    def cpu(self) -> Tensor:
        """Move to the CPU."""
        return self.to("cpu")

    def _same(self, *_args: Any, **_more: Any) -> Tensor:
        return self

    float = double = contiguous = detach = clone = requires_grad_ = numpy = _same

    def __matmul__(self, other: Tensor) -> Tensor:
        return _result("matmul", (*self.shape[:-1], other.shape[-1]), self, other)

    matmul = mm = __matmul__

    def _with(self, name: str, other: Any) -> Tensor:
        if name == "sub" and isinstance(other, Tensor) and other.key == self.key:
            return Tensor(self.shape, "zero", self._where)
        return _result(name, self.shape, self, other)

    def __add__(self, other: Any) -> Tensor:
        return self._with("add", other)

    def __sub__(self, other: Any) -> Tensor:
        return self._with("sub", other)

    def __mul__(self, other: Any) -> Tensor:
        return self._with("mul", other)

    def __truediv__(self, other: Any) -> Tensor:
        return Tensor(self.shape, "zero", self._where) if self.key == "zero" else self._with("div", other)

    def abs(self) -> Tensor:
        """Return the amounts."""
        return self if self.key == "zero" else _result("abs", self.shape, self)

    def _reduced(self, *_args: Any, **_more: Any) -> Tensor:
        return Tensor((), "zero", self._where) if self.key == "zero" else _result("reduce", (), self)

    max = min = mean = sum = norm = _reduced

    def item(self) -> Any:
        """Return 0 for a difference of equals, else a number."""
        return 0.0 if self.key == "zero" else 1.0

    def __lt__(self, other: Any) -> bool:
        return bool(self.item() < other)

    def __gt__(self, other: Any) -> bool:
        return bool(self.item() > other)

    def __float__(self) -> Any:
        return self.item()

    def size(self, place: int | None = None) -> Any:
        """Return the shape."""
        return self.shape if place is None else self.shape[place]

    def numel(self) -> int:
        """Return how many numbers it holds."""
        return math.prod(self.shape)


def _result(name: str, shape: tuple[int, ...], *parts: Any) -> Tensor:
    places = {part._where for part in parts if isinstance(part, Tensor)}  # noqa: SLF001
    if len(places) > 1:
        message = "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"
        raise RuntimeError(message)
    key = (name, *(part.key if isinstance(part, Tensor) else repr(part) for part in parts))
    return Tensor(shape, key, places.pop())


def _make(*shape: Any, device: Any = None, **_more: Any) -> Tensor:
    _count[0] += 1
    flat = tuple(shape[0]) if shape and isinstance(shape[0], (tuple, list)) else shape
    return Tensor(flat, ("made", _count[0]), _place(device))


randn = rand = zeros = ones = empty = arange = _make


def matmul(left: Tensor, right: Tensor) -> Tensor:
    """Multiply two matrices."""
    return left @ right


mm = matmul


def allclose(left: Tensor, right: Tensor, *_args: Any, **_more: Any) -> bool:
    """Tell whether two tensors are the same calculation."""
    return bool(_result("close", (), left, right).key[1] == left.key == right.key)


def conv2d(given: Tensor, weight: Tensor, *_args: Any, padding: Any = 0, stride: Any = 1, **_more: Any) -> Tensor:
    """Convolve."""
    pad = padding if isinstance(padding, int) else padding[0]
    step = stride if isinstance(stride, int) else stride[0]
    sides = [
        (side + 2 * pad - kernel) // step + 1 for side, kernel in zip(given.shape[2:], weight.shape[2:], strict=False)
    ]
    return _result("conv2d", (given.shape[0], weight.shape[0], *sides), given, weight)


class no_grad:  # noqa: N801
    """Do nothing, as nothing is calculated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_args: object) -> None:
        return None


inference_mode = no_grad


def manual_seed(_seed: int) -> None:
    """Do nothing: nothing is random here."""


set_num_threads = manual_seed


def _needs_cuda(value: Any) -> Any:
    def answer(*_args: Any, **_more: Any) -> Any:
        _place("cuda")
        return value

    return answer


def _module(name: str, **contents: Any) -> types.ModuleType:
    made = types.ModuleType(f"torch.{name}")
    made.__dict__.update(contents)
    sys.modules[f"torch.{name}"] = made
    return made


cuda = _module(
    "cuda",
    is_available=lambda: _CUDA,
    device_count=lambda: int(_CUDA),
    current_device=_needs_cuda(0),
    get_device_name=_needs_cuda(os.environ.get("SIMULATED_GPU")),
    get_device_capability=_needs_cuda(
        tuple(int(part) for part in os.environ.get("SIMULATED_CAPABILITY", "0.0").split("."))
    ),
    synchronize=_needs_cuda(None),
    empty_cache=lambda: None,
    init=_needs_cuda(None),
)
version = types.SimpleNamespace(cuda=os.environ.get("SIMULATED_CUDA") or None)
cudnn = _module("backends.cudnn", is_available=lambda: _CUDA, version=lambda: 8600 if _CUDA else None, allow_tf32=True)
matmul_options = types.SimpleNamespace(allow_tf32=False)
backends = _module("backends", cudnn=cudnn, cuda=types.SimpleNamespace(matmul=matmul_options))
functional = _module("nn.functional", conv2d=conv2d)
nn = _module("nn", functional=functional)
