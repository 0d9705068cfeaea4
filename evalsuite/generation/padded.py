"""Many prompts at once: left-padded, sorted by length, each row stopping by itself and then leaving the batch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from transformers import DynamicCache

from evalsuite import apart
from evalsuite.generation import unbatched
from evalsuite.generation._finish import finish
from evalsuite.generation.sampling import choose, draws_of, sampling_of
from evalsuite.generation.stopping import StopWatcher
from evalsuite.padding import pad_left
from evalsuite.planning.batches import batches_by_length
from evalsuite.runner import ModelRunner
from evalsuite.types import EncodedPrompt, Generation

COMPACT_BELOW = 0.75
"""Finished rows are cut out of the cache once so few rows are left: each cut copies the whole cache."""


def generate(runner: ModelRunner, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
    """Generations batch by batch, longest first. What has to be answered alone is (`apart`), which is recorded."""
    of_model, of_request = apart.why_not_padded_left(runner.model), apart.prompt_too_long(runner.model.config)
    yield from apart.answer(
        runner,
        "padded",
        requests,
        why_alone=lambda request: of_model or of_request(request),
        together=_generate_together,
        alone=unbatched.generate,
    )


def _generate_together(runner: ModelRunner, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
    batches = batches_by_length(
        [len(request.prompt_ids) + request.max_new_tokens for request in requests],
        token_budget=runner.options.token_budget,
        batch_size=runner.options.batch_size,
    )
    watcher = StopWatcher(runner.tokenizer)
    decode_batch = _with_cache if runner.options.kv_cache else _without_cache
    yield from runner.run_batches(
        ([requests[i] for i in batch] for batch in batches),
        lambda batch: decode_batch(
            runner,
            [_Row(request=request, watcher=watcher, draws=draws_of(runner.options, request)) for request in batch],
        ),
        _tokens,
    )


def _tokens(batch: Sequence[EncodedPrompt]) -> int:
    return len(batch) * max(len(request.prompt_ids) + request.max_new_tokens for request in batch)


@dataclass(kw_only=True, slots=True)
class _Row:
    """One prompt on its way through a batch."""

    request: EncodedPrompt
    watcher: StopWatcher
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    done: bool = False
    draws: Sequence[float] = ()
    """One a token to come; empty where the likeliest is taken."""

    @property
    def last_position(self) -> int:
        """Of the last token that may be fed: the one before the last that may be written."""
        return len(self.request.prompt_ids) + self.request.max_new_tokens - 2

    @property
    def draw(self) -> float:
        """For the next token. A row that is done and still in its batch chooses once more, and nobody looks."""
        return 0.0 if self.done else self.draws[len(self.token_ids)]

    def take(self, token_id: int, logprob: float, eos_ids: frozenset[int]) -> None:
        self.token_ids.append(token_id)
        self.logprobs.append(logprob)
        self.done = (
            token_id in eos_ids
            or len(self.token_ids) >= self.request.max_new_tokens
            or self.watcher.stops(self.token_ids, self.request.stop)
        )


def _with_cache(runner: ModelRunner, rows: list[_Row]) -> list[Generation]:
    """Prefill the prompts, then feed one token a row and step."""
    batch = pad_left([row.request.prompt_ids for row in rows], pad_id=runner.pad_id, device=runner.device)
    cache = DynamicCache(config=runner.model.config)
    active = rows
    input_ids, mask, positions = batch.input_ids, batch.attention_mask, batch.position_ids
    # A row that is done stays at its last position: the next may lie outside of the window.
    last = torch.tensor([[row.last_position] for row in rows], device=runner.device)
    runner.counters.padding_tokens += batch.padding_tokens
    while True:
        output = runner.forward(
            input_ids,
            attention_mask=mask,
            position_ids=positions,
            cache=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        runner.counters.saw_kv_bytes(runner.shape.kv_bytes(len(active) * cache.get_seq_length()))
        chosen = _choose(runner, active, output.logits[:, -1])
        unfinished = [i for i, row in enumerate(active) if not row.done]
        if not unfinished:
            return [finish(runner, row.request, row.token_ids, row.logprobs) for row in rows]
        positions = torch.minimum(positions[:, -1:] + 1, last)
        if len(unfinished) <= COMPACT_BELOW * len(active):
            keep = torch.tensor(unfinished, device=runner.device)
            # Not `batch_select_indices`, which layers with a state do not have, or inherit without their state.
            cache.reorder_cache(keep)  # type: ignore[arg-type]  # annotated as LongTensor
            active = [active[i] for i in unfinished]
            chosen, positions, last = chosen[keep], positions[keep], last[keep]
            mask = None if mask is None else mask[keep]
        runner.counters.padding_tokens += len(active) - len(unfinished)
        input_ids = chosen[:, None]
        if mask is not None:
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)


def _without_cache(runner: ModelRunner, rows: list[_Row]) -> list[Generation]:
    """Compute every row's whole sequence again for each new token; finished rows leave at once."""
    active = rows
    while active:
        sequences = [(*row.request.prompt_ids, *row.token_ids) for row in active]
        batch = pad_left(sequences, pad_id=runner.pad_id, device=runner.device)
        output = runner.forward(
            batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=batch.position_ids,
            use_cache=False,
            logits_to_keep=1,
        )
        runner.counters.padding_tokens += batch.padding_tokens
        _choose(runner, active, output.logits[:, -1])
        active = [row for row in active if not row.done]
    return [finish(runner, row.request, row.token_ids, row.logprobs) for row in rows]


def _choose(runner: ModelRunner, rows: Sequence[_Row], logits: torch.Tensor) -> torch.Tensor:
    """Append each unfinished row's next token. logits: [rows, vocab]; returns the choices, [rows]."""
    sampling = sampling_of(runner.options)
    draws = [row.draw for row in rows] if sampling else []
    chosen, logprobs = choose(logits, torch.tensor(draws, dtype=torch.float32, device=logits.device), sampling)
    both = torch.stack([logprobs, chosen.to(logprobs.dtype)]).tolist()  # one copy to the host; ids < 2**24 are exact
    for row, logprob, token_id in zip(rows, *both, strict=True):
        if not row.done:
            row.take(int(token_id), logprob, runner.eos_ids)
    return chosen
