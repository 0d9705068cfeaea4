"""torch's own attentions: scaled_dot_product_attention, varlen_attn and flex_attention."""

from __future__ import annotations

import importlib
import inspect
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks.decoding.interface import Prepared, Unavailable
from benchmarks.decoding.layouts import BLOCK, pages, static_cache
from benchmarks.decoding.workloads import Case


def sdpa_as_transformers_calls_it(case: Case) -> Prepared:
    """With a mask, that repeats keys for every query head."""
    sdpa: Any = importlib.import_module("transformers.integrations.sdpa_attention")
    keys, values = static_cache(case)
    seen, query = _seen(case, keys.shape[2]), case.query[:, :, None]
    module = SimpleNamespace(num_key_value_groups=case.group, is_causal=True)
    return Prepared(lambda: sdpa.sdpa_attention_forward(module, query, keys, values, seen, scaling=case.scale)[0][:, 0])


def sdpa_with_gqa(case: Case) -> Prepared:
    keys, values = static_cache(case)
    seen, query = _seen(case, keys.shape[2]), case.query[:, :, None]

    def call() -> torch.Tensor:
        return scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=case.scale, enable_gqa=True)[
            :, :, 0
        ]

    return Prepared(call)


def sdpa_with_grouped_queries(case: Case) -> Prepared:
    """The query heads of a key head stand where queries do, so that no key is repeated."""
    keys, values = static_cache(case)
    query = case.query.view(len(case.query), -1, case.group, case.query.shape[-1])
    seen = _seen(case, keys.shape[2]).expand(-1, -1, case.group, -1)

    def call() -> torch.Tensor:
        return scaled_dot_product_attention(query, keys, values, attn_mask=seen, scale=case.scale).flatten(1, 2)

    return Prepared(call)


def _seen(case: Case, width: int) -> torch.Tensor:
    """[rows, 1, 1, width]: which are keys of the row."""
    return (torch.arange(width, device=case.device) < case.ints(case.lengths)[:, None])[:, None, None]


def varlen(case: Case, *, paged: bool) -> Prepared:
    """torch's own ragged attention, a query a row."""
    from torch.nn.attention.varlen import varlen_attn

    rows = len(case.query)
    known = inspect.signature(varlen_attn).parameters
    asked: dict[str, Any] = {"scale": case.scale}
    if "enable_gqa" in known:  # where it is not, groups of heads are taken unasked
        asked["enable_gqa"] = case.group > 1
    if paged:
        if "block_table" not in known:
            raise Unavailable(f"varlen_attn of torch {torch.__version__} takes no block table")
        keys, values, table = pages(case)
        asked |= {"seqused_k": case.ints(case.lengths), "block_table": table}
        bounds = None
    else:
        keys, values = case.at(np.concatenate([row[:end] for row, end in zip(case.slots, case.lengths, strict=True)]))
        bounds = case.bounds(case.lengths)
    attend: Any = partial(varlen_attn, case.query, keys, values, case.bounds([1] * rows), bounds, 1, case.longest)
    return Prepared(lambda: attend(**asked))


def flex(case: Case, **compile_options: Any) -> Prepared:
    """FlexAttention's kernel for few queries, over a static cache; on a CPU not compiled, as it then has no such."""
    from torch.nn.attention.flex_attention import flex_attention

    keys, values = static_cache(case)
    query, mask = case.query[:, :, None], block_mask(case, keys.shape[2])
    attend: Any = flex_attention
    asked: dict[str, Any] = {"block_mask": mask, "scale": case.scale, "enable_gqa": case.group > 1}
    if case.device.type == "cuda":
        attend = torch.compile(flex_attention, dynamic=False, fullgraph=True, **compile_options)
        asked["kernel_options"] = {"BACKEND": "TRITON_DECODE"}  # raises where that kernel cannot be had
    return Prepared(lambda: attend(query, keys, values, **asked)[:, :, 0])


def block_mask(case: Case, width: int) -> Any:
    """Blocks that a row sees in whole, which no mask is applied to, and the one that it sees in part.

    `create_block_mask` finds none in whole where there are fewer queries than a block has.
    """
    from torch.nn.attention.flex_attention import BlockMask

    lengths = case.ints(case.lengths)
    rows, columns = len(lengths), width // BLOCK
    whole = lengths // BLOCK
    every = torch.arange(columns, dtype=torch.int32, device=case.device).expand(rows, 1, 1, columns).contiguous()
    # The one in part comes first in its list; what stands behind it there is not read, and all stand there once.
    in_part = (every + whole[:, None, None, None]) % columns
    return BlockMask.from_kv_blocks(
        (lengths % BLOCK != 0).int()[:, None, None],
        in_part.int(),
        whole[:, None, None],
        every,
        BLOCK_SIZE=(BLOCK, BLOCK),
        mask_mod=lambda row, head, query, key: key < lengths[row],
        seq_lengths=(1, width),
    )
