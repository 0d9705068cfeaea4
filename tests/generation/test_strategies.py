"""Batched generation gives the answers of `generate`, one prompt a call, token for token."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.config import GENERATION_STRATEGIES, REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation import STRATEGIES
from evalsuite.generation.stopping import StopWatcher, cut_at_stop, decode
from evalsuite.types import EncodedPrompt, Generation
from tests.tiny import ARCHITECTURES, tiny_loaded, tiny_tokenizer

TOKENIZER = tiny_tokenizer()
token = st.integers(2, len(TOKENIZER) - 1)


@st.composite
def prompts(draw: st.DrawFn) -> list[EncodedPrompt]:
    """Ragged prompts, one-token ones and duplicates among them, each with its own length limit and stop strings."""
    bodies = draw(st.lists(st.lists(token, min_size=1, max_size=12).map(tuple), min_size=1, max_size=6))
    bodies += draw(st.lists(st.sampled_from(bodies), max_size=2))
    stops = st.lists(st.sampled_from(["\n", "e", "ạ", "An", "zz"]), max_size=2).map(tuple)
    return [
        EncodedPrompt(id=str(i), prompt_ids=body, max_new_tokens=draw(st.integers(1, 8)), stop=draw(stops))
        for i, body in enumerate(bodies)
    ]


def generate(
    architecture: str, strategy: str, batch: list[EncodedPrompt], options: ExecutionOptions | None = None
) -> dict[str, Generation]:
    options = options or ExecutionOptions(token_budget=64)
    with TransformersEngine(tiny_loaded(architecture), options) as engine:
        outcomes = list(engine.generate(batch, strategy))
    assert len(outcomes) == len(batch)
    return {outcome.id: outcome for outcome in outcomes}


def same(got: dict[str, Generation], expected: dict[str, Generation]) -> None:
    assert got.keys() == expected.keys()
    for id_, reference in expected.items():
        path = got[id_]
        assert (path.text, path.token_ids, path.finish_reason) == (
            reference.text,
            reference.token_ids,
            reference.finish_reason,
        )
        assert path.logprobs == pytest.approx(reference.logprobs, abs=1e-4)


@pytest.mark.parametrize("kv_cache", [True, False], ids=["cached", "recomputed"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@given(batch=prompts())
def test_answers_are_the_references(architecture: str, kv_cache: bool, batch: list[EncodedPrompt]) -> None:
    reference = generate(architecture, REFERENCE_STRATEGY, batch)
    path = generate(architecture, "padded", batch, ExecutionOptions(token_budget=64, kv_cache=kv_cache))
    same(path, reference)


def test_the_reference_is_the_same_without_a_cache() -> None:
    batch = [EncodedPrompt(id=str(n), prompt_ids=tuple(range(2, 4 + n)), max_new_tokens=6) for n in range(4)]
    cached = generate("qwen3", REFERENCE_STRATEGY, batch)
    recomputed = generate("qwen3", REFERENCE_STRATEGY, batch, ExecutionOptions(kv_cache=False))
    assert {i: g.token_ids for i, g in cached.items()} == {i: g.token_ids for i, g in recomputed.items()}


def test_an_end_of_sequence_token_ends_its_own_row_only() -> None:
    """The token that one row chooses third is declared to end a sequence."""
    batch = [EncodedPrompt(id=str(i), prompt_ids=(2 + i, 40), max_new_tokens=8) for i in range(12)]
    third = generate("llama", REFERENCE_STRATEGY, batch)["0"].token_ids[2]
    loaded = replace(tiny_loaded("llama"), eos_token_ids=(third,))
    ended = {}
    for name in STRATEGIES:
        with TransformersEngine(loaded, ExecutionOptions()) as engine:
            ended[name] = {o.id: (o.token_ids, o.finish_reason) for o in engine.generate(batch, name)}
    assert {reason for _, reason in ended[REFERENCE_STRATEGY].values()} == {"eos", "length"}
    assert ended["padded"] == ended[REFERENCE_STRATEGY]


@pytest.mark.parametrize(("kv_cache", "tokens", "padding"), [(True, 8 + 2 + 2, 3), (False, 8 + 10 + 12, 9)])
def test_counters_are_exact(kv_cache: bool, tokens: int, padding: int) -> None:
    """Prompts of 4 and 1 tokens, three new tokens each: one prefill and two steps."""
    batch = [
        EncodedPrompt(id="a", prompt_ids=(40, 41, 42, 43), max_new_tokens=3),
        EncodedPrompt(id="b", prompt_ids=(50,), max_new_tokens=3),
    ]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(kv_cache=kv_cache)) as engine:
        list(engine.generate(batch, "padded"))
        c = engine.counters
    assert (c.forward_passes, c.tokens_computed, c.padding_tokens, c.logit_rows) == (3, tokens, padding, 6)
    assert c.distinct_tokens == 4 + 1 + 2 * 2
    bytes_per_token = 2 * 2 * 2 * 8 * 4  # keys and values, layers, kv heads, head_dim, fp32
    assert c.kv_bytes == (2 * 6 * bytes_per_token if kv_cache else 0)


def test_finished_rows_leave_the_batch() -> None:
    short = [EncodedPrompt(id=f"s{i}", prompt_ids=(40 + i, 7), max_new_tokens=1) for i in range(3)]
    long = [EncodedPrompt(id="l", prompt_ids=(60, 7), max_new_tokens=9)]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        list(engine.generate(short + long, "padded"))
        assert engine.counters.tokens_computed == 4 * 2 + 8


@given(st.lists(token, max_size=12), st.lists(st.text("e\nAạ", min_size=1, max_size=2), max_size=2))
def test_the_stop_watcher_misses_no_stop_string(ids: list[int], stop: list[str]) -> None:
    watcher = StopWatcher(TOKENIZER)
    for n in range(1, len(ids) + 1):
        found = cut_at_stop(decode(TOKENIZER, ids[:n]), stop)[1]
        assert watcher.stops(ids[:n], stop) == found
        if found:
            break


def test_text_is_cut_before_the_first_stop_string() -> None:
    assert cut_at_stop("Hà Nội\n\nCâu hỏi", ("Câu", "\n")) == ("Hà Nội", True)
    assert cut_at_stop("Hà Nội", ("\n",)) == ("Hà Nội", False)


def test_the_names_that_cases_are_listed_by_are_the_strategies_there_are() -> None:
    assert tuple(STRATEGIES) == GENERATION_STRATEGIES
