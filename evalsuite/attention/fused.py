"""Tree attention as one Triton kernel, whose result for a query does not depend on what else is in the pack.

A query's keys are visited in blocks of `BLOCK_KEYS` *positions of its branch*, root first, wherever in the pack they
stand: which ancestors share a segment, and what stands around them, decides where keys are loaded from and nothing
else. Rows of a tile are independent in a matrix product, and a block of keys that a row does not see leaves its running
maximum, sum and accumulator as they were, bit for bit. So a branch gives the same bits alone and in any company;
FlexAttention, which visits a query block's partial key blocks before the full ones, does not.

The recurrence is the online softmax of FlashAttention-2 (Dao 2023, algorithm 1). Query heads that share a key head
share a tile: short segments then fill it, and keys are loaded once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
import triton
import triton.language as tl

from evalsuite.attention.interface import Kept, NoTreeAttention
from evalsuite.planning.packs import Pack

TILE_ROWS = 64
"""Rows of a tile: tokens times the query heads that share a key head."""
BLOCK_KEYS = 32
WARPS = 4
STAGES = 2
MOST_ELEMENTS = 2**31 - 1
"""The kernel counts in 32 bits: 64-bit addresses for every element would cost it registers."""
_LOG2E = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class FusedAttention:
    """`Attend` over one pack."""

    pack: Pack
    path: torch.Tensor
    """Pack indices of ancestors, int32 on the device."""
    tiles: dict[int, torch.Tensor] = field(default_factory=dict)
    """By how many query heads share a key head, which layers may differ in: [tiles, 5], int32 on the device: first
    query, queries, position of the first, ancestors, list of ancestors."""

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kept: Kept | None,
        *,
        scale: float,
        softcap: float | None,
        window: int | None,
    ) -> torch.Tensor:
        heads, tokens, dim = query.shape
        value_dim = value.shape[-1]
        query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
        kept_key, kept_value = (key, value) if kept is None else kept
        if max(query.numel(), kept_key.numel()) > MOST_ELEMENTS:
            raise NoTreeAttention(f"{query.numel():,} numbers in a pack's queries; use a smaller --token-budget")
        out = query.new_empty(tokens, heads, value_dim)
        out[self.pack.used :].zero_()  # the padding: nobody reads it, but no NaN may stand there
        group = heads // key.shape[0]
        rows = max(TILE_ROWS, triton.next_power_of_2(group))
        tiles = self._tiles_for(group, rows // group)
        _tree_attention[(len(tiles), key.shape[0])](
            query,
            key,
            value,
            kept_key,
            kept_value,
            out,
            tiles,
            self.path,
            *query.stride()[:2],
            *key.stride()[:2],
            *value.stride()[:2],
            *kept_key.stride()[:2],
            *kept_value.stride()[:2],
            *out.stride()[:2],
            0 if kept is None else kept_key.shape[1],
            scale,
            _LOG2E if softcap else scale * _LOG2E,
            softcap or 0.0,
            window or 0,
            DIM=dim,
            VALUE_DIM=value_dim,
            DIM_PADDED=max(16, triton.next_power_of_2(dim)),
            VALUE_DIM_PADDED=max(16, triton.next_power_of_2(value_dim)),
            GROUP=group,
            TOKENS=rows // group,
            ROWS=rows,
            KEYS=BLOCK_KEYS,
            PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
            num_warps=WARPS,
            num_stages=STAGES,
        )
        return out

    def _tiles_for(self, group: int, tokens: int) -> torch.Tensor:
        if group not in self.tiles:
            self.tiles[group] = _to_device(_tiles(self.pack, tokens), self.path.device)
        return self.tiles[group]


def fused_attention(pack: Pack, device: torch.device) -> FusedAttention:
    """The tables of a pack on a device."""
    path = pack.path if len(pack.path) else np.zeros(1, dtype=np.int32)
    return FusedAttention(pack=pack, path=_to_device(path, device))


def _tiles(pack: Pack, size: int) -> npt.NDArray[np.int32]:
    """[tiles, 5]: every segment cut into tiles of at most `size` tokens; those with most keys first."""
    lengths = pack.lengths
    counts = -(-lengths // size)
    segment = np.repeat(np.arange(len(lengths)), counts)
    within = (np.arange(len(segment)) - np.repeat(np.cumsum(counts) - counts, counts)) * size
    first = pack.ancestors[segment] + within
    queries = np.minimum(lengths[segment] - within, size)
    tiles = np.stack(
        [pack.starts[segment] + within, queries, first, pack.ancestors[segment], pack.paths[segment]], axis=1
    )
    return np.ascontiguousarray(tiles[np.argsort(-(first + queries), kind="stable")], dtype=np.int32)


def _to_device(table: npt.NDArray[np.int32], device: torch.device) -> torch.Tensor:
    host = torch.from_numpy(table)
    return host.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else host.to(device)


@triton.jit
def _visit(
    q,
    top,
    total,
    gathered,
    keys,
    values,
    kept_keys,
    kept_values,
    at,
    ancestors,
    before,
    own,
    end,
    carried,
    position,
    factor,
    scale,
    softcap,
    window,
    k_token,
    v_token,
    kept_k_token,
    kept_v_token,
    DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """One block of keys, at the positions `at` of the branch; masked, or seen by all rows in whole.

    Both ways do the same arithmetic on what is seen: the multiplication and subtraction before `exp2` are one `fma`, or
    a compiler would contract them in one way and not in the other.
    """
    dim = tl.arange(0, DIM_PADDED)
    value_dim = tl.arange(0, VALUE_DIM_PADDED)
    index = tl.where(at < before, tl.load(ancestors + at, mask=at < before, other=0), own + at)
    if MASKED:
        index = tl.where(at < end, index, own + end - 1)
    key_rows = tl.where(index >= 0, keys + index * k_token, kept_keys + (index + carried) * kept_k_token)
    k = tl.load(key_rows[:, None] + dim[None, :], mask=(dim < DIM)[None, :], other=0.0)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # [rows, keys]
    if softcap > 0:
        # tanh by exp: softcap * (1 - 2 / (exp(2x) + 1))
        scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scale * scores / softcap) + 1.0))
    if MASKED:
        seen = at[None, :] <= position[:, None]
        if window > 0:
            seen = seen & (position[:, None] - at[None, :] < window)
        scores = tl.where(seen, scores, float("-inf"))
    new_top = tl.maximum(top, tl.max(scores, 1) * factor)
    # A row may see nothing of its first blocks: its maximum is -inf then, and -inf - -inf is NaN.
    finite_top = tl.where(new_top == float("-inf"), 0.0, new_top)
    weights = tl.exp2(tl.fma(scores, tl.full(scores.shape, factor, tl.float32), -finite_top[:, None]))
    shrink = tl.exp2(top - finite_top)
    value_rows = tl.where(index >= 0, values + index * v_token, kept_values + (index + carried) * kept_v_token)
    v = tl.load(value_rows[:, None] + value_dim[None, :], mask=(value_dim < VALUE_DIM)[None, :], other=0.0)
    total = total * shrink + tl.sum(weights, 1)
    gathered = tl.dot(weights.to(v.dtype), v, gathered * shrink[:, None], input_precision=PRECISION)
    return new_top, total, gathered


@triton.jit
def _tree_attention(
    query,
    key,
    value,
    kept_key,
    kept_value,
    out,
    tiles,
    path,
    q_head,
    q_token,
    k_head,
    k_token,
    v_head,
    v_token,
    kept_k_head,
    kept_k_token,
    kept_v_head,
    kept_v_token,
    o_token,
    o_head,
    carried,
    scale,
    factor,
    softcap,
    window,
    DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    GROUP: tl.constexpr,
    TOKENS: tl.constexpr,
    ROWS: tl.constexpr,
    KEYS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A tile of a segment's queries, for the query heads of one key head."""
    tile = tiles + tl.program_id(0) * 5
    kv_head = tl.program_id(1)
    start = tl.load(tile)
    queries = tl.load(tile + 1)
    first = tl.load(tile + 2)
    before = tl.load(tile + 3)
    ancestors = path + tl.load(tile + 4)
    own = start - first  # pack index of the segment's own token at position p: own + p
    end = first + queries

    row = tl.arange(0, ROWS)
    token = row // GROUP
    head = kv_head * GROUP + row % GROUP
    real = (token < queries) & (token < TOKENS)
    position = first + token
    dim = tl.arange(0, DIM_PADDED)
    value_dim = tl.arange(0, VALUE_DIM_PADDED)
    q = tl.load(
        query + (start + token)[:, None] * q_token + head[:, None] * q_head + dim[None, :],
        mask=real[:, None] & (dim < DIM)[None, :],
        other=0.0,
    )
    keys = key + kv_head * k_head
    values = value + kv_head * v_head
    kept_keys = kept_key + kv_head * kept_k_head
    kept_values = kept_value + kv_head * kept_v_head
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    gathered = tl.zeros([ROWS, VALUE_DIM_PADDED], tl.float32)
    begin = 0
    whole = (first + 1) // KEYS * KEYS  # every query sees every key before this
    if window > 0:
        begin = tl.maximum(first - window + 1, 0) // KEYS * KEYS
        whole = begin
    for block in range(begin, whole, KEYS):
        top, total, gathered = _visit(
            q, top, total, gathered, keys, values, kept_keys, kept_values, block + tl.arange(0, KEYS),
            ancestors, before, own, end, carried, position, factor, scale, softcap, window,
            k_token, v_token, kept_k_token, kept_v_token,
            DIM, VALUE_DIM, DIM_PADDED, VALUE_DIM_PADDED, False, PRECISION,
        )  # fmt: skip
    for block in range(whole, end, KEYS):
        top, total, gathered = _visit(
            q, top, total, gathered, keys, values, kept_keys, kept_values, block + tl.arange(0, KEYS),
            ancestors, before, own, end, carried, position, factor, scale, softcap, window,
            k_token, v_token, kept_k_token, kept_v_token,
            DIM, VALUE_DIM, DIM_PADDED, VALUE_DIM_PADDED, True, PRECISION,
        )  # fmt: skip
    tl.store(
        out + (start + token)[:, None] * o_token + head[:, None] * o_head + value_dim[None, :],
        (gathered / total[:, None]).to(out.dtype.element_ty),
        mask=real[:, None] & (value_dim < VALUE_DIM)[None, :],
    )
