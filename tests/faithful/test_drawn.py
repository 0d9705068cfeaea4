"""Drawn answers are judged by how far the draw is from the other token, in the nats that the noise is measured in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.faithful import NOISE_CAP, Verdict, compare_generations
from evalsuite.generation import padded
from evalsuite.generation.reach import KEPT, LEVELS, reach
from evalsuite.generation.sampling import Sampling, draw_tokens, uniforms
from evalsuite.generation.teacher_forcing import TeacherForced
from evalsuite.types import EncodedPrompt, Generation
from tests.faithful.verdicts import TEXTS, Plant, generation_verdict
from tests.tiny import ARCHITECTURES, make_model, tiny_loaded, wrap

PLAIN = Sampling(temperature=0.7)
FILTERED = [
    Sampling(temperature=0.8, top_k=12, top_p=0.9),
    Sampling(temperature=1.3, top_p=0.7),
    Sampling(temperature=0.5, top_k=3),
    Sampling(temperature=1.0, top_p=0.05),
]
OPTIONS = ExecutionOptions(temperature=1.0, top_p=0.9, top_k=60)


def one(logits: Sequence[float], u: float, sampling: Sampling, token: int = 0) -> dict[int, float]:
    """Reach by token at one position."""
    (found,) = reach(torch.tensor([logits]), [u], sampling, [token])
    return dict(found)


@given(gap=st.floats(-5, 5), temperature=st.floats(0.1, 4))
def test_of_two_tokens_and_a_draw_in_the_middle_it_is_the_greedy_margin(gap: float, temperature: float) -> None:
    found = one([0.0, gap], 0.5, Sampling(temperature=temperature))
    assert max(found.values()) == pytest.approx(abs(gap), abs=1e-5)
    assert min(found.values()) == pytest.approx(0.0, abs=1e-5)


def random_rows(seed: int, rows: int = 16, vocab: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [rows, vocab], and draws [rows]."""
    logits = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 2
    return logits, torch.from_numpy(uniforms(seed, "reach", rows))


@pytest.mark.parametrize("sampling", [PLAIN, *FILTERED], ids=str)
@given(seed=st.integers(0, 2**31), error=st.floats(1e-3, NOISE_CAP / 2))
def test_no_error_gives_a_token_that_is_further_than_twice_the_error(
    sampling: Sampling, seed: int, error: float
) -> None:
    logits, draws = random_rows(seed)
    signs = torch.randn(logits.shape, generator=torch.Generator().manual_seed(seed + 1)).sign()
    there = draw_tokens(logits + signs * error, draws, sampling)
    found = reach(logits, draws.tolist(), sampling, there.tolist())
    # Where filters have a part in it, up to the next level.
    most = 2 * error if sampling.keeps_all else next((x for x in LEVELS if x >= 2 * error), math.inf)
    for token, row in zip(there.tolist(), found, strict=True):
        assert row[token] <= most * 1.001


@given(seed=st.integers(0, 2**31))
def test_an_error_of_half_the_reach_in_the_worst_direction_gives_the_token(seed: int) -> None:
    logits, draws = random_rows(seed, rows=1, vocab=20)
    drawn = int(draw_tokens(logits, draws, PLAIN))
    for token, distance in one(logits[0].tolist(), float(draws), PLAIN).items():
        if 0.01 < distance < 3:
            # All that stands on the far side of the boundary that must move past the draw gains, the rest loses.
            gains = torch.arange(20) >= token if token > drawn else torch.arange(20) <= token
            push = torch.where(gains, 1.0, -1.0) * distance / 2
            assert draw_tokens(logits + push * 1.01, draws, PLAIN) != drawn
            assert (int(draw_tokens(logits + push * 1.01, draws, PLAIN)) - token) * (token - drawn) >= 0
            assert (int(draw_tokens(logits + push * 0.99, draws, PLAIN)) - token) * (token - drawn) < 0


def test_a_token_that_the_filters_leave_out_by_far_has_no_reach() -> None:
    found = one([0.0, 0.1, -3.0, -3.1], 0.9, Sampling(temperature=1.0, top_k=2))
    assert found.keys() == {0, 1}
    edge = one([0.0, 0.1, -3.0, -3.05], 0.9999, Sampling(temperature=1.0, top_k=3))
    assert edge[3] == LEVELS[-3] == 0.0625, "0.05 from being kept, and rounded up to a level"


def test_as_many_tokens_are_kept_as_are_said_and_the_own_one() -> None:
    rising = torch.arange(500) * 1e-3
    draws, sampling = [0.5, 0.5], Sampling(temperature=1.0, top_k=400)
    nearest, far = reach(rising.expand(2, -1), draws, sampling, [320, 490])
    assert len(nearest) == KEPT
    assert far.keys() == {490, *nearest}
    (broken,) = reach(torch.full((1, 5), math.nan), [0.5], Sampling(temperature=1.0, top_p=0.5), [1])
    assert broken == {}


@pytest.mark.parametrize("filtered", [False, True])
def test_unlikely_tokens_between_two_likely_ones_are_no_further_than_the_next_outwards(filtered: bool) -> None:
    """A draw at the boundary of 100 and 900: rounding may give any of the 799 between, more than are kept."""
    logits = torch.zeros(1, 1000)
    logits[0, [100, 900]] = 20.0
    u = float(logits.softmax(dim=-1)[0, :101].sum()) - 1e-6
    sampling = Sampling(temperature=1.0)
    exact = {token: one(logits[0].tolist(), u, sampling, token=token)[token] for token in (500, 899, 900)}
    (found,) = reach(logits, [u], sampling, [100])
    forced = TeacherForced(id="q", logprobs=(-1.0,), best=({},), reach=(found,), filtered=filtered)
    assert 500 not in found
    for token in (500, 899, 900):
        margin = forced.margin(0, 100, token)
        if filtered and token not in found:
            assert margin is None
        else:
            assert margin is not None
            assert exact[token] <= margin <= max(2 * exact[token], LEVELS[0])
    assert forced.margin(0, 100, 99 if filtered else 999) is None


def generation(*tokens: int) -> dict[str, Generation]:
    return {
        "q": Generation(
            id="q", text=str(tokens), token_ids=tokens, logprobs=(-1.0,) * len(tokens), finish_reason="length"
        )
    }


@pytest.mark.parametrize(
    ("here", "margin", "faithful"),
    [
        ({2: 0.0, 9: 0.5e-4}, 0.5e-4, True),
        ({2: 0.5e-4, 9: 0.0}, 0.5e-4, True),  # fp32 draws what the path did
        ({2: 0.0, 9: 0.5}, 0.5, False),
        ({2: 0.3, 9: 0.0}, 0.3, False),
        ({2: 0.0, 8: 0.0}, None, False),
        ({9: 0.0}, None, False),
    ],
)
def test_a_flip_is_judged_by_the_reach_of_both_tokens(here: dict[int, float], margin: float, faithful: bool) -> None:
    """The path chose 9 where the reference chose 2; that both are near in probability says nothing."""
    forced = TeacherForced(id="q", logprobs=(-1.0,) * 3, best=({9: -1.0},) * 3, reach=({1: 0.0}, here, {}))
    verdict = compare_generations(reference=generation(1, 2, 3), path=generation(1, 9, 3), reference_fp32={"q": forced})
    assert (verdict.flips[0].margin, verdict.faithful) == (margin, faithful)


PROMPTS = [
    EncodedPrompt(id=str(i), prompt_ids=tuple(2 + (i * 7 + j * 13) % 300 for j in range(2 + i % 9)), max_new_tokens=8)
    for i in range(24)
]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_another_dtype_draws_otherwise_is_rounding(architecture: str) -> None:
    """bf16 flips half of the answers, each near a boundary; without margins all of them would be red."""
    coarse = wrap(make_model(architecture).to(torch.bfloat16))
    with TransformersEngine(coarse, OPTIONS) as engine:
        answers = {o.id: o for o in engine.generate(PROMPTS, REFERENCE_STRATEGY)}
    with TransformersEngine(tiny_loaded(architecture), OPTIONS) as engine:
        path = {o.id: o for o in engine.generate(PROMPTS, "padded")}
        fp32 = {o.id: o for o in engine.teacher_force(PROMPTS, list(answers.values()))}
        sure = {o.id: o for o in engine.teacher_force(PROMPTS, list(path.values()))}
    verdict = compare_generations(reference=answers, path=path, reference_fp32=fp32)
    assert len(verdict.flips) > 5
    assert all(flip.margin is not None and flip.margin <= NOISE_CAP for flip in verdict.flips)
    assert sum(flip.excused for flip in verdict.flips) >= len(verdict.flips) - 1
    for id_, forced in sure.items():
        assert forced.reach is not None
        own = [row[token] for row, token in zip(forced.reach, path[id_].token_ids, strict=True)]
        assert max(own) < 1e-4, "in fp32 the draw gives what the fp32 path drew"


def draws_a_step_late(monkeypatch: pytest.MonkeyPatch) -> None:
    real = padded.draws_of

    def late(options: ExecutionOptions, request: EncodedPrompt) -> list[float]:
        return [0.5, *real(options, request)]

    monkeypatch.setattr(padded, "draws_of", late)


def draws_by_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row takes the draws of its place in the batch, so they change with its company."""
    real, places = padded.draws_of, iter(range(10_000))

    def by_place(options: ExecutionOptions, request: EncodedPrompt) -> list[float]:
        return real(options, replace(request, id=f"place {next(places)}"))

    monkeypatch.setattr(padded, "draws_of", by_place)


def another_sampling(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    monkeypatch.setattr(
        padded, "sampling_of", lambda _: replace(Sampling(temperature=1.0, top_k=60, top_p=0.9), **changes)
    )


@pytest.mark.parametrize(
    "plant",
    [
        draws_a_step_late,
        draws_by_place,
        partial(another_sampling, top_p=1.0),
        partial(another_sampling, top_k=None, top_p=0.8),
        partial(another_sampling, temperature=1.2),
    ],
    ids=["a step late", "by place", "all tokens", "fewer tokens", "too hot"],
)
def test_a_fault_in_drawing_goes_red(plant: Plant) -> None:
    assert drawn_verdict().faithful, drawn_verdict().summary()
    assert not drawn_verdict(plant).faithful


@lru_cache
def drawn_verdict(plant: Plant | None = None) -> Verdict:
    return generation_verdict(tiny_loaded("qwen3"), "padded", plant, texts=TEXTS * 3, options=OPTIONS)
