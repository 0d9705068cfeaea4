"""Paired tests and intervals. Every function of two sides is antisymmetric: swapping them negates the effect.

Right and wrong answers are counted: McNemar's exact test for the p-value, Tango's score interval for the effect.
Graded ones (F1, ROUGE, a judge) are resampled: the paired bootstrap gives both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CONFIDENCE = 0.95
Z = 1.959963984540054
"""The 97.5th percentile of the normal distribution."""
RESAMPLES = 10_000
SEED = 0
_DRAWS_AT_ONCE = 4_000_000
"""Indices drawn in one array: 32 MB."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What B has over A on the same questions."""

    value: float
    """Mean of B minus mean of A."""
    low: float
    high: float
    """Ends of the 95 % interval of `value`."""
    p: float
    """Two-sided."""
    method: str


def paired_proportions(won: int, lost: int, questions: int) -> Effect:
    """Right and wrong on both sides.

    Args:
        won: questions that only B has right.
        lost: questions that only A has right.
        questions: all of them, at least 1.
    """
    low, high = tango_interval(won, lost, questions)
    return Effect(
        value=(won - lost) / questions,
        low=low,
        high=high,
        p=mcnemar_exact(won, lost),
        method="McNemar exact, Tango interval",
    )


def mcnemar_exact(won: int, lost: int) -> float:
    """Two-sided p of McNemar's test: of the discordant pairs, each goes either way with probability 1/2.

    Twice the smaller tail of Binomial(won + lost, 1/2), at most 1, summed in logarithms so that thousands of pairs do
    not underflow. McNemar 1947; exact form as in `scipy.stats.binomtest`.
    """
    n = won + lost
    logs = [_log_binomial(n, k) - n * math.log(2) for k in range(min(won, lost) + 1)]
    largest = max(logs)
    tail = math.exp(largest) * math.fsum(math.exp(log - largest) for log in logs)
    return min(1.0, 2 * tail)


def _log_binomial(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def tango_interval(won: int, lost: int, questions: int) -> tuple[float, float]:
    """The 95 % score interval of (won - lost) / questions.

    Tango, Statistics in Medicine 17 (1998), 891-908: all differences that the score test does not reject. It has a
    width even where nothing changed, and keeps its coverage with few discordant pairs.
    """
    # The upper end as the other order's lower one, so that swapping the sides negates both to the last bit.
    return _lower_end(won, lost, questions), -_lower_end(lost, won, questions)


def _lower_end(won: int, lost: int, questions: int) -> float:
    """The difference at which the score statistic, which falls as the difference grows, is `Z`; by bisection."""
    low, high = -1.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _score(middle, won, lost, questions) > Z:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _score(difference: float, won: int, lost: int, questions: int) -> float:
    """Tango's statistic: the observed difference less `difference`, over its standard error were that the truth.

    The share of questions lost is estimated by maximum likelihood under that truth: the larger root of a quadratic.
    """
    n = questions
    a, b = 2 * n, -won - lost + (2 * n - won + lost) * difference
    c = -lost * difference * (1 - difference)
    share_lost = (math.sqrt(max(0.0, b * b - 4 * a * c)) - b) / (2 * a)
    variance = n * (2 * share_lost + difference * (1 - difference))
    over = won - lost - n * difference
    return over / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, over) if over else 0.0


def paired_bootstrap(differences: Sequence[float]) -> Effect:
    """Graded answers: B's score minus A's of each question, resampled by question, percentile interval.

    p is twice the smaller share of resamples on one side of 0 (Efron and Tibshirani 1993, chapter 15; Koehn 2004 for
    paired systems), and never below 2^(1-m), which is all that m questions that differ, all one way, can show.
    Seeded, so that the same answers give the same figures.
    """
    import numpy as np

    values: npt.NDArray[np.float64] = np.asarray(differences, dtype=np.float64)
    means = _resampled_means(values)
    # Both halves by the same rule and not one quantile call: symmetric to the last bit.
    tail = (1 - CONFIDENCE) / 2
    low, high = float(np.quantile(means, tail)), -float(np.quantile(-means, tail))
    one_side = min(int(np.sum(means <= 0)), int(np.sum(means >= 0)))
    differing = int(np.count_nonzero(values))
    p = max((one_side + 1) * 2 / (RESAMPLES + 1), 2.0 ** (1 - min(differing, 1000)))
    return Effect(
        value=math.fsum(differences) / len(differences),
        low=low,
        high=high,
        p=min(1.0, p),
        method="paired bootstrap",
    )


def _resampled_means(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """[RESAMPLES] means of as many draws with replacement as there are values."""
    import numpy as np

    generator = np.random.default_rng(SEED)
    rows = max(1, _DRAWS_AT_ONCE // len(values))
    means = [
        values[generator.integers(len(values), size=(min(rows, RESAMPLES - done), len(values)))].mean(axis=1)
        for done in range(0, RESAMPLES, rows)
    ]
    return np.concatenate(means)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being several, in the order given: Holm, Scandinavian J. of Statistics 6 (1979), 65-70.

    Below 0.05 for any of them by chance in at most 5 % of families without a difference.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
