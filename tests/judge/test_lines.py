"""What the closing table says of the judge."""

from typing import Any

import pytest

from evalsuite.harness.judge_lines import judge_cell, judge_notes, mean
from evalsuite.harness.table import JUDGE_COLUMN, closing_lines
from tests.plugin.test_table import record

PROMPT = {"version": "viquad-1", "hash": "abc"}


def graded(**changes: Any) -> dict[str, Any]:
    judge = {
        "name": "J at http://h/v1",
        "prompt": PROMPT,
        "score": {"value": 0.8567, "stderr": 0.0312},
        "graded": 84,
        "missing": 0,
        "reasons": {},
    }
    return record(case="test_viquad[padded]", task="viquad", judge=judge | changes)


def skipped(reason: str = "its answers are letters") -> dict[str, Any]:
    return record(judge={"skipped": reason})


@pytest.mark.parametrize(
    ("case", "cell"),
    [
        (graded(), "0.857 ± 0.031"),
        (graded(missing=1200), "0.857 ± 0.031, 1,200 missing"),
        (graded(score=None, graded=0, missing=84), "n/a, 84 missing"),
        (skipped(), "-"),
        (record(), "-"),
    ],
    ids=["all", "some", "none", "skipped", "no judge"],
)
def test_a_cell_never_shows_a_mean_without_what_is_missing(case: dict[str, Any], cell: str) -> None:
    assert judge_cell(case) == cell


def test_the_judge_has_a_column_only_where_one_was_asked_for() -> None:
    with_judge, without = closing_lines([graded(), skipped()]), closing_lines([record()])
    assert with_judge[0].split()[JUDGE_COLUMN] == "judge"
    assert "judge" not in without[0]
    assert "0.857 ± 0.031" in with_judge[1]


def test_who_judged_and_why_grades_are_missing_stand_below() -> None:
    missing = graded(missing=4, reasons={"timeout": 3, "HTTP 500": 1})
    assert list(judge_notes([missing, skipped()])) == [
        "viquad: judged by J at http://h/v1, prompt viquad-1 (abc)",
        "test_viquad[padded]: 4 of 88 grades missing: 3 timeout, 1 HTTP 500",
        "mmlu: no judge asked: its answers are letters",
    ]


def test_a_judge_that_had_nothing_to_do_is_told() -> None:
    assert list(judge_notes([skipped()]))[-1].startswith("--judge had nothing to grade")
    assert list(judge_notes([record()])) == []


def test_a_mean_of_one_question_has_no_error() -> None:
    assert mean({"value": 1.0, "stderr": None}) == "1.000"
