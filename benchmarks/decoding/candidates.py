"""All candidates by name, in the order in which they are measured."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from benchmarks.decoding.flash_attention import flash_2, flash_2_varlen, flash_3
from benchmarks.decoding.interface import Candidate
from benchmarks.decoding.ours import ours
from benchmarks.decoding.torch_attention import (
    flex,
    sdpa_as_transformers_calls_it,
    sdpa_with_gqa,
    sdpa_with_grouped_queries,
    varlen,
)

OURS = "ours"
CANDIDATES: Mapping[str, Candidate] = {
    OURS: partial(ours, fixed=False),
    "ours, fixed spans": partial(ours, fixed=True),
    "sdpa, static cache, as transformers calls it": sdpa_as_transformers_calls_it,
    "sdpa, static cache, enable_gqa": sdpa_with_gqa,
    "sdpa, static cache, grouped queries": sdpa_with_grouped_queries,
    "flex_attention, static cache": flex,
    "torch varlen, packed keys": partial(varlen, paged=False),
    "torch varlen, block table": partial(varlen, paged=True),
    "flash-attn 2, block table": partial(flash_2, paged=True),
    "flash-attn 2, padded cache": partial(flash_2, paged=False),
    "flash-attn 2 varlen, block table": flash_2_varlen,
    "flash-attn 3, page table": partial(flash_3, paged=True),
    "flash-attn 3, padded cache": flash_3,
    "flash-attn 3, padded cache, planned ahead": partial(flash_3, planned=True),
    "flex_attention, static cache, autotuned": partial(flex, mode="max-autotune-no-cudagraphs"),
}
"""Ours come first: a fault on the device ends whatever comes after it. What is compiled for longest comes last."""
