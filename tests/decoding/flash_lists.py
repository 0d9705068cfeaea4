"""What stands for FlashAttention, which no CPU runs."""

from __future__ import annotations

from typing import Any

import torch


class FlashLists:
    """As far as FlashAttention's functions are used: attention over what they are handed, by a list of keys a row."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def flash_attn_with_kvcache(self, q: Any, keys: Any, values: Any, **asked: Any) -> torch.Tensor:
        self.asked = asked
        table = asked.get("block_table", asked.get("page_table"))
        rows = (
            (keys, values) if table is None else (keys[table.long()].flatten(1, 2), values[table.long()].flatten(1, 2))
        )
        return self._attend(q[:, 0], *rows, asked["cache_seqlens"], asked["softmax_scale"])[:, None]

    def flash_attn_varlen_func(
        self, q: Any, keys: Any, values: Any, starts: Any, bounds: Any, most: int, longest: int, **asked: Any
    ) -> torch.Tensor:
        assert starts.tolist() == list(range(len(q) + 1))
        assert (most, longest) == (1, int(bounds.diff().max()))
        table = asked["block_table"].long()
        rows = keys[table].flatten(1, 2), values[table].flatten(1, 2)
        return self._attend(q, *rows, bounds.diff(), asked["softmax_scale"])

    def get_scheduler_metadata(self, *sizes: Any, qkv_dtype: torch.dtype) -> tuple[Any, ...]:
        return sizes

    def _attend(self, query: Any, keys: Any, values: Any, lengths: Any, scale: float) -> torch.Tensor:
        assert lengths.dtype == torch.int32
        out = []
        for row, length in enumerate(lengths.tolist()):
            own = [numbers[row, :length].transpose(0, 1) for numbers in (keys, values)]
            out.append(
                torch.nn.functional.scaled_dot_product_attention(
                    query[row][:, None], *own, scale=scale, enable_gqa=True
                )[:, 0]
            )
        return torch.stack(out)
