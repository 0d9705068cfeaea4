"""Each optimisation alone, against the same work without it, and judged by the reference without it."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_dtype(evaluate_case, dtype):
    evaluate_case("mmlu", "padded", change={"dtype": dtype}, baseline={"dtype": "float32"})


@pytest.mark.parametrize("attention", ["sdpa", "flex_attention", "flash_attention_2", "flash_attention_3"])
def test_attention(evaluate_case, attention):
    evaluate_case("mmlu", "padded", change={"attention": attention}, baseline={"attention": "eager"})


@pytest.mark.parametrize("torch_compile", [True], ids=["on"])
def test_compile(evaluate_case, torch_compile):
    evaluate_case("mmlu", "padded", change={"torch_compile": torch_compile}, baseline={"torch_compile": False})


@pytest.mark.parametrize("kv_cache", [True], ids=["on"])
def test_kv_cache(evaluate_case, kv_cache):
    evaluate_case("viquad", "padded", change={"kv_cache": kv_cache}, baseline={"kv_cache": False})


@pytest.mark.parametrize("batch_size", [8, 32, 128])
def test_batch_size(evaluate_case, batch_size):
    evaluate_case("mmlu", "padded", change={"batch_size": batch_size}, baseline={"batch_size": 1})


@pytest.mark.parametrize("baseline", ["padded"])
def test_prefix_tree(evaluate_case, baseline):
    evaluate_case("mmlu", "packed", baseline={"strategy": baseline})
