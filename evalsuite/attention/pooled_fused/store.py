"""Keys and values put into a pool by a Triton kernel, in the same bits as torch puts them there."""

# mypy: allow-untyped-defs, allow-incomplete-defs, allow-untyped-decorators
# A kernel is Triton's language in Python's syntax: its arguments have no Python types.

from __future__ import annotations

import torch
import triton
import triton.language as tl

from evalsuite.attention.pool import SMALLEST_SCALE, PoolLayer, largest_of


def fused_store(layer: PoolLayer, slots: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> None:
    """`pool.Store` in one kernel, where torch takes two operations a layer, and a dozen where numbers are quantised."""
    key, value = (x if x.stride(-1) == 1 else x.contiguous() for x in (key, value))
    kv_heads, tokens, dim = key.shape
    value_dim = value.shape[-1]
    _store[(tokens,)](
        key,
        value,
        layer.keys,
        layer.values,
        layer.key_scales,
        layer.value_scales,
        slots,
        *key.stride()[:2],
        *value.stride()[:2],
        KV_HEADS=kv_heads,
        DIM=dim,
        VALUE_DIM=value_dim,
        KV_HEADS_PADDED=triton.next_power_of_2(kv_heads),
        DIM_PADDED=triton.next_power_of_2(dim),
        VALUE_DIM_PADDED=triton.next_power_of_2(value_dim),
        LARGEST=0.0 if layer.key_scales is None else largest_of(layer.keys.dtype),
        SMALLEST_SCALE=SMALLEST_SCALE,
        WHOLE=not layer.keys.dtype.is_floating_point,
    )


@triton.jit
def _store(
    key,
    value,
    keys,
    values,
    key_scales,
    value_scales,
    slots,
    k_head,
    k_token,
    v_head,
    v_token,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    VALUE_DIM: tl.constexpr,
    KV_HEADS_PADDED: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    VALUE_DIM_PADDED: tl.constexpr,
    LARGEST: tl.constexpr,
    SMALLEST_SCALE: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """One token's keys and values."""
    token = tl.program_id(0)
    slot = tl.load(slots + token)
    head = tl.arange(0, KV_HEADS_PADDED)
    _keep(
        key + token * k_token, k_head, keys + slot * (KV_HEADS * DIM), key_scales, slot, head,
        KV_HEADS, DIM, DIM_PADDED, LARGEST, SMALLEST_SCALE, WHOLE,
    )  # fmt: skip
    _keep(
        value + token * v_token, v_head, values + slot * (KV_HEADS * VALUE_DIM), value_scales, slot, head,
        KV_HEADS, VALUE_DIM, VALUE_DIM_PADDED, LARGEST, SMALLEST_SCALE, WHOLE,
    )  # fmt: skip


@triton.jit
def _keep(
    source,
    head_stride,
    kept,
    scales,
    slot,
    head,
    KV_HEADS: tl.constexpr,
    DIM: tl.constexpr,
    DIM_PADDED: tl.constexpr,
    LARGEST: tl.constexpr,
    SMALLEST_SCALE: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """One token's numbers, [kv heads, dim]; in the same bits as `plain_store` keeps them."""
    dim = tl.arange(0, DIM_PADDED)[None, :]
    stands = (head < KV_HEADS)[:, None] & (dim < DIM)
    numbers = tl.load(source + head[:, None] * head_stride + dim, mask=stands, other=0.0)
    if LARGEST > 0:
        numbers = numbers.to(tl.float32)
        broken = tl.sum((numbers != numbers).to(tl.int32), 1) > 0  # a maximum passes NaN over
        scale = tl.maximum(tl.div_rn(tl.max(tl.abs(numbers), 1), tl.full([1], LARGEST, tl.float32)), SMALLEST_SCALE)
        scale = tl.where(broken, float("nan"), scale)
        tl.store(scales + slot * KV_HEADS + head, scale, mask=head < KV_HEADS)
        numbers = tl.div_rn(numbers, tl.broadcast_to(scale[:, None], numbers.shape))
        if WHOLE:
            numbers = (numbers + 12582912.0) - 12582912.0  # 1.5 * 2**23: rounds to the nearest, halves to even
    tl.store(kept + head[:, None] * DIM + dim, numbers.to(kept.dtype.element_ty), mask=stands)
