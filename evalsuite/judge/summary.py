"""Grades in sum: their mean over what was graded, and what is missing. Nothing missing counts as 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evalsuite.errors import JudgeError
from evalsuite.judge.types import JudgeGrade
from evalsuite.metrics.aggregate import mean_metrics
from evalsuite.types import Metric

METRIC = "judge_score"
MAX_MISSING = 0.05
"""Most of the grades that may be missing, as a share."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JudgeSummary:
    """What a judge made of one case."""

    metrics: tuple[Metric, ...]
    """`judge_score` overall, then by group where there are several; empty where nothing was graded."""
    graded: int
    missing: int
    reasons: Mapping[str, int]
    """Why grades are missing, the most frequent first."""
    reused: int
    """How many of the graded were known already."""

    @property
    def score(self) -> Metric | None:
        """The overall mean with its standard error; None where nothing was graded."""
        return self.metrics[0] if self.metrics else None

    @property
    def missing_share(self) -> float:
        asked = self.graded + self.missing
        return self.missing / asked if asked else 0.0


def summarise(grades: Iterable[JudgeGrade], groups: Mapping[str, str] | None = None) -> JudgeSummary:
    """Sum up grades. `groups` maps a question's id to its group; questions without one count only overall."""
    all_grades = list(grades)
    given = [(grade.id, grade.value) for grade in all_grades if grade.value is not None]
    of_group: dict[str, list[float]] = {}
    for id_, value in given:
        if groups and id_ in groups:
            of_group.setdefault(groups[id_], []).append(value)
    metrics = mean_metrics([{METRIC: value} for _, value in given], [METRIC], "overall")
    if len(set((groups or {}).values())) > 1:
        for group, values in sorted(of_group.items()):
            metrics += mean_metrics([{METRIC: value} for value in values], [METRIC], group)
    reasons = Counter(reason(grade.problem) for grade in all_grades if grade.value is None)
    return JudgeSummary(
        metrics=tuple(metrics),
        graded=len(given),
        missing=len(all_grades) - len(given),
        reasons=dict(reasons.most_common()),
        reused=sum(grade.reused for grade in all_grades if grade.value is not None),
    )


def reason(problem: str) -> str:
    """What a problem is counted under: its words up to the first colon."""
    return problem.split(": ", 1)[0]


def refuse_missing(summary: JudgeSummary, max_missing: float = MAX_MISSING) -> None:
    """Raises `JudgeError` where more than `max_missing` of the grades are missing: call it when all is recorded."""
    if summary.missing_share > max_missing:
        asked = summary.graded + summary.missing
        counted = ", ".join(f"{count:,} {reason}" for reason, count in summary.reasons.items())
        raise JudgeError(
            f"judge: expected at most {max_missing:.0%} of the grades to be missing, got {summary.missing:,} of "
            f"{asked:,} ({summary.missing_share:.1%}): {counted}. Grades that were given are kept: run again to "
            "ask only for the missing ones"
        )
