"""evalsuite's own strategies."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.peers.questions import Result
from evalsuite.measure.memory import MemoryMeter
from evalsuite.types import EncodedChoices

if TYPE_CHECKING:
    from evalsuite.engines.transformers import TransformersEngine

FEW = 100


def score_by(engine: TransformersEngine, strategy: str, questions: Sequence[EncodedChoices]) -> Result:
    """All questions by a strategy, after a first call on a few of them."""
    start = time.perf_counter()
    _answer(engine, strategy, questions[:FEW])
    first = time.perf_counter() - start
    meter = MemoryMeter(str(engine.loaded.device))
    meter.reset()
    engine.reset_counters()
    start = time.perf_counter()
    predictions = _answer(engine, strategy, questions)
    seconds = time.perf_counter() - start
    return Result(
        peer=strategy,
        questions=len(questions),
        seconds=seconds,
        first_seconds=first,
        predictions=predictions,
        details={
            "counters": engine.counters.to_dict(),
            "flops_per_second": engine.counters.flops / seconds,
            "peak_bytes": meter.peak().bytes,
            "fallbacks": [str(fallback) for fallback in engine.fallbacks],
        },
    )


def _answer(engine: TransformersEngine, strategy: str, questions: Sequence[EncodedChoices]) -> dict[str, int]:
    predictions = {outcome.id: outcome.prediction for outcome in engine.score(questions, strategy)}
    engine.synchronize()
    return predictions
