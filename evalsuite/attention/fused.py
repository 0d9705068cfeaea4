"""Tree attention as one Triton kernel, whose result for a query does not depend on what else is in the pack.

A query's keys are visited in blocks of `TREE.keys` *positions of its branch*, root first, wherever in the pack they
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

from evalsuite.attention.interface import Kept, NoTreeAttention, ScoreRule
from evalsuite.attention.pool import PoolPack
from evalsuite.planning.packs import Pack


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """What a program of a kernel works on at a time, and with what."""

    rows: int
    """Tokens times the query heads that share a key head."""
    keys: int
    warps: int
    stages: int
    registers: int | None = None
    """Most of a thread, for numbers of two bytes in heads of up to 128; None leaves it to the compiler. With fewer,
    more programs run side by side, whose loads are under way at the same time."""

    def most_registers(self, dtype: torch.dtype, dim: int) -> int | None:
        return self.registers if dtype.itemsize == 2 and dim <= 128 else None


TREE = Tile(rows=64, keys=32, warps=4, stages=2, registers=128)
"""On an H200 the fastest of tiles of 64 and 128 rows and 16 to 128 keys, with and without a bound on registers, but for
long prompts that share nothing, where 128 rows and 64 keys are a little faster."""
MOST_ELEMENTS = 2**31 - 1
"""The kernel counts in 32 bits: 64-bit addresses for every element would cost it registers. Of a pool with more it is
handed a copy of what a pack attends to."""
_LOG2E = 1.4426950408889634


@dataclass(frozen=True, slots=True)
class FusedAttention:
    """`Attend` over one pack."""

    pack: Pack
    path: torch.Tensor
    """Pack indices of ancestors, int32 on the device."""
    tiles: Tiles

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        kept: Kept | None,
        rule: ScoreRule,
    ) -> torch.Tensor:
        heads, tokens, _ = query.shape
        value_dim = value.shape[-1]
        query, key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (query, key, value))
        kept_key, kept_value = (key, value) if kept is None else kept
        if max(query.numel(), kept_key.numel()) > MOST_ELEMENTS:
            raise NoTreeAttention(f"{query.numel():,} numbers in a pack's queries; use a smaller --token-budget")
        out = query.new_empty(tokens, heads, value_dim)
        out[self.pack.used :].zero_()  # the padding: nobody reads it, but no NaN may stand there
        tiles = self.tiles.for_group(heads // key.shape[0])
        carried = 0 if kept is None else kept_key.shape[1]
        launch(query, key, value, kept_key, kept_value, out, tiles, self.path, carried, rule)
        return out


def launch(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    kept_key: torch.Tensor,
    kept_value: torch.Tensor,
    out: torch.Tensor,
    tiles: torch.Tensor,
    path: torch.Tensor,
    carried: int,
    rule: ScoreRule,
) -> None:
    """Run the kernel: query [heads, tokens, dim], key and value [kv heads, tokens, dim] of the pack, kept ones
    [kv heads, kept, dim], out [tokens, heads, dim], all with numbers of `dim` side by side.

    Args:
        tiles: of `Tiles.for_group`.
        path: ancestors by index in the pack; those that are negative are kept ones, at that index plus `carried`.
    """
    heads, _, dim = query.shape
    value_dim = value.shape[-1]
    group = heads // key.shape[0]
    rows = _rows(group)
    _tree_attention[(len(tiles), key.shape[0])](
        query,
        key,
        value,
        kept_key,
        kept_value,
        out,
        tiles,
        path,
        *query.stride()[:2],
        *key.stride()[:2],
        *value.stride()[:2],
        *kept_key.stride()[:2],
        *kept_value.stride()[:2],
        *out.stride()[:2],
        carried,
        *kernel_arguments(rule),
        DIM=dim,
        VALUE_DIM=value_dim,
        DIM_PADDED=max(16, triton.next_power_of_2(dim)),
        VALUE_DIM_PADDED=max(16, triton.next_power_of_2(value_dim)),
        GROUP=group,
        TOKENS=rows // group,
        ROWS=rows,
        KEYS=TREE.keys,
        PRECISION="ieee" if query.dtype == torch.float32 else "tf32",
        num_warps=TREE.warps,
        num_stages=TREE.stages,
        maxnreg=TREE.most_registers(query.dtype, max(dim, value_dim)),
    )


def kernel_arguments(rule: ScoreRule) -> tuple[float, float, float | None, int | None]:
    """scale, factor, softcap and window as kernels take them: weights are powers of 2 of `factor` times the scores,
    which have the scale in them only where a soft cap comes between. What is None is compiled without."""
    return rule.scale, _LOG2E if rule.softcap else rule.scale * _LOG2E, rule.softcap, rule.window


def _rows(group: int) -> int:
    """Rows of a tile."""
    return max(TREE.rows, int(triton.next_power_of_2(group)))


@dataclass(frozen=True, slots=True)
class Tiles:
    """A pack's queries in tiles, by how many query heads share a key head, which layers may differ in."""

    pack: Pack | PoolPack
    device: torch.device
    made: dict[int, torch.Tensor] = field(default_factory=dict)

    def for_group(self, group: int) -> torch.Tensor:
        """[tiles, 5], int32 on the device: first query, queries, position of the first, ancestors, list of
        ancestors."""
        if group not in self.made:
            self.made[group] = to_device(_tiles(self.pack, _rows(group) // group), self.device)
        return self.made[group]


def fused_attention(pack: Pack, device: torch.device) -> FusedAttention:
    """The tables of a pack on a device."""
    return FusedAttention(pack=pack, path=on_device(pack.path, device), tiles=Tiles(pack, device))


def on_device(path: npt.NDArray[np.int32], device: torch.device) -> torch.Tensor:
    """A list of ancestors on a device; never empty, for a kernel is handed its address."""
    return to_device(path if len(path) else np.zeros(1, dtype=np.int32), device)


def _tiles(pack: Pack | PoolPack, size: int) -> npt.NDArray[np.int32]:
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


def to_device(table: npt.NDArray[np.int32], device: torch.device) -> torch.Tensor:
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
    """One block of keys, at the positions `at` of the branch; masked, or seen by all rows in whole."""
    index = tl.where(at < before, tl.load(ancestors + at, mask=at < before, other=0), own + at)
    if MASKED:
        # No key is looked for behind the last query: nothing stands there, or another row's.
        index = tl.where(at < end, index, own + end - 1)
    # In 32 bits the branch that is not taken may wrap, and is not read.
    key_rows = tl.where(index >= 0, keys + index * k_token, kept_keys + (index + carried) * kept_k_token)
    value_rows = tl.where(index >= 0, values + index * v_token, kept_values + (index + carried) * kept_v_token)
    seen = None
    if MASKED:
        seen = at[None, :] <= position[:, None]
        if window is not None:
            seen = seen & (position[:, None] - at[None, :] < window)
    return weigh(
        q, top, total, gathered, key_rows, value_rows, None, None, seen, factor, scale, softcap,
        DIM, VALUE_DIM, DIM_PADDED, VALUE_DIM_PADDED, MASKED, PRECISION, False,
    )  # fmt: skip


@triton.jit
def weigh(
    q,
    top,
    total,
    gathered,
    key_rows,
    value_rows,
    key_scales,
    value_scales,
    seen,
    factor,
    scale,
    softcap,
    DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    MASKED: tl.constexpr,
    PRECISION: tl.constexpr,
    QUANTISED: tl.constexpr,
):
    """The recurrence over a block of keys, whose addresses are handed over, [keys]; `seen` [rows, keys] if MASKED.

    Masked or not, the arithmetic on what is seen is the same: the multiplication and subtraction before `exp2` are one
    `fma`, or a compiler would contract them in one way and not in the other.

    A soft cap of None is compiled without: as a branch that is not taken it takes registers from the loop, and parts
    products that may run side by side.

    QUANTISED is for steps of decoding, which read a key about once. 8-bit numbers are exact in every dtype of a model,
    so scales are applied in fp32, to scores and to weights, where they are one rounding or none. (Numbers times scales
    would be rounded to the model's dtype each. So they are for a pack, before its many tiles read them.) Weights go
    into the second product as bf16 then, also where the model has fp16, whose range a weight times a small scale would
    leave.
    """
    dim = tl.arange(0, DIM_PADDED)
    value_dim = tl.arange(0, VALUE_DIM_PADDED)
    k = tl.load(key_rows[:, None] + dim[None, :], mask=(dim < DIM)[None, :], other=0.0)
    if QUANTISED:
        k = k.to(q.dtype)
    scores = tl.dot(q, tl.trans(k), input_precision=PRECISION)  # [rows, keys]
    if QUANTISED:
        scores = scores * tl.load(key_scales)[None, :]
    if softcap is not None:
        # tanh by exp: softcap * (1 - 2 / (exp(2x) + 1))
        scores = softcap * (1.0 - 2.0 / (tl.exp(2.0 * scale * scores / softcap) + 1.0))
    if MASKED:
        scores = tl.where(seen, scores, float("-inf"))
    new_top = tl.maximum(top, tl.max(scores, 1) * factor)
    # A row may see nothing of its first blocks: its maximum is -inf then, and -inf - -inf is NaN.
    finite_top = tl.where(new_top == float("-inf"), 0.0, new_top)
    weights = tl.exp2(tl.fma(scores, tl.full(scores.shape, factor, tl.float32), -finite_top[:, None]))
    shrink = tl.exp2(top - finite_top)
    v = tl.load(value_rows[:, None] + value_dim[None, :], mask=(value_dim < VALUE_DIM)[None, :], other=0.0)
    total = total * shrink + tl.sum(weights, 1)
    if QUANTISED:
        weights = weights * tl.load(value_scales)[None, :]
        v = v.to(tl.float32 if q.dtype == tl.float32 else tl.bfloat16)
    gathered = tl.dot(weights.to(v.dtype), v, gathered * shrink[:, None], input_precision=PRECISION)
    return new_top, total, gathered


# Not specialised on what differs from pack to pack: each new kind of number would be compiled for.
@triton.jit(do_not_specialize=["carried", "window"])
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
    if window is not None:
        begin = tl.maximum(first - window + 1, 0) // KEYS * KEYS
        whole = tl.where(end > window, begin, whole)  # a window that no query has outgrown hides nothing
    for block in range(begin, whole, KEYS):
        top, total, gathered = _visit(
            q, top, total, gathered, keys, values, kept_keys, kept_values, block + tl.arange(0, KEYS),
            ancestors, before, own, end, carried,
            position, factor, scale, softcap, window, k_token, v_token, kept_k_token, kept_v_token,
            DIM, VALUE_DIM, DIM_PADDED, VALUE_DIM_PADDED, False, PRECISION,
        )  # fmt: skip
    for block in range(whole, end, KEYS):
        top, total, gathered = _visit(
            q, top, total, gathered, keys, values, kept_keys, kept_values, block + tl.arange(0, KEYS),
            ancestors, before, own, end, carried,
            position, factor, scale, softcap, window, k_token, v_token, kept_k_token, kept_v_token,
            DIM, VALUE_DIM, DIM_PADDED, VALUE_DIM_PADDED, True, PRECISION,
        )  # fmt: skip
    tl.store(
        out + (start + token)[:, None] * o_token + head[:, None] * o_head + value_dim[None, :],
        (gathered / total[:, None]).to(out.dtype.element_ty),
        mask=real[:, None] & (value_dim < VALUE_DIM)[None, :],
    )
