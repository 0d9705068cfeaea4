"""The answers of a case graded by the judge of --judge, once all are in and nothing is timed any more."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evalsuite.errors import JudgeError
from evalsuite.harness.case import Case, Measurement
from evalsuite.judge.address import LOCAL_PREFIX
from evalsuite.judge.prompts import PROMPTS
from evalsuite.judge.summary import JudgeSummary, refuse_missing, summarise
from evalsuite.judge.types import Judge, JudgeGrade, JudgeQuestion
from evalsuite.results import add_fields

if TYPE_CHECKING:
    from evalsuite.evaluation import Workload
    from evalsuite.harness.session import EvaluationSession
    from evalsuite.types import Graded


@dataclass(frozen=True, kw_only=True, slots=True)
class Grading:
    """What the judge made of a case."""

    judge: str
    task: str
    summary: JudgeSummary
    seconds: float
    max_missing: float

    @property
    def problem(self) -> str:
        """Why the case fails; empty where it does not."""
        try:
            refuse_missing(
                self.summary,
                self.max_missing,
                local=self.judge.startswith(LOCAL_PREFIX),
                option="--judge-max-missing",
            )
        except JudgeError as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def to_dict(self) -> dict[str, Any]:
        """The `judge` of a record."""
        summary, prompt = self.summary, PROMPTS[self.task]
        return {
            "name": self.judge,
            "prompt": {"version": prompt.version, "hash": prompt.hash},
            "score": None if summary.score is None else dataclasses.asdict(summary.score),
            "graded": summary.graded,
            "missing": summary.missing,
            "missing_share": summary.missing_share,
            "max_missing": self.max_missing,
            "reasons": dict(summary.reasons),
            "reused": summary.reused,
            "seconds": self.seconds,
        }


def open_for(session: EvaluationSession, case: Case) -> Judge | None:
    """The judge of a case, None where it has none. Raises what `open_judge` raises, before anything is answered."""
    return None if session.options.judge is None or _skip_reason(case) else session.judge()


def not_graded(session: EvaluationSession, case: Case) -> dict[str, Any] | None:
    """The `judge` of a record that holds no grades, or none yet; None where --judge was not given."""
    if session.options.judge is None:
        return None
    return {"skipped": _skip_reason(case) or "the case ended before its answers were graded"}


def _skip_reason(case: Case) -> str:
    """Why a judge has nothing to do here; empty where it has."""
    if case.task not in PROMPTS:
        return "its answers are letters"
    return "" if case.path.config.accuracy_is_meaningful else "random weights"


def grade_case(session: EvaluationSession, case: Case, measured: Measurement, judge: Judge) -> Grading:
    """Ask the judge about every answer that has a gold, and put its grades into the case's lines."""
    questions = list(questions_to_grade(measured.workload, measured.graded))
    start = time.perf_counter()
    with session.progress.bar(f"{case.name} judge", len(questions)) as tick:
        grades = judge.grade(questions, on_grade=lambda _: tick())
    seconds = time.perf_counter() - start
    if measured.answers_file is not None:
        ids = (graded.id for graded in measured.graded)
        add_fields(measured.answers_file, {id_: _line_fields(grades.get(id_)) for id_ in ids})
    assert session.options.judge is not None  # or there were no judge
    return Grading(
        judge=judge.name,
        task=case.task,
        summary=summarise(grades.values(), {graded.id: graded.group for graded in measured.graded}),
        seconds=seconds,
        max_missing=session.options.judge.max_missing,
    )


def questions_to_grade(workload: Workload, graded: Iterable[Graded]) -> Iterator[JudgeQuestion]:
    """Every answer that has a gold one."""
    for one in graded:
        if one.gold is not None:
            fields = workload.examples[one.id].fields
            yield JudgeQuestion(id=one.id, task=workload.task.name, fields=fields, gold=one.gold, answer=one.prediction)


def _line_fields(grade: JudgeGrade | None) -> dict[str, Any]:
    """What a question's line says of its grade."""
    if grade is None:
        return {"judge": None, "judge_problem": "no published answer", "judge_reply": ""}
    return {"judge": grade.value, "judge_problem": grade.problem, "judge_reply": grade.reply}
