"""Means over what was graded; what is missing is counted and never a 0."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.errors import JudgeError
from evalsuite.judge.reading import NO_NUMBER, TOO_LONG
from evalsuite.judge.summary import MAX_MISSING, METRIC, JudgeSummary, refuse_missing, summarise
from evalsuite.judge.types import JudgeGrade


def grades(*values: float | None, problem: str = "timeout: no answer") -> list[JudgeGrade]:
    return [
        JudgeGrade(id=str(n), value=value, problem="" if value is not None else problem)
        for n, value in enumerate(values)
    ]


def test_the_mean_has_its_standard_error_and_leaves_missing_grades_out() -> None:
    summary = summarise(grades(1.0, None, 0.0, 0.5))
    assert summary.score is not None
    assert (summary.score.name, summary.score.value, summary.score.count) == (METRIC, 0.5, 3)
    assert summary.score.stderr == pytest.approx(0.5 / 3**0.5)
    assert (summary.graded, summary.missing, summary.missing_share) == (3, 1, 0.25)


def test_groups_have_means_of_their_own_where_there_are_several() -> None:
    several = summarise(grades(1.0, 0.0, 0.5), {"0": "answerable", "1": "unanswerable", "2": "answerable"})
    assert [(m.group, m.value) for m in several.metrics] == [
        ("overall", 0.5),
        ("answerable", 0.75),
        ("unanswerable", 0.0),
    ]
    assert len(summarise(grades(1.0, 0.0), {"0": "news", "1": "news"}).metrics) == 1


def test_reasons_are_counted_by_kind_the_most_frequent_first() -> None:
    missing = [
        JudgeGrade(id="1", value=None, problem="HTTP 500: out of cheese"),
        JudgeGrade(id="2", value=None, problem="timeout: no answer within 60 s"),
        JudgeGrade(id="3", value=None, problem="timeout: not done within 90 s in all"),
    ]
    assert list(summarise(missing).reasons.items()) == [("timeout", 2), ("HTTP 500", 1)]


def test_nothing_graded_is_no_score_rather_than_zero() -> None:
    assert summarise(grades(None, None)).score is None
    assert (summarise([]).score, summarise([]).missing_share) == (None, 0.0)


def test_reused_grades_are_counted() -> None:
    assert summarise([JudgeGrade(id="1", value=1.0, reused=True), JudgeGrade(id="2", value=1.0)]).reused == 1


@pytest.mark.parametrize(("missing", "refused"), [(0, False), (5, False), (6, True), (100, True)])
def test_more_than_the_set_share_missing_is_an_error_that_says_why(missing: int, refused: bool) -> None:
    summary = summarise(grades(*[None] * missing, *[1.0] * (100 - missing)))
    if not refused:
        refuse_missing(summary)
        return
    with pytest.raises(JudgeError, match=rf"at most {MAX_MISSING:.0%}.* got {missing} of 100.*{missing} timeout"):
        refuse_missing(summary)


def missing(*problems: str) -> JudgeSummary:
    return summarise([JudgeGrade(id=str(n), value=None, problem=problem) for n, problem in enumerate(problems)])


def test_the_error_shows_one_reply_of_the_most_frequent_kind_and_names_the_option() -> None:
    summary = missing("timeout: no answer", f"{NO_NUMBER}: 'Điểm: 8/10'", f"{NO_NUMBER}: '7'")
    said = rf"2 {re.escape(NO_NUMBER)} \(such as 'Điểm: 8/10'\), 1 timeout\. .*run again.*--judge-max-missing$"
    with pytest.raises(JudgeError, match=said):
        refuse_missing(summary, option="--judge-max-missing")


@pytest.mark.parametrize("problem", [f"{NO_NUMBER}: '8/10'", f"{TOO_LONG}: by 7 tokens"])
def test_a_local_judge_is_not_to_be_asked_again_for_what_it_says_again(problem: str) -> None:
    with pytest.raises(JudgeError, match=r"a local judge says the same: take another one$") as caught:
        refuse_missing(missing(problem), local=True)
    assert "run again" not in str(caught.value)
    with pytest.raises(JudgeError, match="run again to ask only for the missing ones"):
        refuse_missing(missing("ModelLoadError: not enough memory"), local=True)


def test_the_share_can_be_set() -> None:
    refuse_missing(summarise(grades(None, 1.0)), max_missing=0.5)
    with pytest.raises(JudgeError):
        refuse_missing(summarise(grades(None, 1.0)), max_missing=0.49)


@given(st.lists(st.none() | st.floats(0, 1), min_size=1))
def test_a_missing_grade_moves_no_mean(values: list[float | None]) -> None:
    with_missing, without = summarise(grades(*values)), summarise(grades(*[v for v in values if v is not None]))
    assert with_missing.score == without.score
