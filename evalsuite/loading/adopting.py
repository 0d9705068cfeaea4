"""A model that is in memory already as a `LoadedModel`: one that `load` gave out bare, or one that the caller loaded.

What is known of a model is remembered beside it, by a weak reference: nothing is kept on the model, nothing keeps it
alive, and it can be moved, copied, trained and saved between two calls.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evalsuite.config import ATTENTIONS, InferenceConfig
from evalsuite.errors import ModelLoadError
from evalsuite.loading.architecture import check_vocabulary, eos_token_ids, not_causal_reason
from evalsuite.loading.report import LoadedModel, LoadReport, log_once

LOADED_BY_THE_CALLER = "loaded by the caller: load time, peak memory and a fingerprint of its files are not known"
_NO_PADDING_TOKEN = "tokenizer: no padding token, so id 0 pads; padded positions are always masked"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A `LoadedModel` without its model and tokenizer."""

    path: str
    config: InferenceConfig
    report: LoadReport


_KNOWN: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()


def remember(loaded: LoadedModel) -> None:
    """Keep what is known of a model, for the time when its caller comes back with the model alone."""
    _KNOWN[loaded.model] = _Known(path=loaded.path, config=loaded.config, report=loaded.report)


def known_report(model: Any) -> LoadReport:
    """The report of a model that was remembered or adopted. Raises `ModelLoadError` for any other."""
    if not isinstance(model, PreTrainedModel) or model not in _KNOWN:
        raise ModelLoadError(
            f"model: nothing is known of this {type(model).__name__}: it was neither loaded here nor used yet. "
            "Load it by load_qwen_model, or score something with it first"
        )
    return _KNOWN[model].report


def adopt(model: Any, tokenizer: Any) -> LoadedModel:
    """The model with its tokenizer, ready to run: checked, and in eval mode.

    A model that was remembered keeps its report; what it runs on (`got`) is read anew, so it may have been moved.
    Neither the tokenizer nor the model's generation settings are touched.

    Raises:
        ModelLoadError: not a transformers causal LM, spread over several devices, or another model's tokenizer.
        ConfigError: a dtype that strategies do not run in.
    """
    _check_kinds(model, tokenizer)
    known = _KNOWN.get(model)
    where = (str(model.device), _dtype_name(model)) if known else None
    if known is None or where != (known.report.got["device"], known.report.got["dtype"]):
        _check_model(model)
        known = _read(model, tokenizer) if known is None else _moved(model, known)
        _KNOWN[model] = known
    if model.training:
        log_once(logging.WARNING, f"{known.path}: was in training mode and is switched to eval mode (dropout off)")
        model.eval()
    check_vocabulary(tokenizer, model)
    return LoadedModel(
        model=model,
        tokenizer=tokenizer,
        path=known.path,
        config=known.config,
        report=known.report,
        eos_token_ids=eos_token_ids(model, tokenizer),
    )


def _check_kinds(model: Any, tokenizer: Any) -> None:
    if not isinstance(model, PreTrainedModel):
        raise ModelLoadError(
            "model: expected a transformers model such as AutoModelForCausalLM.from_pretrained gives, "
            f"got {type(model).__name__}. Of a wrapper, give the model inside "
            "(torch.compile: model._orig_mod; PEFT: model.merge_and_unload())"
        )
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise ModelLoadError(
            "tokenizer: expected a transformers tokenizer such as AutoTokenizer.from_pretrained gives, "
            f"got {type(tokenizer).__name__}"
        )


def _check_model(model: Any) -> None:
    reason = not_causal_reason(model.config)
    if reason is None and model.get_output_embeddings() is None:
        reason = f"{type(model).__name__} has no projection onto the vocabulary"
    if reason is not None:
        raise ModelLoadError(f"model: not a causal language model: {reason}. Load it by AutoModelForCausalLM")
    devices = sorted({str(parameter.device) for parameter in model.parameters()})
    if len(devices) > 1 or devices == ["meta"]:
        raise ModelLoadError(
            f"model: expected all weights on one device, found them on {', '.join(devices)}. "
            'Load it with device_map={"": 0}, or with a smaller dtype where one device is too small'
        )


def _read(model: Any, tokenizer: Any) -> _Known:
    """What a model that nobody remembers says of itself."""
    got = _got(model)
    attention = got["attention"] if got["attention"] in ATTENTIONS else "auto"
    path = model.config.name_or_path or tokenizer.name_or_path or type(model).__name__
    notes = (LOADED_BY_THE_CALLER,) if tokenizer.pad_token_id is not None else (LOADED_BY_THE_CALLER, _NO_PADDING_TOKEN)
    return _Known(
        path=path,
        config=InferenceConfig(model=path, dtype=got["dtype"], attention=attention, device=got["device"]),
        report=LoadReport(
            asked=got,
            got=got,
            fallbacks=(),
            notes=notes,
            load_seconds=0.0,
            peak_memory_bytes=0,
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            model_fingerprint="",
        ),
    )


def _moved(model: Any, known: _Known) -> _Known:
    """The same model on another device or in another dtype."""
    got = _got(model) | {"torch_compile": known.report.got["torch_compile"]}
    return dataclasses.replace(known, report=dataclasses.replace(known.report, got=got))


def _got(model: Any) -> dict[str, str]:
    return {
        "device": str(model.device),
        "dtype": _dtype_name(model),
        "attention": str(model.config._attn_implementation),
        "torch_compile": "off",
        "low_cpu_mem_usage": "on",
    }


def _dtype_name(model: Any) -> str:
    return str(model.dtype).removeprefix("torch.")
