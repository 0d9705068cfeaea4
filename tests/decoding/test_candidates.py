"""A candidate is attention of the rows, or says why it cannot run here."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.decoding import flash_attention
from benchmarks.decoding.candidates import CANDIDATES
from benchmarks.decoding.layouts import BLOCK, padded_slots
from benchmarks.decoding.ours import step_tables
from benchmarks.decoding.reference import largest_error, reference
from benchmarks.decoding.torch_attention import block_mask
from benchmarks.decoding.workloads import Case, sizes
from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pooled_plain import plain_decode
from evalsuite.planning.spans import parting_spans
from tests.attention.pooled_cases import INTERPRETED
from tests.decoding.flash_lists import FlashLists
from tests.decoding.made import TOLERANCE, measured

RUNNING = [name for name in CANDIDATES if name.startswith(("sdpa", "flex"))]
"""Those that a CPU runs."""


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", RUNNING)
def test_a_candidate_is_attention(name: str, case: Case) -> None:
    entry = measured(CANDIDATES[name], case)
    assert entry.get("failed", entry.get("wrong")) is None
    assert entry["largest_error"] <= TOLERANCE
    assert entry["needed_bytes_per_second"] == case.lengths.sum() * 2 * 2 * 32 * 4 / 2e-3
    assert (entry["seconds"], entry["calls"], entry["bytes_planned"]) == (2e-3, 3, None)


@pytest.mark.skipif(not INTERPRETED, reason="needs Triton and TRITON_INTERPRET=1")
@pytest.mark.parametrize("name", ["ours", "ours, fixed spans"])
def test_ours_is_attention_and_plans_fewer_keys_than_rows_see(name: str, case: Case) -> None:
    entry = measured(CANDIDATES[name], case)
    assert entry.get("failed", entry.get("wrong")) is None
    assert entry["largest_error"] <= TOLERANCE
    distinct = sizes(case)["distinct_bytes"]
    assert distinct <= entry["bytes_planned"] < case.lengths.sum() * case.bytes_per_key


def test_the_tables_that_our_kernel_reads_are_of_the_case_s_rows(case: Case) -> None:
    """As the plain attention reads them, which needs no Triton."""
    rows = np.arange(len(case.slots))
    plan = parting_spans(case.slots, rows, case.lengths, length=128, most_members=4, most_cells=1_000)
    tables = step_tables(case, plan)
    got = plain_decode(tables)(case.query.transpose(0, 1), case.layer, case.at(rows), ScoreRule(case.scale))
    largest_error(got, reference(case), tolerance=TOLERANCE)
    assert tables.cells.tolist() == plan.cells.tolist()
    assert tables.item_counts.tolist() == [0, plan.shared, len(plan.items)]


def test_a_block_mask_has_the_blocks_that_a_row_sees(case: Case) -> None:
    width = padded_slots(case).shape[1]
    mask = block_mask(case, width)
    whole, in_part = case.lengths // BLOCK, case.lengths % BLOCK != 0
    assert width == 384
    for row in range(len(case.lengths)):
        assert mask.full_kv_num_blocks[row].item() == whole[row]
        assert mask.full_kv_indices[row, 0, 0, : whole[row]].tolist() == list(range(whole[row]))
        assert mask.kv_num_blocks[row].item() == in_part[row]
        assert mask.kv_indices[row, 0, 0, : int(in_part[row])].tolist() == [whole[row]] * int(in_part[row])


@pytest.mark.parametrize("name", [name for name in CANDIDATES if name.startswith("flash")])
def test_flash_attention_is_asked_for_the_rows(name: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = FlashLists()
    monkeypatch.setattr(flash_attention, "_package", lambda module, name: lists)
    entry = measured(CANDIDATES[name], case)
    assert entry.get("failed", entry.get("wrong")) is None
    if name.endswith("planned ahead"):
        *sizes, lengths = lists.asked["scheduler_metadata"]
        assert sizes == [len(case.lengths), 1, 384, 4, 2, 32]
        assert lengths.tolist() == case.lengths.tolist()


@pytest.mark.parametrize(
    ("name", "module", "reason"),
    [
        ("flash-attn 2, block table", "flash_attn", "the package flash-attn is not installed"),
        ("flash-attn 2 varlen, block table", "flash_attn", "the package flash-attn is not installed"),
        ("flash-attn 3, padded cache", "flash_attn_interface", "the package flash-attn-3 is not installed"),
        ("ours", "triton", "the package triton is not installed"),
    ],
)
def test_a_package_that_is_missing_is_named(
    name: str, module: str, reason: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None if asked == module else found(asked))
    assert measured(CANDIDATES[name], case) == {"failed": reason}


def _varlen_of_torch_2_11(
    query: Any, key: Any, value: Any, cu_seq_q: Any, cu_seq_k: Any, max_q: int, max_k: int, *, scale: float
) -> None:
    pass


def _varlen_of_torch_2_13(
    query: Any,
    key: Any,
    value: Any,
    cu_seq_q: Any,
    cu_seq_k: Any,
    max_q: int,
    max_k: int,
    *,
    scale: float,
    enable_gqa: bool,
    seqused_k: Any = None,
    block_table: Any = None,
) -> None:
    pass


def test_torch_without_block_tables_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(varlen, "varlen_attn", _varlen_of_torch_2_11)
    entry = measured(CANDIDATES["torch varlen, block table"], case)
    assert entry == {"failed": f"varlen_attn of torch {torch.__version__} takes no block table"}


@pytest.mark.parametrize("known", [_varlen_of_torch_2_11, _varlen_of_torch_2_13], ids=["2.11", "2.13"])
def test_torch_s_ragged_attention_is_asked_for_the_rows(
    known: Callable[..., None], case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    lists, newer = FlashLists(), known is _varlen_of_torch_2_13

    @functools.wraps(known)  # its signature, from which a candidate knows what it may ask for
    def attend(
        query: Any, key: Any, value: Any, starts: Any, bounds: Any, most: int, longest: int, **asked: Any
    ) -> Any:
        assert asked.get("enable_gqa") is (True if newer else None)
        if asked.get("block_table") is not None:
            ends = torch.cat([starts[:1], asked["seqused_k"].cumsum(0).int()])
            assert bounds is None
            table = asked["block_table"]
        else:  # a page a token
            ends, table = bounds, torch.zeros(len(query), longest, dtype=torch.int64)
            for row, (begin, end) in enumerate(bounds.unfold(0, 2, 1).tolist()):
                table[row, : end - begin] = torch.arange(begin, end)
            key, value = key[:, None], value[:, None]
        settings = {"block_table": table, "softmax_scale": asked["scale"]}
        return lists.flash_attn_varlen_func(query, key, value, starts, ends, most, longest, **settings)

    monkeypatch.setattr(varlen, "varlen_attn", attend)
    for name in ["torch varlen, packed keys"] + ["torch varlen, block table"] * newer:
        entry = measured(CANDIDATES[name], case)
        assert entry.get("failed", entry.get("wrong")) is None
