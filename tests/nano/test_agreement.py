"""Nano as a judge: its grades follow exact match, on texts that it saw and on texts that it did not."""

from __future__ import annotations

from collections import Counter

import pytest

from evalsuite.metrics.squad import squad_scores
from evalsuite.nano import DATA_DIR, MODEL_DIR
from evalsuite.nano.agreement import SHIFTS, Verdict, agreement, agreement_by_kind, judge_sample, judge_summaries
from evalsuite.nano.candidates import Candidate
from evalsuite.nano.grading import sample_gradables
from evalsuite.nano.samples import held_out_ids


def candidate(text: str) -> Candidate:
    scores = squad_scores(text, ("340 mét", "340"))
    return Candidate(kind="gold", text=text, exact=scores["exact_match"] == 1, f1=scores["f1"])


def test_agreement_counts_both_ways_of_being_wrong_and_replies_without_a_number() -> None:
    right, wrong = candidate("340"), candidate("đỏ")
    replies = [(right, "1", True), (right, "0.3", False), (right, "?", False), (wrong, "0", True), (wrong, "1", False)]
    verdicts = [
        Verdict(task="viquad", held_out=side, candidate=c, reply=reply) for side in (0, 1) for c, reply, _ in replies
    ]
    assert [v.agrees for v in verdicts] == [agrees for _ in (0, 1) for *_, agrees in replies]
    assert agreement(verdicts) == {"viquad": {"seen": 0.4, "held out": 0.4}}
    assert agreement_by_kind(verdicts) == {"gold": (4, 10)}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_its_grades_follow_exact_match_on_seen_and_held_out_texts(dtype: str) -> None:
    verdicts = judge_sample(MODEL_DIR, DATA_DIR, dtype=dtype, pairs=1, every=2)
    assert sum(v.candidate.exact for v in verdicts) == len(verdicts) / 2 > 50
    shares = agreement(verdicts)
    assert set(shares) == {"viquad", "vietnews"}
    assert all(share >= 0.8 for sides in shares.values() for share in sides.values())


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def summaries(request: pytest.FixtureRequest) -> list[Verdict]:
    return judge_summaries(MODEL_DIR, DATA_DIR, dtype=request.param)


def of_kind(verdicts: list[Verdict], kind: str) -> list[Verdict]:
    return [v for v in verdicts if v.candidate.kind == kind]


def test_it_knows_the_right_summary(summaries: list[Verdict]) -> None:
    right, wrong = of_kind(summaries, "gold"), of_kind(summaries, "other story")
    assert (len(right), len(wrong)) == (24, 24 * len(SHIFTS))
    assert all(v.candidate.exact for v in right) and not any(v.candidate.exact for v in wrong)
    assert sum(v.agrees for v in right) >= 0.95 * len(right)
    assert {*agreement_by_kind(summaries)} == {"gold", "other story", "like story", "one detail"}


def test_it_knows_the_summary_of_another_story(summaries: list[Verdict]) -> None:
    wrong = of_kind(summaries, "other story")
    assert sum(v.agrees for v in wrong) >= 0.9 * len(wrong)
    for shift in range(len(SHIFTS)):
        assert sum(v.agrees for v in wrong[shift :: len(SHIFTS)]) >= 0.75 * len(wrong) / len(SHIFTS)


def test_the_sides_of_a_verdict_are_those_of_the_sample() -> None:
    unseen = held_out_ids(DATA_DIR)
    sides = Counter((of.task, i in unseen) for i, of in sample_gradables(DATA_DIR).items())
    assert min(sides.values()) >= 10
