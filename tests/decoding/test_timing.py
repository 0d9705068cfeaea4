"""A time is of a graph, or says why not; and only what is attention has one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.decoding.candidates import CANDIDATES
from benchmarks.decoding.interface import Prepared, Unavailable
from benchmarks.decoding.reference import TOLERANCES, WrongResult, largest_error, reference
from benchmarks.decoding.timing import LEAST_CALLS, WARM_UP_CALLS, timed
from benchmarks.decoding.workloads import Case, Workload, case_of
from tests.decoding.made import SHAPE, measured


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


def test_the_reference_is_torch_s_attention_of_each_row_alone(case: Case) -> None:
    for row, length in enumerate(case.lengths):
        keys, values = (numbers.transpose(0, 1)[None] for numbers in case.at(case.slots[row, :length]))
        alone = torch.nn.functional.scaled_dot_product_attention(
            case.query[row][None, :, None], keys, values, enable_gqa=True
        )
        torch.testing.assert_close(reference(case)[row], alone[0, :, 0])


def test_what_is_not_attention_has_no_figures(case: Case) -> None:
    def a_key_too_few(case: Case) -> Prepared:
        short = np.maximum(case.lengths - 1, 1)
        return CANDIDATES["sdpa, static cache, grouped queries"](replace(case, lengths=short))

    entry = measured(a_key_too_few, case)
    assert entry.keys() == {"wrong"}
    assert entry["wrong"].endswith("off what it should be, and 0.0001 is allowed")


def test_what_is_attention_only_once_has_no_figures(case: Case) -> None:
    """As of a graph that reads what is no longer there."""
    answers = [reference(case), torch.full_like(case.query, float("nan"))]
    assert measured(lambda case: Prepared(lambda: answers.pop(0)), case) == {
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

    assert measured(failing, case) == {"failed": "RuntimeError: no kernel for it"}
    assert measured(unavailable, case) == {"failed": "needs another torch"}


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

    assert measured(failing, case) == {"failed": f"RuntimeError: {kept}"}
