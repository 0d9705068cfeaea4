"""Packs hold every branch, token by token, and compute little more than the prefix tree has nodes."""

from __future__ import annotations

import random
import time
import tracemalloc
from dataclasses import dataclass

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
        Branch(tokens=s, reads=tuple(sorted(draw(st.sets(st.integers(0, len(s) - 1), min_size=1, max_size=3)))))
        for s in sequences
    ]


@dataclass
class Rebuilt:
    """What each index of a pack has before it, found by following ancestors and what was carried."""

    carried: list[tuple[list[int], list[int]]]
    """(tokens, positions) of the branch that ends in each carried token."""
    ending: dict[int, tuple[list[int], list[int]]]


def rebuild(made: list[Pack]) -> list[Rebuilt]:
    found: list[Rebuilt] = []
    handed: list[tuple[list[int], list[int]]] = []
    for pack in made:
        assert pack.carried == len(handed)
        ending = {index - len(handed): branch for index, branch in enumerate(handed)}
        for segment, start in enumerate(pack.starts.tolist()):
            before = int(pack.ancestors[segment])
            indices = pack.branch_indices(segment).tolist()
            tokens, positions = ending[indices[before - 1]] if before else ([], [])
            for earlier in range(before):
                assert ending[indices[earlier]] == (tokens[: earlier + 1], positions[: earlier + 1])
            for index in range(start, start + int(pack.lengths[segment])):
                tokens, positions = [*tokens, int(pack.tokens[index])], [*positions, int(pack.positions[index])]
                ending[index] = (tokens, positions)
        found.append(Rebuilt(carried=handed, ending=ending))
        handed = [ending[index] for index in pack.carry.tolist()]
    assert not handed, "the last pack hands nothing on"
    return found


def distinct(sequences: list[tuple[int, ...]]) -> int:
    """Nodes of the prefix tree, counted the slow way: as the set of all beginnings."""
    return len({sequence[: k + 1] for sequence in sequences for k in range(len(sequence))})


bound = st.none() | st.integers(1, 6)


@given(given_branches=branches(), budget=st.integers(1, 60), max_sites=bound, max_branches=bound)
@example(
    given_branches=[Branch(tokens=(1,), reads=(0,)), Branch(tokens=(1, 1), reads=(1,))],
    budget=2,
    max_sites=None,
    max_branches=None,
)
@example(given_branches=[Branch(tokens=(1, 1, 1), reads=(2,))] * 3, budget=1, max_sites=1, max_branches=None)
@example(given_branches=[Branch(tokens=(1, 1, 1), reads=(2,))] * 3, budget=9, max_sites=None, max_branches=2)
def test_every_read_sees_its_own_branch_and_nothing_else(
    given_branches: list[Branch], budget: int, max_sites: int | None, max_branches: int | None
) -> None:
    placed = []
    made = list(packs(given_branches, token_budget=budget, max_sites=max_sites, max_branches=max_branches))
    for pack, rebuilt in zip(made, rebuild(made), strict=True):
        assert len(set(pack.sites.tolist())) == len(pack.sites)
        for placement in pack.placements:
            branch = given_branches[placement.branch]
            placed.append(placement.branch)
            assert len(placement.sites) == len(branch.reads)
            for site, read in zip(placement.sites, branch.reads, strict=True):
                assert 0 <= pack.sites[site] < pack.used, "a read is of a token in this very pack"
                seen, positions = rebuilt.ending[int(pack.sites[site])]
                assert tuple(seen) == branch.tokens[: read + 1]
                assert positions == list(range(read + 1))
    assert sorted(placed) == list(range(len(given_branches))), "each branch once"


@given(given_branches=branches(), budget=st.integers(1, 60), max_sites=bound, max_branches=bound)
def test_packs_keep_their_bounds(
    given_branches: list[Branch], budget: int, max_sites: int | None, max_branches: int | None
) -> None:
    """Unless what is read of one branch alone, which is never cut apart, exceeds them."""
    for pack in packs(given_branches, token_budget=budget, max_sites=max_sites, max_branches=max_branches):
        assert max_branches is None or len(pack.placements) <= max_branches
        read = [given_branches[placement.branch] for placement in pack.placements]
        assert pack.used <= max([budget, *(len(b.tokens) - b.reads[0] for b in read)])
        assert max_sites is None or len(pack.sites) <= max([max_sites, *(len(b.reads) for b in read)])


@given(given_branches=branches(), budget=st.integers(12, 60))
def test_nothing_is_computed_twice_but_what_duplicates_are_read_at(given_branches: list[Branch], budget: int) -> None:
    """The lower bound is the tree's nodes; a cut between two equal branches costs the part that is read."""
    made = list(packs(given_branches, token_budget=budget))
    computed = sum(pack.used for pack in made)
    tree = distinct([tuple(branch.tokens) for branch in given_branches])
    again = [len(b.tokens) - b.reads[0] for b in given_branches]
    assert tree <= computed <= tree + (len(made) - 1) * max(again)
    if len({branch.tokens for branch in given_branches}) == len(given_branches) and not _reads_inside(given_branches):
        assert computed == tree


def _reads_inside(given_branches: list[Branch]) -> bool:
    """Whether a branch is read before its end: there another may share what is read."""
    return any(read != len(branch.tokens) - 1 for branch in given_branches for read in branch.reads)


@given(given_branches=branches())
def test_one_pack_is_the_tree_itself(given_branches: list[Branch]) -> None:
    [pack] = packs(given_branches, token_budget=10_000)
    assert pack.used == distinct([tuple(b.tokens) for b in given_branches])


def test_a_branch_longer_than_the_budget_goes_on_in_the_next_pack() -> None:
    made = list(packs([Branch(tokens=tuple(range(9)), reads=(8,))], token_budget=4))
    assert [(pack.used, pack.carried, len(pack.carry)) for pack in made] == [(4, 0, 4), (4, 4, 8), (1, 8, 0)]
    assert [len(pack.placements) for pack in made] == [0, 0, 1]


def test_a_prefix_longer_than_the_budget_is_computed_once_for_all_of_its_branches() -> None:
    prefix = tuple(range(10))
    made = list(packs([Branch(tokens=(*prefix, n), reads=(10,)) for n in range(3)], token_budget=8))
    assert [pack.used for pack in made] == [8, 5]


def test_what_is_read_of_a_branch_is_not_cut_apart() -> None:
    """A continuation of five tokens is read at five positions, which all are in one pack, if need be a larger one."""
    branch = Branch(tokens=tuple(range(10)), reads=(5, 6, 7, 8, 9))
    assert [pack.used for pack in packs([branch], token_budget=6)] == [5, 5]
    assert [pack.used for pack in packs([branch], token_budget=3)] == [3, 2, 5]


def test_siblings_share_one_list_of_ancestors() -> None:
    prefix = tuple(range(100, 150))
    [pack] = packs([Branch(tokens=(*prefix, n, n), reads=(51,)) for n in range(20)], token_budget=1_000)
    assert len(pack.path) == 50
    assert pack.ancestors.tolist() == [0] + [50] * 19


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


def test_packs_are_as_many_as_the_distinct_tokens_fill() -> None:
    given_branches = five_shot_like(2_000, 10)
    tree = distinct_fast([tuple(b.tokens) for b in given_branches])
    made = list(packs(given_branches, token_budget=16_384))
    assert sum(pack.used for pack in made) == tree
    assert len(made) == -(-tree // 16_384)


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
