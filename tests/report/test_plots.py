"""Scales, and plots that say in words what they show."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.report.numbers import score_interval, seconds, share, si, significant
from evalsuite.report.plots import MOST_TICKS, Line, line_chart, linear_scale, log_scale, mark, row_plot, series_look

positive = st.floats(1e-9, 1e15)


@given(st.lists(positive, min_size=1))
def test_a_logarithmic_scale_holds_its_values_and_few_ticks_in_order(values):
    scale = log_scale(values)
    places = [scale.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert scale.inset <= places[0] <= places[-1] <= 100 - scale.inset
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert len(scale.ticks) <= MOST_TICKS
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)


def test_equal_ratios_are_equal_distances_on_a_logarithmic_scale():
    scale = log_scale([1, 2, 4, 16])
    assert scale.at(4) - scale.at(2) == pytest.approx(scale.at(2) - scale.at(1))
    assert scale.at(16) - scale.at(4) == pytest.approx(2 * (scale.at(2) - scale.at(1)))


@given(st.floats(1e-6, 1e12))
def test_a_linear_scale_has_round_ticks_within(high):
    scale = linear_scale(0, high)
    assert 2 <= len(scale.ticks) <= MOST_TICKS
    assert scale.ticks[0] == 0
    assert scale.ticks[-1] <= high * (1 + 1e-9)


def test_what_lies_beyond_an_end_is_put_there():
    scale = linear_scale(0, 1, inset=2)
    assert (scale.at(-5), scale.at(5)) == (2, 98)


def test_a_plot_is_an_image_with_a_title():
    plot = row_plot("a < b", linear_scale(0, 1), mark(50, "circle", "score"))
    assert 'role="img"' in plot
    assert "<title>a &lt; b</title>" in plot


def test_a_line_has_a_gap_where_a_run_lacks_the_case():
    lines = [Line(label="x", values=[1.0, 2.0, None, 1.0])]
    chart = line_chart("x", lines, log_scale([1, 2]), ["1x", "2x"], list("abcd"))
    assert chart.count('class="line series-0"') == 1
    assert chart.count('class="mark series-0"') == 3 + 1  # and the legend's


def test_lines_of_one_chart_look_different():
    assert len({series_look(number) for number in range(25)}) == 25


def test_the_interval_of_a_share_is_wilsons():
    metric = {"name": "accuracy", "value": 1.0, "stderr": 0.0, "count": 120}
    low, high = score_interval(metric)
    assert low == pytest.approx(120 / (120 + 1.959964**2))
    assert high == pytest.approx(1.0)


def test_the_interval_of_a_mean_is_two_standard_errors_within_0_and_1():
    metric = {"name": "rouge_l", "value": 0.98, "stderr": 0.02, "count": 50}
    assert score_interval(metric) == (pytest.approx(0.98 - 1.959964 * 0.02), 1.0)
    assert score_interval(metric | {"stderr": None}) is None
    assert score_interval(metric | {"value": "nan"}) is None


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (significant(0.0010414), "0.00104"),
        (significant(1239.6), "1,240"),
        (significant(999.6), "1,000"),
        (significant(0), "0"),
        (si(301e12, "FLOP/s"), "301 TFLOP/s"),
        (si(0, "B"), "0 B"),
        (seconds(0.00104), "1.04 ms"),
        (seconds(4.2e-5), "42 µs"),
        (seconds(90), "90 s"),
        (seconds(720), "12 min"),
        (share(0.1387), "13.9 %"),
        (share(0.00042), "0.042 %"),
    ],
)
def test_numbers_are_short(made, expected):
    assert made == expected
