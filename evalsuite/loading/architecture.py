"""Reads a model directory's configuration and tokenizer, and refuses what is not a causal language model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from evalsuite.errors import ModelFilesError, first_line
from evalsuite.loading.sources import TOKENIZER_FILES, read_json


def read_config(directory: Path) -> Any:
    """The transformers configuration in `directory`; ModelFilesError if it is absent or of no causal LM."""
    from transformers import AutoConfig

    file = directory / "config.json"
    read_json(file)
    try:
        config = AutoConfig.from_pretrained(str(directory), local_files_only=True)
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise ModelFilesError(
            f"{file}: transformers does not know this architecture: {first_line(error)}. "
            "Check `model_type`, or install the transformers version that the model asks for"
        ) from error
    reason = not_causal_reason(config)
    if reason is not None:
        raise ModelFilesError(f"{file}: not a causal language model: {reason}. Give a model such as Qwen3ForCausalLM")
    return config


def not_causal_reason(config: Any) -> str | None:
    """Why a configuration describes no causal LM, or None.

    transformers lists BERT and its like among its causal classes, for use as decoders; a checkpoint of one is none
    unless it says `is_decoder`. A saved class name decides where there is one.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

    if getattr(config, "is_encoder_decoder", False):
        return f"{config.model_type} is an encoder-decoder"
    if config.model_type not in CAUSAL:
        return f"{config.model_type} has no causal language-model class in transformers"
    saved = getattr(config, "architectures", None) or []
    if saved and not set(saved) & {name for names in CAUSAL.values() for name in _names(names)}:
        return f"it was saved as {', '.join(saved)}"
    if config.model_type in MASKED and not getattr(config, "is_decoder", False):
        return f"{config.model_type} reads in both directions (`is_decoder` is not set)"
    text = config.get_text_config()
    if getattr(text, "use_bidirectional_attention", None) in (True, "all"):  # "vision" is of images alone
        return f"{config.model_type} reads in both directions (`use_bidirectional_attention` is set)"
    if not getattr(text, "is_causal", True):  # of any model: transformers' masks heed it
        return f"{config.model_type} reads in both directions (`is_causal` is off)"
    return None


def read_tokenizer(directory: Path) -> Any:
    """The tokenizer in `directory`; ModelFilesError if there is none or it does not load."""
    from transformers import AutoTokenizer

    if not any((directory / name).is_file() for name in TOKENIZER_FILES):
        raise ModelFilesError(
            f"{directory}: tokenizer missing: expected one of {', '.join(TOKENIZER_FILES)}, found none. "
            "Copy the tokenizer files of the base model there"
        )
    try:
        return AutoTokenizer.from_pretrained(str(directory), local_files_only=True)
    except Exception as error:  # tokenizers raises bare Exceptions for a file it cannot parse
        raise ModelFilesError(
            f"{directory}: the tokenizer does not load: {type(error).__name__}: {first_line(error)}. "
            "Copy the tokenizer files of the base model there again"
        ) from error


def head_dim(config: Any) -> int:
    """The dimension of one attention head: `head_dim` where the configuration has it, else hidden size over heads."""
    text = config.get_text_config()
    explicit = getattr(text, "head_dim", None)
    return int(explicit or text.hidden_size // text.num_attention_heads)


def check_vocabulary(tokenizer: Any, model: Any) -> None:
    """ModelFilesError if the tokenizer has ids that the model has no embedding for."""
    rows = model.get_input_embeddings().weight.shape[0]
    if tokenizer.vocab_size > rows:
        raise ModelFilesError(
            f"tokenizer: its {tokenizer.vocab_size:,} tokens exceed the model's {rows:,} embeddings, "
            "so it belongs to another model. Put the model's own tokenizer files beside its weights"
        )


def eos_token_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Those of the generation config (one or a list), then the tokenizer's own: tuning often changes only one."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = list(configured) if isinstance(configured, (list, tuple)) else [configured]
    return tuple(dict.fromkeys(int(token) for token in (*ids, tokenizer.eos_token_id) if token is not None))


def _names(names: Any) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)
