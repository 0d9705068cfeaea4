"""Attention over a pool of keys and values as Triton kernels, whose result for a row does not depend on its company.

Prefill is the kernel of `fused.py`, with keys found by slot. A step of decoding has one query a row, so its parallel
work is along the keys (flash-decoding, Dao et al. 2023): a row's keys are cut into chunks of `CHUNK` positions, chunks
are attended to side by side, and a second kernel merges each row's in order of position. Rows that share a chunk's
slots share the work on it: its keys are read once, and the rows stand in one tile beside each other.

Chunks begin at fixed positions, a tile has the same shape whoever stands in it, and its rows are independent in a
matrix product. So a row has the same bits alone, in any batch, and whatever shares its chunks.

Everything that changes from step to step is read on the device, so one CUDA graph serves many steps.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# A kernel is Triton's language in Python's syntax: its arguments have no Python types.

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from evalsuite.attention.fused import (
    _LOG2E,
    BLOCK_KEYS,
    MOST_ELEMENTS,
    STAGES,
    WARPS,
    Pooled,
    Tiles,
    launch,
    list_of_ancestors,
    to_device,
    weigh,
)
from evalsuite.attention.interface import NoTreeAttention
from evalsuite.attention.pool import DecodeTables, PoolAttend, PoolLayer, PoolPack

CHUNK = 128
"""Positions of a chunk: a multiple of `BLOCK_KEYS`. Short ones spread a small batch over a device; each costs a row's
accumulator written and read."""
DECODE_ROWS = 32
"""Rows of a tile that members are chosen for. Most items have one member, whose few rows would leave a larger tile
empty."""
PROGRAMS_PER_PROCESSOR = 4
"""That run at a time on a streaming multiprocessor: what one waits for, another computes."""
_MERGED_CHUNKS = 8
"""That the merge reads at a time."""


@dataclass(frozen=True, slots=True)
class PooledTiles:
    """`PoolAttend` over one pack."""

    pack: PoolPack
    path: torch.Tensor
    """Slots of ancestors, int32 on the device."""
    own: torch.Tensor
    """[used], int32 on the device: slots of the pack's tokens."""
    tiles: Tiles

    def __call__(
        self, query: torch.Tensor, layer: PoolLayer, *, scale: float, softcap: float | None, window: int | None
    ) -> torch.Tensor:
        heads, tokens, _ = query.shape
        if query.numel() > MOST_ELEMENTS:
            raise NoTreeAttention(f"{query.numel():,} numbers in a pack's queries; use a smaller --token-budget")
        query = query if query.stride(-1) == 1 else query.contiguous()
        key, value = layer.keys.transpose(0, 1), layer.values.transpose(0, 1)
        out = query.new_empty(tokens, heads, value.shape[-1])
        out[self.pack.used :].zero_()  # the padding: what comes of it is written to the pool's scratch
        tiles = self.tiles.for_group(heads // key.shape[0])
        pooled = Pooled(self.own, layer.key_scales, layer.value_scales)
        launch(query, key, value, key, value, out, tiles, self.path, pooled, 0, scale, softcap, window)
        return out


def fused_prefill(pack: PoolPack, device: torch.device) -> PoolAttend:
    """The tables of a pack on a device. Tokens of the padding behind a pack attend to nothing and come out as 0."""
    return PooledTiles(
        pack=pack, path=list_of_ancestors(pack, device), own=to_device(pack.own, device), tiles=Tiles(pack, device)
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeWorkspace:
    """What chunks hand to the merge, at fixed addresses. All layers can share it: it is used within a call."""

    accumulators: torch.Tensor
    """[batch * chunks * heads * value dim], fp32: sums of values, weighted relative to the chunk's largest score."""
    tops: torch.Tensor
    """[batch * chunks * heads], fp32: the largest score, in powers of 2."""
    totals: torch.Tensor
    """[batch * chunks * heads], fp32: sums of weights."""
    batch: int
    chunks: int
    """Most of a row."""
    most_members: int
    """Of an item. It sets the shape of tiles, so it is the same throughout a run."""
    processors: int
    """Streaming multiprocessors of the device."""


def most_members(heads: int, kv_heads: int) -> int:
    """How many rows of the batch fill a tile."""
    return max(1, DECODE_ROWS // (heads // kv_heads))


def decode_workspace(
    device: torch.device, *, batch: int, width: int, heads: int, value_dim: int, most_members: int
) -> DecodeWorkspace:
    """For batches of up to `batch` rows of up to `width` keys, and layers of up to `heads` times `value_dim`."""
    chunks = triton.cdiv(width, CHUNK)
    cells = batch * chunks * heads
    on_cuda = device.type == "cuda"
    return DecodeWorkspace(
        accumulators=torch.zeros(cells * value_dim, device=device),
        tops=torch.zeros(cells, device=device),
        totals=torch.zeros(cells, device=device),
        batch=batch,
        chunks=chunks,
        most_members=most_members,
        processors=torch.cuda.get_device_properties(device).multi_processor_count if on_cuda else 1,
    )


def workspace_bytes(*, batch: int, width: int, heads: int, value_dim: int) -> int:
    """That such a workspace takes."""
    return int(4 * batch * triton.cdiv(width, CHUNK) * heads * (value_dim + 2))


@dataclass(frozen=True, slots=True)
class FusedStep:
    """`PoolAttend` over one token of each row. It reads its tables when it runs, and allocates only what it returns."""

    tables: DecodeTables
    workspace: DecodeWorkspace

    def __call__(
        self, query: torch.Tensor, layer: PoolLayer, *, scale: float, softcap: float | None, window: int | None
    ) -> torch.Tensor:
        tables, space = self.tables, self.workspace
        heads, batch, dim = query.shape
        kv_heads, value_dim = layer.values.shape[1:]
        group = heads // kv_heads
        cells = space.batch * space.chunks * heads
        if batch > space.batch or cells > len(space.tops) or cells * value_dim > len(space.accumulators):
            raise ValueError(f"{batch} rows of {heads} heads of {value_dim} do not fit into the workspace")
        query = query if query.stride(-1) == 1 else query.contiguous()
        out = query.new_empty(batch, heads, value_dim)
        value_dim_padded = max(16, triton.next_power_of_2(value_dim))
        programs = max(1, triton.cdiv(space.processors * PROGRAMS_PER_PROCESSOR, kv_heads))
        _attend_chunks[(programs, kv_heads)](
            query,
            layer.keys,
            layer.values,
            layer.key_scales,
            layer.value_scales,
            space.accumulators,
            space.tops,
            space.totals,
            tables.slots,
            tables.lengths,
            tables.active,
            tables.items,
            tables.members,
            tables.item_count,
            *query.stride()[:2],
            tables.slots.shape[1],
            space.chunks,
            scale,
            _LOG2E if softcap else scale * _LOG2E,
            softcap or 0.0,
            window or 0,
            HEADS=heads,
            KV_HEADS=kv_heads,
            DIM=dim,
            VALUE_DIM=value_dim,
            DIM_PADDED=max(16, triton.next_power_of_2(dim)),
            VALUE_DIM_PADDED=value_dim_padded,
            GROUP=group,
            ROWS=max(16, triton.next_power_of_2(space.most_members * group)),
            CHUNK_=CHUNK,
            KEYS=BLOCK_KEYS,
            PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
            QUANTISED=layer.key_scales is not None,
            num_warps=WARPS,
            num_stages=STAGES,
        )
        _merge_chunks[(batch, heads)](
            space.accumulators,
            space.tops,
            space.totals,
            out,
            tables.lengths,
            tables.active,
            len(tables.slots) - 1,
            space.chunks,
            window or 0,
            HEADS=heads,
            VALUE_DIM=value_dim,
            VALUE_DIM_PADDED=value_dim_padded,
            CHUNK_=CHUNK,
            MERGED=_MERGED_CHUNKS,
            num_warps=WARPS,
        )
        return out


def fused_decode(tables: DecodeTables, workspace: DecodeWorkspace) -> PoolAttend:
    """Steps of as many places as they have queries; places that hold the dummy row come out as 0.

    Items are those of `planning.chunks.decode_items`, with this module's `CHUNK` and the workspace's `most_members`.
    They hold every chunk of every row that is active, but for the dummy. Chunks that a row has not come to yet may be
    among them, so items serve until a row has more keys than they were made for.
    """
    return FusedStep(tables, workspace)


@triton.jit(do_not_specialize=["width", "chunks", "window"])
def _attend_chunks(
    query,
    keys,
    values,
    key_scales,
    value_scales,
    accumulators,
    tops,
    totals,
    slots,
    lengths,
    active,
    items,
    members,
    item_count,
    q_head,
    q_token,
    width,
    chunks,
    scale,
    factor,
    softcap,
    window,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    CHUNK_: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    QUANTISED: tl.constexpr,
):
    """Items p, p + programs, ...: a chunk's members, for the query heads of one key head.

    A chunk that no member sees is passed over, and so are its blocks of keys that none does: a block that a row does
    not see leaves what it has as it is, bit for bit.
    """
    kv_head = tl.program_id(1)
    row = tl.arange(0, ROWS)
    member = row // GROUP
    head = kv_head * GROUP + row % GROUP
    dim = tl.arange(0, DIM_PADDED)
    value_dim = tl.arange(0, VALUE_DIM_PADDED)
    keys += kv_head * DIM
    values += kv_head * VALUE_DIM
    if QUANTISED:
        key_scales += kv_head
        value_scales += kv_head
    for item in range(tl.program_id(0), tl.load(item_count), tl.num_programs(0)):
        first = tl.load(items + item * 3)
        chunk = tl.load(items + item * 3 + 2)
        real = member < tl.load(items + item * 3 + 1)
        place = tl.load(members + first + member, mask=real, other=0)
        length = tl.load(lengths + tl.load(active + place, mask=real, other=0), mask=real, other=0)
        begin = chunk * CHUNK_
        start = begin
        stop = tl.minimum(begin + CHUNK_, tl.max(length, 0))
        if window > 0:
            earliest = tl.min(tl.where(real, tl.maximum(length - window, 0), begin + CHUNK_), 0)
            start = tl.maximum(begin, earliest // KEYS * KEYS)
        if start < stop:
            table = slots + tl.load(active + tl.load(members + first)).to(tl.int64) * width
            q = tl.load(
                query + place[:, None] * q_token + head[:, None] * q_head + dim[None, :],
                mask=real[:, None] & (dim < DIM)[None, :],
                other=0.0,
            )
            top = tl.full([ROWS], float("-inf"), tl.float32)
            total = tl.zeros([ROWS], tl.float32)
            gathered = tl.zeros([ROWS, VALUE_DIM_PADDED], tl.float32)
            for block in range(start, stop, KEYS):
                at = block + tl.arange(0, KEYS)
                seen = at[None, :] < length[:, None]
                if window > 0:
                    seen = seen & (at[None, :] >= length[:, None] - window)
                # Behind all members' keys the scratch, which is finite: nothing may have been written there yet.
                slot = tl.load(table + at, mask=at < stop, other=0).to(tl.int64)
                key_rows = keys + slot * (KV_HEADS * DIM)
                value_rows = values + slot * (KV_HEADS * VALUE_DIM)
                key_scale_at = key_scales
                value_scale_at = value_scales
                if QUANTISED:
                    key_scale_at = key_scales + slot * KV_HEADS
                    value_scale_at = value_scales + slot * KV_HEADS
                top, total, gathered = weigh(
                    q, top, total, gathered, key_rows, value_rows, key_scale_at, value_scale_at, seen,
                    factor, scale, softcap, DIM, VALUE_DIM, DIM_PADDED, VALUE_DIM_PADDED, True, PRECISION, QUANTISED,
                )  # fmt: skip
            sees = real & (length > begin)
            if window > 0:
                sees = sees & (length - window < begin + CHUNK_)
            cell = (place.to(tl.int64) * chunks + chunk) * HEADS + head
            tl.store(tops + cell, top, mask=sees)
            tl.store(totals + cell, total, mask=sees)
            tl.store(
                accumulators + cell[:, None] * VALUE_DIM + value_dim[None, :],
                gathered,
                mask=sees[:, None] & (value_dim < VALUE_DIM)[None, :],
            )


@triton.jit(do_not_specialize=["dummy", "chunks", "window"])
def _merge_chunks(
    accumulators,
    tops,
    totals,
    out,
    lengths,
    active,
    dummy,
    chunks,
    window,
    HEADS: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    CHUNK_: tl.constexpr,
    MERGED: tl.constexpr,
):
    """The chunks that one row sees, for one head."""
    place = tl.program_id(0)
    head = tl.program_id(1)
    row = tl.load(active + place)
    length = tl.where(row < dummy, tl.load(lengths + row), 0)
    value_dim = tl.arange(0, VALUE_DIM_PADDED)
    begin = 0
    if window > 0:
        begin = tl.maximum(length - window, 0) // CHUNK_
    end = tl.cdiv(length, CHUNK_)
    top = tl.full([1], float("-inf"), tl.float32)
    total = tl.zeros([1], tl.float32)
    gathered = tl.zeros([VALUE_DIM_PADDED], tl.float32)
    for first in range(begin, end, MERGED):
        number = first + tl.arange(0, MERGED)
        cell = (place.to(tl.int64) * chunks + number) * HEADS + head
        chunk_tops = tl.load(tops + cell, mask=number < end, other=float("-inf"))
        chunk_totals = tl.load(totals + cell, mask=number < end, other=0.0)
        part = tl.load(
            accumulators + cell[:, None] * VALUE_DIM + value_dim[None, :],
            mask=(number < end)[:, None] & (value_dim < VALUE_DIM)[None, :],
            other=0.0,
        )
        new_top = tl.maximum(top, tl.max(chunk_tops, 0))
        weights = tl.exp2(chunk_tops - new_top)
        shrink = tl.exp2(top - new_top)
        total = total * shrink + tl.sum(chunk_totals * weights, 0)
        gathered = gathered * shrink + tl.sum(part * weights[:, None], 0)
        top = new_top
    result = tl.where(row < dummy, gathered / total, 0.0)
    tl.store(
        out + (place * HEADS + head) * VALUE_DIM + value_dim,
        result.to(out.dtype.element_ty),
        mask=value_dim < VALUE_DIM,
    )
