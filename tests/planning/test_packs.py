"""Packs hold every branch, token by token, and compute little more than the prefix tree has nodes."""

from __future__ import annotations

import random
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from evalsuite.planning.packs import Branch, Pack, packs

token = st.integers(0, 3)  # few, so that beginnings are shared
tokens = st.lists(token, min_size=1, max_size=12).map(tuple)


@st.composite
def branches(draw: st.DrawFn) -> list[Branch]:
    """Ragged branches with shared beginnings, exact duplicates, and branches that begin others."""
    prefixes = draw(st.lists(tokens, min_size=1, max_size=3))
    drawn = draw(st.lists(st.tuples(st.sampled_from([(), *prefixes]), tokens), min_size=1, max_size=12))
    sequences = [prefix + own for prefix, own in drawn]
    sequences += draw(st.lists(st.sampled_from(sequences), max_size=3))
    return [
        Branch(tokens=s, reads=tuple(sorted(draw(st.sets(st.integers(0, len(s) - 1), max_size=3))))) for s in sequences
    ]


def reconstruct(pack: Pack) -> dict[int, tuple[list[int], list[int]]]:
    """Pack index to the tokens and the positions of the branch that ends there, by following the ancestors."""
    found = {}
    for segment, start in enumerate(pack.starts.tolist()):
        indices = pack.branch_indices(segment)
        for index in range(start, start + int(pack.lengths[segment])):
            until = indices[: indices.tolist().index(index) + 1]
            found[index] = (pack.tokens[until].tolist(), pack.positions[until].tolist())
    return found


def distinct(sequences: list[tuple[int, ...]]) -> int:
    """Nodes of the prefix tree, counted the slow way: as the set of all beginnings."""
    return len({sequence[: k + 1] for sequence in sequences for k in range(len(sequence))})


@given(given_branches=branches(), budget=st.integers(1, 60), max_sites=st.none() | st.integers(1, 6))
@example(given_branches=[Branch(tokens=(1,), reads=(0,)), Branch(tokens=(1, 1), reads=(1,))], budget=2, max_sites=None)
def test_every_read_sees_its_own_branch_and_nothing_else(
    given_branches: list[Branch], budget: int, max_sites: int | None
) -> None:
    placed = []
    for pack in packs(given_branches, token_budget=budget, max_sites=max_sites):
        ending = reconstruct(pack)
        assert sorted(ending) == list(range(pack.used))
        assert len(set(pack.sites.tolist())) == len(pack.sites)
        for placement in pack.placements:
            branch = given_branches[placement.branch]
            placed.append(placement.branch)
            assert len(placement.sites) == len(branch.reads)
            for site, read in zip(placement.sites, branch.reads, strict=True):
                seen, positions = ending[int(pack.sites[site])]
                assert tuple(seen) == branch.tokens[: read + 1]
                assert positions == list(range(read + 1))
    assert sorted(placed) == list(range(len(given_branches))), "each branch once"


@given(given_branches=branches(), budget=st.integers(1, 60), max_sites=st.none() | st.integers(1, 6))
def test_packs_keep_their_bounds_and_compute_nothing_twice(
    given_branches: list[Branch], budget: int, max_sites: int | None
) -> None:
    for pack in packs(given_branches, token_budget=budget, max_sites=max_sites):
        held = [tuple(given_branches[p.branch].tokens) for p in pack.placements]
        assert pack.used == distinct(held)
        if len(set(held)) > 1:
            assert pack.used <= budget
        if max_sites is not None and len(held) > 1:
            assert len(pack.sites) <= max_sites


@given(given_branches=branches())
def test_one_pack_is_the_tree_itself(given_branches: list[Branch]) -> None:
    [pack] = packs(given_branches, token_budget=10_000)
    assert pack.used == distinct([tuple(b.tokens) for b in given_branches])


def test_a_branch_longer_than_the_budget_gets_a_pack_of_its_own() -> None:
    long, short = Branch(tokens=(1,) * 9, reads=(8,)), Branch(tokens=(1, 2), reads=(1,))
    sizes = [(pack.used, len(pack.placements)) for pack in packs([short, long, short], token_budget=4)]
    assert sorted(sizes) == [(2, 2), (9, 1)]


def test_a_prefix_longer_than_the_budget_is_laid_out_for_each_of_its_branches() -> None:
    prefix = tuple(range(10))
    made = list(packs([Branch(tokens=(*prefix, n), reads=(10,)) for n in range(3)], token_budget=8))
    assert [pack.used for pack in made] == [11, 11, 11]


def test_siblings_share_one_list_of_ancestors() -> None:
    prefix = tuple(range(100, 150))
    [pack] = packs([Branch(tokens=(*prefix, n, n), reads=(51,)) for n in range(20)], token_budget=1_000)
    assert len(pack.path) == 50
    assert pack.ancestors.tolist() == [0] + [50] * 19


def test_the_room_left_by_a_long_branch_is_filled_by_shorter_ones() -> None:
    lengths = [60, 60, 39, 1]
    made = list(packs([Branch(tokens=(n,) * k, reads=(k - 1,)) for n, k in enumerate(lengths)], token_budget=100))
    assert [pack.used for pack in made] == [100, 60]


def five_shot_like(questions: int, subjects: int) -> list[Branch]:
    """Subjects of 650 shared tokens, questions of 40 to 200, as five-shot MMLU has."""
    rng = random.Random(0)
    description = tuple(rng.randrange(1000) for _ in range(12))
    prefixes = [description + tuple(rng.randrange(50_000) for _ in range(640)) for _ in range(subjects)]
    return [
        Branch(tokens=tokens, reads=(len(tokens) - 1,))
        for n in range(questions)
        for tokens in [prefixes[n % subjects] + tuple(rng.randrange(50_000) for _ in range(rng.randint(40, 200)))]
    ]


def test_few_tokens_are_computed_beyond_the_tree() -> None:
    """One subject's prefix in each pack more than once is all there may be."""
    given_branches = five_shot_like(2_000, 10)
    tree = distinct_fast([tuple(b.tokens) for b in given_branches])
    made = list(packs(given_branches, token_budget=16_384))
    computed = sum(pack.used for pack in made)
    assert tree <= computed <= tree + 652 * len(made)
    assert len(made) <= -(-computed // 16_384) + 1


def test_planning_is_quick_and_streams() -> None:
    given_branches = five_shot_like(14_042, 57)
    begin = time.process_time()
    stream = packs(given_branches, token_budget=16_384)
    tracemalloc.start()
    next(stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 30
    assert sum(1 for _ in stream) > 90
    assert time.process_time() - begin < 20, "a few seconds at most, on any machine"


@pytest.mark.parametrize("copies", [1, 5])
def test_duplicates_are_computed_once_and_read_by_all(copies: int) -> None:
    [pack] = packs([Branch(tokens=(5, 6, 7), reads=(2,))] * copies, token_budget=100)
    assert pack.used == 3
    assert [placement.sites for placement in pack.placements] == [(0,)] * copies
    assert pack.sites.tolist() == [2]


def distinct_fast(sequences: list[tuple[int, ...]]) -> int:
    """The same count, by sorting: what the slow way would need gigabytes for."""
    total, previous = 0, np.empty(0, dtype=np.int64)
    for sequence in sorted(sequences):
        current = np.array(sequence)
        n = min(len(previous), len(current))
        differs = np.flatnonzero(previous[:n] != current[:n])
        total += len(current) - (int(differs[0]) if len(differs) else n)
        previous = current
    return total
