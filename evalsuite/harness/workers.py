"""Which GPU an xdist worker takes: evaluations under `-n K` would otherwise all run on the first one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

CHOOSING_DEVICES = ("auto", "cuda")
"""Values of --device that leave the choice of GPU open; `cuda:1` does not."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """One of several pytest processes, and the GPUs that they have between them."""

    id: str
    """As xdist names it: `gw0`, `gw1`, ..."""
    workers: int
    gpus: int | None = None
    """GPUs that the workers are spread over; None where they are not: no CUDA, or a device that is named."""


def worker_gpu(device: str, worker_id: str, gpus: int) -> int | None:
    """The GPU's index for worker `gwI`: I modulo `gpus`. None leaves things as they are.

    Args:
        device: what --device says.
        gpus: how many CUDA devices there are.
    """
    number = re.search(r"\d+\Z", worker_id)  # `--tx popen//id=NAME` names workers freely
    if gpus < 1 or device not in CHOOSING_DEVICES or number is None:
        return None
    return int(number.group()) % gpus


def take_gpu(device: str, worker_id: str, workers: int) -> Worker:
    """Make the worker's GPU torch's current device, which `auto` and `cuda` stand for from here on."""
    import torch

    gpus = torch.cuda.device_count()
    gpu = worker_gpu(device, worker_id, gpus)
    if gpu is not None:
        torch.cuda.set_device(gpu)
    return Worker(id=worker_id, workers=workers, gpus=None if gpu is None else gpus)


def sharing_note(worker: Mapping[str, Any] | None) -> str | None:
    """The line that says so where workers outnumber GPUs. `worker` is that of a case's record: a `Worker`'s fields."""
    if worker is None or worker["gpus"] is None or worker["workers"] <= worker["gpus"]:
        return None
    gpus = worker["gpus"]
    return (
        f"{worker['workers']} workers share {gpus} GPU{'s' * (gpus > 1)}, and load each model several times on one: "
        f"-n {gpus} gives every worker a GPU of its own"
    )
