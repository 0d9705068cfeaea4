"""The counted tree equals the tree that is built node by node."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from evalsuite.planning.prefix_tree import common_prefix_length, tree_size

sequences = st.lists(st.lists(st.integers(0, 2), max_size=8).map(tuple), max_size=8)


@given(sequences)
def test_distinct_tokens_are_the_distinct_nonempty_prefixes(seqs: list[tuple[int, ...]]) -> None:
    prefixes = {seq[:n] for seq in seqs for n in range(1, len(seq) + 1)}
    size = tree_size(seqs)
    assert size.distinct_tokens == len(prefixes)
    assert size.attended_pairs == sum(map(len, prefixes))


@given(st.lists(st.integers(0, 1), max_size=12).map(tuple), st.lists(st.integers(0, 1), max_size=12).map(tuple))
def test_common_prefix_is_the_longest_one(left: tuple[int, ...], right: tuple[int, ...]) -> None:
    n = common_prefix_length(left, right)
    assert left[:n] == right[:n]
    assert n == min(len(left), len(right)) or left[n] != right[n]
