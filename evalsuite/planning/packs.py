"""The packed prefix tree: branches that share their beginnings, laid out one after the other in packs of bounded size.

A pack is one flat sequence of tokens. Every branch is written where the last one ended, without the beginning that it
shares with it: a *segment*, which holds the tokens from there on and a list of where its ancestors stand in the pack.
So no token is computed twice within a pack, and a branch may leave another at any token.

All of it is a pure function of token ids.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from evalsuite.planning.prefix_tree import common_prefix_length

Ints = npt.NDArray[np.int32]

LOOKAHEAD = 64
"""How many branches are tried for the room that is left in a pack once one did not fit."""
_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Branch:
    """One root-to-leaf token sequence, and the positions of it whose logits are read."""

    tokens: Sequence[int]
    reads: tuple[int, ...]
    """Positions in `tokens`, without repeats."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Placement:
    """Where a branch ended up."""

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
    """Pack indices of ancestors, root first; segments with the same ancestors share a list or its beginning."""
    sites: Ints
    """[sites]: pack indices whose logits are read, each once."""
    placements: tuple[Placement, ...]

    @property
    def used(self) -> int:
        return len(self.tokens)

    @property
    def lengths(self) -> Ints:
        """[segments]: tokens of each segment."""
        return np.diff(self.starts, append=np.int32(self.used))

    def branch_indices(self, segment: int) -> Ints:
        """Pack indices of a segment's whole branch, root first: its ancestors, then its own tokens."""
        before, path, start = int(self.ancestors[segment]), int(self.paths[segment]), int(self.starts[segment])
        own = np.arange(start, start + int(self.lengths[segment]), dtype=np.int32)
        return np.concatenate([self.path[path : path + before], own])


def packs(branches: Sequence[Branch], *, token_budget: int, max_sites: int | None = None) -> Iterator[Pack]:
    """Lay out all branches in as few packs as a walk of their prefix tree gives, one pack at a time.

    Branches are walked in an order that keeps equal beginnings together. Where the next one does not fit, the following
    `LOOKAHEAD` are tried for the room that is left. What a pack needs of a prefix that an earlier pack held is laid out
    again. A branch longer than the budget gets a pack of its own, as long as itself.

    Args:
        token_budget: most tokens in a pack.
        max_sites: most positions that are read in a pack; None for no bound. A branch that reads more gets a pack of
            its own.
    """
    waiting = deque(_walk(branches))
    while waiting:
        layout = _Layout(token_budget, max_sites)
        left: list[_Step] = []
        shared = _WHOLE  # with the last branch that was left, by this one and all between
        while waiting and len(left) < LOOKAHEAD and not layout.is_oversize:
            step = waiting.popleft()
            shared = min(shared, step.shared)
            if not layout.add(step, branches[step.branch]):
                left.append(replace(step, shared=shared))
                shared = _WHOLE
        if waiting:
            waiting[0] = replace(waiting[0], shared=min(shared, waiting[0].shared))
        waiting.extendleft(reversed(left))
        yield layout.pack()


_WHOLE = 1 << 40
"""More tokens than any branch has."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A branch in the walk of the tree."""

    branch: int
    key: bytes
    """Its tokens, four bytes each: bytes are compared and sorted in C."""
    shared: int
    """How many leading tokens it shares with the step before it."""


def _walk(branches: Sequence[Branch]) -> list[_Step]:
    """Depth-first order of the prefix tree: in any order of strings, those with an equal beginning are neighbours."""
    keys = [array("i", branch.tokens).tobytes() for branch in branches]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    steps: list[_Step] = []
    previous = b""
    for index in order:
        key = keys[index]
        steps.append(_Step(branch=index, key=key, shared=common_prefix_length(previous, key) // _BYTES))
        previous = key
    return steps


@dataclass(slots=True)
class _Layout:
    """A pack under construction."""

    token_budget: int
    max_sites: int | None
    used: int = 0
    shared: int = 0
    """Tokens that the last branch laid out shares with everything seen since."""
    path_index: Ints = field(default_factory=lambda: np.empty(256, dtype=np.int32))
    """Pack index of each position of the last branch laid out."""
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

    @property
    def is_oversize(self) -> bool:
        return self.used > self.token_budget

    def add(self, step: _Step, branch: Branch) -> bool:
        """Lay out a branch, unless it does not fit beside others; whether it was."""
        self.shared = min(self.shared, step.shared)
        length = len(step.key) // _BYTES
        if self.placements and not self._fits(length - self.shared, branch):
            return False
        if length > self.shared:
            self._write_segment(step.key, length)
        self.shared = length
        indices = self.path_index[list(branch.reads)].tolist() if branch.reads else []
        sites = tuple(self.sites.setdefault(index, len(self.sites)) for index in indices)
        self.placements.append(Placement(branch=step.branch, sites=sites))
        return True

    def _fits(self, tokens: int, branch: Branch) -> bool:
        sites = 0 if self.max_sites is None else len(self.sites) + len(branch.reads)
        return self.used + tokens <= self.token_budget and (self.max_sites is None or sites <= self.max_sites)

    def _write_segment(self, key: bytes, length: int) -> None:
        before = self.shared
        own = length - before
        self.starts.append(self.used)
        self.ancestors.append(before)
        self.paths.append(self._ancestor_list(before))
        self.tokens.append(np.frombuffer(key, dtype=np.int32)[before:])
        if length > len(self.path_index):
            self.path_index = np.concatenate([self.path_index, np.empty(length, dtype=np.int32)])
        self.path_index[before:length] = np.arange(self.used, self.used + own, dtype=np.int32)
        self.used += own

    def _ancestor_list(self, before: int) -> int:
        """Where in `path` the first `before` indices of the last branch stand; written there if they do not yet."""
        offset, valid = self.listed
        if before > valid:
            offset = self.path_length
            self.path.append(self.path_index[:before].copy())
            self.path_length += before
        self.listed = offset, before
        return offset

    def pack(self) -> Pack:
        starts, ancestors = np.array(self.starts, dtype=np.int32), np.array(self.ancestors, dtype=np.int32)
        lengths = np.diff(starts, append=np.int32(self.used))
        return Pack(
            tokens=np.concatenate(self.tokens),
            positions=np.arange(self.used, dtype=np.int32) + np.repeat(ancestors - starts, lengths),
            starts=starts,
            ancestors=ancestors,
            paths=np.array(self.paths, dtype=np.int32),
            path=np.concatenate(self.path) if self.path else np.empty(0, dtype=np.int32),
            sites=np.fromiter(self.sites, dtype=np.int32, count=len(self.sites)),
            placements=tuple(self.placements),
        )
