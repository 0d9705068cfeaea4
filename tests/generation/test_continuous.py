"""`continuous` gives the answers of `generate`, one prompt a call, token for token, and computes no token twice."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.attention.pool import KeyValuePool
from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.determinism import NotDeterministic
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation import _pooled, continuous
from evalsuite.runner import ModelRunner
from evalsuite.types import EncodedPrompt
from tests.generation.test_strategies import generate, prompts, same
from tests.tiny import ARCHITECTURES, tiny_loaded


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(batch=prompts(), rows=st.none() | st.integers(1, 3), token_budget=st.sampled_from([1, 5, 64]))
def test_answers_are_the_references(
    architecture: str, batch: list[EncodedPrompt], rows: int | None, token_budget: int
) -> None:
    options = ExecutionOptions(token_budget=token_budget, batch_size=rows)
    same(generate(architecture, "continuous", batch, options), generate(architecture, REFERENCE_STRATEGY, batch))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(batch=prompts(), rows=st.none() | st.integers(1, 3))
def test_rows_that_have_ended_go_on_in_rounds_of_several_steps_and_disturb_nobody(
    architecture: str, batch: list[EncodedPrompt], rows: int | None
) -> None:
    """As on CUDA, where a batch is kept while rows of it have ended."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_pooled, "STEPS_ON_CPU", 4)
        got = generate(architecture, "continuous", batch, ExecutionOptions(batch_size=rows))
    same(got, generate(architecture, REFERENCE_STRATEGY, batch))


def test_a_row_that_ended_long_ago_stays_where_it_may_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_pooled, "STEPS_ON_CPU", 4)
    long = EncodedPrompt(id="long", prompt_ids=tuple(2 + i % 50 for i in range(60)), max_new_tokens=2)
    short = [EncodedPrompt(id=f"s{i}", prompt_ids=(5, 6 + i), max_new_tokens=30) for i in range(15)]
    got = generate("gpt2", "continuous", [long, *short])
    same(got, generate("gpt2", REFERENCE_STRATEGY, [long, *short]))


@given(batch=prompts())
def test_no_token_is_computed_twice_and_none_is_padding(batch: list[EncodedPrompt]) -> None:
    batch = [replace(request, stop=()) for request in batch]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        outcomes = list(engine.generate(batch, "continuous"))
        c = engine.counters
    assert c.padding_tokens == 0
    # What rows write one by one may happen to be the beginning of another prompt: the tree counts that once.
    fed = {request.prompt_ids + outcome.token_ids[:-1] for request in batch for outcome in outcomes}
    assert c.distinct_tokens <= c.tokens_computed <= sum(map(len, fed))


def test_counters_are_exact() -> None:
    """Prompts of 4 and 3 tokens that share two, three new tokens each: one prefill and two steps."""
    batch = [
        EncodedPrompt(id="a", prompt_ids=(40, 41, 42, 43), max_new_tokens=3),
        EncodedPrompt(id="b", prompt_ids=(40, 41, 50), max_new_tokens=3),
        EncodedPrompt(id="again", prompt_ids=(40, 41, 50), max_new_tokens=3),
    ]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        list(engine.generate(batch, "continuous"))
        c = engine.counters
    assert (c.forward_passes, c.tokens_computed, c.padding_tokens, c.logit_rows) == (3, 5 + 2 + 2, 0, 6)
    assert c.tokens_computed == c.distinct_tokens
    bytes_per_token = 2 * 2 * 2 * 8 * 4  # keys and values, layers, kv heads, head_dim, fp32
    assert c.kv_bytes == (5 + 2 * 2) * bytes_per_token  # slots of what is to be written are taken with the prompt


@pytest.mark.parametrize("kept_as", ["int8", "fp8"])
def test_a_quantised_cache_takes_a_quarter_and_moves_answers_little(kept_as: str) -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=tuple(range(2 + i, 14 + i)), max_new_tokens=1) for i in range(8)]
    exact = generate("qwen3", "continuous", batch)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(kv_cache_dtype=kept_as)) as engine:
        short = {outcome.id: outcome for outcome in engine.generate(batch, "continuous")}
        # 8 numbers a head: 8 bytes and a scale of 4, where there were 32.
        assert engine.counters.kv_bytes * 32 == 12 * kv_bytes_of(batch)
    differences = [abs(short[id_].logprobs[0] - exact[id_].logprobs[0]) for id_ in exact]
    assert 0 < max(differences) < 0.2


def kv_bytes_of(batch: list[EncodedPrompt]) -> int:
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        list(engine.generate(batch, "continuous"))
        return engine.counters.kv_bytes


@pytest.mark.parametrize("most", [40, 3])
def test_running_out_of_memory_halves_packs_and_batches_and_loses_no_answer(
    monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=tuple(range(2 + i, 22 + i)), max_new_tokens=6) for i in range(12)]
    expected = generate("llama", REFERENCE_STRATEGY, batch)
    real = ModelRunner.forward, ModelRunner.logits_at

    def small(call: Any) -> Any:
        def forward(self: ModelRunner, input_ids: torch.Tensor, *args: Any, **inputs: Any) -> Any:
            if input_ids.numel() > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            return call(self, input_ids, *args, **inputs)

        return forward

    monkeypatch.setattr(ModelRunner, "forward", small(real[0]))
    monkeypatch.setattr(ModelRunner, "logits_at", small(real[1]))
    with TransformersEngine(tiny_loaded("llama"), ExecutionOptions(token_budget=200)) as engine:
        got = {outcome.id: outcome for outcome in engine.generate(batch, "continuous")}
        assert [fallback.what for fallback in engine.fallbacks] == ["batch"]
    same(got, expected)


def test_a_pool_that_does_not_fit_is_halved_and_prompts_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=tuple(range(2 + i, 12 + i)), max_new_tokens=6) for i in range(12)]
    expected = generate("qwen3", REFERENCE_STRATEGY, batch)
    made: list[int] = []

    def small(slots: int, *shapes: Any, **settings: Any) -> KeyValuePool:
        made.append(slots)
        if slots > 80:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return KeyValuePool(slots, *shapes, **settings)

    monkeypatch.setattr(continuous, "KeyValuePool", small)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        same({outcome.id: outcome for outcome in engine.generate(batch, "continuous")}, expected)
        assert [fallback.what for fallback in engine.fallbacks] == ["kv_pool"] * (len(made) - 1)
    assert len(made) == 3 and made[0] // 4 == made[2]


def test_memory_bounds_how_many_prompts_are_at_it(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=tuple(range(2 + i, 12 + i)), max_new_tokens=6) for i in range(12)]
    bytes_per_token = 2 * 2 * 2 * 8 * 4
    monkeypatch.setattr(continuous, "free_bytes", lambda device: 100 * bytes_per_token)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(memory_fraction=0.5)) as engine:
        got = {outcome.id: outcome for outcome in engine.generate(batch, "continuous")}
        assert 25 * bytes_per_token < engine.counters.kv_bytes <= 49 * bytes_per_token
    same(got, generate("qwen3", REFERENCE_STRATEGY, batch))


def test_what_has_no_tree_attention_is_answered_by_padded_and_recorded() -> None:
    batch = [EncodedPrompt(id=str(i), prompt_ids=(2 + i, 7), max_new_tokens=3) for i in range(3)]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(kv_cache=False)) as engine:
        got = {outcome.id: outcome for outcome in engine.generate(batch, "continuous")}
        assert [(f.what, f.asked, f.got) for f in engine.fallbacks] == [("strategy", "continuous", "padded")]
    same(got, generate("qwen3", REFERENCE_STRATEGY, batch))


def test_on_the_cpu_it_promises_no_bits() -> None:
    with (
        TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(deterministic=True)) as engine,
        pytest.raises(NotDeterministic, match="kernels of cpu round by the shape of their input"),
    ):
        list(engine.generate([EncodedPrompt(id="a", prompt_ids=(2,), max_new_tokens=1)], "continuous"))


def test_a_prompt_at_the_end_of_the_window() -> None:
    loaded = tiny_loaded("gpt2")
    window = loaded.model.config.n_positions
    batch = [
        EncodedPrompt(id="full", prompt_ids=tuple(2 + i % 60 for i in range(window - 3)), max_new_tokens=3),
        EncodedPrompt(id="short", prompt_ids=(5, 6), max_new_tokens=9),
    ]
    same(generate("gpt2", "continuous", batch), generate("gpt2", REFERENCE_STRATEGY, batch))


def _a_token_more_each(count: int) -> list[EncodedPrompt]:
    """Prompts that end one after the other."""
    return [EncodedPrompt(id=str(i), prompt_ids=(5, 6 + i), max_new_tokens=2 + i) for i in range(count)]


def test_answers_are_handed_out_while_the_next_round_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    real = _pooled.PooledForward.decode

    def noted(self: Any, round_: Any, schedule: Any) -> Any:
        happened.append("step")
        return real(self, round_, schedule)

    monkeypatch.setattr(_pooled.PooledForward, "decode", noted)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(ignore_eos=True)) as engine:
        for outcome in engine.generate(_a_token_more_each(3), "continuous"):
            happened.append(outcome.id)
    assert happened == ["step", "step", "0", "step", "1", "2"]


def test_what_is_whole_is_handed_out_before_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    real, left = _pooled.PooledForward.decode, [2]

    def failing(self: Any, round_: Any, schedule: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise RuntimeError("the device is gone")
        return real(self, round_, schedule)

    monkeypatch.setattr(_pooled.PooledForward, "decode", failing)
    got = []
    with (
        TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(ignore_eos=True)) as engine,
        pytest.raises(RuntimeError, match="the device is gone"),
    ):
        for outcome in engine.generate(_a_token_more_each(4), "continuous"):
            got.append(outcome.id)
    assert got == ["0", "1"]


def test_answers_of_one_token_are_handed_out_before_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found to be whole when the next round is drawn."""

    def failing(*_: Any) -> Any:
        raise RuntimeError("the device is gone")

    monkeypatch.setattr(_pooled.PooledForward, "decode", failing)
    batch = [replace(request, max_new_tokens=1 if int(request.id) < 5 else 3) for request in _a_token_more_each(6)]
    got = []
    with (
        TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(ignore_eos=True)) as engine,
        pytest.raises(RuntimeError, match="the device is gone"),
    ):
        for outcome in engine.generate(batch, "continuous"):
            got.append(outcome.id)
    assert sorted(got) == ["0", "1", "2", "3", "4"]


def test_a_call_leaves_nothing_of_its_pool_behind_for_the_collector_of_cycles(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next pool is sized by the memory that is free then."""
    pools = []
    real = _pooled.PooledForward.start

    def noted(self: Any, pool: KeyValuePool) -> None:
        pools.append(weakref.ref(pool))
        real(self, pool)

    monkeypatch.setattr(_pooled.PooledForward, "start", noted)
    asked = [EncodedPrompt(id=str(i), prompt_ids=(2, 3 + i), max_new_tokens=4) for i in range(3)]
    gc.collect()
    gc.disable()
    try:
        generate("qwen3", "continuous", asked)
        assert [pool() for pool in pools] == [None]
    finally:
        gc.enable()
