"""Rows of unequal length as one tensor: padded on the left, masked, with positions that start at 0 in every row.

Left, because what is read stands at the right end of each row: `[-1]` is then every row's own last token.
Positions restart because padding must not move them: rotary models hide such a fault, models with
absolute positions (GPT-2) show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class PaddedBatch:
    """Inputs of one forward."""

    input_ids: torch.Tensor
    """[rows, longest], int64."""
    attention_mask: torch.Tensor | None
    """[rows, longest], int64, 0 on padding; None where no row is padded, so that kernels without a mask serve."""
    position_ids: torch.Tensor
    """[rows, longest], int64; 0 at each row's first token."""
    padding_tokens: int


def pad_left(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> PaddedBatch:
    """Stack token sequences; shapes as in `PaddedBatch`."""
    longest = max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    input_ids = torch.tensor([[pad_id] * (longest - len(row)) + list(row) for row in rows])
    padding = longest - lengths  # [rows]
    position_ids = torch.arange(longest) - padding[:, None]  # negative on padding
    padding_tokens = int(padding.sum())
    mask = (position_ids >= 0).long() if padding_tokens else None
    return PaddedBatch(
        input_ids=input_ids.to(device),
        attention_mask=None if mask is None else mask.to(device),
        position_ids=position_ids.clamp(min=0).to(device),
        padding_tokens=padding_tokens,
    )
