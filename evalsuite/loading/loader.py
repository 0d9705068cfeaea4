"""`load`: from an `InferenceConfig` to a model that runs, with every step down recorded."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evalsuite import shapes
from evalsuite.config import SHAPE_PREFIX, InferenceConfig
from evalsuite.errors import ModelLoadError
from evalsuite.loading import fingerprint, memory
from evalsuite.loading.architecture import head_dim, read_config, read_tokenizer
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
    steps = StepsDown(strict=config.strict_config)
    device = resolve_device(config, steps)
    dtype = resolve_dtype(config, device, steps)
    plan = _plan(config)
    _check_memory(plan, dtype, device)
    memory.reset_peak(device)
    with _quiet_progress():
        model, attention = _climb_down(plan, config, dtype, device, steps)
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
        eos_token_ids=_eos_token_ids(model, plan.tokenizer),
    )


def estimate_bytes(config: InferenceConfig) -> int:
    """Device memory that the weights of `config` take, from file headers or figures alone, in bytes."""
    itemsize = _itemsize(resolve_dtype(config, resolve_device(config, _ignored()), _ignored()))
    if config.model.startswith(SHAPE_PREFIX) and config.checkpoint is None:
        return shapes.get_shape(config.model).parameters * itemsize
    return find_weights(find_source(config).weights_dir).bytes_in(itemsize)


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
            {"shape": config.model, "seed": config.seed, "dtype": dtype, "drawn_on": torch.device(device).type}
        ),
    )


def _plan_files(config: InferenceConfig) -> _Plan:
    source = find_source(config)
    model_config = read_config(source.config_dir)
    weights = find_weights(source.weights_dir)
    return _Plan(
        path=str(source.weights_dir),
        model_config=model_config,
        tokenizer=read_tokenizer(source.tokenizer_dir),
        bytes_in=weights.bytes_in,
        build=lambda attention, dtype, device: _from_files(source.weights_dir, model_config, attention, dtype, device),
        fingerprint=lambda dtype, device: fingerprint.of_files(
            source.config_dir / "config.json", weights.files, source.tokenizer_dir
        ),
    )


def _from_files(directory: Path, model_config: Any, attention: str, dtype: str, device: str) -> Any:
    """from_pretrained, then onto the device; straight onto it where accelerate is there to do so."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import is_accelerate_available

    placed = {"device_map": {"": device}} if is_accelerate_available() and device != "cpu" else {}
    model, info = AutoModelForCausalLM.from_pretrained(
        str(directory),
        config=model_config,
        dtype=getattr(torch, dtype),
        attn_implementation=attention,
        output_loading_info=True,
        local_files_only=True,
        **placed,
    )
    for kind in ("missing", "unexpected"):
        names = sorted(info[f"{kind}_keys"])
        if names:
            shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
            raise ModelLoadError(
                f"{directory}: {len(names)} weights are {kind}: {shown}. "
                f"They do not fit {type(model).__name__} as its config.json describes it; use the config.json they were saved with"
            )
    return model.to(device)


def _climb_down(plan: _Plan, config: InferenceConfig, dtype: str, device: str, steps: StepsDown) -> tuple[Any, str]:
    """Build with the first attention that the machine, transformers and a trial forward all accept: (model, its name).

    The load itself is inside the loop, since it is the load that fails when a kernel is missing.
    """
    explicit = config.attention != "auto"
    refused: list[tuple[str, str]] = []

    def step(name: str, reason: str, below: str) -> None:
        steps.take("attention", asked=name, got=below, reason=reason, explicit=explicit)

    model: Any = None
    for name, unable in attention_rungs(config.attention, device, dtype, head_dim=head_dim(plan.model_config)):
        reason = unable
        if reason is None:
            try:
                model = plan.build(name, dtype, device) if model is None else _switched(model, name)
                _trial_forward(model)
            except Exception as error:
                reason = _attention_failure(error, plan.path)
        if reason is None:
            for (above, why), below in zip(refused, [*(above for above, _ in refused[1:]), name], strict=True):
                step(above, why, below)
            return model, name
        refused.append((name, reason))
    raise ModelLoadError(
        f"{plan.path}: no attention implementation runs this model: "
        + "; ".join(f"{name}: {reason}" for name, reason in refused)
    )


def _switched(model: Any, attention: str) -> Any:
    model.set_attn_implementation(attention)
    return model


def _trial_forward(model: Any) -> None:
    """Two rows of different length, as strategies pad them: what fails here would fail in every batch."""
    device = next(model.parameters()).device
    ids = torch.zeros(2, 4, dtype=torch.long, device=device)  # [rows, tokens]
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]], device=device)
    training = model.training
    with torch.inference_mode():
        model.eval()(input_ids=ids, attention_mask=mask, use_cache=False)
    model.train(training)
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _attention_failure(error: Exception, path: str) -> str:
    """One line for a failure that another attention may cure; raises ModelLoadError for the others."""
    if isinstance(error, ModelLoadError):
        raise error
    line = next(iter(str(error).strip().splitlines()), "")[:300]
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        raise ModelLoadError(
            f"{path}: not enough memory while loading: {line} Free the device, or use a smaller model or dtype"
        ) from error
    words = ("attention", "attn", "flash", "sdpa", "flex")
    if isinstance(error, ImportError) or any(word in str(error).lower() for word in words):
        return f"{type(error).__name__}: {line}"
    raise ModelLoadError(f"{path}: the weights do not load: {type(error).__name__}: {line}") from error


def _check_memory(plan: _Plan, dtype: str, device: str) -> None:
    needed = int(plan.bytes_in(_itemsize(dtype)) * WORKING_MARGIN)
    free = memory.free_bytes(device)
    if free is not None and needed > free:
        raise ModelLoadError(
            f"{plan.path}: not enough memory: {dtype} weights need {_gib(needed)}, {device} has {_gib(free)} free. "
            "Free the device, or use a smaller model, dtype or another device"
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
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:
        raise ModelLoadError(
            f"tokenizer: its {tokenizer.vocab_size:,} tokens exceed the model's {rows:,} embeddings, "
            "so it belongs to another model. Put the model's own tokenizer files beside its weights"
        )
    return notes


def _eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    settings = getattr(model, "generation_config", None)
    ids = getattr(settings, "eos_token_id", None)
    if ids is None:
        ids = tokenizer.eos_token_id
    if ids is None:
        return ()
    return tuple(int(token) for token in ids) if isinstance(ids, (list, tuple)) else (int(ids),)


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


def _ignored() -> StepsDown:
    """A collector whose steps nobody reads: for questions that load nothing."""
    return StepsDown(strict=False)


@contextmanager
def _quiet_progress() -> Iterator[None]:
    """Without transformers' progress bars, which would break into a benchmark's table."""
    from transformers.utils import logging as transformers_logging

    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
