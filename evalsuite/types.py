"""What travels between the parts of evalsuite: requests, outcomes, grades, metrics. No torch here.

A *task* turns examples into requests; an *engine* executes requests by a *strategy* and yields
outcomes; the task grades outcomes and summarises grades into metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

TaskKind = Literal["choice", "generation"]
FinishReason = Literal["eos", "stop", "length"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceRequest:
    """Score each continuation after one context, in text form."""

    id: str
    context: str
    continuations: tuple[str, ...]
    """With their leading delimiter, e.g. `(" A", " B", " C", " D")`: the pair is tokenised together."""
    add_special_tokens: bool = True
    """False when the context already holds them, as a rendered chat template does."""


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationRequest:
    """Continue one prompt, in text form."""

    id: str
    prompt: str
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    """Generation ends where the text first holds one of these; the stop string is trimmed off."""
    add_special_tokens: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedChoices:
    """A `ChoiceRequest` in token ids, fitted to the model's window."""

    id: str
    context_ids: tuple[int, ...]
    continuation_ids: tuple[tuple[int, ...], ...]
    truncated_tokens: int = 0
    """How many context tokens were cut off on the left."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodedPrompt:
    """A `GenerationRequest` in token ids, fitted to the model's window less the tokens to come."""

    id: str
    prompt_ids: tuple[int, ...]
    max_new_tokens: int
    stop: tuple[str, ...] = ()
    truncated_tokens: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChoiceScores:
    """The outcome of a `ChoiceRequest`."""

    id: str
    logprobs: tuple[float, ...]
    """One a continuation: log p(continuation | context) in nats, summed over its tokens in fp32."""

    @property
    def prediction(self) -> int:
        """Index of the most probable continuation; the first of equals."""
        return max(range(len(self.logprobs)), key=self.logprobs.__getitem__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """The outcome of a `GenerationRequest`."""

    id: str
    text: str
    """Decoded new tokens, without special tokens, cut before the first stop string."""
    token_ids: tuple[int, ...]
    """Every new token that the model chose, the end-of-sequence token included."""
    logprobs: tuple[float, ...]
    """One a token of `token_ids`: its log-probability in nats, log-softmax in fp32."""
    finish_reason: FinishReason


Outcome = ChoiceScores | Generation


@dataclass(frozen=True, kw_only=True, slots=True)
class Fallback:
    """One step down from what was asked: logged once and carried into every result."""

    what: str
    """The knob: `attention`, `dtype`, `torch_compile`, `device`, `batch`, ..."""
    asked: str
    got: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Graded:
    """One answered question: what the model said, what was right, and how it scored."""

    id: str
    group: str
    """Subject (mmlu, vmlu), subject and year (vnhsge), `answerable` or `unanswerable` (viquad)."""
    prediction: str
    gold: tuple[str, ...] | None
    """None where the split has no published answers: predicted, not scored."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Metric name to value in [0, 1], e.g. `{"accuracy": 1.0}`; empty when `gold` is None."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Metric:
    """One number of a summary table."""

    name: str
    value: float
    stderr: float | None
    """Standard error of `value`; None where it has no meaning (one question, macro averages)."""
    count: int
    group: str = "overall"
