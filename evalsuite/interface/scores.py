"""From grades to the plain dictionaries that the older functions return."""

from __future__ import annotations

import os
from collections.abc import Sequence

from evalsuite.errors import ConfigError, JudgeError
from evalsuite.interface.data import path
from evalsuite.interface.running import bar
from evalsuite.judge.address import LOCAL_PREFIX
from evalsuite.judge.opening import open_judge
from evalsuite.judge.summary import JudgeSummary, refuse_missing, summarise
from evalsuite.judge.types import Judge, JudgeQuestion
from evalsuite.tasks.base import Task, TaskData
from evalsuite.types import Graded, Metric

Scores = tuple[dict[str, float], dict[str, int]]
"""Values by name, and how many questions each is of."""


def accuracy_and_count(task: Task, graded: Sequence[Graded]) -> Scores:
    """By group and "overall": the share answered rightly, and how many questions with a published answer that is of.

    Without any such question the overall accuracy is not a number, and its count 0.
    """
    metrics = [metric for metric in task.summarise(graded) if metric.name == "accuracy"]
    accuracy = {"overall": float("nan")} | {metric.group: metric.value for metric in metrics}
    return accuracy, {"overall": 0} | {metric.group: metric.count for metric in metrics}


def choose_judge(
    judge: Judge | None,
    base_url: str | None,
    api_key: str | None,
    model: str | None,
    grades: str | os.PathLike[str] | None,
) -> Judge | None:
    """The judge given, or the one at `base_url`; None where neither is. Raises what `open_judge` raises."""
    if judge is not None and base_url is not None:
        raise ConfigError("judge: expected judge_base_url or judge, got both")
    if judge is not None and not callable(getattr(judge, "grade", None)):
        raise ConfigError(f"judge: expected a judge that is open, got {type(judge).__name__}; give judge_base_url")
    if grades is not None:
        path("judge_grades", grades)
    if base_url is not None:
        return open_judge(base_url, model=model, api_key=api_key, grades=grades)
    if judge is None and (model or api_key):
        raise ConfigError("judge: a model or a key without an address; give judge_base_url, or leave out all three")
    return judge


def metrics_and_counts(
    task: Task, data: TaskData, graded: Sequence[Graded], judge: Judge | None, *, progress: bool = False
) -> Scores:
    """The task's metrics, and the judge's.

    Metrics bear their name overall (`exact_match`) and their group's before it otherwise (`answerable_f1`). With a
    judge come `overall_judge_score`, the mean over graded answers, and the same for each group. Counts are of
    questions: `overall`, each group, and with a judge `judged` and `judge_missing`.

    Raises:
        JudgeError: too many grades are missing; the task's own metrics stand in a note on the error.
    """
    summary = task.summarise(graded)
    metrics = {_name(metric): metric.value for metric in summary}
    counts = {metric.group: metric.count for metric in summary}
    if judge is None:
        return metrics, counts
    judged = _ask(judge, data, graded, progress)
    try:
        refuse_missing(judged, local=judge.name.startswith(LOCAL_PREFIX))
    except JudgeError as error:
        error.add_note("without the judge: " + ", ".join(f"{name} {value:.4f}" for name, value in metrics.items()))
        raise
    metrics |= {f"{metric.group}_{metric.name}": metric.value for metric in judged.metrics}
    return metrics, counts | {"judged": judged.graded, "judge_missing": judged.missing}


def _name(metric: Metric) -> str:
    return metric.name if metric.group == "overall" else f"{metric.group}_{metric.name}"


def _ask(judge: Judge, data: TaskData, graded: Sequence[Graded], progress: bool) -> JudgeSummary:
    fields = {example.id: example.fields for example in data.examples}
    questions = [
        JudgeQuestion(id=g.id, task=data.task, fields=fields[g.id], gold=g.gold or ("",), answer=g.prediction)
        for g in graded
    ]
    with bar(f"{data.task} judge", len(questions), shown=progress) as tick:
        grades = judge.grade(questions, on_grade=lambda _: tick())
    return summarise(grades.values(), {g.id: g.group for g in graded})
