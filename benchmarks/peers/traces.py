"""Where a device's time went."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

LONGEST = 24


def traced(run: Callable[[], object], *, cuda: bool) -> dict[str, Any]:
    """Busy, by kernel, and idle between the first kernel and the last."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]) as trace:
        run()
    kernels = [event for event in trace.events() if not cuda or event.device_type == torch.autograd.DeviceType.CUDA]
    spans = sorted((event.time_range.start, event.time_range.end) for event in kernels)
    busy, end = 0.0, spans[0][0]
    for begin, finish in spans:
        busy += max(0.0, finish - max(begin, end))
        end = max(end, finish)
    whole = end - spans[0][0]
    by_name: dict[str, float] = {}
    for event in kernels:
        by_name[event.name] = by_name.get(event.name, 0.0) + event.time_range.elapsed_us()
    longest = sorted(by_name.items(), key=lambda item: -item[1])[:LONGEST]
    return {"seconds": whole / 1e6, "idle_share": 1 - busy / whole, "microseconds_by_kernel": dict(longest)}
