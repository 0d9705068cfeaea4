"""Accuracy overall and by subject."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evalsuite.metrics.aggregate import mean_metrics
from evalsuite.types import Metric

MICRO, MACRO = "accuracy", "accuracy_macro"


def accuracy_by_group(results: Sequence[tuple[str, float]]) -> list[Metric]:
    """From (group, 1 or 0): micro (every question counts the same), macro (every subject does), then by group.

    A group `a/b` counts under the subject `a` too, and macro averages over subjects. Empty for no results.
    """
    if not results:
        return []
    by_group: dict[str, list[float]] = {}
    for group, value in results:
        subject = group.partition("/")[0]
        by_group.setdefault(subject, []).append(value)
        if group != subject:
            by_group.setdefault(group, []).append(value)
    groups = [m for group in sorted(by_group) for m in _accuracy(by_group[group], group)]
    subjects = [metric.value for metric in groups if "/" not in metric.group]
    macro = Metric(name=MACRO, value=math.fsum(subjects) / len(subjects), stderr=None, count=len(subjects))
    return [*_accuracy([value for _, value in results], "overall"), macro, *groups]


def _accuracy(values: Sequence[float], group: str) -> list[Metric]:
    return mean_metrics([{MICRO: value} for value in values], (MICRO,), group)
