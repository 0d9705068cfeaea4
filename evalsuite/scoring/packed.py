"""The packed prefix tree: branches of all questions in flat packs, shared beginnings computed once, no row padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from evalsuite import apart
from evalsuite.attention.interface import NoTreeAttention
from evalsuite.determinism import NotDeterministic
from evalsuite.planning.rows import shared_rows
from evalsuite.runner import ModelRunner
from evalsuite.scoring import padded, unbatched
from evalsuite.scoring._packing import PackForward
from evalsuite.types import ChoiceScores, EncodedChoices, Fallback


def score(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    """Scores as questions complete. A model that cannot run on a tree is scored by `padded`, and a question that has to
    be scored alone by `unbatched` (`apart`), which is recorded."""
    alone = apart.choices_too_long(runner.model.config)
    yield from apart.answer(
        runner, "packed", requests, why_alone=alone, together=_score_together, alone=unbatched.score
    )


def _score_together(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    left = dict(enumerate(requests))
    try:
        for number, logprobs in _score(runner, PackForward(runner), requests):
            del left[number]
            yield ChoiceScores(id=requests[number].id, logprobs=logprobs)
    except NoTreeAttention as error:
        if runner.options.deterministic:
            raise NotDeterministic(str(error)) from error
        runner.step_down(Fallback(what="strategy", asked="packed", got="padded", reason=str(error)))
        yield from padded.score(runner, list(left.values()))


def _score(
    runner: ModelRunner, forward: PackForward, requests: Sequence[EncodedChoices]
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """(number of the request, its log-probabilities), as they complete."""
    rows = [(number, row) for number, request in enumerate(requests) for row in shared_rows(request)]
    waiting: dict[int, dict[int, float]] = {}
    plan = forward.plan(rows)
    for number, choices in runner.run_batches(
        plan,
        forward.score,
        forward.tokens,
        split=plan.smaller,
        ahead=1,
        drop_compiled=forward.drop_compiled,
    ):
        scored = waiting.setdefault(number, {})
        scored |= choices
        if len(scored) == len(requests[number].continuation_ids):
            done = waiting.pop(number)
            yield number, tuple(done[i] for i in range(len(done)))
