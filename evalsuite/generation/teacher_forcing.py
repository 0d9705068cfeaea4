"""What a model thinks of a given answer, token by token: for the noise of a reference and the margin of a flip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from evalsuite.runner import ModelRunner
from evalsuite.types import EncodedPrompt, Generation

BEST = 8
"""How many tokens are kept at each position: a flip to any other cannot be rounding."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherForced:
    """Log-probabilities along an answer, one forward over prompt and answer together."""

    id: str
    logprobs: tuple[float, ...]
    """Of each answer token given all before it, nats, fp32."""
    best: tuple[Mapping[int, float], ...]
    """At each answer token: the `BEST` likeliest tokens there, id to log-probability."""


def teacher_force(runner: ModelRunner, answers: Iterable[tuple[EncodedPrompt, Generation]]) -> Iterator[TeacherForced]:
    """Run each prompt with its answer through the model, one by one, without padding."""
    for prompt, answer in answers:
        yield from runner.run_batches(
            [[(prompt, answer)]],
            lambda batch: [_force(runner, *batch[0])],
            lambda batch: len(batch[0][0].prompt_ids) + len(batch[0][1].token_ids),
        )


def _force(runner: ModelRunner, prompt: EncodedPrompt, answer: Generation) -> TeacherForced:
    fed = prompt.prompt_ids + answer.token_ids[:-1]
    targets = torch.tensor(answer.token_ids, device=runner.device)
    output = runner.forward(
        torch.tensor([fed], device=runner.device), logits_to_keep=len(answer.token_ids), use_cache=False
    )
    logprobs = torch.log_softmax(output.logits[0].float(), dim=-1)  # [answer, vocab]
    values, ids = logprobs.topk(min(BEST, logprobs.shape[-1]), dim=-1)  # [answer, best]
    return TeacherForced(
        id=prompt.id,
        logprobs=tuple(logprobs.gather(1, targets[:, None])[:, 0].tolist()),
        best=tuple(dict(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)),
    )
