"""What a host has to compute with besides its CPU: NVIDIA GPUs and their driver, or a Rockchip NPU. Never compared."""

from __future__ import annotations

from typing import ClassVar

from provisioner.model import Observable, State, attached, observable
from provisioner.records import dataclass
from provisioner.shell import Script

PROBE_GPUS = Script(
    "probe_gpus",
    r"""
# One ignored argument for each time that it is asked for.
gpus_wait=
if command -v timeout >/dev/null 2>&1; then gpus_wait='timeout 20'; fi
# shellcheck disable=SC2086 # words on purpose
gpus_smi() { $gpus_wait nvidia-smi "$@" 2>/dev/null; }
while [ $# -gt 0 ]; do
  next
  shift
  command -v nvidia-smi >/dev/null 2>&1 || continue
  cuda=$(gpus_smi | sed -n 's/.*CUDA Version: *\([0-9][0-9.]*\).*/\1/p' | head -n 1)
  # Drivers before 510 do not know the word, and say so instead.
  capabilities=$(gpus_smi --query-gpu=compute_cap --format=csv,noheader | sed -n '/^[0-9][0-9]*[.][0-9][0-9]*$/p')
  [ -z "$cuda" ] || printf '.cuda=%s\n' "$cuda"
  [ -z "$capabilities" ] || printf '.capabilities=%s\n' "$(printf '%s' "$capabilities" | tr '\n' ' ')"
done
""",
)


@dataclass(frozen=True, kw_only=True)
class GpusState(State):
    """The newest CUDA that the driver runs, and the compute capability of each GPU, as far as nvidia-smi tells."""

    cuda: str | None = attached()
    capabilities: tuple[str, ...] | None = attached()


@observable
@dataclass(frozen=True)
class NvidiaGpus(Observable[GpusState]):
    """The NVIDIA GPUs of a host that is no Jetson."""

    kind: ClassVar[str] = "gpus"
    state: ClassVar[type[State]] = GpusState
    probe: ClassVar[Script] = PROBE_GPUS
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("all",)


PROBE_NPU = Script(
    "probe_npu",
    r"""
# One ignored argument for each time that it is asked for.
while [ $# -gt 0 ]; do
  next
  shift
  driver=
  for file in /sys/kernel/debug/rknpu/version /proc/debug/rknpu/version; do
    [ -r "$file" ] && IFS= read -r driver <"$file" && break
  done 2>/dev/null
  driver=${driver##*: }
  case $driver in *[!0-9A-Za-z.+-]*) driver= ;; esac
  # Mainline kernels have another driver, which the vendor's runtime does not know.
  if [ -z "$driver" ] && [ -d /sys/module/rocket ]; then driver=rocket; fi
  [ -z "$driver" ] || printf '.driver=%s\n' "${driver#v}"
  for file in /usr/lib/librknnrt.so /usr/lib/aarch64-linux-gnu/librknnrt.so /usr/lib64/librknnrt.so \
    /usr/local/lib/librknnrt.so; do
    [ -r "$file" ] || continue
    runtime=$(LC_ALL=C tr -c '[:print:]' '\n' <"$file" |
      sed -n 's/.*librknnrt version: *\([0-9][0-9A-Za-z.]*\).*/\1/p' | head -n 1)
    printf '.runtime=%s\n' "${runtime:-unknown}"
    break
  done
done
""",
)


@dataclass(frozen=True, kw_only=True)
class NpuState(State):
    """Versions of the NPU's driver in the kernel ("rocket" is mainline's) and of librknnrt.so; None where not there."""

    driver: str | None = attached()
    runtime: str | None = attached()


@observable
@dataclass(frozen=True)
class RockchipNpu(Observable[NpuState]):
    """The neural processor of a Rockchip RK3588."""

    kind: ClassVar[str] = "npu"
    state: ClassVar[type[State]] = NpuState
    probe: ClassVar[Script] = PROBE_NPU
    guarded: ClassVar[bool] = False

    def arguments(self) -> tuple[str, ...]:
        """Return one word, which the probe ignores."""
        return ("all",)
