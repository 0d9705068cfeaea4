"""Attention over a pool of keys and values in plain torch: the way on the CPU, and the oracle of the fused kernels."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from evalsuite.attention.by_segment import SegmentAttention, masked
from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pool import (
    SMALLEST_SCALE,
    DecodeTables,
    KeysAndValues,
    PoolAttend,
    PoolLayer,
    PoolPack,
    largest_of,
)

_WORTH_A_CALL = 1_024
"""Keys (positions times rows) whose attention costs about what one more round of calls does: nano's width, one core."""

_MOST_IN_A_CALL = 4_096
"""Keys likewise, whose copies stay in a core's cache between the copying and the attention."""


@dataclass(frozen=True, slots=True)
class PooledSegments:
    """`PoolAttend` over one pack, segment by segment."""

    spans: tuple[tuple[int, int, torch.Tensor], ...]
    """(start, own tokens, slots of the branch [ancestors + own], int64 on the device), one a segment."""
    segments: SegmentAttention = field(default_factory=lambda: SegmentAttention(()))

    def __call__(
        self,
        query: torch.Tensor,
        layer: PoolLayer,
        fresh: KeysAndValues,
        rule: ScoreRule,
    ) -> torch.Tensor:
        heads, tokens, _ = query.shape
        out = query.new_zeros(tokens, heads, layer.values.shape[-1])
        for start, own, branch in self.spans:
            keys, values = gathered(layer, branch, query.dtype)
            out[start : start + own] = self.segments.over_branch(
                query[:, start : start + own],
                keys.transpose(0, 1),
                values.transpose(0, 1),
                rule,
            )
        return out


def plain_prefill(pack: PoolPack, device: torch.device) -> PoolAttend:
    """The tables of a pack on a device. Tokens of the padding behind a pack attend to nothing and come out as 0."""
    spans = []
    for start, own, before, path in zip(
        *(table.tolist() for table in (pack.starts, pack.lengths, pack.ancestors, pack.paths)), strict=True
    ):
        branch = np.concatenate([pack.path[path : path + before], pack.own[start : start + own]])
        spans.append((start, own, torch.from_numpy(branch).to(device, torch.int64)))
    return PooledSegments(tuple(spans))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of about the same length, which attend in one call."""

    places: torch.Tensor | None
    """[rows], int64: their places in the batch; None for the whole batch in its order."""
    slots: torch.Tensor
    """[rows * longest], int64: of the keys that each row sees, then 0."""
    seen: torch.Tensor | None
    """[rows, 1, 1, longest]: which of these are keys; None where all are."""


@dataclass(frozen=True, slots=True)
class PooledStep:
    """`PoolAttend` over one token of each row.

    A copy of the keys in the order of rows and one call of torch's attention on it: on one core, 64 rows of 200 keys in
    nano's layers take half the time that two products and a softmax do. Rows of unlike lengths go in several calls.
    """

    slots: torch.Tensor
    """[batch, longest], int64: the rows' tables."""
    lengths: tuple[int, ...]
    """[batch]: keys of each row; 0 for a place that is not used."""
    rows: dict[tuple[int, int | None], tuple[_Rows, ...]] = field(default_factory=dict)
    """By (places, window): all layers with the same window ask for the same rows."""

    def __call__(
        self,
        query: torch.Tensor,
        layer: PoolLayer,
        fresh: KeysAndValues,
        rule: ScoreRule,
    ) -> torch.Tensor:
        heads, batch, dim = query.shape
        if (batch, rule.window) not in self.rows:
            self.rows[batch, rule.window] = self._grouped(batch, rule.window)
        kv_heads, value_dim = layer.values.shape[1:]
        # The query heads of a key head stand where queries do, so that no key is copied for each of them.
        query = query.transpose(0, 1).reshape(batch, kv_heads, heads // kv_heads, dim)
        out = query.new_zeros(batch, kv_heads, heads // kv_heads, value_dim)
        for rows in self.rows[batch, rule.window]:
            keys, values = gathered(layer, rows.slots, query.dtype)
            own = query if rows.places is None else query[rows.places]
            attended = masked(
                own,
                keys.view(len(own), -1, kv_heads, dim).transpose(1, 2),
                values.view(len(own), -1, kv_heads, value_dim).transpose(1, 2),
                rows.seen,
                rule,
            )
            if rows.places is None:
                out = attended
            else:
                out[rows.places] = attended
        return out.reshape(batch, heads, value_dim).contiguous()

    def _grouped(self, batch: int, window: int | None) -> tuple[_Rows, ...]:
        device = self.slots.device
        ends = torch.tensor(self.lengths[:batch], device=device)
        counts = ends if window is None else ends.clamp(max=window)
        groups = []
        for places in _of_like_length(counts.tolist()):
            index = torch.tensor(places, device=device)
            end, count = ends[index, None], counts[index, None]
            within = torch.arange(int(count.max()), device=device)
            seen = within < count
            slots = self.slots[index].gather(1, ((end - count) + within).clamp(max=self.slots.shape[1] - 1))
            groups.append(
                _Rows(
                    places=None if places == list(range(batch)) else index,
                    slots=torch.where(seen, slots, 0).flatten(),
                    seen=None if bool(seen.all()) else seen[:, None, None],
                )
            )
        return tuple(groups)


def plain_decode(tables: DecodeTables) -> PoolAttend:
    """One step of as many places as it has queries; those that hold the dummy row come out as 0.

    The tables are read here, so what is changed in them later counts for the next call of this.
    """
    lengths = torch.where(tables.active == len(tables.slots) - 1, 0, tables.lengths[tables.active]).tolist()
    return PooledStep(tables.slots[tables.active, : max(lengths, default=0)].long(), tuple(lengths))


def gathered(layer: PoolLayer, slots: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values at `slots` [n], int32 or int64: [n, kv heads, dim] and [n, kv heads, value dim]."""
    return _at(layer.keys, layer.key_scales, slots, dtype), _at(layer.values, layer.value_scales, slots, dtype)


def _at(kept: torch.Tensor, scales: torch.Tensor | None, slots: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    # `index_select` over rows of numbers copies them whole; indexing with a tensor takes six times as long. As bytes
    # where they are 8-bit floats, which not every operation knows.
    rows = kept.view(len(kept), -1)
    if rows.dtype.itemsize == 1:
        taken = rows.view(torch.uint8).index_select(0, slots).view(kept.dtype)
    else:
        taken = rows.index_select(0, slots)
    taken = taken.view(len(slots), *kept.shape[1:])
    if scales is None:
        return taken.to(dtype)
    exact = torch.promote_types(dtype, torch.float32)
    return (taken.to(exact) * scales.index_select(0, slots)[..., None]).to(dtype)


def _of_like_length(lengths: list[int]) -> list[list[int]]:
    """Places of rows with keys, so that those of one list waste little when all become as long as the longest."""
    order = sorted((place for place, length in enumerate(lengths) if length), key=lambda place: -lengths[place])
    groups: list[list[int]] = []
    for index, place in enumerate(order):
        longest = lengths[groups[-1][0]] if groups else 0
        if (
            not groups
            or (longest - lengths[place]) * (len(order) - index) > _WORTH_A_CALL
            or longest * (len(groups[-1]) + 1) > _MOST_IN_A_CALL
        ):
            groups.append([])
        groups[-1].append(place)
    return [sorted(group) for group in groups]


def plain_store(layer: PoolLayer, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
    """`pool.Store`."""
    _keep(layer.keys, layer.key_scales, slots, key.transpose(0, 1))
    _keep(layer.values, layer.value_scales, slots, value.transpose(0, 1))


def _keep(kept: torch.Tensor, scales: torch.Tensor | None, slots: torch.Tensor, numbers: torch.Tensor) -> None:
    """numbers [tokens, heads, dim] into kept [slots, heads, dim]."""
    if scales is None:
        kept.index_copy_(0, slots, numbers)
        return
    exact = numbers.float()
    largest = exact.abs().amax(-1)  # [tokens, heads]
    # By a tensor: CUDA multiplies by the inverse of a number, which rounds otherwise than a division.
    scale = (largest / torch.full_like(largest, largest_of(kept.dtype))).clamp_min(SMALLEST_SCALE)
    scaled = exact / scale[..., None]
    short = (scaled if kept.dtype.is_floating_point else scaled.round()).to(kept.dtype)
    # As bytes: not every operation knows 8-bit floats.
    kept.view(torch.uint8).index_copy_(0, slots, short.view(torch.uint8))
    scales.index_copy_(0, slots, scale)
