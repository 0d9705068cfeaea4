"""The remedies that the README names for the older interface."""

from __future__ import annotations

import logging

import pytest

from benchmarks.mmlu_eval import run_mmlu_eval
from tests.tiny import make_model, tiny_tokenizer
from tests.troubleshooting.conftest import Lab
from tests.troubleshooting.provocations import out_of_memory_above


@pytest.mark.parametrize(
    ("how", "runs_out"),
    [({}, True), ({"batch_size": 2}, False), ({"use_batching": False}, False)],
    ids=["as it is", "batch_size", "use_batching"],
)
def test_smaller_batches_or_none_do_not_run_out_of_memory(
    lab: Lab, caplog: pytest.LogCaptureFixture, how: dict[str, int | bool], runs_out: bool
) -> None:
    out_of_memory_above(lab, 200)
    with caplog.at_level(logging.WARNING, "evalsuite"):
        accuracy, count = run_mmlu_eval(make_model("qwen3"), tiny_tokenizer(), data=str(lab.path / "data"), **how)
    assert count == {"sums": 6, "overall": 6}
    assert accuracy["overall"] == pytest.approx(1 / 6)  # as without any lack of memory
    assert ("out of memory" in caplog.text) is runs_out
