"""FlashAttention 2 and 3, where they are installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

import torch

from benchmarks.decoding.interface import Prepared, Unavailable
from benchmarks.decoding.layouts import padded_slots, pages
from benchmarks.decoding.workloads import Case


def flash_2(case: Case, *, paged: bool) -> Prepared:
    flash = _package("flash_attn", "flash-attn")
    keys, values, *table = pages(case) if paged else case.at(padded_slots(case))
    asked = {"cache_seqlens": case.ints(case.lengths), "softmax_scale": case.scale}
    asked |= {"block_table": table[0]} if paged else {}
    return Prepared(lambda: flash.flash_attn_with_kvcache(case.query[:, None], keys, values, **asked)[:, 0])


def flash_2_varlen(case: Case) -> Prepared:
    flash = _package("flash_attn", "flash-attn")
    keys, values, table = pages(case)
    bounds = case.bounds([1] * len(case.query)), case.bounds(case.lengths)
    asked = {"softmax_scale": case.scale, "block_table": table}
    return Prepared(lambda: flash.flash_attn_varlen_func(case.query, keys, values, *bounds, 1, case.longest, **asked))


def flash_3(case: Case, *, paged: bool = False, planned: bool = False) -> Prepared:
    """`planned`: the kernel's schedule is made ahead of the call, as one serves all layers of a step."""
    flash = _package("flash_attn_interface", "flash-attn-3")
    keys, values, *table = pages(case) if paged else case.at(padded_slots(case))
    asked = {"cache_seqlens": case.ints(case.lengths), "softmax_scale": case.scale}
    asked |= {"page_table": table[0]} if paged else {}
    if planned:
        rows, heads, dim = case.query.shape
        width, kv_heads = keys.shape[1:3]
        asked["scheduler_metadata"] = flash.get_scheduler_metadata(
            rows, 1, width, heads, kv_heads, dim, asked["cache_seqlens"], qkv_dtype=case.query.dtype
        )

    def call() -> torch.Tensor:
        out: torch.Tensor = flash.flash_attn_with_kvcache(case.query[:, None], keys, values, **asked)
        return out[:, 0]

    return Prepared(call)


def _package(module: str, name: str) -> Any:
    if importlib.util.find_spec(module) is None:
        raise Unavailable(f"the package {name} is not installed")
    return importlib.import_module(module)
