"""Tests and intervals keep their promises: against scipy, against likelihoods maximised by search, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from evalsuite.compare.statistics import (
    Z,
    holm,
    mcnemar_exact,
    paired_bootstrap,
    paired_proportions,
    tango_interval,
)

counts = st.integers(0, 60)


@given(counts, counts)
def test_mcnemar_is_the_exact_binomial_test_on_discordant_pairs(won: int, lost: int) -> None:
    expected = stats.binomtest(won, won + lost).pvalue if won + lost else 1.0
    assert mcnemar_exact(won, lost) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_takes_thousands_of_pairs() -> None:
    assert mcnemar_exact(4000, 4300) == pytest.approx(stats.binomtest(4000, 8300).pvalue, rel=1e-6)
    assert mcnemar_exact(0, 5000) == 0.0


@given(counts, counts, st.integers(0, 60))
def test_swapping_the_sides_negates_a_difference_of_proportions(won: int, lost: int, same: int) -> None:
    questions = won + lost + same or 1
    one, other = (paired_proportions(*both, questions) for both in ((won, lost), (lost, won)))
    assert (other.value, other.low, other.high, other.p) == (-one.value, -one.high, -one.low, one.p)
    assert -1 <= one.low <= one.value <= one.high <= 1


@given(st.integers(1, 500))
def test_identical_sides_have_no_effect_and_p_1_but_an_interval(questions: int) -> None:
    effect = paired_proportions(0, 0, questions)
    assert (effect.value, effect.p) == (0.0, 1.0)
    assert effect.high == pytest.approx(Z**2 / (questions + Z**2))  # Tango 1998, for no discordant pair
    assert effect.low == -effect.high


@pytest.mark.parametrize(("won", "lost", "questions"), [(3, 9, 50), (0, 4, 20), (25, 10, 300), (1, 0, 44)])
def test_tangos_interval_ends_where_the_score_test_rejects(won: int, lost: int, questions: int) -> None:
    """The likelihood under each difference is maximised by search here, and in closed form there."""
    for end, sign in zip(tango_interval(won, lost, questions), (1, -1), strict=True):

        def minus_log_likelihood(share_lost: float, end: float = end) -> float:
            shares = (share_lost + end, share_lost, 1 - 2 * share_lost - end)
            observed = (won, lost, questions - won - lost)
            return -sum(n * math.log(max(share, 1e-300)) for n, share in zip(observed, shares, strict=True))

        bounds = max(0.0, -end), (1 - end) / 2
        found = optimize.minimize_scalar(
            minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-10}
        )
        variance = (2 * found.x + end - end**2) / questions
        assert ((won - lost) / questions - end) / math.sqrt(variance) == pytest.approx(sign * Z, rel=1e-3)


scores = st.lists(st.integers(-8, 8).map(lambda eighths: eighths / 8), min_size=1, max_size=40)


@given(scores)
@settings(max_examples=10)
def test_swapping_the_sides_negates_a_bootstrap(differences: list[float]) -> None:
    one, other = paired_bootstrap(differences), paired_bootstrap([-difference for difference in differences])
    assert (other.value, other.low, other.high, other.p) == (-one.value, -one.high, -one.low, one.p)


def test_a_bootstrap_of_identical_sides_has_no_effect_and_p_1() -> None:
    effect = paired_bootstrap([0.0] * 30)
    assert (effect.value, effect.low, effect.high, effect.p) == (0.0, 0.0, 0.0, 1.0)


def test_a_bootstrap_is_the_same_each_time() -> None:
    assert paired_bootstrap([0.1, -0.3, 0.5]) == paired_bootstrap([0.1, -0.3, 0.5])


@pytest.mark.parametrize("differing", [1, 2, 4])
def test_few_questions_that_differ_show_little_whatever_the_bootstrap_says(differing: int) -> None:
    assert paired_bootstrap([0.9] * differing).p == 2.0 ** (1 - differing)


def test_intervals_hold_the_truth_19_times_of_20() -> None:
    """600 comparisons of 60 questions each: 3 standard errors around 95 % are 92.3 % and 97.7 %."""
    generator = np.random.default_rng(1)
    proportions = bootstrap = 0
    for _ in range(600):
        lost, won, same = generator.multinomial(60, (0.15, 0.25, 0.6))
        low, high = tango_interval(int(won), int(lost), int(won + lost + same))
        proportions += low <= 0.1 <= high
    for _ in range(150):
        effect = paired_bootstrap(list(generator.beta(2, 5, size=60) - generator.beta(2, 5, size=60) + 0.05))
        bootstrap += effect.low <= 0.05 <= effect.high
    assert 0.923 <= proportions / 600 <= 0.977
    assert 0.897 <= bootstrap / 150 <= 1.0


def test_chance_alone_is_called_a_difference_no_more_than_once_in_20() -> None:
    """The exact test is conservative: under no difference, p < 0.05 in at most 5 % of all outcomes."""
    for discordant in range(1, 80):
        rejected = sum(
            math.comb(discordant, won) for won in range(discordant + 1) if mcnemar_exact(won, discordant - won) < 0.05
        )
        assert rejected / 2**discordant < 0.05


def test_holm_multiplies_by_the_number_of_tests_left_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # Holm 1979; R's p.adjust
    assert holm([0.7, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_never_lowers_a_p_and_is_no_more_than_bonferroni(p_values: list[float]) -> None:
    for p, adjusted in zip(p_values, holm(p_values), strict=True):
        assert p <= adjusted <= min(1.0, p * len(p_values))
