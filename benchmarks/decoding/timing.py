"""The clock on a CUDA device, and a candidate's figures by it."""

from __future__ import annotations

import gc
import re
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks.decoding.interface import Candidate, Unavailable
from benchmarks.decoding.reference import WrongResult, largest_error
from benchmarks.decoding.workloads import Case
from evalsuite.errors import first_line

WARM_UP_CALLS, LEAST_CALLS, MOST_CALLS, CALL_SECONDS = 3, 10, 200, 0.5
CACHES = 4
"""What is read before a call, in sizes of the device's cache. Read, since what is written would leave the cache for
the memory during the call."""
FOLDERS = re.compile(r"""(?<=[\s'"(\[,:=])/(?:[\w.+@~-]+/)+""")
"""Of an absolute path, up to the file's name."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Of several calls."""

    seconds: float
    """The median."""
    fastest: float
    slowest: float
    calls: int
    not_replayed: str | None
    """Why a graph was not captured."""
    out: torch.Tensor
    """Of the last call."""


def timed(call: Callable[[], torch.Tensor], device: torch.device) -> Timing:
    """On CUDA, as the package says."""
    stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(WARM_UP_CALLS):
            out = call()
    torch.cuda.synchronize(device)
    torch.cuda.empty_cache()  # what the calls held: a graph has its own
    graph, not_replayed = torch.cuda.CUDAGraph(), None
    try:
        with torch.cuda.graph(graph):
            out = call()
    except Exception as error:  # whatever cannot be captured is still a figure, and the table says of what
        not_replayed = _reason(error)
        torch.cuda.synchronize(device)
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    other = torch.zeros(CACHES * cache // 4, device=device)

    def seconds(calls: int) -> list[float]:
        nonlocal out
        events = [(_event(), _event()) for _ in range(calls)]
        for begin, end in events:
            other.sum()
            begin.record()
            if not_replayed is None:
                graph.replay()
            else:
                out = call()
            end.record()
        torch.cuda.synchronize(device)
        return [begin.elapsed_time(end) / 1000 for begin, end in events]

    first = statistics.median(seconds(WARM_UP_CALLS))
    taken = seconds(min(MOST_CALLS, max(LEAST_CALLS, round(CALL_SECONDS / first))))
    return Timing(
        seconds=statistics.median(taken),
        fastest=min(taken),
        slowest=max(taken),
        calls=len(taken),
        not_replayed=not_replayed,
        out=out,
    )


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def measure(
    make: Candidate,
    case: Case,
    want: torch.Tensor,
    *,
    tolerance: float,
    clock: Callable[[Callable[[], torch.Tensor], torch.device], Timing] = timed,
) -> dict[str, Any]:
    """The figures of a candidate; or with `failed` why there are none, or with `wrong` why there may be none."""
    try:
        _release()  # fails too on a device that an earlier candidate has brought into disorder
        with torch.no_grad():
            prepared = make(case)
            largest_error(prepared.call(), want, tolerance=tolerance)
            timing = clock(prepared.call, case.device)
            error = largest_error(timing.out, want, tolerance=tolerance)
    except WrongResult as wrong:
        return {"wrong": str(wrong)}
    except Exception as problem:  # whatever it raises is a finding about it, and not about those who come after
        return {"failed": str(problem) if isinstance(problem, Unavailable) else _reason(problem)}
    needed = int(case.lengths.sum()) * case.bytes_per_key
    planned = None if prepared.keys_planned is None else prepared.keys_planned * case.bytes_per_key
    figures = {name: getattr(timing, name) for name in ("seconds", "fastest", "slowest", "calls", "not_replayed")}
    return figures | {
        "largest_error": error,
        "needed_bytes_per_second": needed / timing.seconds,
        "bytes_planned": planned,
        "planned_bytes_per_second": None if planned is None else planned / timing.seconds,
    }


def _reason(error: Exception) -> str:
    """Its first line, of a file's path only the name: the folders are of the machine that built a library."""
    return FOLDERS.sub("", f"{type(error).__name__}: {first_line(error)}")


def _release() -> None:
    """Nothing of another candidate's in the device's memory or in the compiler's counts."""
    torch._dynamo.reset()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
