"""Tree attention equals plain attention over each branch alone, with any grouping, window and soft cap."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.attention.by_segment import segment_attention
from evalsuite.attention.interface import ScoreRule
from evalsuite.planning.packs import Branch, packs

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=9).map(tuple)
CPU = torch.device("cpu")


def plain_attention(
    query: torch.Tensor,
    keys: torch.Tensor,
    values: torch.Tensor,
    scale: float,
    softcap: float | None,
    window: int | None,
) -> torch.Tensor:
    """One query head's last position, written out: query [dim], keys and values [branch, dim]."""
    scores = (keys.double() @ query.double()) * scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if window is not None:
        scores[: max(len(keys) - window, 0)] = -math.inf
    return scores.softmax(0) @ values.double()


@given(
    sequences=st.lists(tokens, min_size=1, max_size=6),
    heads=st.sampled_from([(2, 2), (4, 2), (3, 1)]),
    softcap=st.none() | st.just(3.0),
    window=st.none() | st.integers(1, 10),
    padding=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_every_token_attends_to_its_branch_as_if_it_were_alone(
    sequences: list[tuple[int, ...]],
    heads: tuple[int, int],
    softcap: float | None,
    window: int | None,
    padding: int,
    seed: int,
) -> None:
    [pack] = packs([Branch(tokens=s, reads=(0,)) for s in sequences], token_budget=1_000)
    generator = torch.Generator().manual_seed(seed)
    size = pack.used + padding
    query, key, value = (torch.randn(n, size, 8, generator=generator) for n in (heads[0], heads[1], heads[1]))
    got = segment_attention(pack, CPU)(query, key, value, None, ScoreRule(0.3, softcap, window))
    assert got.shape == (size, heads[0], 8)
    assert not got[pack.used :].any()
    group = heads[0] // heads[1]
    for segment in range(len(pack.starts)):
        branch = torch.from_numpy(pack.branch_indices(segment)).long()
        for length in range(int(pack.ancestors[segment]) + 1, len(branch) + 1):
            seen = branch[:length]
            for head in range(heads[0]):
                expected = plain_attention(
                    query[head, seen[-1]],
                    key[head // group, seen],
                    value[head // group, seen],
                    scale=0.3,
                    softcap=softcap,
                    window=window,
                )
                assert got[seen[-1], head].tolist() == pytest.approx(expected.tolist(), abs=1e-5)
