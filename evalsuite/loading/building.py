"""Builds the model with the first attention that works: the load itself is what is tried, rung by rung."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any, NoReturn

import torch

from evalsuite.errors import ConfigError, ModelFilesError, ModelLoadError, first_line, some
from evalsuite.loading.report import StepsDown
from evalsuite.loading.sources import GENERATION_CONFIG, PICKLED, Source

_ATTENTION_WORDS = ("attention", "attn", "flash", "sdpa")


def build_down_the_ladder(
    build: Callable[[str], Any],
    rungs: Iterable[tuple[str, str | None]],
    *,
    asked: str,
    path: str,
    steps: StepsDown,
) -> tuple[Any, str]:
    """Build with the first attention that the machine, transformers and a trial forward all accept.

    Args:
        build: attention name -> model with its weights. Called once; a model that is built changes rungs in place.
        rungs: (name, why the machine cannot run it or None), best first.
        asked: the configuration's attention; every rung but this one is stepped over silently (at level INFO).
        path: where the model comes from, for messages.

    Returns:
        (model, attention name).

    Raises:
        ModelLoadError: the weights do not load for a reason that no attention cures, or no rung is left.
        ConfigError: `asked` names a rung that does not work, and the configuration is strict.
    """
    refused: dict[str, str] = {}
    model: Any = None
    for name, unable in rungs:
        reason = unable
        if reason is None:
            try:
                model = build(name) if model is None else _switched(model, name)
            except Exception as error:
                reason = _attention_failure(error, path)
        if reason is None and (reason := _trial_failure(model, path)) is None:
            for above, why in refused.items():
                steps.take("attention", asked=above, got=name, reason=why, explicit=above == asked)
            return model, name
        if steps.strict and name == asked:
            raise ConfigError(
                f"attention: {name} cannot be had: {reason}. Ask for --attention auto, or leave out --strict-config"
            )
        refused[name] = reason
    raise ModelLoadError(
        f"{path}: no attention implementation runs this model: "
        + "; ".join(f"{name}: {reason}" for name, reason in refused.items())
    )


def from_files(source: Source, model_config: Any, attention: str, dtype: str, device: str) -> Any:
    """from_pretrained, onto `device`; ModelFilesError for weights that are missing, left over, or of another shape."""
    from transformers import AutoModelForCausalLM

    directory = source.weights_dir
    auto: Any = AutoModelForCausalLM  # untyped in transformers
    placed: dict[str, Any] = {} if loads_through_host(device) else {"device_map": {"": device}}
    lent = _lent_generation_config(source, model_config)
    try:
        with _without_load_report():
            model, info = auto.from_pretrained(
                str(directory),
                config=model_config,
                dtype=getattr(torch, dtype),
                attn_implementation=attention,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by name and shape
                local_files_only=True,
                **({} if lent is None else {"generation_config": lent}),
                **placed,
            )
    except (UnpicklingError, EOFError) as error:  # torch's own message tells how to run what the file holds
        raise ModelFilesError(
            f"{directory}: {PICKLED}: expected tensors as torch.save writes them, got a file that ends early or holds "
            "something else, which is not run. Copy it again, or save the model as safetensors"
        ) from error
    if mismatched := sorted(info["mismatched_keys"]):
        name, got, expected = mismatched[0]
        raise ModelFilesError(
            f"{directory}: {len(mismatched)} weights are of another shape than {source.config_dir / 'config.json'} "
            f"says, the first is {name}: expected {list(expected)}, got {list(got)}. "
            "Use the config.json that they were saved with"
        )
    for kind in ("missing", "unexpected"):
        names = sorted(info[f"{kind}_keys"])
        if names:
            raise ModelFilesError(
                f"{directory}: {len(names)} weights are {kind}: {some(names)}. They do not fit {type(model).__name__} "
                "as its config.json describes it; use the config.json that they were saved with"
            )
    return model if placed else model.to(device)


@contextmanager
def _without_load_report() -> Iterator[None]:
    """Without transformers' table of weights that do not fit: what it lists is raised as an error, in one line."""
    logger = logging.getLogger("transformers.modeling_utils")

    def no_report(record: logging.LogRecord) -> bool:
        return "LOAD REPORT" not in record.getMessage()

    logger.addFilter(no_report)
    try:
        yield
    finally:
        logger.removeFilter(no_report)


def _lent_generation_config(source: Source, model_config: Any) -> Any:
    """What a checkpoint without a generation_config.json generates by; None where transformers finds it itself.

    Beside weights alone, transformers looks for a config.json and ends with a TypeError where there is none either.
    """
    from transformers import GenerationConfig

    if (source.generation_dir / GENERATION_CONFIG).is_file():
        elsewhere = source.generation_dir != source.weights_dir
        lender = str(source.generation_dir)
        return GenerationConfig.from_pretrained(lender, local_files_only=True) if elsewhere else None
    return None if source.config_dir == source.weights_dir else GenerationConfig.from_model_config(model_config)


def loads_through_host(device: str) -> bool:
    """True where transformers reads weights into host memory first: for the CPU, and wherever accelerate is missing."""
    from transformers.utils.import_utils import is_accelerate_available

    return device == "cpu" or not is_accelerate_available()


@contextmanager
def quiet_progress() -> Iterator[None]:
    """Without transformers' progress bars, which would break into a benchmark's table."""
    import transformers

    transformers_logging: Any = transformers.utils.logging  # untyped
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _switched(model: Any, attention: str) -> Any:
    model.set_attn_implementation(attention)
    return model


def _trial_failure(model: Any, path: str) -> str | None:
    """Why a forward over two rows of different length fails, or None: what fails here would fail in every batch.

    A warning is no failure where warnings are errors (`-W error`): it would switch an attention off that works. Unless
    it is given once only, the first batch warns again.
    """
    device = next(model.parameters()).device
    ids = torch.zeros(2, 4, dtype=torch.long, device=device)  # [rows, tokens]
    mask = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]], device=device)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.eval()(input_ids=ids, attention_mask=mask, use_cache=False)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except (torch.OutOfMemoryError, MemoryError) as error:
        _raise_out_of_memory(error, path)
    except Exception as error:  # a kernel may raise anything; the next rung shows whether the kernel was at fault
        return f"a trial forward fails: {type(error).__name__}: {first_line(error)}"
    return None


def _attention_failure(error: Exception, path: str) -> str:
    """One line for a failed build that another attention may cure; raises ModelLoadError for any other failure."""
    if isinstance(error, ModelLoadError):
        raise error
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        _raise_out_of_memory(error, path)
    named = any(word in str(error).lower() for word in _ATTENTION_WORDS)
    if isinstance(error, ImportError) or (isinstance(error, ValueError) and named):
        return f"{type(error).__name__}: {first_line(error)}"
    raise ModelLoadError(
        f"{path}: the weights do not load: {type(error).__name__}: {first_line(error)}. "
        "Check that config.json belongs to them, or copy them again"
    ) from error


def _raise_out_of_memory(error: BaseException, path: str) -> NoReturn:
    raise ModelLoadError(
        f"{path}: not enough memory while loading: {first_line(error)}. "
        "Free the device, or use a smaller model, a smaller dtype or another device"
    ) from error
