"""Attention of steps of decoding over a pool.

A step of decoding has one query a row, so its parallel work is along the keys (flash-decoding, Dao et al. 2023): a
row's keys are cut into spans of positions (`planning.spans`), spans are attended to side by side, and a second kernel
merges each row's in order of position. Rows that share a span's slots share the work on it: its keys are read once, and
the rows stand in one tile beside each other.

Where spans begin at fixed positions and every tile has the same shape whoever stands in it, a row has the same bits
alone, in any batch, and whatever shares its spans: rows of a tile are independent in a matrix product.

Everything that changes from step to step is read on the device, so one CUDA graph serves many steps.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# A kernel is Triton's language in Python's syntax: its arguments have no Python types.

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl

from evalsuite.attention.fused import MOST_ELEMENTS, Tile, kernel_arguments, weigh
from evalsuite.attention.interface import NoTreeAttention, ScoreRule
from evalsuite.attention.pool import DecodeTables, KeysAndValues, PoolAttend, PoolLayer
from evalsuite.planning.packs import Ints
from evalsuite.planning.spans import Indices, StepPlan, fixed_spans, parting_spans

FIXED_SPAN = 256
"""Positions of a span where a row's bits may not depend on its company."""
LONGEST_SPAN, SHORTEST_SPAN = 512, 128
"""Else about so many: each costs a row's accumulator written and read, and a small batch needs many to keep a device
busy."""
_MERGED_HEADS = 8
"""That a program of the merge holds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeTile(Tile):
    """Of a step of decoding, whose tokens are rows of the batch; at least 16 rows."""

    programs: int
    """For each streaming multiprocessor."""


MEMBERS = DecodeTile(rows=32, keys=32, warps=4, stages=3, registers=128, programs=8)
"""For rows that share a span."""
LONE = DecodeTile(rows=16, keys=32, warps=2, stages=3, registers=128, programs=8)
"""For one row alone; and for all, where a row's bits may not depend on its company."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodeWorkspace:
    """What spans hand to the merge, at fixed addresses. All layers can share it: it is used within a call."""

    accumulators: torch.Tensor
    """[cells * heads * value dim], fp32: sums of values, weighted relative to the span's largest score."""
    tops: torch.Tensor
    """[cells * heads], fp32: the largest score, in powers of 2."""
    totals: torch.Tensor
    """[cells * heads], fp32: sums of weights."""
    cells: int
    """Most of a plan."""
    members: int
    """Most rows in an item. It sets the shape of tiles, so it is the same throughout a run."""
    fixed: bool
    """Whether a row's bits may not depend on its company: spans at fixed positions, and rows that are alone in the same
    tiles as others."""
    processors: int
    """Streaming multiprocessors of the device."""
    beside: torch.cuda.Stream | None
    """For what runs side by side in a captured step."""

    def plan(self, slots: Ints, rows: Indices, ends: Ints, *, kv_heads: int) -> StepPlan:
        """The work of a batch; arguments as of `planning.spans`."""
        if self.fixed:
            return fixed_spans(slots, rows, ends, length=FIXED_SPAN, most_members=self.members)
        busy = self.processors * LONE.programs // kv_heads
        length = LONGEST_SPAN if int((-(-ends // LONGEST_SPAN)).sum()) >= busy else SHORTEST_SPAN
        return parting_spans(slots, rows, ends, length=length, most_members=self.members, most_cells=self.cells)


def most_members(heads: int, kv_heads: int, *, fixed: bool) -> int:
    """How many rows of the batch fill a tile."""
    return max(1, (LONE if fixed else MEMBERS).rows // (heads // kv_heads))


def most_cells(places: int, width: int, *, fixed: bool) -> int:
    """Of a plan for a batch of rows of up to `width` keys: those of every row by itself, and where rows share spans, on
    the average two more."""
    return places * int(triton.cdiv(width, FIXED_SPAN) if fixed else triton.cdiv(width, SHORTEST_SPAN) + 2)


def decode_workspace(
    device: torch.device, *, cells: int, heads: int, value_dim: int, members: int, fixed: bool
) -> DecodeWorkspace:
    """For plans of up to `cells` cells, and layers of up to `heads` times `value_dim`; `fixed`: with fixed spans."""
    on_cuda = device.type == "cuda"
    return DecodeWorkspace(
        accumulators=torch.zeros(cells * heads * value_dim, device=device),
        tops=torch.zeros(cells * heads, device=device),
        totals=torch.zeros(cells * heads, device=device),
        cells=cells,
        members=members,
        fixed=fixed,
        processors=torch.cuda.get_device_properties(device).multi_processor_count if on_cuda else 1,
        beside=torch.cuda.Stream(device) if on_cuda and not fixed else None,  # type: ignore[no-untyped-call]
    )


def decode_workspace_bytes(*, cells: int, heads: int, value_dim: int) -> int:
    """What the tensors of `decode_workspace` take, all of fp32; arguments as there."""
    return 4 * cells * heads * (value_dim + 2)


@dataclass(frozen=True, slots=True)
class FusedStep:
    """`PoolAttend` over one token of each row. It reads its tables when it runs; captured, it forks to `beside`."""

    tables: DecodeTables
    workspace: DecodeWorkspace

    def __call__(
        self,
        query: torch.Tensor,
        layer: PoolLayer,
        fresh: KeysAndValues,
        rule: ScoreRule,
    ) -> torch.Tensor:
        tables, space = self.tables, self.workspace
        heads, batch, dim = query.shape
        kv_heads, value_dim = layer.values.shape[1:]
        group = heads // kv_heads
        if space.cells * heads > len(space.tops) or space.cells * heads * value_dim > len(space.accumulators):
            raise NoTreeAttention(f"a layer of {heads} heads of {value_dim}: more than the model's configuration says")
        query = query if query.stride(-1) == 1 else query.contiguous()
        out = query.new_empty(batch, heads, value_dim)
        value_dim_padded = max(16, triton.next_power_of_2(value_dim))

        def attend(begin: int, end: int, members: int, tile: DecodeTile) -> None:
            programs = max(1, triton.cdiv(space.processors * tile.programs, kv_heads))
            _attend_spans[(programs, kv_heads)](
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
                tables.items,
                tables.entries,
                tables.item_counts,
                *query.stride()[:2],
                tables.slots.shape[1],
                *kernel_arguments(rule),
                BEGIN=begin,
                END=end,
                HEADS=heads,
                KV_HEADS=kv_heads,
                DIM=dim,
                VALUE_DIM=value_dim,
                DIM_PADDED=max(16, triton.next_power_of_2(dim)),
                VALUE_DIM_PADDED=value_dim_padded,
                GROUP=group,
                ROWS=max(16, triton.next_power_of_2(members * group)),
                KEYS=tile.keys,
                PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
                QUANTISED=layer.key_scales is not None,
                WIDE=layer.most_numbers > MOST_ELEMENTS,
                num_warps=tile.warps,
                num_stages=tile.stages,
                maxnreg=tile.most_registers(query.dtype, max(dim, value_dim)),
            )

        if space.fixed:
            attend(0, 2, space.members, LONE)
        elif space.beside is None or not torch.cuda.is_current_stream_capturing():
            attend(0, 1, space.members, MEMBERS)
            attend(1, 2, 1, LONE)
        else:  # branches of the graph: where the one leaves processors idle at its end, the other begins
            stream = torch.cuda.current_stream()
            space.beside.wait_stream(stream)
            with torch.cuda.stream(space.beside):
                attend(1, 2, 1, LONE)
            attend(0, 1, space.members, MEMBERS)
            stream.wait_stream(space.beside)
        held = min(_MERGED_HEADS, triton.next_power_of_2(heads))
        _merge_cells[(batch, triton.cdiv(heads, held))](
            space.accumulators,
            space.tops,
            space.totals,
            out,
            tables.cells,
            HEADS=heads,
            HELD=held,
            VALUE_DIM=value_dim,
            VALUE_DIM_PADDED=value_dim_padded,
            num_warps=4,
        )
        return out


def fused_decode(tables: DecodeTables, workspace: DecodeWorkspace) -> PoolAttend:
    """Steps of as many places as they have queries; places without cells come out as 0.

    The tables hold a plan of `planning.spans`, with every span of every row that is active, but for the dummy. Spans
    that a row has not come to yet may be among them, so a plan serves until a row has more keys than it was made for.
    """
    return FusedStep(tables, workspace)


@triton.jit(do_not_specialize=["width", "window"])
def _attend_spans(
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
    items,
    entries,
    item_counts,
    q_head,
    q_token,
    width,
    scale,
    factor,
    softcap,
    window,
    BEGIN: tl.constexpr,
    END: tl.constexpr,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    GROUP: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
    QUANTISED: tl.constexpr,
    WIDE: tl.constexpr,
):
    """Items p, p + programs, ... of those from item_counts[BEGIN] to item_counts[END]: a span's members, for the query
    heads of one key head.

    Blocks of keys that no member sees are passed over: a block that a row does not see leaves what it has as it is, bit
    for bit. A cell whose row sees nothing of the span gets a total of 0 and a top of -inf, and no accumulator.
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
    begin_item = tl.load(item_counts + BEGIN) + tl.program_id(0)
    last_item = tl.load(item_counts + END)
    # An item's records are read while the one before is computed: they lead to one another. Its begin and end are not
    # carried over as well, since Triton 3.6 then takes the first item's begin for all.
    first = tl.load(items + begin_item * 4, mask=begin_item < last_item, other=0)
    count = tl.load(items + begin_item * 4 + 1, mask=begin_item < last_item, other=0)
    leader = tl.load(entries + first * 3 + 1, mask=begin_item < last_item, other=0)
    for item in range(begin_item, last_item, tl.num_programs(0)):
        begin = tl.load(items + item * 4 + 2)
        end = tl.load(items + item * 4 + 3)
        real = member < count
        entry = entries + (first + member) * 3
        place = tl.load(entry, mask=real, other=0)
        length = tl.load(lengths + tl.load(entry + 1, mask=real, other=0), mask=real, other=0)
        cell = tl.load(entry + 2, mask=real, other=0).to(tl.int64) * HEADS + head
        table = slots + leader.to(tl.int64) * width
        following = item + tl.num_programs(0)
        first = tl.load(items + following * 4, mask=following < last_item, other=0)
        count = tl.load(items + following * 4 + 1, mask=following < last_item, other=0)
        q = tl.load(
            query + place[:, None] * q_token + head[:, None] * q_head + dim[None, :],
            mask=real[:, None] & (dim < DIM)[None, :],
            other=0.0,
        )
        start = begin
        stop = tl.minimum(end, tl.max(length, 0))
        if window is not None:
            earliest = tl.min(tl.where(real, tl.maximum(length - window, 0), end), 0)
            start = tl.maximum(begin, earliest // KEYS * KEYS)
        top = tl.full([ROWS], float("-inf"), tl.float32)
        total = tl.zeros([ROWS], tl.float32)
        gathered = tl.zeros([ROWS, VALUE_DIM_PADDED], tl.float32)
        for block in range(start, stop, KEYS):
            at = block + tl.arange(0, KEYS)
            seen = (at[None, :] < length[:, None]) & (at < end)[None, :]
            if window is not None:
                seen = seen & (at[None, :] >= length[:, None] - window)
            # Behind all members' keys the scratch, which is finite: nothing may have been written there yet.
            slot = tl.load(table + at, mask=at < stop, other=0)
            if WIDE:
                slot = slot.to(tl.int64)
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
        leader = tl.load(entries + first * 3 + 1)
        tl.store(tops + cell, top, mask=real)
        tl.store(totals + cell, total, mask=real)
        tl.store(
            accumulators + cell[:, None] * VALUE_DIM + value_dim[None, :],
            gathered,
            mask=(real & (total != 0))[:, None] & (value_dim < VALUE_DIM)[None, :],
        )


@triton.jit
def _merge_cells(
    accumulators,
    tops,
    totals,
    out,
    cells,
    HEADS: tl.constexpr,
    HELD: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
):
    """The cells of one place, for some heads, in order of position."""
    place = tl.program_id(0)
    head = (tl.program_id(1) * HELD + tl.arange(0, HELD)).to(tl.int64)
    value_dim = tl.arange(0, VALUE_DIM_PADDED)
    stands = (head < HEADS)[:, None] & (value_dim < VALUE_DIM)[None, :]
    top = tl.full([HELD], float("-inf"), tl.float32)
    total = tl.zeros([HELD], tl.float32)
    gathered = tl.zeros([HELD, VALUE_DIM_PADDED], tl.float32)
    for number in range(tl.load(cells + place), tl.load(cells + place + 1)):
        cell = number * HEADS + head
        cell_top = tl.load(tops + cell, mask=head < HEADS, other=float("-inf"))
        cell_total = tl.load(totals + cell, mask=head < HEADS, other=0.0)
        part = tl.load(
            accumulators + cell[:, None] * VALUE_DIM + value_dim[None, :],
            mask=stands & (cell_total != 0)[:, None],
            other=0.0,
        )
        new_top = tl.maximum(top, cell_top)
        finite_top = tl.where(new_top == float("-inf"), 0.0, new_top)
        weight = tl.exp2(cell_top - finite_top)
        shrink = tl.exp2(top - finite_top)
        total = total * shrink + cell_total * weight
        gathered = gathered * shrink[:, None] + part * weight[:, None]
        top = new_top
    result = tl.where((total == 0)[:, None], 0.0, gathered / total[:, None])  # NaN stays NaN
    tl.store(
        out + (place * HEADS + head)[:, None] * VALUE_DIM + value_dim[None, :],
        result.to(out.dtype.element_ty),
        mask=stands,
    )
