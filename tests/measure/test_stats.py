import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from evalsuite.measure.stats import speed_up

rounds = st.lists(st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)), min_size=1, max_size=6)


def test_a_path_that_answers_ten_times_the_questions_in_the_same_time_is_ten_times_as_fast():
    result = speed_up([2.0, 2.0], [2.0, 2.0], baseline_questions=10, path_questions=100)
    assert result.ratio == pytest.approx(10)
    assert (result.low, result.high) == pytest.approx((10, 10))
    assert result.baseline_seconds_per_question == pytest.approx(0.2)
    assert result.path_seconds_per_question == pytest.approx(0.02)


def test_one_round_has_a_ratio_and_no_interval():
    result = speed_up([3.0], [1.0], baseline_questions=5, path_questions=5)
    assert result.ratio == pytest.approx(3.0)
    assert (result.low, result.high, result.rounds) == (None, None, 1)


def test_a_slow_spell_that_hits_both_halves_of_a_pair_leaves_the_interval_narrow():
    paired = speed_up([4.0, 40.0, 4.0], [1.0, 10.0, 1.0], baseline_questions=1, path_questions=1)
    assert (paired.low, paired.high) == pytest.approx((4.0, 4.0))


def test_rounds_that_were_not_timed_in_turns_have_no_interval():
    result = speed_up([4.0, 5.0], [1.0, 1.0], baseline_questions=1, path_questions=1, paired=False)
    assert (result.low, result.high) == (None, None)


def test_the_interval_is_students_t_on_the_logarithms():
    logs = [0.1, 0.2, 0.6]
    expected = stats.t.interval(0.95, df=2, loc=np.mean(logs), scale=stats.sem(logs))
    result = speed_up([math.exp(x) for x in logs], [1.0] * 3, baseline_questions=1, path_questions=1)
    assert (result.low, result.high) == pytest.approx(np.exp(expected), rel=1e-3)


def test_it_covers_what_it_says_it_covers():
    """1,000 runs of three rounds with 5 % noise: the true ratio lies inside about 95 % of the intervals."""
    rng = random.Random(0)
    inside = 0
    for _ in range(1000):
        baseline = [math.exp(rng.gauss(0, 0.05)) for _ in range(3)]
        result = speed_up(baseline, [1.0] * 3, baseline_questions=1, path_questions=1)
        inside += result.low <= 1.0 <= result.high
    assert 920 <= inside <= 980


@given(rounds)
def test_the_interval_is_ordered_and_holds_the_ratio(pairs):
    baseline, path = zip(*pairs, strict=True)
    result = speed_up(baseline, path, baseline_questions=1, path_questions=1)
    assert min(b / p for b, p in pairs) * 0.999 <= result.ratio <= max(b / p for b, p in pairs) * 1.001
    if len(pairs) > 1:
        assert result.low <= result.ratio <= result.high


@pytest.mark.parametrize(
    ("baseline", "path", "questions"),
    [([], [], 1), ([1.0], [1.0, 2.0], 1), ([1.0], [1.0], 0), ([0.0], [1.0], 1)],
    ids=["no rounds", "unpaired", "no questions", "no time"],
)
def test_rounds_that_have_no_ratio_are_refused(baseline, path, questions):
    with pytest.raises(ValueError, match="expected"):
        speed_up(baseline, path, baseline_questions=questions, path_questions=1)
