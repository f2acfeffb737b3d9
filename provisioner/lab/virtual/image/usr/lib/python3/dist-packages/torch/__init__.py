"""A stand-in for PyTorch: it computes nothing, and has CUDA only where the NVIDIA runtime started the container.

A tensor is the formula that would make it. On a real board, GPU and CPU are compared; here, their formulas.
"""

from __future__ import annotations

import itertools
import os
from types import SimpleNamespace

__version__ = os.environ.get("VIRTUAL_JETSON_TORCH", "0")
_MARK = "VIRTUAL_JETSON_GPU"  # holds the name of the GPU and its compute capability
_numbers = itertools.count()


class Tensor:
    """A formula, and where it would be computed."""

    def __init__(self, formula: str, device: str = "cpu") -> None:
        self.formula, self.device = formula, device

    def cuda(self) -> Tensor:
        """Return the same on the GPU."""
        if _MARK not in os.environ:
            raise RuntimeError("Found no NVIDIA driver on your system (a stand-in of the lab)")
        return Tensor(self.formula, "cuda")

    def cpu(self) -> Tensor:
        """Return the same on the CPU."""
        return Tensor(self.formula)

    def matmul(self, other: Tensor) -> Tensor:
        """Return the product."""
        return _combine("matmul", self, other)

    def __sub__(self, other: Tensor) -> Tensor:
        """Return the difference, of which only zero is known."""
        return Tensor("0" if self.formula == other.formula else f"({self.formula}-{other.formula})")

    def abs(self) -> Tensor:
        """Return itself: of zero that is right."""
        return self

    def max(self) -> Tensor:
        """Return itself."""
        return self

    def __float__(self) -> float:
        """Return zero, or no number."""
        return 0.0 if self.formula == "0" else float("nan")


def _combine(name: str, left: Tensor, right: Tensor) -> Tensor:
    if left.device != right.device:
        raise RuntimeError("Expected all tensors to be on the same device")
    return Tensor(f"{name}({left.formula},{right.formula})", left.device)


def randn(*sizes: int) -> Tensor:
    """Return a formula of its own."""
    return Tensor(f"randn{next(_numbers)}{sizes}")


def zeros(*sizes: int) -> Tensor:
    """Return zeros."""
    return Tensor(f"zeros{sizes}")


def manual_seed(_number: int) -> None:
    """Do nothing: nothing is random here."""


def conv2d(image: Tensor, kernel: Tensor, padding: int = 0) -> Tensor:
    """Return the convolution."""
    return _combine(f"conv2d{padding}", image, kernel)


def _capability(_number: int = 0) -> tuple[int, ...]:
    return tuple(int(part) for part in os.environ[_MARK].rpartition(" ")[2].split("."))


cuda = SimpleNamespace(
    is_available=lambda: _MARK in os.environ,
    get_device_name=lambda _number=0: os.environ[_MARK].rpartition(" ")[0],
    get_device_capability=_capability,
)
version = SimpleNamespace(cuda=os.environ.get("VIRTUAL_JETSON_CUDA"))
backends = SimpleNamespace(cuda=SimpleNamespace(), cudnn=SimpleNamespace())
nn = SimpleNamespace(functional=SimpleNamespace(conv2d=conv2d))
