"""Scoring strategies: one a file, one signature. A new one is a module and a line in `STRATEGIES`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from evalsuite.runner import ModelRunner
from evalsuite.scoring import packed, padded, per_question, unbatched
from evalsuite.types import ChoiceScores, EncodedChoices

ScoringStrategy = Callable[[ModelRunner, Sequence[EncodedChoices]], Iterator[ChoiceScores]]
"""Yields one outcome for each request, each as soon as it is known, in any order."""

STRATEGIES: Mapping[str, ScoringStrategy] = {
    "unbatched": unbatched.score,
    "per_question": per_question.score,
    "padded": padded.score,
    "packed": packed.score,
}
