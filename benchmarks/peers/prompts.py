"""Prompts to generate from, as token ids: random ones of the lengths of ViQuAD's and VietNews's."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from evalsuite.types import EncodedPrompt

FIRST_ID = 10
"""Ids below are special in many vocabularies."""
QUESTIONS_A_PASSAGE = 5


def viquad_like(rng: random.Random, vocab: int, count: int) -> list[tuple[int, ...]]:
    """A passage of 230 tokens in the median, and five questions of 12 to 40 to each."""
    prompts: list[tuple[int, ...]] = []
    while len(prompts) < count:
        passage = _tokens(rng, vocab, _length(rng, 230, 0.4, 120, 900))
        prompts += [passage + _tokens(rng, vocab, rng.randint(12, 40)) for _ in range(QUESTIONS_A_PASSAGE)]
    return prompts[:count]


def vietnews_like(rng: random.Random, vocab: int, count: int) -> list[tuple[int, ...]]:
    """Articles of 800 tokens in the median."""
    return [_tokens(rng, vocab, _length(rng, 800, 0.35, 300, 2_000)) for _ in range(count)]


def judge_like(rng: random.Random, vocab: int, count: int) -> list[tuple[int, ...]]:
    """One instruction of 180 tokens, and a question, an answer and the published one of 40 to 90."""
    instruction = _tokens(rng, vocab, 180)
    return [instruction + _tokens(rng, vocab, rng.randint(40, 90)) for _ in range(count)]


WORKLOADS: Mapping[str, Callable[[random.Random, int, int], list[tuple[int, ...]]]] = {
    "viquad": viquad_like,
    "vietnews": vietnews_like,
    "judge": judge_like,
}


def requests(workload: str, *, vocab: int, count: int, new_tokens: int, seed: int) -> list[EncodedPrompt]:
    """The same ones each time, for a workload of `WORKLOADS`."""
    bodies = WORKLOADS[workload](random.Random(f"{workload} {seed}"), vocab, count)
    return [EncodedPrompt(id=str(i), prompt_ids=ids, max_new_tokens=new_tokens) for i, ids in enumerate(bodies)]


def _tokens(rng: random.Random, vocab: int, count: int) -> tuple[int, ...]:
    return tuple(rng.randrange(FIRST_ID, vocab) for _ in range(count))


def _length(rng: random.Random, median: float, sigma: float, least: int, most: int) -> int:
    return int(min(most, max(least, median * rng.lognormvariate(0, sigma))))
