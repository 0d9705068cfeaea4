"""Attention over a pool equals plain attention over each row's own keys, wherever these stand and whoever shares them.

The Triton kernels are held to the same laws on a CUDA device, and on any machine that has Triton under
TRITON_INTERPRET=1.
"""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.attention.pool import FAR, PoolPack, at_indices
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
    prefill,
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
def test_near_ancestors_are_the_same_ones(case: Case, token_budget: int) -> None:
    branches = [Branch(tokens=row, reads=(len(row) - 1,)) for row in case.rows]
    before = np.empty(0, dtype=np.int32)
    for pack in packs(branches, token_budget=token_budget):
        tables = PoolPack.of(pack, before=before, own=pack.tokens)
        own = tables.own[np.maximum(tables.near, 0)]
        assert np.where(tables.near >= 0, own, tables.near + FAR).tolist() == tables.path.tolist()
        before = at_indices(pack.carry, pack, before=before, own=pack.tokens)


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


@given(case=cases(), token_budget=st.sampled_from([7, 50, 1_000]))
def test_a_packs_slots_are_those_that_it_attends_to(case: Case, token_budget: int) -> None:
    branches = [Branch(tokens=row, reads=(len(row) - 1,)) for row in case.rows]
    before = np.empty(0, dtype=np.int32)
    for pack in packs(branches, token_budget=token_budget):
        tables = PoolPack.of(pack, before=before, own=pack.tokens)
        assert sorted({*tables.path.tolist(), *tables.own.tolist()}) == tables.slots.tolist()
        assert tables.slots[tables.path_in_slots].tolist() == tables.path.tolist()
        assert tables.slots[tables.own_in_slots].tolist() == tables.own.tolist()
        before = at_indices(pack.carry, pack, before=before, own=pack.tokens)


@needs_kernels
@given(case=cases(longest=200), token_budget=st.integers(20, 1_000))
def test_numbers_that_are_widened_beforehand_change_no_bit(case: Case, token_budget: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        beforehand = prefill(case, "fused", token_budget=token_budget)
        patch.setattr(fused(), "MOST_WIDENED", 0)
        by_the_kernel = prefill(case, "fused", token_budget=token_budget)
    assert beforehand.keys() == by_the_kernel.keys()
    assert all(torch.equal(beforehand[slot], by_the_kernel[slot]) for slot in beforehand)


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
