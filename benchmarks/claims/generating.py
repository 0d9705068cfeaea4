"""Generation at the batch sizes that the guide names, beside one prompt at a time."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.evaluation import Workload, answer
from evalsuite.harness.case import ExecutionPath
from evalsuite.measure.timing import CLOCK, timing_subset
from evalsuite.types import Outcome

if TYPE_CHECKING:
    from evalsuite.harness.session import EvaluationSession

WARM_UP_TOKENS = 3
"""Enough to choose the kernels of prefill and of decoding."""


def workload_of(session: EvaluationSession, task: str, config: InferenceConfig | None = None) -> Workload:
    """Every question that --limit leaves, encoded for the session's model or for `config`'s."""
    with session.engine(session.reference_path(config or session.options.config)) as engine:
        return session.workload(engine, task)


def batched(session: EvaluationSession, rows: int, *, kv_cache: bool = True) -> ExecutionPath:
    """The session's model, answering `rows` prompts at a time."""
    execution = ExecutionOptions(batch_size=rows, token_budget=2**31, kv_cache=kv_cache)
    return ExecutionPath(config=session.options.config, execution=execution, strategy="padded")


def answer_timed(
    session: EvaluationSession, path: ExecutionPath, questions: Workload
) -> tuple[float, Mapping[str, Outcome]]:
    """Seconds, and the answers by id."""
    with session.engine(path) as engine:
        start = CLOCK()
        outcomes = answer(engine, questions, path.strategy)
        return CLOCK() - start, outcomes


def warm_up(session: EvaluationSession, path: ExecutionPath, questions: Workload) -> float:
    """A few tokens for each question, since full answers would take a round; expected seconds of those.

    Reading the prompts is told from writing, or long prompts would count once for every few tokens.
    """

    def taken(tokens: int) -> float:
        prompts = (dataclasses.replace(prompt, max_new_tokens=tokens) for prompt in questions.prompts)
        return answer_timed(session, path, dataclasses.replace(questions, prompts=tuple(prompts)))[0]

    taken(WARM_UP_TOKENS)
    one, few = taken(1), taken(WARM_UP_TOKENS)
    steps = max(prompt.max_new_tokens for prompt in questions.prompts) - 1
    return one + max(few - one, 0.0) / (WARM_UP_TOKENS - 1) * steps


def whole_batches(workload: Workload, rows: int, *, including: Collection[str] = ()) -> Workload:
    """The questions `including`, filled up to whole batches of `rows` with others, spread over all lengths.

    Raises:
        ConfigError: the workload does not fill a single batch.
    """
    if rows > len(workload):
        raise ConfigError(f"a batch of {rows} needs as many questions; --limit or the data leave {len(workload)}")
    count = min(max(math.ceil(len(including) / rows), 1) * rows, len(workload))
    others = {id_: length for id_, length in workload.lengths.items() if id_ not in set(including)}
    filling = timing_subset(others, count - len(including)) if count > len(including) else []
    return workload.only({*including, *filling})
