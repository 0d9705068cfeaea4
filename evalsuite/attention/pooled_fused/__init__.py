"""A pool of keys and values as Triton kernels work on it; `pooled_plain.py` does the same in torch.

Keys and values are put into it (`store.py`), and attended to by packs of prompts (`prompts.py`) and by steps of
decoding (`steps.py`). Importing this needs Triton.
"""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.attention.pool import LayerShape
from evalsuite.attention.pooled_fused.prompts import copied_bytes, fused_prefill
from evalsuite.attention.pooled_fused.steps import (
    DecodeWorkspace,
    decode_workspace,
    decode_workspace_bytes,
    fused_decode,
    most_cells,
    most_members,
)
from evalsuite.attention.pooled_fused.store import fused_store

__all__ = [
    "DecodeWorkspace",
    "decode_workspace",
    "fused_decode",
    "fused_prefill",
    "fused_store",
    "most_cells",
    "most_members",
    "workspace_bytes",
]


def workspace_bytes(
    *, cells: int, heads: int, value_dim: int, shapes: Sequence[LayerShape], tokens: int, quantised: bool
) -> int:
    """What steps and packs take beside the pool; arguments as of `decode_workspace` and `copied_bytes`.

    Args:
        quantised: whether the pool keeps numbers in 8 bits, so that packs copy.
    """
    copied = copied_bytes(shapes, tokens=tokens) if quantised else 0
    return decode_workspace_bytes(cells=cells, heads=heads, value_dim=value_dim) + copied
