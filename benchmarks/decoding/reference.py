"""The attention that a candidate is compared with, and how far off it may be."""

from __future__ import annotations

import torch

from benchmarks.decoding.workloads import Case
from evalsuite.errors import EvalsuiteError

TOLERANCES = {"bfloat16": 0.02, "float16": 0.005, "float32": 1e-4}
"""Of a query head's error, as a share of what it should be (both as lengths of vectors); the largest over all heads of
all rows counts. A key too few in every row gives several hundredths in the mean, and more in the largest."""
ROWS_AT_ONCE = 64
"""Of the attention in fp32 that results are compared with."""


class WrongResult(EvalsuiteError):
    """A candidate that gives something else than attention."""


def reference(case: Case) -> torch.Tensor:
    """[rows, heads, dim] in fp32, written out."""
    rows, heads, dim = case.query.shape
    out = torch.empty(rows, heads, dim, device=case.device)
    for start in range(0, rows, ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        keys, values = (numbers.float() for numbers in case.at(case.slots[part]))
        query = case.query[part].float().view(-1, heads // case.group, case.group, dim)
        seen = torch.arange(keys.shape[1], device=case.device) < case.ints(case.lengths[part])[:, None]
        scores = torch.einsum("rkgd,rtkd->rkgt", query, keys) * case.scale
        weights = scores.masked_fill(~seen[:, None, None], float("-inf")).softmax(-1)
        out[part] = torch.einsum("rkgt,rtkd->rkgd", weights, values).flatten(1, 2)
    return out


def largest_error(got: torch.Tensor, want: torch.Tensor, *, tolerance: float) -> float:
    """Over heads of rows, as of `TOLERANCES`; WrongResult where it is more than the tolerance."""
    if got.shape != want.shape:
        raise WrongResult(f"expected {tuple(want.shape)}, got {tuple(got.shape)}")
    error = float(((got.float() - want).norm(dim=-1) / want.norm(dim=-1)).nan_to_num(float("inf")).max())
    if error > tolerance:
        raise WrongResult(f"a head is {error:.3g} off what it should be, and {tolerance:g} is allowed")
    return error
