"""VMLU by the older app's functions: the same task, prompts and engine as `pytest benchmarks/test_vmlu.py`.

Keyword arguments after those listed are the fields of `evalsuite.interface.running.How`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from evalsuite.interface.data import asked, lettered, optional_text, path, text
from evalsuite.interface.running import How, OnGraded, choose, compute_logprobs_for_all_choices_batched, evaluate
from evalsuite.interface.scores import Scores, accuracy_and_count
from evalsuite.tasks import limit_examples, vmlu
from evalsuite.tasks.grading import LETTERS
from evalsuite.tasks.vmlu import VMLU

__all__ = ["compute_logprobs_for_all_choices_batched", "predict_vmlu_single", "run_vmlu_eval"]


def predict_vmlu_single(
    model: Any,
    tokenizer: Any,
    question: str,
    choices: Sequence[str],
    use_batching: bool = True,
    *,
    subject: str | None = None,
    **how: Any,
) -> str:
    """The letter, A to E, of the choice that the model takes.

    Args:
        choices: 2 to 5 texts. Where every one begins with its own letter, in order, these stand; else all get theirs.
        subject: the two digits that open a question's id, for the prompt's opening line.

    Raises:
        DataError: fewer or more choices, or letters out of order.
        RequestError: something that is no text.
        ConfigError: `shots`, which a question of one's own has not.
    """
    options = lettered(choices)
    body = vmlu.render_body(text("question", question), options)
    example = asked("vmlu/caller", vmlu.describe(optional_text("subject", subject)), body, LETTERS[: len(options)])
    return choose(model, tokenizer, VMLU, example, How(use_batching=use_batching, **how))


def run_vmlu_eval(
    model: Any,
    tokenizer: Any,
    jsonl_path: str | os.PathLike[str],
    max_samples: int | None = None,
    *,
    on_graded: OnGraded | None = None,
    **how: Any,
) -> Scores:
    """(accuracy, count), both by subject (the digits that open an id) and "overall".

    Questions without a published answer are predicted and not counted: `on_graded` sees their letters.

    Args:
        jsonl_path: a file in the released format. Shots come from the `dev.jsonl` beside it.
        max_samples: so many questions, drawn from every subject in proportion, the same each time.
        how: with `batch_size`, padded batches of so many rows run in place of packs.

    Raises:
        DataError: a file that cannot be read, with its row and field.
    """
    settings = How(**how)
    questions = limit_examples(vmlu.read_vmlu_file(path("jsonl_path", jsonl_path), settings.shots), max_samples)
    return accuracy_and_count(VMLU, evaluate(model, tokenizer, VMLU, questions, settings, on_graded))
