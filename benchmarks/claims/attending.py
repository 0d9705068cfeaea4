"""Attention alone, as a model of Qwen3-4B's heads would call it: eager, sdpa's kernels, and FlashAttention packages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from evalsuite.capability import attention_reason

HEADS, KV_HEADS, HEAD_DIM = 32, 8, 128
"""Of Qwen3-4B."""
SHARE = {"cuda": 1, "cpu": 4}
"""A CPU is given one in so many of the heads, and fewer tokens: the ratios are the same, and sooner there."""
TOKENS = 16_384
"""In a batch, whatever the length of its rows."""


def attentions(length: int, device: str, dtype: torch.dtype) -> Mapping[str, Callable[[], torch.Tensor]]:
    """Name -> one causal forward over rows of `length` tokens; the plain ones first, the packages where they run."""
    share = SHARE[device]
    rows = TOKENS // share**2 // length or 1
    generator = torch.Generator(device).manual_seed(0)

    def draw(heads: int) -> torch.Tensor:
        return torch.randn(rows, heads, length, HEAD_DIM, device=device, dtype=dtype, generator=generator)

    query, key, value = draw(HEADS // share), draw(KV_HEADS // share), draw(KV_HEADS // share)
    ways = {
        "eager": _eager(query, key, value),
        "math": _sdpa(SDPBackend.MATH, query, key, value),
        "sdpa flash": _sdpa(SDPBackend.FLASH_ATTENTION, query, key, value),
    }
    for name, module in (("flash_attention_2", "flash_attn"), ("flash_attention_3", "flash_attn_interface")):
        if attention_reason(name, device, str(dtype).removeprefix("torch.")) is None:
            ways[name] = _package(module, query, key, value)
    return ways


def _eager(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Callable[[], torch.Tensor]:
    """transformers' own function for `attn_implementation="eager"`, with its additive causal mask."""
    from transformers.models.qwen3.modeling_qwen3 import eager_attention_forward

    length = query.shape[2]
    lowest = torch.finfo(query.dtype).min
    mask = torch.full((1, 1, length, length), lowest, device=query.device, dtype=query.dtype).triu(1)
    module = SimpleNamespace(num_key_value_groups=HEADS // KV_HEADS, training=False)
    scaling = HEAD_DIM**-0.5
    return lambda: eager_attention_forward(module, query, key, value, mask, scaling)[0].transpose(1, 2)


def _sdpa(
    backend: SDPBackend, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
) -> Callable[[], torch.Tensor]:
    def attend() -> torch.Tensor:
        with sdpa_kernel(backend):
            return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, enable_gqa=True)

    return attend


def _package(module: str, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Callable[[], torch.Tensor]:
    """A FlashAttention package, which wants [rows, tokens, heads, head_dim]."""
    import importlib

    attend = importlib.import_module(module).flash_attn_func
    q, k, v = (tensor.transpose(1, 2).contiguous() for tensor in (query, key, value))

    def run() -> torch.Tensor:
        result = attend(q, k, v, causal=True)
        return (result[0] if isinstance(result, tuple) else result).transpose(1, 2)

    return run
