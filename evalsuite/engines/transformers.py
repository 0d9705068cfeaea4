"""Runs strategies on a transformers model in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from evalsuite import generation, scoring
from evalsuite.config import ExecutionOptions, why_not_cached_as
from evalsuite.determinism import NotDeterministic, why_not
from evalsuite.encoding import encode_choices, encode_prompts
from evalsuite.errors import ConfigError
from evalsuite.generation._finish import finish
from evalsuite.generation.teacher_forcing import TeacherForced, teacher_force
from evalsuite.measure.counters import WorkCounters
from evalsuite.planning.prefix_tree import tree_size
from evalsuite.planning.rows import shared_rows
from evalsuite.runner import BatchJournal, ModelRunner
from evalsuite.types import (
    ChoiceRequest,
    ChoiceScores,
    EncodedChoices,
    EncodedPrompt,
    Fallback,
    Generation,
    GenerationRequest,
)

if TYPE_CHECKING:
    from evalsuite.loading import LoadedModel


Strategy = TypeVar("Strategy")


class TransformersEngine:
    """One loaded model and one way to cut batches. Counters and fallbacks gather over its life."""

    def __init__(self, loaded: LoadedModel, options: ExecutionOptions) -> None:
        self.loaded = loaded
        self.options = options
        self._runner = ModelRunner(loaded, options)

    def __enter__(self) -> TransformersEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the hooks off the model."""
        self._runner.close()

    @property
    def counters(self) -> WorkCounters:
        return self._runner.counters

    @property
    def fallbacks(self) -> list[Fallback]:
        """Steps down while running, such as a batch halved after running out of memory."""
        return self._runner.fallbacks

    @property
    def recomputed_tokens(self) -> int:
        """Tokens computed again to go on from batches that were recalled; in no counter."""
        return self._runner.recomputed_tokens

    @contextmanager
    def keeping(self, journal: BatchJournal) -> Iterator[None]:
        """Within, batches that the journal holds are recalled, and the others run and kept there."""
        self._runner.journal = journal
        try:
            yield
        finally:
            self._runner.journal = None

    def reset_counters(self) -> None:
        self._runner.counters = WorkCounters()

    def encode_choices(self, requests: Sequence[ChoiceRequest]) -> list[EncodedChoices]:
        return encode_choices(
            self._runner.tokenizer, requests, window=self._runner.window, on_mismatch=self._encodes_whole
        )

    def encode_prompts(self, requests: Sequence[GenerationRequest]) -> list[EncodedPrompt]:
        return encode_prompts(
            self._runner.tokenizer, requests, window=self._runner.window, on_mismatch=self._encodes_whole
        )

    def score(self, requests: Sequence[EncodedChoices], strategy: str) -> Iterator[ChoiceScores]:
        """Log-probabilities of every choice, streamed in the order in which the strategy finishes them."""
        run = _choose(scoring.STRATEGIES, strategy, "scoring")
        self._refuse_what_depends_on_the_batch(strategy)
        yield from run(self._runner, requests)
        fed = (row.input_ids for request in requests for row in shared_rows(request))
        self.counters.add_required_work(tree_size(fed), rows_read=_rows_read(requests), shape=self._runner.shape)

    def generate(self, requests: Sequence[EncodedPrompt], strategy: str) -> Iterator[Generation]:
        """Continuations, streamed in the order in which the strategy finishes them; those without a token first.

        Raises:
            ConfigError: no such strategy, or one that cannot keep its cache in the dtype asked for.
            NotDeterministic: numbers that do not depend on the batch are asked for, and it cannot promise them.
        """
        run = _choose(generation.STRATEGIES, strategy, "generation")
        self._refuse_what_depends_on_the_batch(strategy)
        if (reason := why_not_cached_as(self.options.kv_cache_dtype, strategy)) is not None:
            raise ConfigError(f"kv_cache_dtype {self.options.kv_cache_dtype}: {reason}")
        prompts = {request.id: request.prompt_ids for request in requests}
        fed, rows_read = [], 0
        yield from (finish(self._runner, request, (), ()) for request in requests if not request.max_new_tokens)
        for outcome in run(self._runner, [request for request in requests if request.max_new_tokens]):
            fed.append(prompts[outcome.id] + outcome.token_ids[:-1])
            rows_read += len(outcome.token_ids)
            yield outcome
        self.counters.add_required_work(tree_size(fed), rows_read=rows_read, shape=self._runner.shape)

    def teacher_force(self, prompts: Sequence[EncodedPrompt], answers: Sequence[Generation]) -> Iterator[TeacherForced]:
        """Log-probabilities, and the likeliest tokens, along given answers; matched by id."""
        by_id = {prompt.id: prompt for prompt in prompts}
        yield from teacher_force(self._runner, ((by_id[answer.id], answer) for answer in answers))

    def synchronize(self) -> None:
        self._runner.synchronize()

    def _encodes_whole(self, reason: str) -> None:
        self._runner.step_down(Fallback(what="tokenising", asked="shared parts once", got="whole texts", reason=reason))

    def _refuse_what_depends_on_the_batch(self, strategy: str) -> None:
        """Where the options ask for that. Raises `NotDeterministic`."""
        if self.options.deterministic and (reason := why_not(strategy, str(self._runner.device))) is not None:
            raise NotDeterministic(reason)


def _rows_read(requests: Sequence[EncodedChoices]) -> int:
    """Distinct positions whose logits are needed: choices that share a prefix share its rows."""
    return sum(
        len({choice[:k] for choice in request.continuation_ids for k in range(len(choice))}) for request in requests
    )


def _choose(table: Mapping[str, Strategy], name: str, kind: str) -> Strategy:
    try:
        return table[name]
    except KeyError:
        raise ConfigError(f"{kind} strategy: expected one of {', '.join(table)}; got {name!r}") from None
