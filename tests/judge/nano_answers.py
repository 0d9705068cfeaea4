"""Right and wrong answers to nano's own sample, for a judge to tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from evalsuite.harness.options import sample_folder
from evalsuite.judge.types import JudgeGrade, JudgeQuestion
from evalsuite.metrics.squad import squad_scores
from evalsuite.tasks import DataSource, get_task

TASKS = ("viquad", "vietnews")


def sample_questions(*, every: int = 1) -> list[JudgeQuestion]:
    """For every `every`-th example of both tasks its own gold, and the first gold of a later example that is wrong."""
    source = DataSource(kind="directory", path=str(sample_folder()))
    found = []
    for task in TASKS:
        examples = get_task(task).read(source).examples
        for index, example in list(enumerate(examples))[::every]:
            gold = example.gold or ("",)
            others = (other.gold[0] for other in (*examples[index:], *examples) if other.gold)
            wrong = next(answer for answer in others if not squad_scores(answer, gold)["exact_match"])
            found += [
                JudgeQuestion(id=f"{example.id}#{kind}", task=task, fields=example.fields, gold=gold, answer=answer)
                for kind, answer in (("right", gold[0]), ("wrong", wrong))
            ]
    return found


def agreement(questions: Sequence[JudgeQuestion], grades: Mapping[str, JudgeGrade]) -> float:
    """The share of grades that are at least one half exactly where the answer matches; a missing one never agrees."""
    return sum(_agrees(question, grades[question.id].value) for question in questions) / len(questions)


def _agrees(question: JudgeQuestion, value: float | None) -> bool:
    exact = bool(squad_scores(question.answer, question.gold)["exact_match"])
    return value is not None and (value >= 0.5) == exact
