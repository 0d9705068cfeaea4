"""Rows of keys in a pool, what attention over them is, and how the package is asked for it."""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pool import DecodeTables, PoolAttend, PoolLayer, PoolPack, at_indices
from evalsuite.attention.pooled_plain import plain_decode, plain_prefill
from evalsuite.planning.packs import Branch, packs
from evalsuite.planning.spans import fixed_spans, parting_spans

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1" and importlib.util.find_spec("triton") is not None
CUDA = torch.cuda.is_available() and not INTERPRETED
DEVICE = torch.device("cuda" if CUDA else "cpu")
TOLERANCE = 1e-5
SCALE = 0.3


@dataclass(frozen=True)
class Case:
    rows: list[list[int]]
    """Slots of each row, root first, those of tokens to come included."""
    lengths: list[int]
    """How many keys each row sees."""
    layer: PoolLayer
    query: torch.Tensor
    """[slots, heads, dim]: what the token at each slot asks."""
    softcap: float | None
    window: int | None
    dummies: int
    """Unused places, which stand among the rows'."""

    def places(self) -> list[int]:
        """[batch]: the row of each place."""
        dummy = len(self.rows)
        return [*range(0, len(self.rows), 2), *[dummy] * self.dummies, *range(1, len(self.rows), 2)]

    def attend(self, attend: PoolAttend, slots: list[int]) -> torch.Tensor:
        """[tokens, heads, value dim]."""
        query, layer = self.query[slots].transpose(0, 1).to(DEVICE), on_device(self.layer)
        fresh = layer.keys[slots].transpose(0, 1), layer.values[slots].transpose(0, 1)
        return attend(query, layer, fresh, ScoreRule(SCALE, self.softcap, self.window)).cpu()


@st.composite
def cases(draw: st.DrawFn, *, longest: int = 40, kept_as: tuple[str, ...] = ("auto", "int8")) -> Case:
    """Rows of a random prefix tree whose slots are in no order."""
    tree: list[list[int]] = []
    nodes = 1
    for _ in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from([[], *tree]))
        shared = parent[: draw(st.integers(0, len(parent)))]
        own = draw(st.integers(1, longest))
        tree.append([*shared, *range(nodes, nodes + own)])
        nodes += own
    seed = draw(st.integers(0, 1_000))
    where = list(range(1, nodes + 5))
    random.Random(seed).shuffle(where)
    rows = [[where[node - 1] for node in row] for row in tree]
    lengths = [draw(st.integers(max(1, len(row) - 20), len(row))) for row in rows]
    heads, kv_heads = draw(st.sampled_from([(2, 2), (4, 2), (3, 1), (16, 1)]))
    dim, value_dim = draw(st.sampled_from([(16, 16), (20, 8), (8, 24)]))
    return Case(
        rows=rows,
        lengths=lengths,
        **numbers(rows, lengths, (heads, kv_heads, dim, value_dim), draw(st.sampled_from(kept_as)), seed=seed),
        softcap=draw(st.none() | st.just(3.0)),
        window=draw(st.none() | st.integers(1, 2 * longest)),
        dummies=draw(st.integers(0, 2)),
    )


def numbers(
    rows: list[list[int]],
    lengths: list[int],
    shape: tuple[int, int, int, int],
    kept_as: str,
    *,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> dict[str, Any]:
    """`layer` and `query` of a case: what no row sees yet is NaN, and the scratch is large.

    Args:
        shape: query heads, kv heads, dimension, dimension of values.
    """
    heads, kv_heads, *dims = shape
    slots = max(max(row) for row in rows) + 1
    seen = {slot for row, length in zip(rows, lengths, strict=True) for slot in row[:length]}
    unseen = [slot for slot in range(1, slots) if slot not in seen]
    generator = torch.Generator().manual_seed(seed)
    tensors: list[torch.Tensor] = []
    scales: list[torch.Tensor | None] = []
    for dim in dims:
        exact = torch.randn(slots, kv_heads, dim, generator=generator)
        scale = torch.rand(slots, kv_heads, generator=generator) * 0.02
        poisoned = exact if kept_as == "auto" else scale
        poisoned[unseen] = math.nan
        poisoned[0] = 1e4
        kept = {
            "auto": exact.to(dtype),
            "int8": (exact * 40).round().clamp(-127, 127).nan_to_num().to(torch.int8),
            "fp8": (exact * 100).clamp(-448, 448).nan_to_num().to(torch.float8_e4m3fn),
        }
        tensors.append(kept[kept_as])
        scales.append(None if kept_as == "auto" else scale)
    return {
        "layer": PoolLayer(tensors[0], tensors[1], scales[0], scales[1]),
        "query": torch.randn(slots, heads, dims[0], generator=generator).to(dtype),
    }


def standing_for(layer: PoolLayer, dtype: torch.dtype) -> PoolLayer:
    """The numbers that a quantised layer stands for, each rounded to `dtype` once."""
    assert layer.key_scales is not None
    assert layer.value_scales is not None
    keys, values = (
        layer.keys.float() * layer.key_scales[..., None],
        layer.values.float() * layer.value_scales[..., None],
    )
    return PoolLayer(keys.to(dtype), values.to(dtype), None, None)


def on_device(layer: PoolLayer) -> PoolLayer:
    tensors = (layer.keys, layer.values, layer.key_scales, layer.value_scales)
    return PoolLayer(*(None if tensor is None else tensor.to(DEVICE) for tensor in tensors))  # type: ignore[arg-type]


def expected(case: Case, row: list[int]) -> torch.Tensor:
    """[heads, value dim], fp64: what the last token of `row` gets, written out."""
    keys, values = case.layer.keys[row].double(), case.layer.values[row].double()
    if case.layer.key_scales is not None and case.layer.value_scales is not None:
        keys = keys * case.layer.key_scales[row, :, None]
        values = values * case.layer.value_scales[row, :, None]
    query = case.query[row[-1]].double()
    group = len(query) // keys.shape[1]
    out = []
    for head in range(len(query)):
        scores = keys[:, head // group] @ query[head] * SCALE
        if case.softcap is not None:
            scores = case.softcap * torch.tanh(scores / case.softcap)
        if case.window is not None:
            scores[: max(len(row) - case.window, 0)] = -math.inf
        out.append(scores.softmax(0) @ values[:, head // group])
    return torch.stack(out)


def close(got: torch.Tensor, want: torch.Tensor, tolerance: float = TOLERANCE) -> bool:
    return bool(got.isfinite().all()) and float((got.double() - want).abs().max()) < tolerance


def prefill(case: Case, kind: str, *, token_budget: int, padding: int = 0) -> dict[int, torch.Tensor]:
    """By slot, for every token that is written: [heads, value dim]. Pack by pack."""
    branches = [
        Branch(tokens=row[:length], reads=(length - 1,)) for row, length in zip(case.rows, case.lengths, strict=True)
    ]  # a slot stands for a node, so slots serve as tokens
    got, before = {}, np.empty(0, dtype=np.int32)
    for pack in packs(branches, token_budget=token_budget):
        pool_pack = PoolPack.of(pack, before=before, own=pack.tokens)
        attend = fused().fused_prefill(pool_pack, DEVICE) if kind == "fused" else plain_prefill(pool_pack, DEVICE)
        own = pack.tokens.tolist()
        out = case.attend(attend, own + [0] * padding)
        assert not out[pack.used :].any(), "padding comes out as 0"
        got.update(zip(own, out, strict=False))
        before = at_indices(pack.carry, pack, before=before, own=pack.tokens)
    return got


def decode(
    case: Case, kind: str, *, places: list[int], most_members: int = 2, padded: int = 0, fixed: bool = True
) -> torch.Tensor:
    """[batch, heads, value dim].

    Args:
        padded: how much wider than its rows the table is.
        fixed: with spans at fixed positions, else with such as end where rows part.
    """
    tables, workspace = step_tables(case, kind, places=places, most_members=most_members, padded=padded, fixed=fixed)
    asked = [case.rows[row][case.lengths[row] - 1] if row < len(case.rows) else 0 for row in places]
    if kind == "plain":
        return case.attend(plain_decode(tables), asked)
    return case.attend(fused().fused_decode(tables, workspace), asked)


def step_tables(
    case: Case, kind: str, *, places: list[int], most_members: int, padded: int = 0, fixed: bool = True
) -> tuple[DecodeTables, Any]:
    """The tables of a step, with what nobody may read behind their items, and a workspace of NaN for the kernels."""
    dummy, width = len(case.rows), max(len(row) for row in case.rows) + padded
    slots = np.zeros((dummy + 1, width), dtype=np.int32)
    for number, row in enumerate(case.rows):
        slots[number, : len(row)] = row
    ends = np.array([*(len(row) for row in case.rows), 0], dtype=np.int32)
    rows = np.array(places, dtype=np.int32)
    if fixed:
        plan = fixed_spans(slots, rows, ends[rows], length=128, most_members=most_members)
    else:
        plan = parting_spans(slots, rows, ends[rows], length=64, most_members=most_members, most_cells=10**6)

    def table(numbers: Any) -> torch.Tensor:
        return torch.tensor(numbers, dtype=torch.int32, device=DEVICE)

    tables = DecodeTables(
        slots=table(slots),
        lengths=table([*case.lengths, 1]),
        active=torch.tensor(places, device=DEVICE),
        items=table(np.concatenate([plan.items, np.full((3, 4), 10**6, dtype=np.int32)])),
        item_counts=table([0, plan.shared, len(plan.items)]),
        entries=table(np.concatenate([plan.entries, np.full((3, 3), 10**6, dtype=np.int32)])),
        cells=table(plan.cells),
    )
    if kind == "plain":
        return tables, None
    workspace = fused().decode_workspace(
        DEVICE,
        cells=len(tables.entries),
        heads=case.query.shape[1],
        value_dim=case.layer.values.shape[-1],
        members=most_members,
        fixed=fixed,
    )
    for tensor in (workspace.accumulators, workspace.tops, workspace.totals):
        tensor.fill_(math.nan)
    return tables, workspace


def fused() -> Any:
    """The package with the kernels, which needs Triton."""
    return importlib.import_module("evalsuite.attention.pooled_fused")
