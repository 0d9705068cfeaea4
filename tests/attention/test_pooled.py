"""Attention over a pool equals plain attention over each row's own keys, wherever these stand and whoever shares them.

The Triton kernels are held to the same laws on a CUDA device, and on any machine that has Triton under
TRITON_INTERPRET=1.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.attention.interface import NoTreeAttention
from evalsuite.attention.pool import FAR, PoolLayer, PoolPack, at_indices
from evalsuite.planning.packs import Branch, packs
from tests.attention.pooled_cases import (
    CUDA,
    INTERPRETED,
    TOLERANCE,
    Case,
    cases,
    close,
    decode,
    expected,
    fused,
    numbers,
    prefill,
    standing_for,
)

needs_kernels = pytest.mark.skipif(not (CUDA or INTERPRETED), reason="needs a CUDA device")
kinds = pytest.mark.parametrize("kind", ["plain", pytest.param("fused", marks=needs_kernels)])
# Rows of a tile that stand for nothing come out as 0 / 0; a device does not say so, numpy does.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")


@kinds
@given(case=cases(), token_budget=st.sampled_from([7, 50, 1_000]), padding=st.integers(0, 3))
def test_a_pack_attends_to_what_each_token_comes_after(kind: str, case: Case, token_budget: int, padding: int) -> None:
    got = prefill(case, kind, token_budget=token_budget, padding=padding)
    assert got.keys() == {slot for row, n in zip(case.rows, case.lengths, strict=True) for slot in row[:n]}
    for row, length in zip(case.rows, case.lengths, strict=True):
        for end in range(1, length + 1):
            assert close(got[row[end - 1]], expected(case, row[:end]))


@given(case=cases(), token_budget=st.sampled_from([7, 50, 1_000]))
def test_each_table_of_ancestors_leads_to_the_tokens_before_a_segment(case: Case, token_budget: int) -> None:
    branches = [Branch(tokens=row, reads=(len(row) - 1,)) for row in case.rows]
    before: list[int] = []
    for pack in packs(branches, token_budget=token_budget):
        own = pack.tokens.tolist()
        tables = PoolPack.of(pack, before=np.array(before, dtype=np.int32), own=pack.tokens)
        assert (tables.before.tolist(), tables.own.tolist()) == (before, own)
        for start, ancestors, path in zip(tables.starts, tables.ancestors, tables.paths, strict=True):
            row = next(row for row in case.rows if own[start] in row)  # a slot stands for a node
            want = row[: row.index(own[start])]
            slots, indices, near = (
                table[path : path + ancestors].tolist() for table in (tables.path, tables.indices, tables.near)
            )
            assert slots == want
            assert [own[i] if i >= 0 else before[i + len(before)] for i in indices] == want
            assert [own[i] if i >= 0 else i + FAR for i in near] == want
            assert [i >= 0 for i in near] == [i >= 0 for i in indices] == [slot in own for slot in want]
        before = at_indices(pack.carry, pack, before=tables.before, own=pack.tokens).tolist()


@given(case=cases(longest=200), token_budget=st.sampled_from([7, 50, 1_000]))
def test_what_is_carried_in_has_no_more_tokens_than_a_prompt(case: Case, token_budget: int) -> None:
    """So what is copied of a pool that the kernel cannot read is bounded by a pack and a prompt, for any packing."""
    branches = [Branch(tokens=row, reads=(len(row) - 1,)) for row in case.rows]
    for pack in packs(branches, token_budget=token_budget):
        assert pack.carried < max(len(row) for row in case.rows)
        assert pack.used <= token_budget


@kinds
@given(case=cases(longest=300), most_members=st.integers(1, 4), padded=st.integers(0, 200), fixed=st.booleans())
def test_a_step_attends_to_each_rows_own_keys(
    kind: str, case: Case, most_members: int, padded: int, fixed: bool
) -> None:
    places = case.places()
    got = decode(case, kind, places=places, most_members=most_members, padded=padded, fixed=fixed)
    for place, row in enumerate(places):
        if row == len(case.rows):
            assert not got[place].any(), "an unused place comes out as 0"
        else:
            assert close(got[place], expected(case, case.rows[row][: case.lengths[row]]))


@kinds
@given(case=cases())
def test_a_step_is_what_a_pack_gives_at_its_last_tokens(kind: str, case: Case) -> None:
    packed = prefill(case, kind, token_budget=1_000)
    stepped = decode(case, kind, places=list(range(len(case.rows))))
    for row, length, out in zip(case.rows, case.lengths, stepped, strict=True):
        assert (packed[row[length - 1]] - out).abs().max() < TOLERANCE


@needs_kernels
@given(case=cases(longest=200), token_budget=st.integers(20, 100))
def test_a_packs_cuts_change_no_bit(case: Case, token_budget: int) -> None:
    whole, cut = (prefill(case, "fused", token_budget=budget) for budget in (10_000, token_budget))
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[slot], cut[slot]) for slot in whole)


@needs_kernels
@given(case=cases(longest=70, kept_as=("auto",)), token_budget=st.integers(7, 300))
def test_a_pool_too_large_for_the_kernel_gives_the_same_bits(case: Case, token_budget: int) -> None:
    ordinary = prefill(case, "fused", token_budget=token_budget)
    layer, (heads, dim) = case.layer, case.query.shape[1:]
    most = len(case.query) * max(heads * dim, layer.keys[0].numel(), layer.values[0].numel())
    keys, values = (
        torch.cat([x, torch.full((most, *x.shape[1:]), math.nan)]) for x in (layer.keys, layer.values)
    )  # what nobody may read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fused().prompts, "MOST_ELEMENTS", most)
        large = prefill(replace(case, layer=PoolLayer(keys, values, None, None)), "fused", token_budget=token_budget)
    assert ordinary.keys() == large.keys()
    assert all(torch.equal(ordinary[slot], large[slot]) for slot in ordinary)


@needs_kernels
@given(case=cases(longest=70, kept_as=("int8",)), token_budget=st.integers(7, 300))
def test_a_quantised_pool_gives_the_bits_of_the_numbers_it_stands_for(case: Case, token_budget: int) -> None:
    exact = replace(case, layer=standing_for(case.layer, torch.float32))
    quantised, want = (prefill(each, "fused", token_budget=token_budget) for each in (case, exact))
    assert quantised.keys() == want.keys()
    assert all(torch.equal(quantised[slot], want[slot]) for slot in want)


@needs_kernels
def test_more_numbers_than_the_kernel_counts_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [list(range(1, 30))]
    case = Case(rows, [29], **numbers(rows, [29], (2, 1, 16, 16), "auto"), softcap=None, window=None, dummies=0)
    monkeypatch.setattr(fused().prompts, "MOST_ELEMENTS", 29 * 2 * 16 - 1)
    with pytest.raises(NoTreeAttention, match="928 numbers in a pack's queries"):
        prefill(case, "fused", token_budget=100)


@needs_kernels
@given(case=cases(longest=300), order=st.randoms(use_true_random=False))
def test_company_in_a_step_changes_no_bit(case: Case, order: random.Random) -> None:
    """Alone; with the others in another order, and unused places; the same, where nobody shares an item's tile."""
    together = decode(case, "fused", places=list(range(len(case.rows))), most_members=2)
    shuffled = [*range(len(case.rows)), len(case.rows)]
    order.shuffle(shuffled)
    mixed = decode(case, "fused", places=shuffled, most_members=2)
    for row, out in enumerate(together):
        assert torch.equal(out, mixed[shuffled.index(row)])
        assert torch.equal(out, decode(case, "fused", places=[row], most_members=2)[0])
