"""The prefix tree of token sequences, counted without being built: how much work a run had to do at least."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar


@dataclass(frozen=True, kw_only=True, slots=True)
class TreeSize:
    """Size of a prefix tree whose nodes are tokens."""

    distinct_tokens: int
    """Nodes: tokens that differ in their text or in anything before them."""
    attended_pairs: int
    """(query, key) pairs of causal attention, each distinct token attending to its path and itself."""


def tree_size(sequences: Iterable[Sequence[int]]) -> TreeSize:
    """Count the nodes of the prefix tree of `sequences`.

    In sorted order a sequence adds just the nodes past its longest common prefix with the one before.
    """
    distinct_tokens = attended_pairs = 0
    previous: tuple[int, ...] = ()
    for sequence in sorted(tuple(sequence) for sequence in sequences):
        shared = common_prefix_length(previous, sequence)
        distinct_tokens += len(sequence) - shared
        attended_pairs += _triangle(len(sequence)) - _triangle(shared)
        previous = sequence
    return TreeSize(distinct_tokens=distinct_tokens, attended_pairs=attended_pairs)


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
