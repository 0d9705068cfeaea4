"""Each optimisation alone, against the same work without it, and judged by the reference without it."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks.claims.generating import workload_of
from benchmarks.documents import documents
from benchmarks.side_by_side import Judge, named_skips, side_by_side
from evalsuite.config import KV_CACHE_DTYPES
from evalsuite.harness.plan import plan_case
from evalsuite.measure.timing import seconds

LONG_TOKENS, LONG_NEW_TOKENS = 32_768, 16
LONG_REQUESTS, LONG_REFERENCES = {"cuda": 256, "cpu": 4}, {"cuda": 4, "cpu": 2}
"""By device. All are answered by `continuous` (--limit: fewer), and a few of them by the reference."""
LONG_WARM_UP = 2
"""Requests. More would take as long as what is timed."""


@pytest.fixture(scope="module")
def judge(evaluation_session):
    return Judge(evaluation_session)


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


# The two below are no cases of the gate: they take long, and one of them compiles for minutes.


@pytest.mark.benchmark(timer=seconds)
def test_compiled_generation(evaluation_session, benchmark, request, judge):
    session = evaluation_session
    if not benchmark.enabled:
        pytest.skip("what compiling gains is known by timing, which is off; for generation it takes minutes")
    with named_skips(request.config):
        case = plan_case(
            session,
            request.node.name,
            "viquad",
            "padded",
            change={"torch_compile": True},
            baseline={"torch_compile": False},
        )
        asked = session.sample(workload_of(session, "viquad"))
        ways = {"as it is": (case.baseline, asked), "compiled": (case.path, asked)}
        verdict = side_by_side(session, benchmark, case.name, ways, judge=judge, about={"torch_compile"})
    if session.options.config.accuracy_is_meaningful:  # random weights decide by near ties
        assert verdict.faithful, verdict.summary()


@pytest.mark.benchmark(timer=seconds)
@pytest.mark.parametrize("kv_cache_dtype", KV_CACHE_DTYPES)
def test_long_contexts(evaluation_session, benchmark, request, judge, kv_cache_dtype):
    """As many as memory would not hold at once; what a quantised cache does to answers is reported, and no fault."""
    session = evaluation_session
    with named_skips(request.config):
        case = plan_case(
            session,
            request.node.name,
            "vietnews",
            "continuous",
            change={"kv_cache_dtype": kv_cache_dtype},
            baseline={"strategy": "unbatched"},
        )
        device, window = device_and_window(session, case.path.config)
        benchmark.extra_info["allowed_bytes"] = allowed = allowed_bytes(device, case.path.execution.memory_fraction)
        asked = documents(
            workload_of(session, "vietnews"),
            tokens=LONG_TOKENS if window is None else min(LONG_TOKENS, window - LONG_NEW_TOKENS),
            number=session.options.limit or LONG_REQUESTS[device.type],
            new_tokens=LONG_NEW_TOKENS,
        )
        few = asked.only(asked.ids[:: max(len(asked) // LONG_REFERENCES[device.type], 1)])
        plain = dataclasses.replace(case.baseline, config=session.plain(case.path.config))
        ways = {"unbatched": (plain, few), "continuous": (case.path, asked)}
        about = {"strategy", "kv_cache_dtype"}
        verdict = side_by_side(session, benchmark, case.name, ways, judge=judge, about=about, warm_up=LONG_WARM_UP)
    assert allowed is None or benchmark.extra_info["peak_bytes"]["continuous"] <= allowed
    if kv_cache_dtype == "auto" and session.options.config.accuracy_is_meaningful:
        assert verdict.faithful, verdict.summary()


def device_and_window(session, config):
    from evalsuite.runner import context_window

    loaded = session.pool.get(config)
    return loaded.device, context_window(loaded.model)


def allowed_bytes(device, memory_fraction):
    """Of a GPU's memory, what --memory-fraction allows; None elsewhere, where it says nothing."""
    import torch

    if device.type != "cuda":
        return None
    return int(memory_fraction * torch.cuda.get_device_properties(device).total_memory)
