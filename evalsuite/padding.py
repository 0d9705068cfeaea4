"""Rows of unequal length as one tensor.

On the right where each row is read at positions of its own: attention is causal, so real tokens never see the
padding behind them, and neither a mask nor position ids are needed.

On the left where rows go on being written: `[-1]` is then every row's own last token. Padding comes first, so it is
masked, and positions start again at 0 in every row: rotary models hide a fault there, models with absolute positions
(GPT-2) show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch


@dataclass(frozen=True, kw_only=True, slots=True)
class LeftPadded:
    """Inputs of one forward."""

    input_ids: torch.Tensor
    """[rows, longest], int64."""
    attention_mask: torch.Tensor | None
    """[rows, longest], int64, 0 on padding; None where no row is padded, so that kernels without a mask serve."""
    position_ids: torch.Tensor
    """[rows, longest], int64; 0 at each row's first token."""
    padding_tokens: int


def pad_left(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> LeftPadded:
    """Stack token sequences; shapes as in `LeftPadded`."""
    longest = max(map(len, rows))
    lengths = torch.tensor([len(row) for row in rows])
    input_ids = torch.tensor([[pad_id] * (longest - len(row)) + list(row) for row in rows])
    padding = longest - lengths  # [rows]
    position_ids = torch.arange(longest) - padding[:, None]  # negative on padding
    padding_tokens = int(padding.sum())
    mask = (position_ids >= 0).long() if padding_tokens else None
    return LeftPadded(
        input_ids=input_ids.to(device),
        attention_mask=None if mask is None else mask.to(device),
        position_ids=position_ids.clamp(min=0).to(device),
        padding_tokens=padding_tokens,
    )


def pad_right(rows: Sequence[Sequence[int]], *, pad_id: int, device: torch.device) -> tuple[torch.Tensor, int]:
    """Stack token sequences to [rows, longest], int64, and count the padding tokens."""
    longest = max(map(len, rows))
    input_ids = torch.tensor([list(row) + [pad_id] * (longest - len(row)) for row in rows])
    return input_ids.to(device), input_ids.numel() - sum(map(len, rows))
