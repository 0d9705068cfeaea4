"""Rows laid out in packs, and one forward over a pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from evalsuite.attention.by_segment import segment_attention
from evalsuite.attention.interface import Attend, Kept, tree_pass
from evalsuite.determinism import NotDeterministic
from evalsuite.planning.packs import Branch, Ints, Pack, packs
from evalsuite.planning.rows import ScoringRow
from evalsuite.runner import ModelRunner
from evalsuite.tree_forward import TreeForward

Row = tuple[int, ScoringRow]
"""Number of the request, and a row that scores some of its choices."""


@dataclass(frozen=True, slots=True)
class PackedRows:
    """A pack, and the rows that are read in it."""

    rows: Sequence[Row]
    """In the order of `pack.placements`."""
    pack: Pack
    before: Ints
    """[pack.carried]: the tokens that stand before the pack."""


def lay_out(rows: Sequence[Row], *, token_budget: int, max_sites: int | None) -> Iterator[PackedRows]:
    """Rows in packs, pack by pack."""
    branches = [_branch(row) for _, row in rows]
    before = np.empty(0, dtype=np.int32)
    for pack in packs(branches, token_budget=token_budget, max_sites=max_sites):
        yield PackedRows([rows[placement.branch] for placement in pack.placements], pack, before)
        before = np.concatenate([before, pack.tokens])[pack.carry + pack.carried]


class Plan:
    """Packs for rows, one after the other, which can be planned anew in smaller packs where one does not fit.

    A pack is taken to be done when the next one is drawn.
    """

    def __init__(
        self, rows: Sequence[Row], *, token_budget: int, max_sites: int | None, resizable: bool = True
    ) -> None:
        self._resizable = resizable
        self._left = dict(enumerate(rows))
        self._max_sites = max_sites
        self._refused: PackedRows | None = None
        self._start(token_budget)

    def __iter__(self) -> Iterator[PackedRows]:
        while (packed := next(self._packs, None)) is not None:
            yield packed
            if packed is self._refused:  # planned anew while it was out
                continue
            for placement in packed.pack.placements:
                del self._left[self._planned[placement.branch]]

    def smaller(self, packed: PackedRows) -> list[PackedRows]:
        """Plan what is left, `packed` included, in packs of half its size; they are still to come, so none is returned.

        `[packed]` where it cannot be smaller, since it holds but what is read of one row.
        """
        size = packed.pack.used // 2
        if not self._resizable:
            raise NotDeterministic("a pack does not fit into memory; use a smaller --token-budget from the start")
        if not size or packed.pack.used > self._token_budget:
            return [packed]
        self._refused = packed
        self._start(size)
        return []

    def _start(self, token_budget: int) -> None:
        self._token_budget = token_budget
        self._planned = list(self._left)
        rows = list(self._left.values())
        self._packs = lay_out(rows, token_budget=token_budget, max_sites=self._max_sites)


def _branch(row: ScoringRow) -> Branch:
    longest = max(len(continuation) for _, continuation in row.choices)
    return Branch(tokens=row.input_ids, reads=tuple(range(row.first_read, row.first_read + longest)))


class PackForward(TreeForward):
    """Runs packs whose keys and values stand in the pack itself, and in what the pack before handed on."""

    def __init__(self, runner: ModelRunner) -> None:
        super().__init__(runner)
        self._kept: list[Kept] = []
        self._kept_of = np.empty(0, dtype=np.int32)

    def plan(self, rows: Sequence[Row]) -> Plan:
        return Plan(rows, token_budget=self.token_budget, max_sites=self.max_sites, resizable=not self._deterministic)

    def tokens(self, packed: PackedRows) -> int:
        """Tokens that a pack is computed as."""
        return self.padded_size(packed.pack.used)

    def score(self, packed: PackedRows) -> Iterator[tuple[int, dict[int, float]]]:
        """(number of the request, choice index to log-probability in nats) for each row.

        Returns before the device is done; drawing the first result waits for it.
        """
        with self._on_device():
            return self._score(packed)

    def _score(self, packed: PackedRows) -> Iterator[tuple[int, dict[int, float]]]:
        pack, size = packed.pack, self.tokens(packed)
        if pack.carried and not np.array_equal(self._kept_of, packed.before):
            self._compute_again(packed.before)
        logits, handed_on = self._forward(pack, size)
        self._runner.counters.padding_tokens += size - pack.used
        logprobs = torch.log_softmax(logits.float(), dim=-1)  # [sites, vocab]
        read = self._to_device(np.array(list(_reads(packed)), dtype=np.int64).reshape(-1, 2))
        values = logprobs[read[:, 0], read[:, 1]]
        # Only now: a pack that fails is run again on what it was handed.
        self._kept, self._kept_of = handed_on, np.concatenate([packed.before, pack.tokens])[pack.carry + pack.carried]
        if not self._cuda:
            return _results(packed, values)
        host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        host.copy_(values, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return _results(packed, host, copied)

    def _forward(self, pack: Pack, size: int) -> tuple[torch.Tensor, list[Kept]]:
        """Logits at the pack's sites, [sites, vocab], and what it hands on. Computed as `size` tokens."""
        return self._or_without_kernel(lambda: self._forward_once(pack, size))

    def _forward_once(self, pack: Pack, size: int) -> tuple[torch.Tensor, list[Kept]]:
        model, kept = self._runner.model, self._kept if pack.carried else ()
        sites = self._padded(pack.sites, self.max_sites or len(pack.sites))
        with (
            self._layers(),
            tree_pass(model, self._configs, pack, self._attention(pack), kept) as run,
        ):
            token_ids = self._padded(pack.tokens, size, fill=self._runner.pad_id)
            logits = self._logits_at(sites, token_ids, self._padded(pack.positions, size), run)
        return logits, run.handed_on

    def _compute_again(self, tokens: Ints) -> None:
        """Keys and values of a branch's beginning, where the pack that handed them on was not run by this process.

        In packs of the usual shape, so that kernels do not change; counted by the runner, and in no counter.
        """
        self._kept, self._kept_of = [], tokens[:0]
        branch = Branch(tokens=tokens.tolist(), reads=(len(tokens) - 1,))
        budget = min(self.token_budget, self._runner.tokens_that_fit or self.token_budget)
        with self._runner.uncounted() as work:
            for pack in packs([branch], token_budget=budget):
                if not len(pack.carry):  # the last one, which hands the whole branch on
                    pack = replace(pack, carry=np.arange(-pack.carried, pack.used, dtype=np.int32))
                self._kept = self._forward(pack, self.padded_size(pack.used))[1]
        self._runner.recomputed_tokens += work.tokens_computed
        self._kept_of = tokens

    def _attention(self, pack: Pack) -> Attend:
        if not self._fused_kernel:
            return segment_attention(pack, self._runner.device)
        from evalsuite.attention.fused import fused_attention

        return fused_attention(pack, self._runner.device)


def _reads(packed: PackedRows) -> Iterator[tuple[int, int]]:
    """(index among the sites, token id), in the order of rows, choices, tokens."""
    for placement, (_, row) in zip(packed.pack.placements, packed.rows, strict=True):
        for _, continuation in row.choices:
            yield from zip(placement.sites, continuation, strict=False)


def _results(
    packed: PackedRows, values: torch.Tensor, ready: torch.cuda.Event | None = None
) -> Iterator[tuple[int, dict[int, float]]]:
    if ready is not None:
        ready.synchronize()
    each = iter(values.tolist())
    for number, row in packed.rows:
        yield number, {index: sum(islice(each, len(continuation))) for index, continuation in row.choices}
