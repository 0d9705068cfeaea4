"""The speed-up of a path over its baseline, with a bootstrap interval over paired rounds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedUp:
    """Baseline seconds per question over path seconds per question: above 1, the path is faster."""

    ratio: float
    low: float | None
    """Lower end of the interval; None for a single round, which has no spread to resample."""
    high: float | None
    confidence: float
    rounds: int
    baseline_questions: int
    """How many questions the baseline answered in each round."""
    path_questions: int
    """How many questions the path answered in each round."""
    baseline_seconds_per_question: float
    path_seconds_per_question: float


def speed_up(
    baseline_seconds: Sequence[float],
    path_seconds: Sequence[float],
    *,
    baseline_questions: int,
    path_questions: int,
    seed: int = 0,
) -> SpeedUp:
    """Ratio of mean seconds per question over rounds that were timed in pairs, back to back.

    The interval is the percentile bootstrap (Efron 1979) over *pairs*, so that a slow spell of the machine,
    which slows both halves of a pair, cancels out.

    Raises:
        ValueError: no rounds, lists of different lengths, no questions, or a round that took no time.
    """
    if not baseline_seconds or len(baseline_seconds) != len(path_seconds):
        raise ValueError(f"expected equally many rounds, at least 1; got {len(baseline_seconds)}, {len(path_seconds)}")
    if baseline_questions < 1 or path_questions < 1:
        raise ValueError(f"expected at least 1 question on each side; got {baseline_questions}, {path_questions}")
    if min(*baseline_seconds, *path_seconds) <= 0:
        raise ValueError("expected every round to take more than 0 seconds")
    pairs = list(zip(baseline_seconds, path_seconds, strict=True))
    scale = path_questions / baseline_questions
    low, high = bootstrap_interval(pairs, scale=scale, seed=seed) if len(pairs) > 1 else (None, None)
    return SpeedUp(
        ratio=_ratio(pairs, scale),
        low=low,
        high=high,
        confidence=CONFIDENCE,
        rounds=len(pairs),
        baseline_questions=baseline_questions,
        path_questions=path_questions,
        baseline_seconds_per_question=sum(baseline_seconds) / len(pairs) / baseline_questions,
        path_seconds_per_question=sum(path_seconds) / len(pairs) / path_questions,
    )


def bootstrap_interval(
    pairs: Sequence[tuple[float, float]], *, scale: float = 1.0, seed: int = 0, resamples: int = RESAMPLES
) -> tuple[float, float]:
    """Percentile interval, at `CONFIDENCE`, of `scale` x sum of firsts / sum of seconds over resampled pairs."""
    rng = random.Random(seed)
    ratios = sorted(_ratio(rng.choices(pairs, k=len(pairs)), scale) for _ in range(resamples))
    tail = (1 - CONFIDENCE) / 2
    return ratios[round(tail * (resamples - 1))], ratios[round((1 - tail) * (resamples - 1))]


def _ratio(pairs: Sequence[tuple[float, float]], scale: float) -> float:
    return scale * sum(first for first, _ in pairs) / sum(second for _, second in pairs)
