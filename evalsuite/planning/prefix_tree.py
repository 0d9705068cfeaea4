"""The prefix tree of token sequences: walked depth-first and counted, without being built.

In sorted order a sequence adds to the tree just what lies past its longest common prefix with the one before.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

TOKEN_BYTES = array("i").itemsize

_FEW = 512
"""So many sequences are sorted at once."""
_FIRST_TOKENS, _TIMES = 32, 8
"""More are told apart by so many tokens first, and those that are equal there by so many times as many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeSize:
    """Size of a prefix tree whose nodes are tokens."""

    distinct_tokens: int
    """Nodes: tokens that differ in their text or in anything before them."""
    attended_pairs: int
    """(query, key) pairs of causal attention, each distinct token attending to its path and itself."""


def tree_size(sequences: Iterable[Sequence[int]]) -> TreeSize:
    """Count the nodes of the prefix tree of `sequences`."""
    distinct_tokens = attended_pairs = 0
    for _, key, shared in depth_first(list(sequences)):
        length = len(key) // TOKEN_BYTES
        distinct_tokens += length - shared
        attended_pairs += _triangle(length) - _triangle(shared)
    return TreeSize(distinct_tokens=distinct_tokens, attended_pairs=attended_pairs)


def depth_first(sequences: Sequence[Sequence[int]]) -> Iterator[tuple[int, bytes, int]]:
    """Each sequence as it is met in the tree: (its index, its tokens as bytes, how many it shares with the one before).

    In any order of strings those with an equal beginning are neighbours; bytes are sorted and compared in C. The first
    ones come before the last ones are sorted. Equal sequences come in the order in which they are given.
    """
    previous = b""
    for index, key in _sorted(sequences, range(len(sequences)), _FIRST_TOKENS):
        yield index, key, common_prefix_length(previous, key) // TOKEN_BYTES
        previous = key


def _sorted(sequences: Sequence[Sequence[int]], indices: Sequence[int], tokens: int) -> Iterator[tuple[int, bytes]]:
    """(index, its whole key) in the order of the keys; their beginnings of `tokens` / `_TIMES` tokens are equal."""
    if len(indices) <= _FEW:
        keys = {index: _key(sequences[index]) for index in indices}
        yield from sorted(keys.items(), key=lambda item: item[1])
        return
    alike: dict[bytes, list[int]] = {}
    for index in indices:
        alike.setdefault(_key(sequences[index][:tokens]), []).append(index)
    for beginning in sorted(alike):
        # One that ends before so many tokens is its own beginning, which equals none but itself.
        if len(beginning) < tokens * TOKEN_BYTES:
            yield from ((index, beginning) for index in alike[beginning])
        else:
            yield from _sorted(sequences, alike[beginning], tokens * _TIMES)


def _key(tokens: Sequence[int]) -> bytes:
    return array("i", tokens).tobytes()


Slices = TypeVar("Slices", tuple[int, ...], bytes)


def common_prefix_length(left: Slices, right: Slices) -> int:
    """How many leading items two sequences share. Halves the gap by comparing slices, which C does."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _triangle(n: int) -> int:
    return n * (n + 1) // 2
