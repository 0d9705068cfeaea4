"""Many questions in one padded batch: sorted by length, cut by a token budget, one row where choices can share it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalsuite import apart
from evalsuite.planning.batches import batches_by_length
from evalsuite.planning.rows import ScoringRow, shared_rows
from evalsuite.runner import ModelRunner
from evalsuite.scoring import unbatched
from evalsuite.scoring._padded_rows import score_rows
from evalsuite.types import ChoiceScores, EncodedChoices


def score(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    """Scores as questions complete, longest rows first. Requests of one id share their outcome's id, not its values.

    A question that has to be scored alone is (`apart`), which is recorded.
    """
    alone = apart.choices_too_long(runner.model.config)
    yield from apart.answer(
        runner, "padded", requests, why_alone=alone, together=_score_together, alone=unbatched.score
    )


def _score_together(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    rows = [(number, row) for number, request in enumerate(requests) for row in shared_rows(request)]
    batches = batches_by_length(
        [len(row.input_ids) for _, row in rows],
        token_budget=runner.options.token_budget,
        batch_size=runner.options.batch_size,
    )
    waiting: dict[int, dict[int, float]] = {}
    for number, choices in runner.run_batches(
        ([rows[i] for i in batch] for batch in batches), lambda batch: _score(runner, batch), _tokens
    ):
        scored = waiting.setdefault(number, {})
        scored |= choices
        if len(scored) == len(requests[number].continuation_ids):
            done = waiting.pop(number)
            yield ChoiceScores(id=requests[number].id, logprobs=tuple(done[i] for i in range(len(done))))


def _score(runner: ModelRunner, batch: Sequence[tuple[int, ScoringRow]]) -> list[tuple[int, dict[int, float]]]:
    numbers = [number for number, _ in batch]
    return list(zip(numbers, score_rows(runner, [row for _, row in batch]), strict=True))


def _tokens(batch: Sequence[tuple[int, ScoringRow]]) -> int:
    return len(batch) * max(len(row.input_ids) for _, row in batch)
