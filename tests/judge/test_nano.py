"""The embedded model as a judge, offline: it tells right answers to its sample from wrong ones."""

import pytest

from evalsuite.config import InferenceConfig
from evalsuite.judge.opening import open_judge
from evalsuite.judge.summary import refuse_missing, summarise
from evalsuite.judge.types import JudgeGrade
from tests.judge.nano_answers import agreement, sample_questions

QUESTIONS = sample_questions()


@pytest.fixture(scope="module")
def grades() -> dict[str, JudgeGrade]:
    return open_judge("local:nano", config=InferenceConfig(device="cpu", dtype="float32")).grade(QUESTIONS)


def test_nano_s_grades_follow_exact_match(grades: dict[str, JudgeGrade]) -> None:
    assert agreement(QUESTIONS, grades) >= 0.8


@pytest.mark.parametrize(
    ("task", "side", "least"),
    [
        ("viquad", "right", 0.95),
        ("viquad", "wrong", 0.95),
        ("vietnews", "right", 0.95),
        ("vietnews", "wrong", 0.85),
    ],
)
def test_nano_knows_right_answers_and_wrong_ones_of_both_tasks(
    grades: dict[str, JudgeGrade], task: str, side: str, least: float
) -> None:
    """A wrong one is the answer to another question, or the summary of another story."""
    asked = [question for question in QUESTIONS if question.task == task and question.id.endswith(f"#{side}")]
    assert len(asked) >= 24
    assert agreement(asked, grades) >= least


def test_nano_gives_a_number_nearly_every_time(grades: dict[str, JudgeGrade]) -> None:
    summary = summarise(grades.values())
    refuse_missing(summary)
    assert summary.score is not None
    assert 0.4 < summary.score.value < 0.8  # half of the answers are right
