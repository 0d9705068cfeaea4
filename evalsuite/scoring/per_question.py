"""All choices of a question in one padded batch, question by question: what most evaluation code calls batching."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalsuite import apart
from evalsuite.planning.rows import ScoringRow, row_per_choice
from evalsuite.runner import ModelRunner
from evalsuite.scoring import unbatched
from evalsuite.scoring._padded_rows import score_rows
from evalsuite.types import ChoiceScores, EncodedChoices


def score(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    """Scores in input order, but those of questions whose choices have to be scored alone come last, by `unbatched`
    (`apart`), which is recorded."""
    alone = apart.choices_too_long(runner.model.config)
    yield from apart.answer(
        runner, "per_question", requests, why_alone=alone, together=_score_questions, alone=unbatched.score
    )


def _score_questions(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    for request in requests:
        scored: dict[int, float] = {}
        rows = list(row_per_choice(request))
        for choices in runner.run_batches([rows], lambda batch: score_rows(runner, batch), _tokens):
            scored |= choices
        yield ChoiceScores(id=request.id, logprobs=tuple(scored[i] for i in range(len(request.continuation_ids))))


def _tokens(rows: Sequence[ScoringRow]) -> int:
    return len(rows) * max(len(row.input_ids) for row in rows)
