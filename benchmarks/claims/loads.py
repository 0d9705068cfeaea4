"""What loading costs, in a process of its own each time: seconds, host memory at its peak, bytes that the model holds.

On the CPU, a fork server imports torch and transformers once, so that a new process starts with them and nothing else.
"""

from __future__ import annotations

import gc
import importlib
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.loading.building import from_files, quiet_progress
from evalsuite.loading.sources import Source
from evalsuite.measure.memory import MemoryMeter

PRELOADED = ["benchmarks.claims.loads", "transformers.models.qwen3.modeling_qwen3"]


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadCost:
    """One load. Memory is counted from what the process held before it."""

    seconds: float
    """Until every weight is on the device and has been read there once."""
    peak_host_bytes: int
    """Resident, files mapped into memory included."""
    held_bytes: int
    """By the model, on its device, once it is loaded."""


def load_in_fresh_process(directory: str, way: str, dtype: str, device: str) -> LoadCost:
    """`load_once` in a process that has done nothing yet. A failure there is raised here."""
    # CUDA does not survive a fork, so what a fork server imports must never touch it: there, each starts from nothing.
    context = multiprocessing.get_context("spawn" if device.startswith("cuda") else "forkserver")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as executor:
        return executor.submit(load_once, directory, way, dtype, device).result()


def load_once(directory: str, way: str, dtype: str, device: str) -> LoadCost:
    """Load the model in `directory` in this process. `way`: a name of `WAYS`."""
    import torch

    for module in PRELOADED:
        importlib.import_module(module)  # imports belong to no way of loading, nor does CUDA's own start
    if device.startswith("cuda"):
        torch.zeros(1, device=device)
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
