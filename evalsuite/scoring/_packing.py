"""Rows laid out in packs, and one forward over a pack."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch

from evalsuite.attention.by_segment import segment_attention
from evalsuite.attention.interface import Attend, Kept, NoTreeAttention, attention_configs, refusal, tree_pass
from evalsuite.determinism import NotDeterministic, has_experts
from evalsuite.errors import first_line
from evalsuite.loading.fusing import fused_layers, fusing_failure, give_up_fusing
from evalsuite.measure.counters import WorkCounters
from evalsuite.planning.packs import Branch, Ints, Pack, packs
from evalsuite.planning.rows import ScoringRow
from evalsuite.runner import ModelRunner
from evalsuite.types import Fallback

Row = tuple[int, ScoringRow]
"""Number of the request, and a row that scores some of its choices."""

MAX_SITES = 512
"""Most positions that are read in a pack on CUDA, where their number is fixed: a matrix product's kernel, and so its
rounding, may change with its shape. At 16,384 tokens that is a position every 32 tokens."""

MAX_TOKENS_ON_CPU = 4_096
"""A longer pack's activations leave the caches: nano on one core is quickest at 2,048 to 4,096, and a third slower at
16,384."""


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


class PackForward:
    """Runs packs on a model, which is as it was between them.

    On CUDA every pack has the same shape, layers are compiled for it, and attention is one fused kernel. Elsewhere a
    pack is as long as what it holds, and attention goes segment by segment.

    Raises:
        NoTreeAttention: the model cannot run on a tree.
        NotDeterministic: that is asked for, and what the model's tokens share is more than its weights.
    """

    def __init__(self, runner: ModelRunner) -> None:
        if (reason := refusal(runner.model)) is not None:
            raise NoTreeAttention(reason)
        self._runner = runner
        self._cuda = runner.device.type == "cuda"
        self._deterministic = runner.options.deterministic
        if self._deterministic and has_experts(runner.model.config):
            raise NotDeterministic("the model has experts, whose batches depend on which tokens come to them")
        self._configs = attention_configs(runner.model)
        self._fused_kernel = self._cuda
        # A forward that is compiled as a whole has its layers in it.
        self._fused_layers = self._cuda and runner.loaded.report.got["torch_compile"] != "on"
        if self._fused_layers and (reason := fusing_failure(runner.model)) is not None:
            self.drop_compiled(reason)
        self._kept: list[Kept] = []
        self._kept_of = np.empty(0, dtype=np.int32)
        self.token_budget = runner.options.token_budget
        if not self._cuda:
            self.token_budget = min(self.token_budget, MAX_TOKENS_ON_CPU)
        self.max_sites = MAX_SITES if self._cuda else None

    def plan(self, rows: Sequence[Row]) -> Plan:
        return Plan(rows, token_budget=self.token_budget, max_sites=self.max_sites, resizable=not self._deterministic)

    def tokens(self, packed: PackedRows) -> int:
        """Tokens that a pack is computed as."""
        return self._size(packed.pack.used)

    def _size(self, used: int) -> int:
        """On CUDA halves of the budget as long as the pack fits, so that shapes stay few."""
        size = self.token_budget
        if not self._cuda or used > size:
            return used
        while self._runner.tokens_that_fit is not None and size > self._runner.tokens_that_fit and size // 2 >= used:
            size //= 2
        return size

    def drop_compiled(self, reason: str) -> bool:
        """Run the layers as they are from now on, if they were compiled."""
        if not self._fused_layers:
            return False
        self._refuse_if_deterministic(f"the compiled layers failed: {reason}")
        self._fused_layers = False
        give_up_fusing(self._runner.model, reason)
        self._runner.step_down(Fallback(what="fused_layers", asked="on", got="off", reason=reason))
        return True

    def score(self, packed: PackedRows) -> Iterator[tuple[int, dict[int, float]]]:
        """(number of the request, choice index to log-probability in nats) for each row.

        Returns before the device is done; drawing the first result waits for it.
        """
        with torch.cuda.device(self._runner.device) if self._cuda else nullcontext():
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
        try:
            return self._forward_once(pack, size)
        except Exception as error:
            if not self._fused_kernel or not type(error).__module__.startswith("triton"):
                raise
            self._drop_kernel(f"{type(error).__name__}: {first_line(error)}")
        return self._forward_once(pack, size)

    def _forward_once(self, pack: Pack, size: int) -> tuple[torch.Tensor, list[Kept]]:
        model, kept = self._runner.model, self._kept if pack.carried else ()
        sites = self._padded(pack.sites, self.max_sites or len(pack.sites))
        with (
            fused_layers(model) if self._fused_layers else nullcontext(),
            tree_pass(model, self._configs, pack, self._attention(pack), kept) as run,
        ):
            logits = self._runner.logits_at(
                self._padded(pack.tokens, size, fill=self._runner.pad_id)[None],
                torch.zeros_like(sites),
                sites,
                position_ids=self._padded(pack.positions, size)[None],
            )
        return logits, run.handed_on

    def _compute_again(self, tokens: Ints) -> None:
        """Keys and values of a branch's beginning, where the pack that handed them on was not run by this process.

        In packs of the usual shape, so that kernels do not change; counted by the runner, and in no counter.
        """
        counters, self._runner.counters = self._runner.counters, WorkCounters()
        self._kept, self._kept_of = [], tokens[:0]
        try:
            branch = Branch(tokens=tokens.tolist(), reads=(len(tokens) - 1,))
            budget = min(self.token_budget, self._runner.tokens_that_fit or self.token_budget)
            for pack in packs([branch], token_budget=budget):
                if not len(pack.carry):  # the last one, which hands the whole branch on
                    pack = replace(pack, carry=np.arange(-pack.carried, pack.used, dtype=np.int32))
                self._kept = self._forward(pack, self._size(pack.used))[1]
            self._runner.recomputed_tokens += self._runner.counters.tokens_computed
        finally:
            self._runner.counters = counters
        self._kept_of = tokens

    def _refuse_if_deterministic(self, reason: str) -> None:
        if self._deterministic:
            raise NotDeterministic(reason)

    def _drop_kernel(self, reason: str) -> None:
        self._refuse_if_deterministic(f"the fused attention cannot run: {reason}")
        self._fused_kernel = False
        self._runner.step_down(Fallback(what="tree_attention", asked="fused", got="by segment", reason=reason))

    def _attention(self, pack: Pack) -> Attend:
        if self._fused_kernel:
            try:
                from evalsuite.attention.fused import fused_attention
            except ImportError as error:
                self._drop_kernel(f"Triton cannot be imported: {error}")
            else:
                return fused_attention(pack, self._runner.device)
        return segment_attention(pack, self._runner.device)

    def _padded(self, values: np.ndarray[Any, Any], size: int, *, fill: int = 0) -> torch.Tensor:
        """[size], int64, on the device; as long as the values where these are more."""
        padded = np.full(max(size, len(values)), fill, dtype=np.int64)
        padded[: len(values)] = values
        return self._to_device(padded)

    def _to_device(self, values: np.ndarray[Any, Any]) -> torch.Tensor:
        host = torch.from_numpy(values)
        return (host.pin_memory() if self._cuda else host).to(self._runner.device, non_blocking=self._cuda)


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
