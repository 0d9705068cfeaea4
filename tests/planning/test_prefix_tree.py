"""The counted tree equals the tree that is built node by node."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.planning import prefix_tree
from evalsuite.planning.prefix_tree import common_prefix_length, depth_first, tree_size

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


@given(st.lists(st.lists(st.integers(0, 1), max_size=40).map(tuple), max_size=60))
def test_sequences_are_told_apart_by_their_beginnings_as_by_the_whole(seqs: list[tuple[int, ...]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefix_tree, "_FEW", 2)
        patch.setattr(prefix_tree, "_FIRST_TOKENS", 1)
        patch.setattr(prefix_tree, "_TIMES", 2)
        walked = [(index, key) for index, key, _ in depth_first(seqs)]
    keys = [array("i", seq).tobytes() for seq in seqs]
    order = sorted(range(len(seqs)), key=keys.__getitem__)
    assert walked == [(index, keys[index]) for index in order]


class Read(Sequence[int]):
    """A sequence that notes that it was read to its end."""

    def __init__(self, *tokens: int) -> None:
        self.tokens, self.whole = tokens, False

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: object) -> object:  # type: ignore[override]
        return self.tokens[index]  # type: ignore[index]

    def __iter__(self) -> Iterator[int]:
        self.whole = True
        return iter(self.tokens)


def test_the_first_come_before_the_last_are_read() -> None:
    seqs = [Read(*([subject] * 40), number) for subject in range(4) for number in range(300)]
    first = next(depth_first(seqs))
    assert first[0] == 0
    assert sum(seq.whole for seq in seqs) == 300
