import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.measure.timing import (
    MIN_TIMING_QUESTIONS,
    QUICK_ROUNDS,
    ROUNDS,
    Clock,
    rounds_for,
    timing_question_count,
    timing_subset,
)


class Hands:
    """A clock face that tests move by hand."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


def test_paused_time_does_not_count():
    hands = Hands()
    clock = Clock(hands)
    start = clock()
    hands.time += 2
    with clock.paused():
        hands.time += 50
    hands.time += 1
    assert clock() - start == pytest.approx(3)


def test_work_still_under_way_on_the_device_counts_although_the_clock_is_paused_next():
    hands = Hands()
    clock = Clock(hands)

    def wait_for_device():
        hands.time += 5

    with clock.following(wait_for_device):
        start = clock._now() - clock._paused_seconds
        with clock.paused():
            hands.time += 50
        assert hands.time - clock._paused_seconds - start == pytest.approx(5)


def test_every_reading_waits_for_the_device_and_none_after_it():
    waits = []
    clock = Clock(Hands())
    with clock.following(lambda: waits.append(1)):
        clock()
        clock()
    clock()
    assert len(waits) == 2


def test_a_pause_ends_when_the_paused_code_fails():
    hands = Hands()
    clock = Clock(hands)
    start = clock()
    with pytest.raises(RuntimeError), clock.paused():
        hands.time += 9
        raise RuntimeError
    hands.time += 1
    assert clock() - start == pytest.approx(1)


def test_quick_paths_are_timed_more_often_and_slow_ones_once():
    assert (rounds_for(0.5), rounds_for(5), rounds_for(300)) == (QUICK_ROUNDS, ROUNDS, 1)


@pytest.mark.parametrize(
    ("seconds_per_question", "count"),
    [(100.0, MIN_TIMING_QUESTIONS), (0.01, 40)],
    ids=["very slow", "fast"],
)
def test_the_timing_subset_fits_the_time_set_aside_for_it(seconds_per_question, count):
    assert timing_question_count(seconds_per_question) == count


def test_a_slow_path_gives_its_baseline_more_time():
    assert timing_question_count(0.1, path_seconds=50) == 50


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=200), st.integers(1, 64))
def test_a_timing_subset_has_distinct_known_questions(lengths, count):
    by_id = {str(index): length for index, length in enumerate(lengths)}
    subset = timing_subset(by_id, count)
    assert len(set(subset)) == len(subset) == min(count, len(by_id))
    assert set(subset) <= set(by_id)


def test_a_timing_subset_costs_about_what_all_questions_cost():
    lengths = {str(index): 20 + index**2 // 50 for index in range(1000)}
    subset = timing_subset(lengths, 32)
    assert statistics.mean(lengths[i] for i in subset) == pytest.approx(statistics.mean(lengths.values()), rel=0.01)
