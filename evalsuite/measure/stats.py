"""The speed-up of a path over its baseline, with an interval over paired rounds."""

from __future__ import annotations

import math
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

CONFIDENCE = 0.95
STUDENT_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""The 97.5th percentile of Student's t for 1 to 9 degrees of freedom; the last serves for more, a little wide."""

RESAMPLES = 2_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeedUp:
    """Baseline seconds per question over path seconds per question: above 1, the path is faster."""

    ratio: float
    low: float | None
    """Lower end of the interval; None for a single round, which has no spread, and for rounds not timed in pairs."""
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
    paired: bool = True,
) -> SpeedUp:
    """Geometric mean of the ratios of seconds per question, round by round.

    A slow spell of the machine slows both halves of a pair, and cancels out. The interval is Student's t on the
    logarithms of the ratios: honest with few rounds, where a bootstrap, with ten distinct resamples of three
    rounds, is far too narrow.

    Args:
        paired: whether the rounds were timed in turns. If not, there is no interval.

    Raises:
        ValueError: no rounds, lists of different lengths, no questions, or a round that took no time.
    """
    if not baseline_seconds or len(baseline_seconds) != len(path_seconds):
        raise ValueError(f"expected equally many rounds, at least 1; got {len(baseline_seconds)}, {len(path_seconds)}")
    if baseline_questions < 1 or path_questions < 1:
        raise ValueError(f"expected at least 1 question on each side; got {baseline_questions}, {path_questions}")
    if min(*baseline_seconds, *path_seconds) <= 0:
        raise ValueError("expected every round to take more than 0 seconds")
    rounds = len(baseline_seconds)
    scale = path_questions / baseline_questions
    logs = [math.log(scale * b / p) for b, p in zip(baseline_seconds, path_seconds, strict=True)]
    centre, half = statistics.fmean(logs), half_width(logs) if paired else None
    return SpeedUp(
        ratio=math.exp(centre),
        low=None if half is None else math.exp(centre - half),
        high=None if half is None else math.exp(centre + half),
        confidence=CONFIDENCE,
        rounds=rounds,
        baseline_questions=baseline_questions,
        path_questions=path_questions,
        baseline_seconds_per_question=sum(baseline_seconds) / rounds / baseline_questions,
        path_seconds_per_question=sum(path_seconds) / rounds / path_questions,
    )


def half_width(values: Sequence[float]) -> float | None:
    """Half the width of the t interval of a mean at `CONFIDENCE`; None for fewer than two values."""
    n = len(values)
    if n < 2:
        return None
    return STUDENT_T[min(n - 1, len(STUDENT_T)) - 1] * statistics.stdev(values) / math.sqrt(n)


def bootstrap_interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The percentile bootstrap interval of the median at `CONFIDENCE`: the same for the same values.

    A few values that are far off do not move it. It is too narrow for few values: of nominally 2.5 %, 4 % of medians
    lie beyond either end for 15 normal values, 6 % for 7. One value is its own interval.
    """
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(values, k=len(values))) for _ in range(RESAMPLES))
    tail = (1 - CONFIDENCE) / 2
    return medians[math.floor(tail * RESAMPLES)], medians[math.ceil((1 - tail) * RESAMPLES) - 1]
