"""The Triton kernel over a pack: plain attention, and the same bits however the branches of a tree are packed.

On a CUDA device, or on any machine that has Triton under TRITON_INTERPRET=1.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.attention.by_segment import segment_attention
from evalsuite.attention.interface import Attend, ScoreRule
from evalsuite.planning.packs import Branch, Pack, packs
from tests.attention.pooled_cases import CUDA, DEVICE, INTERPRETED, SCALE, TOLERANCE, close

pytestmark = [
    pytest.mark.skipif(not (CUDA or INTERPRETED), reason="needs a CUDA device"),
    # Rows of a tile that stand for nothing come out as 0 / 0; a device does not say so, numpy does.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter"),
]


@dataclass(frozen=True)
class Tree:
    """Branches of nodes, and what every node asks, is found by, and hands over."""

    branches: list[list[int]]
    query: torch.Tensor
    """[nodes, heads, dim]."""
    key: torch.Tensor
    value: torch.Tensor
    softcap: float | None
    window: int | None

    def attend(self, kind: str, branches: list[list[int]], *, token_budget: int) -> dict[int, torch.Tensor]:
        """By node: [heads, dim]. Pack by pack; what is carried from one to the next is all that it sees of it."""
        got: dict[int, torch.Tensor] = {}
        carried = np.empty(0, dtype=np.int32)
        # A node stands for a token.
        planned = [Branch(tokens=branch, reads=(len(branch) - 1,)) for branch in branches]
        for pack in packs(planned, token_budget=token_budget):
            nodes = np.concatenate([carried, pack.tokens])
            query, key, value = (self._of(x, pack.tokens) for x in (self.query, self.key, self.value))
            kept = self._of(self.key, carried).contiguous(), self._of(self.value, carried).contiguous()
            out = attention(kind, pack)(
                query,
                key,
                value,
                kept if len(carried) else None,
                ScoreRule(SCALE, self.softcap, self.window),
            )
            got.update(zip(pack.tokens.tolist(), out.cpu(), strict=True))
            carried = nodes[pack.carry + pack.carried]
        return got

    @staticmethod
    def _of(tensor: torch.Tensor, nodes: np.ndarray) -> torch.Tensor:
        """[heads, nodes, dim], in the layout that models hand over."""
        return tensor[torch.from_numpy(nodes).long()].to(DEVICE).transpose(0, 1)


def attention(kind: str, pack: Pack) -> Attend:
    if kind == "plain":
        return segment_attention(pack, DEVICE)
    made: Attend = importlib.import_module("evalsuite.attention.fused").fused_attention(pack, DEVICE)
    return made


@st.composite
def trees(draw: st.DrawFn, *, longest: int = 90) -> Tree:
    """Branches that leave one another anywhere, or begin anew; some leave where a block of keys ends."""
    branches: list[list[int]] = []
    nodes = 0
    for _ in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from([[], *branches]))
        ends = [length for length in (32, 64, len(parent)) if length <= len(parent)]
        shared = draw(st.sampled_from([*ends, 0]) | st.integers(0, len(parent)))
        own = draw(st.integers(1, longest))
        branches.append([*parent[:shared], *range(nodes, nodes + own)])
        nodes += own
    heads, kv_heads, dim = draw(st.sampled_from([(4, 2, 16), (3, 1, 16), (2, 2, 24)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1_000)))
    query, key, value = (torch.randn(nodes, n, dim, generator=generator) for n in (heads, kv_heads, kv_heads))
    return Tree(
        branches,
        query,
        key,
        value,
        softcap=draw(st.none() | st.just(3.0)),
        window=draw(st.none() | st.integers(1, 150)),
    )


@given(tree=trees(), token_budget=st.sampled_from([10_000, 100, 33]))
def test_the_kernel_is_attention(tree: Tree, token_budget: int) -> None:
    got = tree.attend("fused", tree.branches, token_budget=token_budget)
    want = tree.attend("plain", tree.branches, token_budget=10_000)
    assert got.keys() == want.keys()
    assert all(close(got[node], want[node], TOLERANCE) for node in want)


@given(tree=trees(), token_budget=st.integers(20, 200), chosen=st.integers(0, 5))
def test_neither_company_nor_cuts_change_a_bit(tree: Tree, token_budget: int, chosen: int) -> None:
    """All branches in one pack; in several; and one alone, whose keys then stand side by side."""
    together = tree.attend("fused", tree.branches, token_budget=10_000)
    branch = tree.branches[chosen % len(tree.branches)]
    for branches in (tree.branches, [branch]):
        for budget in (10_000, token_budget):
            got = tree.attend("fused", branches, token_budget=budget)
            assert all(torch.equal(got[node], together[node]) for node in got)


@pytest.mark.parametrize("window", [68, 69, 70])
def test_a_window_hides_a_key_as_soon_as_it_is_outgrown(window: int) -> None:
    """The last of 70 tokens sees two keys fewer, one fewer, and all."""
    branch = list(range(70))
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(70, n, 16, generator=generator) for n in (4, 2, 2))
    tree = Tree([branch], query, key, value, softcap=None, window=window)
    got, want = (tree.attend(each, [branch], token_budget=1_000) for each in ("fused", "plain"))
    assert all(close(got[node], want[node], TOLERANCE) for node in branch)


def test_a_neighbour_of_nan_changes_nothing() -> None:
    """Where a model hands over NaN for one branch, the others do not see it: not even times a weight of 0."""
    branches = [list(range(40)), [*range(20), *range(40, 53)], [*range(20), *range(53, 90)]]
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(90, 2, 16, generator=generator) for _ in range(3))
    tree = Tree(branches, query, key, value, softcap=None, window=None)
    want = tree.attend("fused", branches, token_budget=1_000)
    for tensor in (key, value):
        tensor[53:] = float("nan")
    got = tree.attend("fused", branches, token_budget=1_000)
    assert all(torch.equal(got[node], want[node]) for node in range(53))
    assert all(bool(got[node].isnan().all()) for node in range(53, 90))
