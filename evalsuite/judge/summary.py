"""Grades in sum: their mean over what was graded, and what is missing. Nothing missing counts as 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from evalsuite.errors import JudgeError
from evalsuite.judge.reading import NO_NUMBER, TOO_LONG
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
    example: str = ""
    """Of the most frequent reason, what came the first time: the reply that is no number, the server's words."""

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
    problems = [grade.problem for grade in all_grades if grade.value is None]
    reasons = Counter(map(reason, problems)).most_common()
    return JudgeSummary(
        metrics=tuple(metrics),
        graded=len(given),
        missing=len(all_grades) - len(given),
        reasons=dict(reasons),
        reused=sum(grade.reused for grade in all_grades if grade.value is not None),
        example=next((rest for name, rest in map(_parts, problems) if name == reasons[0][0]), ""),
    )


def reason(problem: str) -> str:
    """What a problem is counted under: its words up to the first colon."""
    return _parts(problem)[0]


def _parts(problem: str) -> tuple[str, str]:
    name, _, rest = problem.partition(": ")
    return name, rest


def refuse_missing(
    summary: JudgeSummary, max_missing: float = MAX_MISSING, *, local: bool = False, option: str = ""
) -> None:
    """Raises `JudgeError` where more than `max_missing` of the grades are missing: call it when all is recorded.

    A judge in this process (`local`) takes the likeliest token: asked again, it says the same.
    `option` is what the caller's user allows more by, if by anything.
    """
    if summary.missing_share > max_missing:
        asked = summary.graded + summary.missing
        first, *others = (f"{count:,} {reason}" for reason, count in summary.reasons.items())
        example = f" (such as {summary.example})" if summary.example else ""
        remedy = "Grades that were given are kept: run again to ask only for the missing ones"
        if local and {NO_NUMBER, TOO_LONG} & summary.reasons.keys():
            remedy = "Asked again, a local judge says the same: take another one"
        raise JudgeError(
            f"judge: expected at most {max_missing:.0%} of the grades to be missing, got {summary.missing:,} of "
            f"{asked:,} ({summary.missing_share:.1%}): {', '.join([first + example, *others])}. {remedy}"
            + (f", or allow more by {option}" if option else "")
        )
