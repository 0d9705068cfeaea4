"""Where the guide says: importable from the repo's root, without a word to torch."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import mmlu_eval, vietnews_summarization_eval, viquad_eval, vmlu_eval, vnhsge_eval
from evalsuite import model_utils

ROOT = Path(__file__).parents[2]


def test_the_modules_import_from_the_root_and_leave_torch_alone() -> None:
    script = (
        "import sys, evalsuite.model_utils, benchmarks.mmlu_eval, benchmarks.vmlu_eval, benchmarks.vnhsge_eval, "
        "benchmarks.viquad_eval, benchmarks.vietnews_summarization_eval\n"
        "print({'torch', 'transformers', 'datasets', 'openai', 'pytest'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("set()\n", "")


@pytest.mark.parametrize(
    ("function", "parameters"),
    [
        (model_utils.load_qwen_model, "name checkpoint_path dtype use_flash_attention_2 torch_compile"),
        (mmlu_eval.compute_logprobs_for_all_choices_batched, "model tokenizer prompt choices"),
        (mmlu_eval.predict_mmlu_single, "model tokenizer question choices use_batching"),
        (mmlu_eval.run_mmlu_eval, "model tokenizer subjects split max_samples_per_subject"),
        (vmlu_eval.predict_vmlu_single, "model tokenizer question choices use_batching"),
        (vmlu_eval.run_vmlu_eval, "model tokenizer jsonl_path max_samples"),
        (vnhsge_eval.predict_vnhsge_single, "model tokenizer question choices use_batching"),
        (vnhsge_eval.run_vnhsge_eval, "model tokenizer root_dir max_samples_per_subset"),
        (
            viquad_eval.generate_viquad_answers_batched,
            "model tokenizer contexts questions max_new_tokens batch_size",
        ),
        (
            viquad_eval.run_viquad_eval_with_judge,
            "model tokenizer data split max_samples judge_base_url judge_api_key judge_model batch_size use_batching",
        ),
        (
            vietnews_summarization_eval.generate_vietnews_summaries_batched,
            "model tokenizer articles max_new_tokens batch_size",
        ),
        (
            vietnews_summarization_eval.run_vietnews_summarization_eval,
            "model tokenizer data split max_samples judge_base_url judge_api_key judge_model batch_size use_batching",
        ),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_function_takes_what_the_guide_gives_it_in_that_order(function: object, parameters: str) -> None:
    taken = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    assert [p.name for p in taken if p.kind is p.POSITIONAL_OR_KEYWORD] == parameters.split()


def test_batch_sizes_are_the_guides() -> None:
    functions = (
        viquad_eval.generate_viquad_answers_batched,
        viquad_eval.run_viquad_eval_with_judge,
        vietnews_summarization_eval.generate_vietnews_summaries_batched,
        vietnews_summarization_eval.run_vietnews_summarization_eval,
    )
    assert [inspect.signature(f).parameters["batch_size"].default for f in functions] == [8, 8, 4, 4]
