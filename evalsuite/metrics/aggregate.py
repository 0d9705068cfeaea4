"""Means with standard errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from evalsuite.types import Metric


def mean_and_stderr(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean, and its standard error: sample standard deviation (n - 1) over sqrt(n).

    lm-evaluation-harness's `mean_stderr`. None for one value, which says nothing of its spread.
    """
    count = len(values)
    mean = math.fsum(values) / count
    if count == 1:
        return mean, None
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return mean, math.sqrt(variance / count)


def mean_metrics(scores: Sequence[Mapping[str, float]], names: Sequence[str], group: str) -> list[Metric]:
    """One `Metric` a name, over questions; none where there is no question."""
    metrics = []
    for name in names if scores else ():
        value, stderr = mean_and_stderr([score[name] for score in scores])
        metrics.append(Metric(name=name, value=value, stderr=stderr, count=len(scores), group=group))
    return metrics
