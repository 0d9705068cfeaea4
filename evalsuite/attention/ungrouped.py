"""Attention of grouped heads in float32 over long prompts, without writing every score down.

torch's kernels that keep no scores take grouped heads (`enable_gqa`) in 16 bits only. In float32 a call of
`scaled_dot_product_attention` that asks for them ends in the kernel that writes down heads * queries * keys numbers:
128 GiB for 32 heads and 32,768 tokens. Where each query head has keys and values of its own, float32 has a kernel
that keeps none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

MOST_BYTES_OF_SCORES = 2**30
"""Of one layer. Below it, calls stay as the model makes them."""


class Ungrouped(TorchFunctionMode):
    """Within, `scaled_dot_product_attention` finds no groups: each query head has its own keys and values."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        given = dict(kwargs or {})
        if func is torch.nn.functional.scaled_dot_product_attention and given.pop("enable_gqa", False):
            given.update(zip(("query", "key", "value", "attn_mask", "dropout_p", "is_causal"), args, strict=False))
            args, heads = (), given["query"].shape[-3]
            for name in ("key", "value"):
                given[name] = given[name].repeat_interleave(heads // given[name].shape[-3], dim=-3)
        return func(*args, **given)


def without_all_scores(model: Any, *, heads: int, rows: int, tokens: int) -> AbstractContextManager[Any]:
    """What a forward of `model` on [rows, tokens] runs in: `Ungrouped` where its scores would take much memory.

    Args:
        heads: query heads of the layer that has most.
    """
    if model.dtype != torch.float32 or model.device.type != "cuda":
        return nullcontext()
    scores = rows * heads * tokens**2 * torch.float32.itemsize
    return Ungrouped() if scores > MOST_BYTES_OF_SCORES else nullcontext()
