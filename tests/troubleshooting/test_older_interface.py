"""The remedies that the README names for the older interface."""

from __future__ import annotations

import logging

import pytest

from benchmarks.mmlu_eval import run_mmlu_eval
from benchmarks.viquad_eval import generate_viquad_answers_batched
from tests.tiny import make_model, tiny_tokenizer
from tests.troubleshooting.conftest import Lab
from tests.troubleshooting.provocations import out_of_memory_above

TOKENS_THAT_FIT = 200
QUESTIONS = [f"Câu {number}?" for number in range(6)]


@pytest.mark.parametrize("use_batching", [True, False])
def test_choices_that_are_not_batched_do_not_run_out_of_memory(
    lab: Lab, caplog: pytest.LogCaptureFixture, use_batching: bool
) -> None:
    out_of_memory_above(lab, TOKENS_THAT_FIT)
    with caplog.at_level(logging.WARNING, "evalsuite"):
        accuracy, count = run_mmlu_eval(
            make_model("qwen3"), tiny_tokenizer(), data=str(lab.path / "data"), use_batching=use_batching
        )
    assert count == {"sums": 6, "overall": 6}
    assert accuracy["overall"] == pytest.approx(1 / 6)  # as without any lack of memory
    assert ("out of memory" in caplog.text) is use_batching


@pytest.mark.parametrize(
    ("how", "runs_out"),
    [({}, True), ({"batch_size": 2}, False), ({"use_batching": False}, False)],
    ids=["as it is", "batch_size", "use_batching"],
)
def test_answers_written_in_smaller_batches_or_alone_do_not_run_out_of_memory(
    lab: Lab, caplog: pytest.LogCaptureFixture, how: dict[str, int | bool], runs_out: bool
) -> None:
    out_of_memory_above(lab, TOKENS_THAT_FIT)
    contexts = [f"{number} người đi học. " * 4 for number in range(len(QUESTIONS))]
    with caplog.at_level(logging.WARNING, "evalsuite"):
        answers = generate_viquad_answers_batched(
            make_model("qwen3"), tiny_tokenizer(), contexts, QUESTIONS, max_new_tokens=4, **how
        )
    assert len(answers) == len(QUESTIONS)
    assert ("out of memory" in caplog.text) is runs_out
