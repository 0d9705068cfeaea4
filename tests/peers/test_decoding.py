"""Attention in a step of decoding is measured on what rows see, and only where it is attention."""

from __future__ import annotations

import argparse
import importlib.util
import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.decoding import __main__ as command
from benchmarks.decoding import flash_attention
from benchmarks.decoding.candidates import CANDIDATES
from benchmarks.decoding.interface import Prepared, Unavailable
from benchmarks.decoding.layouts import BLOCK, padded_slots, pages
from benchmarks.decoding.ours import step_tables
from benchmarks.decoding.reference import TOLERANCES, WrongResult, largest_error, reference
from benchmarks.decoding.table import decoding_notes, decoding_rows
from benchmarks.decoding.timing import LEAST_CALLS, WARM_UP_CALLS, Timing, measure, timed
from benchmarks.decoding.torch_attention import block_mask
from benchmarks.decoding.workloads import SCRATCH_NUMBER, Case, Workload, case_of, sizes, slots_of
from evalsuite.attention.interface import ScoreRule
from evalsuite.attention.pool import PoolLayer
from evalsuite.attention.pooled_plain import plain_decode
from evalsuite.planning.spans import parting_spans
from evalsuite.shapes import Shape
from tests.attention.pooled_cases import CUDA, INTERPRETED

SHAPE = Shape(
    hidden_size=64,
    num_hidden_layers=1,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=32,
    intermediate_size=64,
    tie_word_embeddings=True,
    vocab_size=1_000,
)
TOLERANCE = TOLERANCES["float32"]
RUNNING = [name for name in CANDIDATES if name.startswith(("sdpa", "flex"))]
"""Those that a CPU runs."""


def _case(sequences: list[tuple[int, ...]]) -> Case:
    slots, lengths = slots_of(sequences)
    generator = torch.Generator().manual_seed(0)
    keys, values = (torch.randn(int(slots.max()) + 1, 2, 32, generator=generator) for _ in range(2))
    keys[0] = values[0] = SCRATCH_NUMBER
    layer = PoolLayer(keys, values, None, None)
    return Case(slots=slots, lengths=lengths, query=torch.randn(len(slots), 4, 32, generator=generator), layer=layer)


@pytest.fixture(scope="module")
def case() -> Case:
    """Rows of 1 to 300 keys: less than a block, one in whole, and more; two share a page in whole."""
    shared = tuple(range(270))
    return _case([(900,), (*shared, 1, 2), (*shared, 3), (*shared[:100], 4), (5,) * BLOCK, (6,) * 300])


def _clock(call: Callable[[], torch.Tensor], device: torch.device) -> Timing:
    return Timing(seconds=2e-3, fastest=1e-3, slowest=3e-3, calls=3, not_replayed=None, out=call())


def _measured(make: Callable[[Case], Prepared], case: Case) -> dict[str, Any]:
    return measure(make, case, reference(case), tolerance=TOLERANCE, clock=_clock)


@pytest.mark.parametrize("text", ["viquad:1024:64", "vietnews:512:1", "even:8:460", "even:10:460:5:400"])
def test_a_workload_is_what_its_text_says(text: str) -> None:
    assert str(command._workload(text)) == text


@pytest.mark.parametrize(
    "text", ["viquad", "viquad:8", "else:8:4", "viquad:8:4:2:2", "even:8:4:2:4", "even:0:4", "even:a:4"]
)
def test_a_workload_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected viquad\|vietnews\|judge:ROWS:WRITTEN, even:ROWS"):
        command._workload(text)


def test_rows_share_the_slots_of_what_they_have_in_common() -> None:
    slots, lengths = slots_of([(7, 7, 1), (7, 7, 2, 2), (7, 2, 2)])
    assert slots.tolist() == [[1, 2, 3, 0], [1, 2, 4, 5], [1, 6, 7, 0]]
    assert lengths.tolist() == [3, 4, 3]


def test_rows_of_one_length_share_their_first_keys_and_no_others() -> None:
    slots, lengths = slots_of(Workload(name="even", rows=4, tokens=5, sharing=2, shared=3).sequences(10))
    assert slots.tolist() == [[1, 2, 3, 4, 5], [1, 2, 3, 6, 7], [8, 9, 10, 11, 12], [8, 9, 10, 13, 14]]
    assert lengths.tolist() == [5] * 4


def test_rows_of_a_passage_share_it_and_not_what_they_wrote() -> None:
    case = case_of(Workload(name="viquad", rows=10, tokens=3), SHAPE, dtype="float32", device="cpu")
    seen = sizes(case)
    assert seen["keys"] == case.lengths.sum()
    assert seen["distinct_bytes"] == seen["distinct_keys"] * 2 * 2 * 32 * 4  # keys and values, heads, dim, bytes
    assert seen["distinct_keys"] < seen["keys"] / 2  # five questions a passage
    ends = case.slots[np.arange(10), case.lengths - 1]
    assert len(set(ends.tolist())) == 10


def test_the_reference_is_torch_s_attention_of_each_row_alone(case: Case) -> None:
    for row, length in enumerate(case.lengths):
        keys, values = (numbers.transpose(0, 1)[None] for numbers in case.at(case.slots[row, :length]))
        alone = torch.nn.functional.scaled_dot_product_attention(
            case.query[row][None, :, None], keys, values, enable_gqa=True
        )
        torch.testing.assert_close(reference(case)[row], alone[0, :, 0])


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("name", RUNNING)
def test_a_candidate_is_attention(name: str, case: Case) -> None:
    entry = _measured(CANDIDATES[name], case)
    assert entry.get("failed", entry.get("wrong")) is None
    assert entry["largest_error"] <= TOLERANCE
    assert entry["needed_bytes_per_second"] == case.lengths.sum() * 2 * 2 * 32 * 4 / 2e-3
    assert (entry["seconds"], entry["calls"], entry["bytes_read_once"]) == (2e-3, 3, None)


@pytest.mark.skipif(not INTERPRETED, reason="needs Triton and TRITON_INTERPRET=1")
@pytest.mark.parametrize("name", ["ours", "ours, fixed spans"])
def test_ours_is_attention_and_reads_once_what_rows_share(name: str, case: Case) -> None:
    entry = _measured(CANDIDATES[name], case)
    assert entry.get("failed", entry.get("wrong")) is None
    assert entry["largest_error"] <= TOLERANCE
    distinct = sizes(case)["distinct_bytes"]
    assert distinct <= entry["bytes_read_once"] < case.lengths.sum() * case.bytes_per_key


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


def test_pages_hold_the_rows_and_whole_ones_are_shared(case: Case) -> None:
    keys, values, table = pages(case)
    for row, length in enumerate(case.lengths):
        own = keys[table[row].long()].flatten(0, 1)[:length], values[table[row].long()].flatten(0, 1)[:length]
        assert all(map(torch.equal, own, case.at(case.slots[row, :length])))
    assert table[1, 0] == table[2, 0]
    assert table[1, 1] != table[2, 1]
    assert len(keys) == 8  # one each of the three rows that are shorter than a page, two of the last, and three


class _Lists:
    """As far as FlashAttention's functions are used: attention over what they are handed, by a list of keys a row."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def flash_attn_with_kvcache(self, q: Any, keys: Any, values: Any, **asked: Any) -> torch.Tensor:
        self.asked = asked
        table = asked.get("block_table", asked.get("page_table"))
        rows = (
            (keys, values) if table is None else (keys[table.long()].flatten(1, 2), values[table.long()].flatten(1, 2))
        )
        return self._attend(q[:, 0], *rows, asked["cache_seqlens"], asked["softmax_scale"])[:, None]

    def flash_attn_varlen_func(
        self, q: Any, keys: Any, values: Any, starts: Any, bounds: Any, most: int, longest: int, **asked: Any
    ) -> torch.Tensor:
        assert starts.tolist() == list(range(len(q) + 1))
        assert (most, longest) == (1, int(bounds.diff().max()))
        table = asked["block_table"].long()
        rows = keys[table].flatten(1, 2), values[table].flatten(1, 2)
        return self._attend(q, *rows, bounds.diff(), asked["softmax_scale"])

    def get_scheduler_metadata(self, *sizes: Any, qkv_dtype: torch.dtype) -> tuple[Any, ...]:
        return sizes

    def _attend(self, query: Any, keys: Any, values: Any, lengths: Any, scale: float) -> torch.Tensor:
        assert lengths.dtype == torch.int32
        out = []
        for row, length in enumerate(lengths.tolist()):
            own = [numbers[row, :length].transpose(0, 1) for numbers in (keys, values)]
            out.append(
                torch.nn.functional.scaled_dot_product_attention(
                    query[row][:, None], *own, scale=scale, enable_gqa=True
                )[:, 0]
            )
        return torch.stack(out)


@pytest.mark.parametrize("name", [name for name in CANDIDATES if name.startswith("flash")])
def test_flash_attention_is_asked_for_the_rows(name: str, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    lists = _Lists()
    monkeypatch.setattr(flash_attention, "_package", lambda module, name: lists)
    entry = _measured(CANDIDATES[name], case)
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
    assert _measured(CANDIDATES[name], case) == {"failed": reason}


def test_torch_without_block_tables_is_named(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch 2.11 has it."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    monkeypatch.setattr(
        varlen, "varlen_attn", lambda query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale: query
    )
    entry = _measured(CANDIDATES["torch varlen, block table"], case)
    assert entry == {"failed": f"varlen_attn of torch {torch.__version__} takes no block table"}


@pytest.mark.parametrize("known", ["scale", "scale, enable_gqa, seqused_k=None, block_table=None"])
def test_torch_s_ragged_attention_is_asked_for_the_rows(
    known: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the words of torch 2.11, and of 2.13."""
    varlen = pytest.importorskip("torch.nn.attention.varlen")
    lists, newer = _Lists(), "enable_gqa" in known

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

    spoken = f"lambda query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, {known}: None"
    attend.__signature__ = inspect.signature(eval(spoken))  # type: ignore[attr-defined]
    monkeypatch.setattr(varlen, "varlen_attn", attend)
    for name in ["torch varlen, packed keys"] + ["torch varlen, block table"] * newer:
        entry = _measured(CANDIDATES[name], case)
        assert entry.get("failed", entry.get("wrong")) is None


class _Card:
    """As far as `torch.cuda` is used for timing: each call takes a millisecond more than the one before."""

    def __init__(self, capture: Callable[[], Any]) -> None:
        self.capture = capture
        self.replays = 0
        self.events = 0

    def CUDAGraph(self) -> Any:
        return SimpleNamespace(replay=self._replay)

    def _replay(self) -> None:
        self.replays += 1

    def graph(self, graph: Any) -> Any:
        self.capture()
        return nullcontext()

    def Event(self, enable_timing: bool) -> Any:
        number, self.events = self.events // 2, self.events + 1
        return SimpleNamespace(record=lambda: None, elapsed_time=lambda end: 100.0 + number)

    def Stream(self, device: torch.device) -> Any:
        return SimpleNamespace(wait_stream=lambda other: None)

    def current_stream(self, device: torch.device) -> Any:
        return None

    def stream(self, stream: Any) -> Any:
        return nullcontext()

    def get_device_properties(self, device: torch.device) -> Any:
        return SimpleNamespace(L2_cache_size=64)

    def synchronize(self, device: torch.device) -> None:
        pass

    def empty_cache(self) -> None:
        pass


def _no_capture() -> None:
    raise RuntimeError("not while capturing.\nand so on")


@pytest.mark.parametrize("captured", [True, False])
def test_a_graph_is_timed_or_else_calls_and_the_reason_said(captured: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    card = _Card((lambda: None) if captured else _no_capture)
    monkeypatch.setattr(torch, "cuda", card)
    calls = []

    def call() -> torch.Tensor:
        calls.append(1)
        return torch.tensor(float(len(calls)))

    timing = timed(call, torch.device("cpu"))
    warm, measured = WARM_UP_CALLS, LEAST_CALLS
    assert (timing.calls, timing.fastest) == (measured, pytest.approx((100 + warm) / 1000))
    assert (timing.slowest, timing.seconds) == (pytest.approx(0.112), pytest.approx(0.1075))
    assert card.replays == (warm + measured if captured else 0)
    assert len(calls) == (warm + 1 if captured else 2 * warm + measured)
    assert timing.out == len(calls)
    assert timing.not_replayed == (None if captured else "RuntimeError: not while capturing")


def test_what_is_not_attention_has_no_figures(case: Case) -> None:
    def a_key_too_few(case: Case) -> Prepared:
        short = np.maximum(case.lengths - 1, 1)
        return CANDIDATES["sdpa, static cache, grouped queries"](replace(case, lengths=short))

    entry = _measured(a_key_too_few, case)
    assert entry.keys() == {"wrong"}
    assert entry["wrong"].endswith("off what it should be, and 0.0001 is allowed")


def test_what_is_attention_only_once_has_no_figures(case: Case) -> None:
    """As of a graph that reads what is no longer there."""
    answers = [reference(case), torch.full_like(case.query, float("nan"))]
    assert _measured(lambda case: Prepared(lambda: answers.pop(0)), case) == {
        "wrong": "a head is inf off what it should be, and 0.0001 is allowed"
    }


def test_a_key_too_few_is_told_in_bfloat16() -> None:
    """The tolerance lies between what rounding does and what the least fault does."""
    workload = Workload(name="even", rows=64, tokens=900)
    case = case_of(workload, SHAPE, dtype="bfloat16", device="cpu")
    want, tolerance = reference(case), TOLERANCES["bfloat16"]
    right = CANDIDATES["sdpa, static cache, grouped queries"](case).call()
    assert largest_error(right, want, tolerance=tolerance) < tolerance / 2
    short = replace(case, lengths=case.lengths - 1)
    with pytest.raises(WrongResult):
        largest_error(reference(short), want, tolerance=2 * tolerance)


def test_an_error_s_first_line_is_a_candidate_s_reason(case: Case) -> None:
    def failing(case: Case) -> Prepared:
        raise RuntimeError("no kernel for it.\nand so on")

    def unavailable(case: Case) -> Prepared:
        raise Unavailable("needs another torch")

    assert _measured(failing, case) == {"failed": "RuntimeError: no kernel for it"}
    assert _measured(unavailable, case) == {"failed": "needs another torch"}


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("mha_fwd, /build/a-b/hopper/flash_api.cpp:1228, no paged KV", "mha_fwd, flash_api.cpp:1228, no paged KV"),
        ("/tmp/x.cu: no; see '/opt/c++/y_1.2/z.h'", "x.cu: no; see 'z.h'"),
        ("(hopper/flash_api.cpp:7) 3 rows/head, 1 / 2 / 3", "(hopper/flash_api.cpp:7) 3 rows/head, 1 / 2 / 3"),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
    ],
    ids=["between words", "first and quoted", "relative", "address"],
)
def test_of_a_path_in_a_reason_the_file_s_name_is_kept(message: str, kept: str, case: Case) -> None:
    def failing(case: Case) -> Prepared:
        raise RuntimeError(message)

    assert _measured(failing, case) == {"failed": f"RuntimeError: {kept}"}


FIGURES = {
    "seconds": 2e-3,
    "needed_bytes_per_second": 3e12,
    "read_once_bytes_per_second": None,
    "times_ours": 1.25,
    "not_replayed": None,
}
RECORD = {
    "workloads": {"long": {"rows": 1_024, "keys": 470_000}, "even": {"rows": 8, "keys": 80}},
    "results": [
        {"candidate": "ours", "workload": "even", **FIGURES, "read_once_bytes_per_second": 1e12, "times_ours": 1.0},
        {"candidate": "ours", "workload": "long", "wrong": "by much"},
        {"candidate": "other", "workload": "even", "failed": "no kernel"},
        {"candidate": "other", "workload": "long", **FIGURES, "not_replayed": "no graph"},
        {"candidate": "third", "workload": "even", **FIGURES},
        {"candidate": "third", "workload": "long", "failed": "no card"},
    ],
}
"""As the command leaves it, which measures candidate by candidate; of workloads, `long` was asked for first."""


def test_a_table_goes_workload_by_workload_in_the_record_s_order() -> None:
    header, *rows = decoding_rows(RECORD)
    assert header[:5] == ("workload", "attention", "rows", "keys", "us a layer")
    assert rows == [
        ("long", "other", "1,024", "470,000", "2,000.0", "3,000", "-", "1.25", "launches"),
        ("even", "ours", "8", "80", "2,000.0", "3,000", "1,000", "1.00", "graph"),
        ("even", "third", "8", "80", "2,000.0", "3,000", "-", "1.25", "graph"),
    ]


def test_notes_say_what_the_table_does_not() -> None:
    assert decoding_notes(RECORD) == [
        "other, long: no graph",
        "third, long: no card",
        "other, even: no kernel",
        "ours, long: WRONG: by much",
    ]


def test_a_table_needs_neither_candidates_nor_torch() -> None:
    program = "import sys, benchmarks.decoding.table; print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert [name for name in loaded if name.startswith("benchmarks.")] == [
        "benchmarks.decoding",
        "benchmarks.decoding.table",
    ]
    assert "torch" not in loaded


@pytest.mark.skipif(CUDA, reason="there is a CUDA device")
@pytest.mark.parametrize(
    ("device", "reason"),
    [("cuda", "(torch finds no CUDA device|this torch is built without CUDA)"), ("cpu", "cpu is none")],
)
def test_without_cuda_it_ends_with_one_line(device: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"^python -m benchmarks.decoding: error: needs a CUDA device, and {reason}$"):
        command.main(["--device", device, "--out", str(tmp_path / "record.json")])
    assert not list(tmp_path.iterdir())


def test_the_record_has_every_candidate_and_the_wrong_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As on a card, with candidates that stand for its."""

    def missing(case: Case) -> Prepared:
        raise Unavailable("needs another card")

    plain = CANDIDATES["sdpa, static cache, grouped queries"]
    candidates = {
        "ours": lambda case: Prepared(plain(case).call, 100),
        "other": plain,
        "missing": missing,
        "wrong": lambda case: Prepared(lambda: case.query),
    }
    slower = {"not_replayed": "no graph", "seconds": 6e-3}

    def clock(call: Callable[[], torch.Tensor], device: torch.device) -> Timing:
        timing = _clock(call, device)
        clocked.append(timing)
        return timing if len(clocked) == 1 else replace(timing, **slower)  # type: ignore[arg-type]

    clocked: list[Timing] = []
    monkeypatch.setattr(command, "CANDIDATES", candidates)
    monkeypatch.setattr(command, "measure", lambda *a, **k: measure(*a, **k, clock=clock))
    monkeypatch.setattr(command, "device_reason", lambda device: None)
    monkeypatch.setattr(command, "get_shape", lambda model: SHAPE)
    monkeypatch.setattr(command, "case_of", lambda *a, **k: case_of(*a, **k | {"device": "cpu"}))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(L2_cache_size=7))
    out = tmp_path / "record.json"
    with pytest.raises(SystemExit, match=r"^python -m benchmarks.decoding: error: not attention: wrong$"):
        command.main(["--workload", "even:4:50:2:20", "--dtype", "float32", "--out", str(out)])
    record = json.loads(out.read_text())
    needed = 4 * 50 * 2 * 2 * 32 * 4
    assert record["workloads"]["even:4:50:2:20"]["needed_bytes"] == needed
    assert (record["cache_bytes"], record["arguments"]["workload"]) == (7, ["even:4:50:2:20"])
    got = {entry["candidate"]: entry for entry in record["results"]}
    assert list(got) == list(candidates)
    assert (got["ours"]["times_ours"], got["other"]["times_ours"]) == (1.0, pytest.approx(3.0))
    assert got["ours"]["bytes_read_once"] == 100 * 2 * 2 * 32 * 4
    assert got["missing"].keys() == {"candidate", "workload", "failed"}
    shown = capsys.readouterr().out.splitlines()
    assert "other, even:4:50:2:20: no graph" in shown
    assert "missing, even:4:50:2:20: needs another card" in shown
    assert any(line.startswith("wrong, even:4:50:2:20: WRONG: a head is ") for line in shown)
    row = next(line for line in shown if "  ours  " in line).split()
    assert row == ["even:4:50:2:20", "ours", "4", "200", "2,000.0", "0", "0", "1.00", "graph"]
