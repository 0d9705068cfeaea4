"""This project's kernel of a step of decoding."""

from __future__ import annotations

import importlib.util

import numpy as np
import torch

from benchmarks.decoding.interface import Prepared, Unavailable
from benchmarks.decoding.workloads import Case
from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pool import DecodeTables
from evalsuite.planning.spans import StepPlan


def ours(case: Case, *, fixed: bool) -> Prepared:
    """The kernel of a step; `fixed` as in a deterministic run."""
    if importlib.util.find_spec("triton") is None:
        raise Unavailable("the package triton is not installed")
    from evalsuite.attention.pooled_fused import decode_workspace, fused_decode, most_cells, most_members

    rows, heads, dim = case.query.shape
    kv_heads = case.layer.keys.shape[1]
    workspace = decode_workspace(
        case.device,
        cells=most_cells(rows, case.longest, fixed=fixed),
        heads=heads,
        value_dim=dim,
        members=most_members(heads, kv_heads, fixed=fixed),
        fixed=fixed,
    )
    plan = workspace.plan(case.slots, np.arange(rows), case.lengths, kv_heads=kv_heads)
    attend = fused_decode(step_tables(case, plan), workspace)
    keys, values = case.at(case.slots[np.arange(rows), case.lengths - 1])
    fresh = keys.transpose(0, 1), values.transpose(0, 1)
    query, rule = case.query.transpose(0, 1), ScoreRule(case.scale)
    planned = int((plan.items[:, 3] - plan.items[:, 2]).sum())
    return Prepared(lambda: attend(query, case.layer, fresh, rule), planned)


def step_tables(case: Case, plan: StepPlan) -> DecodeTables:
    """What the kernels read: the rows in their order, and a dummy that no place has."""
    rows = len(case.slots)
    return DecodeTables(
        slots=case.ints(np.concatenate([case.slots, np.zeros_like(case.slots[:1])])),
        lengths=case.ints([*case.lengths, 1]),
        active=torch.arange(rows, device=case.device),
        items=case.ints(plan.items),
        item_counts=case.ints([0, plan.shared, len(plan.items)]),
        entries=case.ints(plan.entries),
        cells=case.ints(plan.cells),
    )
