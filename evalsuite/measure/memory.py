"""Peak memory of a stretch of work: what CUDA allocated, or else what the process held in RAM."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")

MemoryKind = Literal["cuda_allocated", "resident", "resident_since_start"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PeakMemory:
    """The highest use seen since the meter was reset."""

    bytes: int
    """On CUDA without the weights of models that were resident beside the one at work."""
    kind: MemoryKind
    """`resident_since_start` where the system cannot reset its mark: the peak of the whole process so far."""


class MemoryMeter:
    """`reset()` before the work, `peak()` after it. `device` is a torch device string."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._mark_was_reset = False

    def reset(self) -> None:
        if self._device.startswith("cuda"):
            import torch

            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            self._mark_was_reset = _reset_high_water_mark()

    def peak(self, *, beside: int = 0) -> PeakMemory:
        """`beside`: bytes of other models on the device, which the work did not need."""
        if self._device.startswith("cuda"):
            import torch

            return PeakMemory(bytes=torch.cuda.max_memory_allocated(self._device) - beside, kind="cuda_allocated")
        mark = _high_water_mark() if self._mark_was_reset else None
        if mark is not None:
            return PeakMemory(bytes=mark, kind="resident")
        from evalsuite.loading.memory import peak_bytes  # imports torch

        return PeakMemory(bytes=peak_bytes(self._device), kind="resident_since_start")


def _reset_high_water_mark() -> bool:
    """Linux: writing 5 to clear_refs sets VmHWM to the present size (proc(5)). False where that is not to be had."""
    try:
        _CLEAR_REFS.write_text("5")
    except OSError:
        return False
    return True


def _high_water_mark() -> int | None:
    try:
        status = _STATUS.read_text()
    except OSError:
        return None
    kib = next((line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")), None)
    return None if kib is None else int(kib) * 1024
