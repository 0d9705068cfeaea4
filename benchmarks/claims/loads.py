"""What loading costs, in a process of its own each time: seconds, host memory at its peak, bytes that the model holds.

A fork server imports torch and transformers once, so that a new process starts with them and nothing else: to import
them takes longer than to load a small model.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

from evalsuite.loading.building import from_files, quiet_progress
from evalsuite.loading.sources import Source
from evalsuite.measure.memory import MemoryMeter

PRELOADED = ["benchmarks.claims.loads", "torch", "transformers.models.qwen3.modeling_qwen3"]
ASKS_THE_DRIVER = "PYTORCH_NVML_BASED_CUDA_CHECK"
"""CUDA does not survive a fork. Set to 1, `torch.cuda.is_available()`, which transformers asks as it is imported, goes
to the driver's management library and does not start CUDA."""


class NoCudaAfterFork(Exception):
    """Something has started CUDA in the fork server after all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadCost:
    """One load. Memory is counted from what the process held before it."""

    seconds: float
    """Until every weight is on the device and has been read there once."""
    peak_host_bytes: int
    """Resident, files mapped into memory included."""
    held_bytes: int
    """By the model, on its device, once it is loaded."""


class FreshProcesses:
    """Runs each load in a process that has done nothing yet. Made early, its server imports while others work."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._method = "forkserver"
        with _asking_the_driver():
            multiprocessing.get_context("forkserver").set_forkserver_preload(PRELOADED)
            forkserver.ensure_running()

    def load(self, directory: str, way: str, dtype: str) -> LoadCost:
        """What `load_once` returns there. A failure there is raised here."""
        try:
            return self._submit(directory, way, dtype)
        except NoCudaAfterFork:
            if self._method == "spawn":
                raise
            self._method = "spawn"  # each process imports for itself then: slower, and the same is measured
            return self._submit(directory, way, dtype)

    def _submit(self, directory: str, way: str, dtype: str) -> LoadCost:
        context = multiprocessing.get_context(self._method)
        with ProcessPoolExecutor(max_workers=1, mp_context=context) as executor:
            return executor.submit(load_once, directory, way, dtype, self._device).result()


@contextmanager
def _asking_the_driver() -> Iterator[None]:
    """For the processes that are started within."""
    before = os.environ.get(ASKS_THE_DRIVER)
    os.environ[ASKS_THE_DRIVER] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[ASKS_THE_DRIVER]
        else:
            os.environ[ASKS_THE_DRIVER] = before


def load_once(directory: str, way: str, dtype: str, device: str) -> LoadCost:
    """Load the model in `directory` in this process. `way`: a name of `WAYS`."""
    import torch

    for module in PRELOADED:
        # Imports belong to no way of loading, nor does CUDA's own start, kernels included.
        importlib.import_module(module)
    if device.startswith("cuda"):
        try:
            torch.zeros(1, device=device, dtype=getattr(torch, dtype)).sum()
        except RuntimeError as error:
            raise NoCudaAfterFork(f"{device} cannot be started: {error}") from error
    held_before = _held_bytes(device)
    meter = MemoryMeter("cpu")
    meter.reset()
    before = meter.peak().bytes
    start = time.perf_counter()
    with quiet_progress(), torch.inference_mode():
        model = WAYS[way](Path(directory), dtype, device)
        for weight in model.parameters():  # weights that are mapped from a file are not there until they are read
            weight.sum()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
    seconds, peak = time.perf_counter() - start, meter.peak().bytes
    return LoadCost(
        seconds=seconds,
        peak_host_bytes=peak - before,
        held_bytes=_held_bytes(device) - held_before,
    )


def _held_bytes(device: str) -> int:
    """CUDA: what torch has allocated there. CPU: the resident size of this process."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        return torch.cuda.memory_allocated(device)
    meter = MemoryMeter("cpu")
    meter.reset()  # from here on, the peak is the present size
    return meter.peak().bytes


def as_loaded(directory: Path, dtype: str, device: str) -> Any:
    """As evalsuite and transformers 5 load: weight by weight, straight to the device."""
    from transformers import AutoConfig

    source = Source(config_dir=directory, weights_dir=directory, tokenizer_dir=directory, generation_dir=directory)
    return from_files(source, AutoConfig.from_pretrained(str(directory)), "sdpa", dtype, device)


def built_first(directory: Path, dtype: str, device: str) -> Any:
    """As transformers 4 did without `low_cpu_mem_usage`: the whole model, then a whole state dict, copied over."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    auto: Any = AutoModelForCausalLM
    with no_init_weights():
        model = auto.from_config(AutoConfig.from_pretrained(str(directory)), dtype=getattr(torch, dtype))
    state = {}
    for file in sorted(directory.glob("*.safetensors")):
        state |= load_file(file)
    tied = set(model.state_dict()) - set(state)
    missing, unexpected = model.load_state_dict(state, strict=False)
    if unexpected or set(missing) != tied or not tied <= {"lm_head.weight"}:
        raise ValueError(f"{directory}: the state dict does not fit: {missing} missing, {unexpected} left over")
    model.tie_weights()
    return model.to(device)


WAYS = {"as loaded": as_loaded, "built first": built_first}
