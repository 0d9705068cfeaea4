"""The reference: one forward for each choice, one row, no padding, no mask, every position projected.

It is written the plain way on purpose, and shares no code with the strategies that are held to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from evalsuite.apart import forget_lengths
from evalsuite.runner import ModelRunner
from evalsuite.types import ChoiceScores, EncodedChoices


def score(runner: ModelRunner, requests: Sequence[EncodedChoices]) -> Iterator[ChoiceScores]:
    """Scores in input order."""
    yield from runner.run_batches(
        ([request] for request in requests),
        lambda batch: [_score_one(runner, batch[0])],
        lambda batch: len(batch[0].context_ids) + max(map(len, batch[0].continuation_ids)) - 1,
    )


def _score_one(runner: ModelRunner, request: EncodedChoices) -> ChoiceScores:
    logprobs = tuple(_logprob(runner, request.context_ids, choice) for choice in request.continuation_ids)
    return ChoiceScores(id=request.id, logprobs=logprobs)


def _logprob(runner: ModelRunner, context: tuple[int, ...], continuation: tuple[int, ...]) -> float:
    forget_lengths(runner.model)
    input_ids = torch.tensor([context + continuation[:-1]], device=runner.device)
    logits = runner.forward(input_ids, use_cache=False).logits[0, len(context) - 1 :]  # [continuation, vocab]
    targets = torch.tensor(continuation, device=runner.device)
    logprobs = torch.log_softmax(logits.float(), dim=-1).gather(1, targets[:, None])
    return float(logprobs.sum())
