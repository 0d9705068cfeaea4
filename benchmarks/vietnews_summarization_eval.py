"""VietNews by the older app's functions: the same task, prompts and engine as `pytest benchmarks/test_vietnews.py`.

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
from evalsuite.tasks import limit_examples, vietnews
from evalsuite.tasks.cleaning import desegment
from evalsuite.tasks.prompting import strip_think
from evalsuite.tasks.vietnews import VIETNEWS

__all__ = ["generate_vietnews_summaries_batched", "run_vietnews_summarization_eval"]


def generate_vietnews_summaries_batched(
    model: Any,
    tokenizer: Any,
    articles: Sequence[str],
    max_new_tokens: int = VIETNEWS.max_new_tokens,
    batch_size: int | None = 4,
    **how: Any,
) -> list[str]:
    """A summary of each article, in order. Word segmentation (`Hà_Nội`) is undone first, as in the evaluation.

    Raises:
        RequestError: an article that is empty or no text.
    """
    cleaned = [desegment(article) for article in texts("articles", articles)]
    if "" in cleaned:
        raise RequestError(f"articles[{cleaned.index('')}]: expected an article, got an empty text; leave it out")
    examples = [
        asked(f"vietnews/caller/{index}", vietnews.DESCRIPTION, vietnews.render_body(article))
        for index, article in enumerate(cleaned)
    ]
    settings = How(batch_size=batch_size, **how)
    return [strip_think(text) for text in generate(model, tokenizer, VIETNEWS, examples, max_new_tokens, settings)]


def run_vietnews_summarization_eval(
    model: Any,
    tokenizer: Any,
    data: Data = None,
    split: str | None = None,
    max_samples: int | None = None,
    judge_base_url: str | None = None,
    judge_api_key: str | None = None,
    judge_model: str | None = None,
    batch_size: int | None = 4,
    use_batching: bool = True,
    *,
    judge: Judge | None = None,
    judge_grades: str | os.PathLike[str] | None = None,
    on_graded: OnGraded | None = None,
    **how: Any,
) -> Scores:
    """(metrics, counts): `rouge1`, `rouge2`, `rougeL` and `overall_judge_score`; `overall`, `judged`, `judge_missing`.

    Arguments and errors are those of `benchmarks.viquad_eval.run_viquad_eval_with_judge`; the hub's set is
    `nam194/vietnews`. Without a judge, its entries are absent.
    """
    asking = choose_judge(judge, judge_base_url, judge_api_key, judge_model, judge_grades)
    settings = How(batch_size=batch_size, use_batching=use_batching, **how)
    articles = limit_examples(read(VIETNEWS, data, split, settings.shots), max_samples)
    graded = evaluate(model, tokenizer, VIETNEWS, articles, settings, on_graded)
    return metrics_and_counts(VIETNEWS, articles, graded, asking, progress=settings.progress)
