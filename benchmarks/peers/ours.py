"""evalsuite's own strategies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmarks.peers.questions import Result
from benchmarks.peers.timing import until_all_are_known
from evalsuite.measure.memory import MemoryMeter
from evalsuite.types import EncodedChoices

if TYPE_CHECKING:
    from evalsuite.engines.transformers import TransformersEngine

FEW = 100


def score_by(engine: TransformersEngine, strategy: str, questions: Sequence[EncodedChoices]) -> Result:
    """All questions by a strategy, after a first call on a few of them."""
    _, first = _answer(engine, strategy, questions[:FEW])
    meter = MemoryMeter(str(engine.loaded.device))
    meter.reset()
    engine.reset_counters()
    predictions, seconds = _answer(engine, strategy, questions)
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


def _answer(
    engine: TransformersEngine, strategy: str, questions: Sequence[EncodedChoices]
) -> tuple[dict[str, int], float]:
    """Question id to the index of its choice, and the seconds that it took to know them all."""
    outcomes, seconds = until_all_are_known(
        lambda: engine.score(questions, strategy), len(questions), engine.synchronize
    )
    return {outcome.id: outcome.prediction for outcome in outcomes}, seconds
