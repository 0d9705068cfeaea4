"""All prompts planned together: what they share is read once, and a row that ends gives its place to the next prompt.

Prompts are read in packs of their prefix tree, their keys and values stand in a pool of slots, and every step of
decoding feeds one token of each row that is at it, without padding. `_schedule.py` decides on the host which round
comes next, `_pooled.py` runs it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from evalsuite import apart
from evalsuite.attention.interface import NoTreeAttention
from evalsuite.attention.pool import KeyValuePool, bytes_per_token
from evalsuite.determinism import NotDeterministic
from evalsuite.errors import RequestError, first_line
from evalsuite.generation import padded, unbatched
from evalsuite.generation._admission import Limits, tokens_at_once
from evalsuite.generation._finish import finish
from evalsuite.generation._pooled import PooledForward
from evalsuite.generation._schedule import Finished, PrefillRound, Round, Schedule, Written
from evalsuite.generation.stopping import StopWatcher
from evalsuite.loading.memory import free_bytes, give_back
from evalsuite.runner import ModelRunner, is_out_of_memory
from evalsuite.types import EncodedPrompt, Fallback, Generation

ROWS = 1_024
"""Most rows at once on CUDA. By arithmetic, on an H200 a step of a 4B model is bound by its products from about 300
rows on; more of them spread what a step costs beside these. Other numbers have not been measured."""
_KEPT = "continuous"
KEPT_SHARE = 0.25
"""Graphs are kept for the next call, with the pool that they read, where this takes no more of the device: whatever
runs beside or in between, such as a baseline or a reference in fp32, needs room, too."""
FED_BEYOND = 2
"""Positions after its last token to which a row comes while it waits for the end of a round (`_pooled`)."""
ROWS_ON_CPU = 128
"""There is nothing to gain from more on a core that one row keeps busy but the calls that rows share."""


def generate(runner: ModelRunner, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
    """Generations as rows end. A model that cannot run on a tree is answered by `padded`, or by `unbatched` where that
    cannot be either; so is a request that has to be answered alone (`apart`). All that is recorded."""
    too_long = apart.prompt_too_long(runner.model.config, beyond=FED_BEYOND)
    yield from apart.answer(
        runner,
        "continuous",
        requests,
        why_alone=too_long,
        together=_generate_together,
        alone=unbatched.generate,
    )


def _generate_together(runner: ModelRunner, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
    left = {request.id: request for request in requests}
    try:
        for outcome in _generate(runner, requests):
            del left[outcome.id]
            yield outcome
    except NoTreeAttention as error:
        if runner.options.deterministic:
            raise NotDeterministic(str(error)) from error
        runner.kept.pop(_KEPT, None)
        unpadded = apart.why_not_padded_left(runner.model)
        got, reason = ("padded", str(error)) if unpadded is None else ("unbatched", f"{error}; {unpadded}")
        runner.step_down(Fallback(what="strategy", asked="continuous", got=got, reason=reason))
        step_down = padded.generate if unpadded is None else unbatched.generate
        yield from step_down(runner, list(left.values()))


def _generate(runner: ModelRunner, requests: Sequence[EncodedPrompt]) -> Iterator[Generation]:
    if not runner.options.kv_cache:
        raise NoTreeAttention("it goes on from cached keys and values, and the cache is off")
    for request in requests:
        if not request.max_new_tokens:
            yield finish(runner, request, [], [])
    groups = _equal([request for request in requests if request.max_new_tokens], drawn=bool(runner.options.temperature))
    if not groups:
        return
    work = _Work(runner, [group[0] for group in groups])
    for number, token_ids, logprobs in work.answers():
        for request in groups[number]:
            yield finish(runner, request, token_ids, logprobs)


def _equal(requests: Sequence[EncodedPrompt], *, drawn: bool) -> list[list[EncodedPrompt]]:
    """Requests that have one answer, together. Where tokens are drawn, each has an answer of its own."""
    groups: dict[object, list[EncodedPrompt]] = {}
    for request in requests:
        key = request.id if drawn else (request.prompt_ids, request.max_new_tokens, request.stop)
        groups.setdefault(key, []).append(request)
    return list(groups.values())


@dataclass
class _Work:
    """One schedule, on one model."""

    runner: ModelRunner
    requests: Sequence[EncodedPrompt]

    def __post_init__(self) -> None:
        runner, requests = self.runner, self.requests
        rows = runner.options.batch_size or (ROWS if runner.device.type == "cuda" else ROWS_ON_CPU)
        if not runner.options.deterministic:  # which needs batches of one size, whoever else there is
            rows = min(rows, len(requests))
        width = max(len(request.prompt_ids) + request.max_new_tokens for request in requests)
        wanted = 1 + tokens_at_once(requests, rows=rows, token_budget=runner.options.token_budget)
        kept: PooledForward | None = runner.kept.get(_KEPT)
        if kept is not None and kept.has_room_for(rows=rows, width=width, slots=wanted):
            self.forward = kept
            self.forward.forget_batch()
            slots = min(self._agreed(wanted), kept.pool.slots)
        else:
            runner.kept.pop(_KEPT, None)
            del kept
            self.forward = PooledForward(runner, rows=rows, width=width)
            slots = self._new_pool(self._agreed(self._slots_that_fit(wanted)))
        limits = Limits(
            rows=rows,
            slots=slots,
            token_budget=self.forward.token_budget,
            max_sites=self.forward.max_sites,
            steps=self.forward.steps,
            least_pack=self.forward.least_pack,
        )
        self.schedule = Schedule(
            requests,
            limits,
            eos_ids=runner.eos_ids,
            watcher=StopWatcher(runner.tokenizer),
            resizable=not runner.options.deterministic,
        )
        self._taken = self._computed = 0
        self._round: Round | None = None

    def answers(self) -> Iterator[tuple[int, list[int], list[float]]]:
        """(number of the request, token ids, log-probabilities), as rows end.

        Those of a round are handed out when the next one is under way: what is made of them on the host, such as text,
        takes no time of the device.
        """
        ended: list[Finished] = []
        rounds = self.runner.run_batches(
            self._rounds(),
            self._compute,
            self.forward.tokens,
            split=self.schedule.smaller,
            bounds_later=False,
            drop_compiled=self.forward.drop_compiled,
        )
        try:
            for written in rounds:
                yield from _answers(ended)
                ended = []
                assert self._round is not None
                self._taken += 1
                self.schedule.done(self._round, written)
                ended = self.schedule.ended()
            ended += self.schedule.ended()
        except Exception:
            yield from _answers(ended + self.schedule.ended())  # what is whole is not lost with what failed
            raise
        yield from _answers(ended)
        self.runner.counters.padding_tokens += self.schedule.wasted
        if self.runner.device.type == "cuda" and self.forward.pool.bytes <= KEPT_SHARE * self._device_bytes():
            self.runner.kept[_KEPT] = self.forward

    def _rounds(self) -> Iterator[Round]:
        for round_ in self.schedule:
            self._round = round_
            yield round_

    def _compute(self, round_: Round) -> list[Written]:
        if self._computed != self._taken:
            self.forward.forget_batch()
            self.forward.catch_up(self.schedule)
        self.runner.counters.saw_kv_bytes(self.schedule.slots.used * self._bytes_per_token)
        if isinstance(round_, PrefillRound):
            written = self.forward.prefill(round_, self.schedule)
        else:
            written = self.forward.decode(round_, self.schedule)
        self._computed = self._taken + 1
        return [written]

    def _agreed(self, slots: int) -> int:
        """As many as the run began with, where this goes on with one: rounds depend on it."""
        journal = self.runner.journal
        return slots if journal is None else journal.begin(slots) or slots

    def _new_pool(self, slots: int) -> int:
        """Make a pool, smaller if that many slots do not fit after all; returns its slots."""
        while True:
            try:
                pool = KeyValuePool(
                    slots,
                    self.forward.layer_shapes,
                    device=self.runner.device,
                    kept_as=self.runner.options.kv_cache_dtype,
                )
            except Exception as error:
                if not is_out_of_memory(error) or slots <= 2:
                    raise
                reason = first_line(error)
            else:
                self.forward.start(pool)
                return slots
            give_back(str(self.runner.device))
            asked, got = f"{slots:,} tokens", f"{slots // 2:,} tokens"
            self.runner.step_down(Fallback(what="kv_pool", asked=asked, got=got, reason=reason))
            slots //= 2

    @property
    def _bytes_per_token(self) -> int:
        return bytes_per_token(self.forward.layer_shapes, kept_as=self.runner.options.kv_cache_dtype)

    def _slots_that_fit(self, wanted: int) -> int:
        """As many as are wanted, or as memory holds."""
        room = self._bytes_for_pool()
        if room is None or wanted * self._bytes_per_token <= room:
            return wanted
        slots = room // self._bytes_per_token
        if slots < 2:
            needed = self.forward.activation_bytes() / 2**30
            raise RequestError(
                f"--memory-fraction {self.runner.options.memory_fraction:g}: no memory is left for keys and values, "
                f"since what is computed at a time takes {needed:.1f} GiB beside the weights; allow more, or use a "
                "smaller --token-budget or --batch-size"
            )
        return slots

    def _bytes_for_pool(self) -> int | None:
        """What the memory fraction leaves beside weights and activations; None where the system does not say."""
        runner = self.runner
        device = str(runner.device)
        free = free_bytes(device)
        if free is None:
            return None
        if runner.device.type != "cuda":
            return int(free * runner.options.memory_fraction)
        allowed = int(self._device_bytes() * runner.options.memory_fraction)
        left = min(free, allowed - torch.cuda.memory_allocated(runner.device))
        return max(0, left - self.forward.activation_bytes())

    def _device_bytes(self) -> int:
        return int(torch.cuda.mem_get_info(self.runner.device)[1])


def _answers(ended: Sequence[Finished]) -> Iterator[tuple[int, list[int], list[float]]]:
    for answer in ended:
        yield answer.number, answer.token_ids, answer.logprobs
