"""What only a CUDA device can show of `continuous`: graphs, kernels in a whole model, the same bits in any company."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation._pooled import PooledForward
from evalsuite.loading import LoadedModel, load
from evalsuite.selftest import companies, compare, draw_prompts
from evalsuite.types import EncodedPrompt, Generation
from tests.attention.test_cuda import small  # noqa: F401  # a fixture

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

BUDGET = 2_048


@pytest.fixture(scope="module")
def exact() -> LoadedModel:
    return load(InferenceConfig(model="nano", dtype="float32"))


def prompts(loaded: LoadedModel, count: int, new_tokens: int = 12) -> list[EncodedPrompt]:
    return draw_prompts(count, vocabulary=len(loaded.tokenizer), seed=1, new_tokens=new_tokens, window=600)


def generate(
    loaded: LoadedModel, strategy: str, batch: list[EncodedPrompt], options: ExecutionOptions
) -> dict[str, Generation]:
    with TransformersEngine(loaded, options) as engine:
        outcomes = {outcome.id: outcome for outcome in engine.generate(batch, strategy)}
        assert not engine.fallbacks
        return outcomes


@pytest.mark.parametrize("rows", [None, 5, 16])
def test_tokens_are_the_references_in_fp32(exact: LoadedModel, rows: int | None) -> None:
    batch = prompts(exact, 60)
    expected = generate(exact, REFERENCE_STRATEGY, batch, ExecutionOptions())
    got = generate(exact, "continuous", batch, ExecutionOptions(batch_size=rows, token_budget=BUDGET))
    assert {i: g.token_ids for i, g in got.items()} == {i: g.token_ids for i, g in expected.items()}
    for id_, generation in got.items():
        assert generation.logprobs == pytest.approx(expected[id_].logprobs, abs=1e-3)


def test_drawn_tokens_are_the_references_in_fp32(exact: LoadedModel) -> None:
    batch = prompts(exact, 30)
    drawn = ExecutionOptions(temperature=0.8, top_k=50, top_p=0.9, token_budget=BUDGET)
    expected = generate(exact, REFERENCE_STRATEGY, batch, drawn)
    got = generate(exact, "continuous", batch, drawn)
    assert {i: g.token_ids for i, g in got.items()} == {i: g.token_ids for i, g in expected.items()}


def test_a_replayed_graph_writes_what_single_kernels_do(
    small: LoadedModel,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    batch = prompts(small, 80)
    options = ExecutionOptions(batch_size=16, token_budget=BUDGET)
    replayed = generate(small, "continuous", batch, options)
    monkeypatch.setattr(PooledForward, "_uses_graphs", False)
    assert generate(small, "continuous", batch, options) == replayed


def test_a_second_call_replays_the_graphs_of_the_first(
    small: LoadedModel,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    captured: list[int] = []
    real = PooledForward._capture
    monkeypatch.setattr(PooledForward, "_capture", lambda self, size: (captured.append(size), real(self, size))[1])
    batch = prompts(small, 40)
    with TransformersEngine(small, ExecutionOptions(batch_size=16, token_budget=BUDGET)) as engine:
        first = list(engine.generate(batch, "continuous"))
        sizes = list(captured)
        assert sizes and len(set(sizes)) == len(sizes)
        assert list(engine.generate(batch, "continuous")) == first
    assert captured == sizes


@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_tokens_and_numbers_are_the_same_bits_in_any_company(
    small: LoadedModel,  # noqa: F811
    temperature: float,
) -> None:
    batch = prompts(small, 300)
    asked = companies([prompt.id for prompt in batch], seed=0, alone=20)
    options = ExecutionOptions(deterministic=True, batch_size=32, token_budget=BUDGET, temperature=temperature)
    with TransformersEngine(small, options) as engine:
        found = list(compare(engine, batch, asked))
    assert [comparison.differing for comparison in found] == [()] * len(asked)


@pytest.mark.parametrize("kept_as", ["int8", "fp8"])
def test_a_quantised_cache_moves_numbers_little(small: LoadedModel, kept_as: str) -> None:  # noqa: F811
    if kept_as == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("fp8 needs a GPU of compute capability 8.9")
    batch = [replace(prompt, max_new_tokens=1) for prompt in prompts(small, 100)]
    exact = generate(small, "continuous", batch, ExecutionOptions(token_budget=BUDGET))
    short = generate(small, "continuous", batch, ExecutionOptions(token_budget=BUDGET, kv_cache_dtype=kept_as))
    differences = [abs(short[i].logprobs[0] - exact[i].logprobs[0]) for i in exact]
    assert 0 < sum(differences) / len(differences) < 0.1


def test_the_memory_fraction_is_obeyed(small: LoadedModel) -> None:  # noqa: F811
    total = torch.cuda.mem_get_info()[1]
    taken = torch.cuda.memory_allocated()
    fraction = (taken + 3 * 2**30) / total
    batch = prompts(small, 400, new_tokens=64)
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    options = ExecutionOptions(memory_fraction=fraction, token_budget=1_024, batch_size=64)
    got = generate(small, "continuous", batch, options)
    assert len(got) == len(batch)
    assert torch.cuda.max_memory_allocated() <= fraction * total
