import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.measure.stats import bootstrap_interval, speed_up

rounds = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=6)


def test_a_path_that_answers_ten_times_the_questions_in_the_same_time_is_ten_times_as_fast():
    result = speed_up([2.0, 2.0], [2.0, 2.0], baseline_questions=10, path_questions=100)
    assert result.ratio == pytest.approx(10)
    assert (result.low, result.high) == pytest.approx((10, 10))
    assert result.baseline_seconds_per_question == pytest.approx(0.2)
    assert result.path_seconds_per_question == pytest.approx(0.02)


def test_one_round_has_a_ratio_and_no_interval():
    result = speed_up([3.0], [1.0], baseline_questions=5, path_questions=5)
    assert (result.ratio, result.low, result.high, result.rounds) == (3.0, None, None, 1)


def test_a_slow_spell_that_hits_both_halves_of_a_pair_leaves_the_interval_narrow():
    paired = speed_up([4.0, 40.0, 4.0], [1.0, 10.0, 1.0], baseline_questions=1, path_questions=1)
    assert (paired.low, paired.high) == pytest.approx((4.0, 4.0))


def test_unequal_rounds_widen_the_interval_around_the_ratio():
    result = speed_up([4.0, 5.0, 6.0], [1.0, 1.0, 1.0], baseline_questions=1, path_questions=1)
    assert result.low == pytest.approx(4.0)
    assert result.high == pytest.approx(6.0)


@given(rounds)
def test_the_interval_is_ordered_holds_the_ratio_and_is_the_same_each_time(pairs):
    low, high = bootstrap_interval(pairs, resamples=200)
    baseline, path = zip(*pairs, strict=True)
    ratio = sum(baseline) / sum(path)
    assert (low, high) == bootstrap_interval(pairs, resamples=200)
    slack = 1e-9 * ratio
    assert min(b / p for b, p in pairs) - slack <= low <= high <= max(b / p for b, p in pairs) + slack
    assert math.isfinite(ratio)


@pytest.mark.parametrize(
    ("baseline", "path", "questions"),
    [([], [], 1), ([1.0], [1.0, 2.0], 1), ([1.0], [1.0], 0), ([0.0], [1.0], 1)],
    ids=["no rounds", "unpaired", "no questions", "no time"],
)
def test_rounds_that_have_no_ratio_are_refused(baseline, path, questions):
    with pytest.raises(ValueError, match="expected"):
        speed_up(baseline, path, baseline_questions=questions, path_questions=1)
