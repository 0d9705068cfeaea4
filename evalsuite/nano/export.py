"""From a training checkpoint to what `from_pretrained` reads: configuration and bf16 weights in safetensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, Qwen3Config, Qwen3ForCausalLM

MAX_POSITIONS = 4096


def qwen3_config(shape: dict[str, int], *, eos: int, pad: int) -> Qwen3Config:
    """The transformers configuration of a twin of that shape."""
    return Qwen3Config(
        vocab_size=shape["vocab"],
        hidden_size=shape["hidden"],
        num_hidden_layers=shape["layers"],
        num_attention_heads=shape["heads"],
        num_key_value_heads=shape["kv_heads"],
        head_dim=shape["head_dim"],
        intermediate_size=shape["inner"],
        max_position_embeddings=MAX_POSITIONS,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        eos_token_id=eos,
        pad_token_id=pad,
    )


def to_transformers(shape: dict[str, int], state: dict[str, Any], *, eos: int, pad: int) -> PreTrainedModel:
    """The trained weights in transformers' own class, fp32. Raises `RuntimeError` if a weight finds no place."""
    model: PreTrainedModel = Qwen3ForCausalLM(qwen3_config(shape, eos=eos, pad=pad))
    left = model.load_state_dict(state, strict=False)
    if left.unexpected_keys or left.missing_keys != ["lm_head.weight"]:
        raise RuntimeError(f"weights without a place: {left}")
    model.tie_weights()
    return model


def export(checkpoint: Path, folder: Path) -> None:
    """Round the checkpoint to bf16 and write it beside the tokenizer in `folder`."""
    from evalsuite.nano.tokenizer import Encoder

    encoder = Encoder(folder)
    saved = torch.load(checkpoint, weights_only=True)
    model = to_transformers(saved["shape"], saved["state"], eos=encoder.end_of_text, pad=encoder.pad).bfloat16()
    settings = {"do_sample": False, "eos_token_id": encoder.end_of_text, "pad_token_id": encoder.pad}
    model.generation_config = GenerationConfig.from_dict(settings)
    model.save_pretrained(folder)
