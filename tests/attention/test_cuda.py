"""What only a CUDA device can show: the fused kernel against plain attention, and the same bits in any company."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from evalsuite import shapes
from evalsuite.attention.by_segment import segment_attention
from evalsuite.attention.interface import Kept, ScoreRule
from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.loading import LoadedModel, load
from evalsuite.planning.packs import Branch, Pack, packs
from evalsuite.selftest import companies, compare, draw_requests
from evalsuite.types import EncodedChoices

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SMALL = shapes.Shape(
    hidden_size=256,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=512,
    tie_word_embeddings=True,
)
HEADS = ((32, 8, 128), (28, 4, 128), (8, 8, 64), (8, 1, 256), (14, 2, 80), (71, 1, 64))
"""(query heads, key heads, head dimension)."""
BUDGET = 2_048


@pytest.fixture(scope="module")
def small() -> LoadedModel:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(shapes.SHAPES, "small", SMALL)
        return load(InferenceConfig(model="shape:small", dtype="bfloat16"))


def fused_attention(pack: Pack) -> Any:
    fused = pytest.importorskip("evalsuite.attention.fused", reason="needs Triton")
    return fused.fused_attention(pack, torch.device("cuda"))


def keys_and_values(shape: tuple[int, int, int], tokens: int, dtype: torch.dtype) -> list[torch.Tensor]:
    heads, kv_heads, dim = shape
    made = (torch.randn(tokens, n, dim, device="cuda", dtype=dtype) for n in (heads, kv_heads, kv_heads))
    return [tensor.transpose(0, 1) for tensor in made]  # the layout that models hand over


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize("window", [None, 33])
@pytest.mark.parametrize("softcap", [None, 5.0])
@pytest.mark.parametrize("shape", HEADS)
def test_the_fused_kernel_is_attention(
    shape: tuple[int, int, int], softcap: float | None, window: int | None, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    prefix = tuple(range(70))
    branches = [Branch(tokens=(*prefix[: 10 * n], *range(n, n + 17 * n + 1)), reads=(0,)) for n in range(8)]
    [pack] = packs(branches, token_budget=10_000)
    query, key, value = keys_and_values(shape, pack.used + 9, dtype)
    rule = ScoreRule(shape[2] ** -0.5, softcap, window)
    got = fused_attention(pack)(query, key, value, None, rule)
    exact = segment_attention(pack, torch.device("cuda"))
    expected = exact(query.double(), key.double(), value.double(), None, rule)
    assert not got[pack.used :].any(), "padding comes out as 0"
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5
    assert (got[: pack.used] - expected[: pack.used]).abs().max() < tolerance


def test_what_an_earlier_pack_hands_on_changes_no_bit() -> None:
    """One branch in one pack, and cut into packs of a hundred tokens."""
    torch.manual_seed(0)
    branch = Branch(tokens=tuple(range(700)), reads=(699,))
    query, key, value = keys_and_values((32, 8, 128), 700, torch.bfloat16)
    rule = ScoreRule(128**-0.5)
    [whole] = packs([branch], token_budget=1_000)
    expected = fused_attention(whole)(query, key, value, None, rule)
    for pack in packs([branch], token_budget=100):
        begin, end = pack.carried, pack.carried + pack.used
        kept: Kept | None = (key[:, :begin].contiguous(), value[:, :begin].contiguous()) if begin else None
        got = fused_attention(pack)(query[:, begin:end], key[:, begin:end], value[:, begin:end], kept, rule)
        assert torch.equal(got, expected[begin:end])


def test_the_packed_strategy_is_faithful_and_takes_no_step_down(small: LoadedModel) -> None:
    requests = draw_requests(60, vocabulary=100_000, seed=1, window=600)
    with TransformersEngine(small, ExecutionOptions(token_budget=BUDGET)) as engine:
        reference = {o.id: o.logprobs for o in engine.score(requests, REFERENCE_STRATEGY)}
        packed = {o.id: o.logprobs for o in engine.score(requests, "packed")}
        assert engine.fallbacks == []
    for id_, logprobs in reference.items():
        assert packed[id_] == pytest.approx(logprobs, abs=0.25)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**16),
    chosen=st.lists(st.integers(0, 199), min_size=1, max_size=120, unique=True),
)
def test_any_company_in_any_order_gives_the_same_bits(small: LoadedModel, seed: int, chosen: list[int]) -> None:
    requests = draw_requests(200, vocabulary=100_000, seed=seed % 5, window=900)
    company = [requests[index] for index in chosen]
    together, apart = bits(small, requests), bits(small, company)
    assert {request.id: together[request.id] for request in company} == apart


def test_thousands_of_results_have_no_other_bit(small: LoadedModel) -> None:
    requests = draw_requests(1_000, vocabulary=100_000, seed=7)
    asked = companies([request.id for request in requests], seed=7, alone=30)
    with TransformersEngine(small, ExecutionOptions(token_budget=BUDGET, deterministic=True)) as engine:
        found = list(compare(engine, requests, asked))
    assert sum(len(comparison.company.ids) for comparison in found) > 2_500
    assert [comparison.differing for comparison in found] == [()] * len(found)


def bits(loaded: LoadedModel, requests: list[EncodedChoices]) -> dict[str, tuple[float, ...]]:
    with TransformersEngine(loaded, ExecutionOptions(token_budget=BUDGET, deterministic=True)) as engine:
        return {outcome.id: outcome.logprobs for outcome in engine.score(requests, "packed")}
