"""Tiny random models whose answers depend on company unless somebody sees to it."""

from __future__ import annotations

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from tests.tiny import EOS, PAD, tiny_tokenizer

ORIGINAL = 16
"""Tokens up to which rotary frequencies are fixed."""

_COMMON: dict[str, Any] = {
    "vocab_size": len(tiny_tokenizer()),
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
    "max_position_embeddings": 256,
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
}
_LONGROPE = {
    "rope_type": "longrope",
    "rope_theta": 1e4,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": ORIGINAL,
}
_DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4}
_BY_LENGTH: dict[str, tuple[str, dict[str, Any]]] = {
    "longrope": ("phi3", {"original_max_position_embeddings": ORIGINAL, "rope_parameters": _LONGROPE}),
    "dynamic": ("llama", {"max_position_embeddings": ORIGINAL, "rope_parameters": _DYNAMIC}),
    "dynamic, by type of layer": (
        "gemma3_text",
        {
            "max_position_embeddings": ORIGINAL,
            "head_dim": 8,
            "query_pre_attn_scalar": 8,
            "sliding_window": 7,
            "layer_types": ["sliding_attention", "full_attention"],
            "rope_parameters": {
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
                "full_attention": _DYNAMIC,
            },
        },
    ),
}
ROTARY = tuple(_BY_LENGTH)

_TWO_LAYERS = ["linear_attention", "full_attention"]
_DELTA: dict[str, Any] = {
    "head_dim": 8,
    "layer_types": _TWO_LAYERS,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_EXPERTS: dict[str, Any] = {
    "num_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
_MAMBA: dict[str, Any] = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_d_state": 8,
    "mamba_n_groups": 1,
    "mamba_chunk_size": 8,
    "mamba_expand": 2,
}
_CONVOLUTION: dict[str, Any] = {"layer_types": ["conv", "full_attention"], "conv_L_cache": 3}
STATES: dict[str, dict[str, Any]] = {
    "bamba": {"attn_layer_indices": [1], **_MAMBA},
    "falcon_h1": {"mamba_d_ssm": 64, "bos_token_id": 2, **_MAMBA},
    "granitemoehybrid": {"layer_types": ["mamba", "attention"], "shared_intermediate_size": 16, **_MAMBA, **_EXPERTS},
    "jamba": {
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "mamba_d_state": 8,
        "mamba_dt_rank": 4,
    },
    "lfm2": _CONVOLUTION,
    "lfm2_moe": {**_CONVOLUTION, **_EXPERTS, "num_dense_layers": 1},
    "minimax": {"layer_types": _TWO_LAYERS, "head_dim": 8, "num_local_experts": 4},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention"],
        "head_dim": 8,
        "mamba_num_heads": 8,
        "mamba_head_dim": 8,
        "ssm_state_size": 8,
        "n_groups": 1,
        "chunk_size": 8,
    },
    "olmo_hybrid": _DELTA,
    "qwen3_5_moe_text": {**_DELTA, **_EXPERTS},
    "qwen3_5_text": _DELTA,
    "qwen3_next": {**_DELTA, **_EXPERTS},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32, "attention_window_size": 256},
    "zamba2": {
        "layers_block_type": ["mamba", "hybrid"],
        "hybrid_layer_ids": [1],
        "n_mamba_heads": 8,
        "mamba_ngroups": 1,
        "num_mem_blocks": 1,
        **_MAMBA,
    },
}
"""By model type: what a model with layers of a state has beyond the common."""


def by_length(name: str) -> Any:
    """A fresh fp32 model of `ROTARY`."""
    return _make(*_BY_LENGTH[name])


def with_state(model_type: str) -> Any:
    """A fresh fp32 model of `STATES`."""
    return _make(model_type, STATES[model_type])


def _make(model_type: str, settings: dict[str, Any]) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**{**_COMMON, **settings})).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1 and parameter.std() < 1e-3:  # a weight that would make a layer say nothing
            torch.nn.init.normal_(parameter.requires_grad_(False), std=0.3)
    return model
