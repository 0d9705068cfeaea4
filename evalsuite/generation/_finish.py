"""From chosen tokens to an outcome, the same for every strategy."""

from __future__ import annotations

from collections.abc import Sequence

from evalsuite.generation.stopping import cut_at_stop, decode
from evalsuite.runner import ModelRunner
from evalsuite.types import EncodedPrompt, FinishReason, Generation


def finish(
    runner: ModelRunner, request: EncodedPrompt, token_ids: Sequence[int], logprobs: Sequence[float]
) -> Generation:
    """Decode, trim at the first stop string, and name why it ended."""
    text, stopped = cut_at_stop(decode(runner.tokenizer, token_ids), request.stop)
    ended = bool(token_ids) and token_ids[-1] in runner.eos_ids
    reason: FinishReason = "stop" if stopped else "eos" if ended else "length"
    return Generation(
        id=request.id, text=text, token_ids=tuple(token_ids), logprobs=tuple(logprobs), finish_reason=reason
    )
