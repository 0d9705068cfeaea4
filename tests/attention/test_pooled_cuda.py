"""The kernels over a pool with the heads and dtypes of real models, in large pools, and replayed as a CUDA graph."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pool import KeyValuePool, LayerShape, PoolLayer, PoolPack
from evalsuite.attention.pooled_plain import plain_store
from evalsuite.planning.packs import Branch, packs
from tests.attention.pooled_cases import (
    CUDA,
    DEVICE,
    INTERPRETED,
    SCALE,
    Case,
    close,
    decode,
    expected,
    fused,
    numbers,
    on_device,
    prefill,
    standing_for,
    step_tables,
)

needs_cuda = pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
pytestmark = [
    pytest.mark.skipif(not (CUDA or INTERPRETED), reason="needs a CUDA device"),
    # Rows of a tile that stand for nothing come out as 0 / 0; a device does not say so, numpy does.
    pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter"),
]

SHAPES = ((8, 2, 128, 128), (7, 1, 128, 128), (2, 1, 64, 64), (16, 1, 96, 96), (8, 2, 80, 64), (2, 1, 256, 256))
"""(query heads, kv heads, dimension, dimension of values)."""
LENGTHS = (1, 127, 128, 129, 200, 290)


def rows_with_a_common_beginning(lengths: tuple[int, ...], shared: int = 150) -> list[list[int]]:
    """Slots of rows that are alike as far as `shared`, from the highest slot down."""
    slot = sum(lengths)
    common = list(range(slot, slot - shared, -1))
    rows = []
    slot -= shared
    for length in lengths:
        own = max(length - shared, 0)
        rows.append([*common[:length], *range(slot, slot - own, -1)])
        slot -= own
    return rows


def a_case(shape: tuple[int, int, int, int], kept_as: str, dtype: torch.dtype, window: int | None = None) -> Case:
    rows = rows_with_a_common_beginning(LENGTHS)
    made = numbers(rows, list(LENGTHS), shape, kept_as, dtype=dtype)
    made["query"] *= 0.3
    return Case(rows=rows, lengths=list(LENGTHS), **made, softcap=5.0 if window else None, window=window, dummies=1)


# Kernels are compiled anew for each: all heads in bf16, and all numbers with a few of the heads.
COMBINED = [
    *((shape, "auto", torch.bfloat16) for shape in SHAPES),
    *((SHAPES[0], kept_as, torch.bfloat16) for kept_as in ("int8", "fp8")),
    *((SHAPES[1], kept_as, torch.float32) for kept_as in ("auto", "int8", "fp8")),
    *((SHAPES[4], kept_as, torch.float16) for kept_as in ("auto", "int8", "fp8")),
    *((SHAPES[3], "auto", dtype) for dtype in (torch.float32, torch.float16)),
    (SHAPES[5], "int8", torch.float32),
]


@pytest.mark.parametrize(("shape", "kept_as", "dtype"), COMBINED, ids=str)
def test_the_kernels_are_attention(shape: tuple[int, int, int, int], kept_as: str, dtype: torch.dtype) -> None:
    if kept_as == "fp8" and CUDA and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs a CUDA device with 8-bit floats")
    if INTERPRETED and (dtype == torch.bfloat16 or (kept_as != "auto" and dtype != torch.float32)):
        pytest.skip("needs a CUDA device: Triton's interpreter multiplies bf16 as if it were integers")
    tolerance = {torch.bfloat16: 2e-2, torch.float16: 1e-2, torch.float32: 2e-5}[dtype]
    for window in (None, 33, 140):
        case = a_case(shape, kept_as, dtype, window)
        places = case.places()
        ways = [
            decode(
                case, "fused", places=places, most_members=fused().most_members(*shape[:2], fixed=fixed), fixed=fixed
            )
            for fixed in (True, False)
        ]
        packed = prefill(case, "fused", token_budget=256) if CUDA else {}
        for place, row in enumerate(places):
            if row == len(case.rows):
                assert not any(way[place].any() for way in ways)
                continue
            want = expected(case, case.rows[row])
            bound = tolerance * max(1.0, float(want.abs().max()))
            assert all(close(way[place], want, bound) for way in ways)
            assert not packed or close(packed[case.rows[row][-1]], want, bound)


@pytest.mark.parametrize("dtype", [pytest.param(torch.bfloat16, marks=needs_cuda), torch.float32], ids=str)
@pytest.mark.parametrize("kept_as", ["auto", "int8"])
@pytest.mark.parametrize("window", [None, 33, 140])
def test_company_in_a_span_changes_no_bit(kept_as: str, dtype: torch.dtype, window: int | None) -> None:
    """Four rows share their first span: all in one item, in other tile rows, and each alone."""
    case = a_case((8, 2, 128, 128), kept_as, dtype, window)
    together = decode(case, "fused", places=[0, 1, 2, 3, 4, 5], most_members=8)
    for row in range(len(case.rows)):
        assert torch.equal(decode(case, "fused", places=[row], most_members=8)[0], together[row])
    backwards = decode(case, "fused", places=[5, 4, 6, 3, 2, 1, 0], most_members=8)
    assert torch.equal(backwards[[6, 5, 4, 3, 1, 0]], together)


@needs_cuda
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("kept_as", ["int8", "fp8"])
def test_a_pack_reads_a_quantised_pool_as_the_numbers_it_stands_for(kept_as: str, dtype: torch.dtype) -> None:
    """Bit for bit, and wherever the pack is cut."""
    if kept_as == "fp8" and torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs a CUDA device with 8-bit floats")
    case = a_case(SHAPES[0], kept_as, dtype)
    want = prefill(replace(case, layer=standing_for(case.layer, dtype)), "fused", token_budget=10_000)
    for token_budget in (10_000, 100):
        got = prefill(case, "fused", token_budget=token_budget)
        assert got.keys() == want.keys()
        assert all(torch.equal(got[slot], want[slot]) for slot in want)


@needs_cuda
@pytest.mark.parametrize("tokens", [(4_000, 0), (2_000, 2_000), (1, 4_000)], ids=str)
def test_no_more_is_copied_of_a_quantised_pool_than_is_reserved(tokens: tuple[int, int]) -> None:
    used, carried = tokens
    shape = LayerShape(2, 128, 128, torch.bfloat16)
    layer = KeyValuePool(used + carried + 1, [shape], device=DEVICE, kept_as="int8").layers[0]
    slots = np.arange(1, used + carried + 1, dtype=np.int32)
    branch = Branch(tokens=slots.tolist(), reads=(len(slots) - 1,))
    *_, pack = packs([branch], token_budget=max(tokens))
    assert (pack.used, pack.carried) == tokens
    attend = fused().fused_prefill(PoolPack.of(pack, before=slots[:carried], own=slots[carried:]), DEVICE)
    query, key, value = (torch.zeros(n, used, 128, dtype=shape.dtype, device=DEVICE) for n in (8, 2, 2))
    out = attend(query, layer, (key, value), ScoreRule(SCALE))  # the tables and the kernel stay
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    attend(query, layer, (key, value), ScoreRule(SCALE))
    copied = torch.cuda.max_memory_allocated() - before - out.nbytes
    assert (
        0
        < copied
        <= fused().workspace_bytes(
            cells=0, heads=8, value_dim=128, shapes=[shape], tokens=used + carried, quantised=True
        )
    )


@pytest.mark.parametrize("kept_as", ["auto", "int8", "fp8"])
@pytest.mark.parametrize("dims", [(8, 128, 128), (3, 20, 8)], ids=str)
def test_what_is_kept_has_the_bits_of_plain_torch(dims: tuple[int, int, int], kept_as: str) -> None:
    if kept_as == "fp8" and (INTERPRETED or torch.cuda.get_device_capability() < (8, 9)):
        pytest.skip("needs a CUDA device with 8-bit floats")
    heads, *last = dims
    shape = LayerShape(heads, *last, torch.float32)
    plain, kept = (KeyValuePool(50, [shape], device=DEVICE, kept_as=kept_as).layers[0] for _ in range(2))
    generator = torch.Generator().manual_seed(0)
    key, value = (torch.randn(12, heads, dim, generator=generator).to(DEVICE).transpose(0, 1) for dim in last)
    value[:, 3] = 0
    slots = 1 + torch.randperm(49, generator=generator)[:12].to(DEVICE)
    plain_store(plain, slots, key, value)
    fused().fused_store(kept, slots, key, value)
    for name in ("keys", "values", "key_scales", "value_scales"):
        want, got = getattr(plain, name), getattr(kept, name)
        assert (want is None and got is None) or torch.equal(want.view(torch.uint8), got.view(torch.uint8)), name


@needs_cuda
def test_a_pool_may_have_more_numbers_than_32_bits_count() -> None:
    """Keys at the end of 2.2 million slots of 1,024 numbers: the same as at the beginning of a small pool."""
    case = a_case((8, 8, 128, 128), "int8", torch.float32)
    slots, used = 2_200_000, len(case.layer.keys) - 1
    large = PoolLayer(
        torch.zeros(slots, 8, 128, dtype=torch.int8, device=DEVICE),
        torch.zeros(slots, 8, 128, dtype=torch.int8, device=DEVICE),
        torch.zeros(slots, 8, device=DEVICE),
        torch.zeros(slots, 8, device=DEVICE),
    )
    small = case.layer
    assert small.key_scales is not None and small.value_scales is not None
    assert large.key_scales is not None and large.value_scales is not None
    large.keys[-used:], large.values[-used:] = small.keys[1:].to(DEVICE), small.values[1:].to(DEVICE)
    large.key_scales[-used:], large.value_scales[-used:] = (
        small.key_scales[1:].to(DEVICE),
        small.value_scales[1:].to(DEVICE),
    )
    query = torch.randn(8, 128, generator=torch.Generator().manual_seed(0))
    moved = replace(
        case,
        rows=[[slot + slots - 1 - used for slot in row] for row in case.rows],
        layer=large,
        query=query.expand(slots, -1, -1),
    )
    case = replace(case, query=query.expand(used + 1, -1, -1))
    places = list(range(len(case.rows)))
    assert torch.equal(decode(moved, "fused", places=places), decode(case, "fused", places=places))
    moved_pack, pack = (prefill(each, "fused", token_budget=1_000) for each in (moved, case))
    assert all(torch.equal(moved_pack[slot + slots - 1 - used], pack[slot]) for slot in pack)


@needs_cuda
@pytest.mark.parametrize("fixed", [True, False])
def test_a_captured_step_reads_its_tables_anew(fixed: bool) -> None:
    """Captured once; then rows grow by a key, change places, and leave."""
    case = a_case((8, 2, 128, 128), "auto", torch.bfloat16)
    places = case.places()
    tables, workspace = step_tables(case, "fused", places=places, most_members=8, fixed=fixed)
    items, entries = (torch.zeros(200, n, dtype=torch.int32, device=DEVICE) for n in (4, 3))
    tables = replace(tables, items=items, entries=entries, item_counts=torch.zeros_like(tables.item_counts))
    attend, layer = fused().fused_decode(tables, workspace), on_device(case.layer)
    query = torch.zeros(len(places), 8, 128, dtype=torch.bfloat16, device=DEVICE).transpose(0, 1)
    fresh = layer.keys[:1].transpose(0, 1), layer.values[:1].transpose(0, 1)  # which a step does not look at

    def step() -> torch.Tensor:
        return attend(query, layer, fresh, ScoreRule(SCALE))

    step()  # kernels are compiled before they are captured
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = step()
    for shorter in (1, 0):
        for order in (places, places[::-1], [6, 2, 6, 6, 5, 6, 6]):
            now = replace(case, lengths=[max(length - shorter, 1) for length in case.lengths])
            made, _ = step_tables(now, "fused", places=order, most_members=8, fixed=fixed)
            for name in ("slots", "lengths", "active", "item_counts", "cells"):
                getattr(tables, name).copy_(getattr(made, name))
            items[: len(made.items)], entries[: len(made.entries)] = made.items, made.entries
            asked = [now.rows[row][now.lengths[row] - 1] if row < 6 else 0 for row in order]
            query.copy_(case.query[asked].transpose(0, 1))
            graph.replay()
            assert torch.equal(out.cpu(), decode(now, "fused", places=order, most_members=8, fixed=fixed))
