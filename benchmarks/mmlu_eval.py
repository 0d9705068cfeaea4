"""MMLU by the older app's functions: the same task, prompts and engine as `pytest benchmarks/test_mmlu.py`.

Keyword arguments after those listed are the fields of `evalsuite.interface.running.How`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from evalsuite.errors import RequestError
from evalsuite.interface.data import (
    Data,
    asked,
    data_source,
    first_of_each_group,
    only_groups,
    optional_text,
    text,
    texts,
)
from evalsuite.interface.running import How, OnGraded, choose, compute_logprobs_for_all_choices_batched, evaluate
from evalsuite.interface.scores import Scores, accuracy_and_count
from evalsuite.tasks import mmlu
from evalsuite.tasks.mmlu import LETTERS, MMLU

__all__ = ["compute_logprobs_for_all_choices_batched", "predict_mmlu_single", "run_mmlu_eval"]


def predict_mmlu_single(
    model: Any,
    tokenizer: Any,
    question: str,
    choices: Sequence[str],
    use_batching: bool = True,
    *,
    subject: str | None = None,
    **how: Any,
) -> int:
    """The index, 0 to 3, of the choice that the model takes.

    Args:
        choices: four texts, without letters.
        subject: such as `high_school_biology`, for the prompt's opening line.

    Raises:
        RequestError: not four texts, or something else that is no text.
        ConfigError: `shots`, which a question of one's own has not.
    """
    options = tuple(texts("choices", choices))
    if len(options) != len(LETTERS):
        raise RequestError(f"choices: expected {len(LETTERS)} texts, got {len(options)}")
    body = mmlu.render_body(text("question", question), options)
    example = asked("mmlu/caller", mmlu.describe(optional_text("subject", subject)), body, LETTERS)
    return LETTERS.index(choose(model, tokenizer, MMLU, example, How(use_batching=use_batching, **how)))


def run_mmlu_eval(
    model: Any,
    tokenizer: Any,
    subjects: Sequence[str] | None = None,
    split: str = "test",
    max_samples_per_subject: int | None = 20,
    *,
    data: Data = None,
    on_graded: OnGraded | None = None,
    **how: Any,
) -> Scores:
    """(accuracy, count), both by subject and "overall", where every question counts the same.

    Args:
        subjects: names such as `anatomy`; None for all.
        max_samples_per_subject: the first so many of each subject; None for all.
        data: None for the hub's `cais/mmlu`, a directory of released files, or `sample`.
        how: with `batch_size`, padded batches of so many rows run in place of packs.

    Raises:
        DataError: data that cannot be had or read.
        ConfigError: a subject or split that it has not; no subject at all.
    """
    settings = How(**how)
    questions = MMLU.read(data_source(data), split=split, shots=settings.shots)
    if subjects is not None:
        questions = only_groups(questions, [subjects] if isinstance(subjects, str) else texts("subjects", subjects))
    questions = first_of_each_group(questions, max_samples_per_subject)
    return accuracy_and_count(MMLU, evaluate(model, tokenizer, MMLU, questions, settings, on_graded))
