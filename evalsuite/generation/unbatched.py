"""The reference: one prompt for each call of transformers' own `generate`, without padding.

It is greedy search there. A token that is drawn comes in through a logits processor, which leaves it alone to choose.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
)

from evalsuite.apart import forget_lengths
from evalsuite.generation._finish import finish
from evalsuite.generation.sampling import Sampling, draw_tokens, draws_of, sampling_of
from evalsuite.generation.stopping import cut_at_stop, decode
from evalsuite.runner import ModelRunner
from evalsuite.types import EncodedPrompt, Generation


def generate(runner: ModelRunner, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
    """Generations in input order."""
    yield from runner.run_batches(
        ([request] for request in requests),
        lambda batch: [_generate_one(runner, batch[0])],
        lambda batch: len(batch[0].prompt_ids) + batch[0].max_new_tokens,
    )


def _generate_one(runner: ModelRunner, request: EncodedPrompt) -> Generation:
    forget_lengths(runner.model)
    prompt = torch.tensor([request.prompt_ids], device=runner.device)
    sampling = sampling_of(runner.options)
    draws = torch.tensor(draws_of(runner.options, request), dtype=torch.float32, device=runner.device)
    output = runner.model.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        generation_config=_greedy(runner, request),
        logits_processor=LogitsProcessorList([_Drawn(prompt.shape[1], draws, sampling)] if sampling else []),
        stopping_criteria=StoppingCriteriaList([_StopStrings(runner.tokenizer, request)]),
    )
    token_ids = output.sequences[0, prompt.shape[1] :]
    logits = torch.cat(output.logits).float()  # [new tokens, vocab]
    logprobs = torch.log_softmax(logits, dim=-1).gather(1, token_ids[:, None])[:, 0]
    if runner.options.kv_cache:
        runner.counters.saw_kv_bytes(runner.shape.kv_bytes(prompt.shape[1] + len(token_ids) - 1))
    return finish(runner, request, token_ids.tolist(), logprobs.tolist())


def _greedy(runner: ModelRunner, request: EncodedPrompt) -> GenerationConfig:
    """Greedy search with nothing inherited: a model's own configuration may ask for sampling or penalties."""
    return GenerationConfig(  # type: ignore[no-untyped-call]
        do_sample=False,
        num_beams=1,
        temperature=1.0,
        top_k=50,
        top_p=1.0,
        repetition_penalty=1.0,
        no_repeat_ngram_size=0,
        max_new_tokens=request.max_new_tokens,
        use_cache=runner.options.kv_cache,
        # None would be filled in from the model's own configuration, so it is an id that no model writes.
        eos_token_id=sorted(runner.eos_ids) or [runner.shape.vocab],
        pad_token_id=runner.pad_id,
        return_dict_in_generate=True,
        output_logits=True,
    )


class _Drawn(LogitsProcessor):
    """Leaves one token to choose from: the one drawn."""

    def __init__(self, prompt_tokens: int, draws: torch.Tensor, sampling: Sampling) -> None:
        self._prompt_tokens = prompt_tokens
        self._draws = draws
        """[max_new_tokens], float32."""
        self._sampling = sampling

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        # `generate` may look a step behind for the end, and choose once more after the last token allowed.
        step = min(input_ids.shape[1] - self._prompt_tokens, len(self._draws) - 1)
        chosen = draw_tokens(scores, self._draws[step : step + 1], self._sampling)
        alone = torch.full_like(scores, -torch.inf).scatter_(1, chosen[:, None], 0.0)
        return alone  # type: ignore[return-value]


class _StopStrings(StoppingCriteria):
    """Ends a row once its new text holds a stop string. Decodes it all at each step: plain, and the reference."""

    def __init__(self, tokenizer: Any, request: EncodedPrompt) -> None:
        self._tokenizer = tokenizer
        self._request = request

    def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.BoolTensor:
        new_tokens = input_ids[:, len(self._request.prompt_ids) :].tolist()
        done = [cut_at_stop(decode(self._tokenizer, row), self._request.stop)[1] for row in new_tokens]
        return torch.tensor(done, device=input_ids.device)  # type: ignore[return-value]
