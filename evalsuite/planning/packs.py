"""The packed prefix tree: branches that share their beginnings, laid out one after the other in packs of bounded size.

A pack is one flat sequence of tokens. Every branch is written where the last one ended, without the beginning that it
shares with it: a *segment*, which holds the tokens from there on and a list of where its ancestors stand. So a branch
may leave another at any token, and none is computed twice.

A pack that is full ends in the midst of a branch. The next one goes on from there: it is handed the keys and values of
what that branch had before the cut, which *stand before* its first token, at negative indices. So packs are as many as
the distinct tokens fill, and a branch longer than a pack is no special case.

All of it is a pure function of token ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from evalsuite.planning.prefix_tree import TOKEN_BYTES, depth_first

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One root-to-leaf token sequence, and the positions of it whose logits are read."""

    tokens: Sequence[int]
    reads: tuple[int, ...]
    """Positions in `tokens`, at least one, ascending. They are never cut apart: all are in one pack."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a branch is read."""

    branch: int
    """Index of the branch among those that were planned."""
    sites: tuple[int, ...]
    """For each of its reads the index into `Pack.sites`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """One flat sequence, ready for a forward. Segment tables hold one entry a segment, in order of their starts."""

    tokens: Ints
    """[used]: token ids."""
    positions: Ints
    """[used]: position of each token in its own branch, which restarts with every segment."""
    starts: Ints
    """[segments]: where the segment's first token stands in the pack. A segment ends where the next one starts."""
    ancestors: Ints
    """[segments]: how many tokens come before it in its branch."""
    paths: Ints
    """[segments]: where in `path` the list of these begins."""
    path: Ints
    """Indices of ancestors, root first; segments with the same ancestors share a list or its beginning."""
    carried: int
    """How many tokens of the pack before are handed to this one: they have the indices -carried to -1."""
    carry: Ints
    """Indices of the tokens that the next pack is handed, in its order; empty for the last pack."""
    sites: Ints
    """[sites]: indices whose logits are read, each once."""
    placements: tuple[Placement, ...]

    @property
    def used(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> Ints:
        """[segments]: tokens of each segment."""
        return np.diff(self.starts, append=np.int32(self.used))

    def branch_indices(self, segment: int) -> Ints:
        """Indices of a segment's whole branch so far, root first: its ancestors, then its own tokens."""
        before, path, start = int(self.ancestors[segment]), int(self.paths[segment]), int(self.starts[segment])
        own = np.arange(start, start + int(self.lengths[segment]), dtype=np.int32)
        return np.concatenate([self.path[path : path + before], own])


def packs(
    branches: Sequence[Branch], *, token_budget: int, max_sites: int | None = None, max_branches: int | None = None
) -> Iterator[Pack]:
    """Lay out all branches, one pack at a time, in an order that keeps equal beginnings together.

    Args:
        token_budget: most tokens in a pack. What is read of one branch is not cut apart, so where that alone exceeds
            the budget, so does its pack.
        max_sites: most positions that are read in a pack, likewise; None for no bound.
        max_branches: most branches that are read in a pack. Where it parts equal ones, what is read is computed again.
    """
    layout = _Layout()
    for index, key, shared in depth_first([branch.tokens for branch in branches]):
        reads = branches[index].reads
        length, done = len(key) // TOKEN_BYTES, shared
        free = reads[0]  # what may go into an earlier pack than the reads do
        while True:
            # What is read has to stand in this pack: the end of a branch that a cut parted from its twin.
            if done > free and layout.is_carried(free):
                done = free
            room = max(token_budget - layout.used, 0)
            crowded = (max_sites is not None and len(layout.sites) + len(reads) > max_sites) or (
                max_branches is not None and len(layout.placements) >= max_branches
            )
            if length - done <= room and not (crowded and layout.sites):
                break
            if (cut := min(done + room, free)) > done:
                layout.write(key, done, cut)
                done = cut
            elif not layout.used:
                break  # an empty pack holds no less than what is read of one branch
            pack, layout = layout.close(done)
            yield pack
        layout.write(key, done, length)
        layout.read(index, reads)
    if layout.used:
        yield layout.close(0)[0]


@dataclass(slots=True)
class _Layout:
    """A pack under construction."""

    carried: int = 0
    used: int = 0
    path_index: Ints = field(default_factory=lambda: np.empty(256, dtype=np.int32))
    """Index of each position of the last branch written."""
    tokens: list[Ints] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ancestors: list[int] = field(default_factory=list)
    paths: list[int] = field(default_factory=list)
    path: list[Ints] = field(default_factory=list)
    path_length: int = 0
    listed: tuple[int, int] = (0, 0)
    """Where the newest list of ancestors begins in `path`, and how much of it still holds for the last branch."""
    sites: dict[int, int] = field(default_factory=dict)
    placements: list[Placement] = field(default_factory=list)

    def write(self, key: bytes, begin: int, end: int) -> None:
        """Tokens `begin` to `end` of a branch, whose first `begin` stand already as `path_index` says."""
        if end == begin:
            return
        self.starts.append(self.used)
        self.ancestors.append(begin)
        self.paths.append(self._ancestor_list(begin))
        self.tokens.append(np.frombuffer(key, dtype=np.int32)[begin:end])
        if end > len(self.path_index):
            self.path_index = np.concatenate([self.path_index, np.empty(end, dtype=np.int32)])
        self.path_index[begin:end] = np.arange(self.used, self.used + end - begin, dtype=np.int32)
        self.used += end - begin

    def read(self, branch: int, reads: tuple[int, ...]) -> None:
        """Note where a branch that has been written is read."""
        indices = self.path_index[list(reads)].tolist()
        sites = tuple(self.sites.setdefault(index, len(self.sites)) for index in indices)
        self.placements.append(Placement(branch=branch, sites=sites))

    def _ancestor_list(self, before: int) -> int:
        """Where in `path` the first `before` indices of the last branch stand; written there if they do not yet."""
        offset, valid = self.listed
        if before > valid:
            offset = self.path_length
            self.path.append(self.path_index[:before].copy())
            self.path_length += before
        self.listed = offset, before
        return offset

    def is_carried(self, position: int) -> bool:
        """Whether that token of the last branch stands in an earlier pack."""
        return bool(self.path_index[position] < 0)

    def close(self, carry: int) -> tuple[Pack, _Layout]:
        """The pack as it is, and a layout for the next, before which the last branch's first `carry` tokens stand."""
        starts, ancestors = np.array(self.starts, dtype=np.int32), np.array(self.ancestors, dtype=np.int32)
        lengths = np.diff(starts, append=np.int32(self.used))
        pack = Pack(
            tokens=np.concatenate(self.tokens),
            positions=np.arange(self.used, dtype=np.int32) + np.repeat(ancestors - starts, lengths),
            starts=starts,
            ancestors=ancestors,
            paths=np.array(self.paths, dtype=np.int32),
            path=np.concatenate([np.empty(0, dtype=np.int32), *self.path]),
            carried=self.carried,
            carry=self.path_index[:carry].copy(),
            sites=np.fromiter(self.sites, dtype=np.int32, count=len(self.sites)),
            placements=tuple(self.placements),
        )
        self.path_index[:carry] = np.arange(-carry, 0, dtype=np.int32)
        return pack, _Layout(carried=carry, path_index=self.path_index)
