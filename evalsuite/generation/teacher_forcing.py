"""What a model thinks of a given answer, token by token: for the noise of a reference and the margin of a flip."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch

from evalsuite.apart import forget_lengths
from evalsuite.generation.reach import between, reach
from evalsuite.generation.sampling import draws_of, sampling_of
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
    reach: tuple[Mapping[int, float], ...] | None = None
    """Where tokens were drawn: at each answer token, the tokens that the request's draw gives or nearly gives, id to
    how far it is from that in nats (`generation.reach`). None where the likeliest token was taken."""
    filtered: bool = True
    """Whether they were drawn from some tokens only: if not, tokens between those of `reach` are no further away."""

    def margin(self, position: int, chosen: int, other: int) -> float | None:
        """Nats of rounding that would make `other` of the answer's token `chosen`; None where none is known to."""
        if self.reach is None:
            logprob = self.best[position].get(other)
            return None if logprob is None else abs(self.logprobs[position] - logprob)
        of_chosen, of_other = self._reach(position, chosen), self._reach(position, other)
        return None if of_chosen is None or of_other is None else max(of_chosen, of_other)

    def _reach(self, position: int, token: int) -> float | None:
        assert self.reach is not None
        here = self.reach[position]
        return here[token] if token in here else None if self.filtered else between(here, token)

    def nearest(self, position: int, chosen: int) -> float:
        """The smallest margin between the answer's token and another; infinite where none is known."""
        others = (self.best if self.reach is None else self.reach)[position]
        margins = [self.margin(position, chosen, other) for other in others if other != chosen]
        return min((margin for margin in margins if margin is not None), default=float("inf"))


def teacher_force(runner: ModelRunner, answers: Iterable[tuple[EncodedPrompt, Generation]]) -> Iterator[TeacherForced]:
    """Run each prompt with its answer through the model, one by one, without padding."""
    for prompt, answer in answers:
        yield from runner.run_batches(
            [[(prompt, answer)]],
            lambda batch: [_force(runner, *batch[0])],
            lambda batch: len(batch[0][0].prompt_ids) + len(batch[0][1].token_ids),
        )


def _force(runner: ModelRunner, prompt: EncodedPrompt, answer: Generation) -> TeacherForced:
    if not answer.token_ids:
        return TeacherForced(id=prompt.id, logprobs=(), best=())
    forget_lengths(runner.model)
    fed = prompt.prompt_ids + answer.token_ids[:-1]
    targets = torch.tensor(answer.token_ids, device=runner.device)
    output = runner.forward(
        torch.tensor([fed], device=runner.device), logits_to_keep=len(answer.token_ids), use_cache=False
    )
    logits = output.logits[0].float()  # [answer, vocab]
    logprobs = torch.log_softmax(logits, dim=-1)
    values, ids = logprobs.topk(min(BEST, logprobs.shape[-1]), dim=-1)  # [answer, best]
    sampling = sampling_of(runner.options)
    draws = draws_of(runner.options, prompt)[: len(answer.token_ids)]
    return TeacherForced(
        id=prompt.id,
        logprobs=tuple(logprobs.gather(1, targets[:, None])[:, 0].tolist()),
        best=tuple(dict(zip(*row, strict=True)) for row in zip(ids.tolist(), values.tolist(), strict=True)),
        reach=None if sampling is None else reach(logits, draws, sampling, answer.token_ids),
        filtered=sampling is None or not sampling.keeps_all,
    )
