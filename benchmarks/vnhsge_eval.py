"""VNHSGE-V by the older app's functions: the same task, prompts and engine as `pytest benchmarks/test_vnhsge.py`.

Keyword arguments after those listed are the fields of `evalsuite.interface.running.How`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from evalsuite.interface.data import asked, data_source, first_of_each_group, lettered, optional_text, path, text, texts
from evalsuite.interface.running import How, OnGraded, choose, compute_logprobs_for_all_choices_batched, evaluate
from evalsuite.interface.scores import accuracy_and_count
from evalsuite.tasks import vnhsge
from evalsuite.tasks.grading import LETTERS
from evalsuite.tasks.vnhsge import VNHSGE

__all__ = ["compute_logprobs_for_all_choices_batched", "predict_vnhsge_single", "run_vnhsge_eval"]


def predict_vnhsge_single(
    model: Any,
    tokenizer: Any,
    question: str,
    choices: Sequence[str] | None = None,
    use_batching: bool = True,
    *,
    subject: str | None = None,
    **how: Any,
) -> str:
    """The letter of the choice that the model takes.

    Args:
        question: as released, with its choices inside, or without them.
        choices: their texts, 2 to 5, where `question` is without them, lettered as VMLU's. None where it holds A to D,
            and the bare letters (`["A", "B", "C"]`) where it holds these.
        subject: a folder's name such as `History`, for the prompt's opening line.

    Raises:
        DataError: fewer or more choices, or letters out of order.
        RequestError: something that is no text.
        ConfigError: `shots`, which a question of one's own has not.
    """
    whole = text("question", question)
    given = vnhsge.LETTERS if choices is None else tuple(texts("choices", choices))
    options = lettered(given)
    letters = LETTERS[: len(options)]
    if given != letters:
        whole = "\n".join((whole.rstrip(), *options))
    example = asked(
        "vnhsge/caller", vnhsge.describe(optional_text("subject", subject)), vnhsge.render_body(whole), letters
    )
    return choose(model, tokenizer, VNHSGE, example, How(use_batching=use_batching, **how))


def run_vnhsge_eval(
    model: Any,
    tokenizer: Any,
    root_dir: str | os.PathLike[str],
    max_samples_per_subset: int | None = None,
    *,
    split: str | None = None,
    on_graded: OnGraded | None = None,
    **how: Any,
) -> dict[str, Any]:
    """{"overall": R, SUBJECT: {"overall": R, YEAR: R, ...}, ...} with R = {"accuracy": share, "count": questions}.

    Questions that need an image or have no letter for an answer are neither asked nor counted; the log says how many.

    Args:
        root_dir: the folder that holds SUBJECT/*.json, or `vnhsge/` with it.
        max_samples_per_subset: the first so many of each subject and year; None for all.
        split: `eval` (the default), `test` or `train`.
        how: with `batch_size`, padded batches of so many rows run in place of packs.

    Raises:
        DataError: data that cannot be read, with its file, row and field.
    """
    settings = How(**how)
    questions = VNHSGE.read(data_source(path("root_dir", root_dir)), split=split, shots=settings.shots)
    questions = first_of_each_group(questions, max_samples_per_subset)
    graded = evaluate(model, tokenizer, VNHSGE, questions, settings, on_graded)
    accuracy, count = accuracy_and_count(VNHSGE, graded)
    results: dict[str, Any] = {"overall": {"accuracy": accuracy.pop("overall"), "count": count["overall"]}}
    for group, share in accuracy.items():
        subject, _, year = group.partition("/")
        results.setdefault(subject, {})[year or "overall"] = {"accuracy": share, "count": count[group]}
    return results
