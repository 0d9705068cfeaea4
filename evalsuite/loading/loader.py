"""`load`: from an `InferenceConfig` to a model that runs, with every step down recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from evalsuite import shapes
from evalsuite.config import SHAPE_PREFIX, InferenceConfig
from evalsuite.errors import ModelFilesError, ModelLoadError, first_line
from evalsuite.loading import fingerprint, memory
from evalsuite.loading.architecture import check_vocabulary, eos_token_ids, head_dim, read_config, read_tokenizer
from evalsuite.loading.artefacts import keep_artefacts
from evalsuite.loading.building import build_down_the_ladder, from_files, loads_through_host, quiet_progress
from evalsuite.loading.compiling import compile_forward
from evalsuite.loading.ladder import attention_rungs, resolve_device, resolve_dtype
from evalsuite.loading.report import LoadedModel, LoadReport, StepsDown
from evalsuite.loading.sources import find_source, find_weights

LOW_CPU_MEM_NOTE = "low_cpu_mem_usage: transformers 5 accepts the flag and ignores it; weights always load this way"
WORKING_MARGIN = 1.1
"""Weights times this must be free before loading: buffers, conversions and a first small batch come on top."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Plan:
    """Everything known about a model before its weights are read."""

    path: str
    model_config: Any
    tokenizer: Any
    bytes_in: Callable[[int], int]
    """Bytes a number -> bytes of all weights."""
    build: Callable[[str, str, str], Any]
    """(attention, dtype, device) -> model with weights, on the device."""
    fingerprint: Callable[[str, str], str]
    """(dtype, device) -> twelve hex digits."""
    passes_host: bool
    """Read from files, and so perhaps by way of host memory, rather than drawn on the device."""


def load_model(config: InferenceConfig) -> tuple[Any, Any, str]:
    """`load` for those who only want (model, tokenizer, path)."""
    loaded = load(config)
    return loaded.model, loaded.tokenizer, loaded.path


def load(config: InferenceConfig) -> LoadedModel:
    """Load what `config` names onto its device, in eval mode and without gradients.

    Raises:
        ModelLoadError: nothing there, not a causal LM, no tokenizer, damaged weights, weights that do not fit the
            architecture, or too little memory. The message names the file and the remedy.
        ConfigError: a device or shape that does not exist; under `strict_config`, any request that cannot be met.
    """
    started = time.perf_counter()
    keep_artefacts()
    steps = StepsDown(strict=config.strict_config)
    device = resolve_device(config, steps)
    dtype = resolve_dtype(config, device, steps)
    plan = _plan(config)
    _check_memory(plan, dtype, device)
    memory.reset_peak(device)
    rungs = attention_rungs(config.attention, device, dtype, head_dim=head_dim(plan.model_config))
    with quiet_progress():
        model, attention = build_down_the_ladder(
            lambda name: plan.build(name, dtype, device), rungs, asked=config.attention, path=plan.path, steps=steps
        )
    _prepare(model)
    compiled = compile_forward(model, config, device, steps)
    notes = _settle_tokenizer(plan.tokenizer, model)
    report = LoadReport(
        asked=_knobs(config.device, config.dtype, config.attention, config.torch_compile, config.low_cpu_mem_usage),
        got=_knobs(device, dtype, attention, compiled, True),
        fallbacks=tuple(steps.taken),
        notes=(LOW_CPU_MEM_NOTE, *notes),
        load_seconds=time.perf_counter() - started,
        peak_memory_bytes=memory.peak_bytes(device),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        model_fingerprint=plan.fingerprint(dtype, device),
    )
    return LoadedModel(
        model=model,
        tokenizer=plan.tokenizer,
        path=plan.path,
        config=config,
        report=report,
        eos_token_ids=eos_token_ids(model, plan.tokenizer),
    )


def estimate_bytes(config: InferenceConfig) -> tuple[str, int]:
    """(device, bytes) that the weights of `config` would take, from figures or file headers; raises as `load` does."""
    steps = StepsDown(strict=config.strict_config, quiet=True)
    device = resolve_device(config, steps)
    itemsize = _itemsize(resolve_dtype(config, device, steps))
    if config.model.startswith(SHAPE_PREFIX):
        return device, shapes.get_shape(config.model).parameters * itemsize
    return device, find_weights(find_source(config).weights_dir).bytes_in(itemsize)


def identify(config: InferenceConfig) -> tuple[str, str, Any]:
    """(fingerprint, dtype, tokenizer) that loading `config` would give, without its weights; raises as `load` does."""
    steps = StepsDown(strict=config.strict_config, quiet=True)
    device = resolve_device(config, steps)
    dtype = resolve_dtype(config, device, steps)
    plan = _plan(config)
    return plan.fingerprint(dtype, device), dtype, plan.tokenizer


def _plan(config: InferenceConfig) -> _Plan:
    return _plan_shape(config) if config.model.startswith(SHAPE_PREFIX) else _plan_files(config)


def _plan_shape(config: InferenceConfig) -> _Plan:
    from evalsuite.shape_tokenizer import shape_tokenizer

    shape = shapes.get_shape(config.model)
    if config.checkpoint is not None:
        raise ModelLoadError(
            f"checkpoint: {config.model} has random weights by definition; "
            "give the checkpoint's own directory as the model instead"
        )
    tokenizer = shape_tokenizer()
    model_config = shapes.shape_config(shape, eos_token_id=tokenizer.eos_token_id)
    return _Plan(
        path=config.model,
        model_config=model_config,
        tokenizer=tokenizer,
        bytes_in=lambda itemsize: shape.parameters * itemsize,
        build=lambda attention, dtype, device: shapes.random_model(
            model_config, attention=attention, dtype=dtype, device=device, seed=config.seed
        ),
        fingerprint=lambda dtype, device: fingerprint.of_facts(
            {**asdict(shape), "seed": config.seed, "dtype": dtype, "drawn_on": torch.device(device).type}
        ),
        passes_host=False,
    )


def _plan_files(config: InferenceConfig) -> _Plan:
    source = find_source(config)
    model_config = _valid_config(source.config_dir)
    weights = find_weights(source.weights_dir)
    return _Plan(
        path=str(source.weights_dir),
        model_config=model_config,
        tokenizer=read_tokenizer(source.tokenizer_dir),
        bytes_in=weights.bytes_in,
        build=lambda attention, dtype, device: from_files(source, model_config, attention, dtype, device),
        fingerprint=lambda dtype, device: fingerprint.of_files(
            source.config_dir / "config.json", weights.files, source.tokenizer_dir
        ),
        passes_host=True,
    )


def _valid_config(directory: Path) -> Any:
    """`read_config`; ModelFilesError also where transformers refuses a field, or two that contradict each other."""
    from huggingface_hub.errors import StrictDataclassError

    try:
        return read_config(directory)
    except StrictDataclassError as error:  # its first line names transformers' validator alone
        raise ModelFilesError(
            f"{directory / 'config.json'}: expected a configuration that transformers accepts, got "
            f"{first_line(error.__cause__ or error)}. Use the config.json that the weights were saved with"
        ) from error


def _check_memory(plan: _Plan, dtype: str, device: str) -> None:
    """Refuse weights that cannot fit before reading them; host memory too, where they pass through it."""
    needed = int(plan.bytes_in(_itemsize(dtype)) * WORKING_MARGIN)
    through_host = plan.passes_host and loads_through_host(device)
    for place in dict.fromkeys((device, "cpu")) if through_host else (device,):
        free = memory.free_bytes(place)
        if free is not None and needed > free:
            raise ModelLoadError(
                f"{plan.path}: not enough memory: {dtype} weights and working room need {_gib(needed)}, {place} "
                f"has {_gib(free)} free. Free the device, or use a smaller model, a smaller dtype or another device"
            )


def _prepare(model: Any) -> None:
    """Inference only, and greedy: sampling settings of the files would warn, and must not matter."""
    model.eval()
    model.requires_grad_(False)
    settings = getattr(model, "generation_config", None)
    if settings is not None:
        settings.do_sample = False
        for name in ("temperature", "top_p", "top_k", "min_p", "typical_p"):
            setattr(settings, name, None)


def _settle_tokenizer(tokenizer: Any, model: Any) -> list[str]:
    """Give the tokenizer a padding token if it has none; the notes that this and its kind deserve."""
    notes = []
    if tokenizer.pad_token_id is None:
        stand_in = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
        tokenizer.pad_token = stand_in
        notes.append(f"tokenizer: no padding token, so {stand_in!r} pads; padded positions are always masked")
    if not tokenizer.is_fast:
        notes.append("tokenizer: only a slow one exists, so encoding takes longer")
    check_vocabulary(tokenizer, model)
    return notes


def _knobs(device: str, dtype: str, attention: str, compiled: bool, low_cpu_mem_usage: bool) -> dict[str, str]:
    return {
        "device": device,
        "dtype": dtype,
        "attention": attention,
        "torch_compile": "on" if compiled else "off",
        "low_cpu_mem_usage": "on" if low_cpu_mem_usage else "off",
    }


def _itemsize(dtype: str) -> int:
    return int(getattr(torch, dtype).itemsize)


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
