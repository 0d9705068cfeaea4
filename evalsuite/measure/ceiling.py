"""The matmul ceiling: what the device's matrix units give in this very run, for long enough to be true.

A GPU that starts cool runs a few hundredths of a second above the rate that its power limit allows it to keep (an H200:
790 TFLOP/s, then 665 to 690). An evaluation runs for longer, so its ceiling is the rate that is kept.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

CUDA_SIZE, CPU_SIZE = 8192, 1024
CUDA_SECONDS, CPU_SECONDS = 3.0, 0.2
SETTLED_SHARE = 0.5
"""Of the time: the first half warms the device up and does not count."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ceiling:
    """A measured rate of matrix products."""

    flops_per_second: float
    size: int
    """Of the square matrices."""
    dtype: str
    seconds: float
    """That it was kept up for."""


def measure_ceiling(device: torch.device, dtype: torch.dtype) -> Ceiling:
    """Multiply square matrices of random numbers for a while; the rate of the second half."""
    cuda = device.type == "cuda"
    size, seconds = (CUDA_SIZE, CUDA_SECONDS) if cuda else (CPU_SIZE, CPU_SECONDS)
    left, right = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    _products(left, right, 1)
    once = _products(left, right, 2) / 2
    half = max(round(seconds * SETTLED_SHARE / once), 1)
    _products(left, right, half)
    taken = _products(left, right, half)
    return Ceiling(
        flops_per_second=2 * size**3 * half / taken,
        size=size,
        dtype=str(dtype).removeprefix("torch."),
        seconds=taken,
    )


def _products(left: torch.Tensor, right: torch.Tensor, count: int) -> float:
    """Seconds for `count` products, the device drained before and after."""
    _drain(left.device)
    start = time.perf_counter()
    for _ in range(count):
        left @ right
    _drain(left.device)
    return time.perf_counter() - start


def _drain(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
