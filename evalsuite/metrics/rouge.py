"""ROUGE-1, ROUGE-2 and ROUGE-L F1 on Vietnamese syllables, by the `rouge_score` library.

Its own tokenizer keeps ASCII letters and digits only, so that `hoà bình` becomes `ho b nh`; ours keeps
diacritics. On ASCII text the two agree.
"""

from __future__ import annotations

import functools
from typing import Any

from evalsuite.metrics.vietnamese import syllables

ROUGE_TYPES = ("rouge1", "rouge2", "rougeL")


class SyllableTokenizer:
    """The one method that `rouge_score` asks of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        """Folded syllables, diacritics kept."""
        return syllables(text)


def rouge_scores(target: str, prediction: str) -> dict[str, float]:
    """F1 by ROUGE type, in [0, 1]; ROUGE-L takes the summary as one sequence."""
    scores = _scorer().score(target, prediction)
    return {name: float(scores[name].fmeasure) for name in ROUGE_TYPES}


@functools.cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(ROUGE_TYPES), tokenizer=SyllableTokenizer())
