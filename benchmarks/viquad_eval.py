"""UIT-ViQuAD 2.0 by the older app's functions: the same task, prompts and engine as `benchmarks/test_viquad.py`.

Keyword arguments after those listed are the fields of `evalsuite.interface.running.How`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from evalsuite.errors import RequestError
from evalsuite.interface.data import Data, asked, read, texts
from evalsuite.interface.running import How, OnGraded, evaluate, generate
from evalsuite.interface.scores import Scores, choose_judge, metrics_and_counts
from evalsuite.judge.types import Judge
from evalsuite.tasks import limit_examples, viquad
from evalsuite.tasks.prompting import strip_think
from evalsuite.tasks.viquad import VIQUAD

__all__ = ["generate_viquad_answers_batched", "run_viquad_eval_with_judge"]


def generate_viquad_answers_batched(
    model: Any,
    tokenizer: Any,
    contexts: Sequence[str],
    questions: Sequence[str],
    max_new_tokens: int = VIQUAD.max_new_tokens,
    batch_size: int | None = 8,
    **how: Any,
) -> list[str]:
    """The answer to each question about the passage of the same place, in order: the first line that was written.

    Raises:
        RequestError: lists of different lengths, or something in them that is no text.
    """
    passages, asking = texts("contexts", contexts), texts("questions", questions)
    if len(passages) != len(asking):
        raise RequestError(
            f"expected as many contexts as questions, got {len(passages)} and {len(asking)}; "
            "repeat the passage for each of its questions"
        )
    examples = [
        asked(f"viquad/caller/{index}", viquad.DESCRIPTION, viquad.render_body(passage, question))
        for index, (passage, question) in enumerate(zip(passages, asking, strict=True))
    ]
    settings = How(batch_size=batch_size, **how)
    written = generate(model, tokenizer, VIQUAD, examples, max_new_tokens, settings)
    return [viquad.first_line(strip_think(answer)) for answer in written]


def run_viquad_eval_with_judge(
    model: Any,
    tokenizer: Any,
    data: Data = None,
    split: str | None = None,
    max_samples: int | None = None,
    judge_base_url: str | None = None,
    judge_api_key: str | None = None,
    judge_model: str | None = None,
    batch_size: int | None = 8,
    use_batching: bool = True,
    *,
    judge: Judge | None = None,
    judge_grades: str | os.PathLike[str] | None = None,
    on_graded: OnGraded | None = None,
    **how: Any,
) -> Scores:
    """(metrics, counts): exact match and F1, overall and by kind of question, and the judge's mean grade.

    `metrics` has `exact_match`, `f1`, `overall_judge_score`, and each with `answerable_` or `unanswerable_` before it
    (`answerable_judge_score`); `counts` has `overall`, `answerable`, `unanswerable`, `judged` and `judge_missing`.
    Without a judge, its entries are absent.

    Args:
        data: None for the hub's `taidng/UIT-ViQuAD2.0`, a directory of released files, one of them, or `sample`.
        max_samples: so many questions, answerable and not in proportion, the same each time.
        judge_base_url: `http(s)://host:port/v1` or `local:MODEL`; None for no judge.
        judge_api_key, judge_model: None for what the environment says, a key of "" for none: see
            `evalsuite.judge.opening.open_judge`.
        judge: a judge that is open already, in place of an address.
        judge_grades: folder where grades are kept and reused.
        batch_size: most prompts in one forward; None leaves it to the token budget.

    Raises:
        DataError: data that cannot be had or read.
        ConfigError: a judge, its key or its folder that cannot be meant (before anything is generated).
        JudgeError: no judge at the address (before anything is generated), or too many grades missing (when all is
            done; the other metrics stand in a note on the error).
    """
    asking = choose_judge(judge, judge_base_url, judge_api_key, judge_model, judge_grades)
    settings = How(batch_size=batch_size, use_batching=use_batching, **how)
    questions = limit_examples(read(VIQUAD, data, split, settings.shots), max_samples)
    graded = evaluate(model, tokenizer, VIQUAD, questions, settings, on_graded)
    return metrics_and_counts(VIQUAD, questions, graded, asking, progress=settings.progress)
