"""Accuracy and its standard error, against numpy and lm-evaluation-harness."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalsuite.metrics.accuracy import accuracy_by_group
from evalsuite.metrics.aggregate import mean_and_stderr, mean_metrics


@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=50))
def test_stderr_is_the_sample_deviation_over_root_n(values: list[float]) -> None:
    mean, stderr = mean_and_stderr(values)
    assert mean == pytest.approx(np.mean(values))
    assert stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)))


def test_stderr_agrees_with_lm_evaluation_harness() -> None:
    from lm_eval.api.metrics import mean_stderr

    values = [1.0, 0.0, 0.0, 1.0, 1.0, 0.5]
    assert mean_and_stderr(values)[1] == pytest.approx(mean_stderr(values), rel=1e-12)


def test_one_question_has_no_stderr() -> None:
    assert mean_and_stderr([1.0]) == (1.0, None)


def test_micro_weighs_questions_and_macro_weighs_subjects() -> None:
    metrics = accuracy_by_group([("law", 1.0), ("law", 1.0), ("law", 0.0), ("art", 0.0)])
    micro, macro, *groups = metrics
    assert (micro.name, micro.group, micro.value, micro.count) == ("accuracy", "overall", 0.5, 4)
    assert (macro.name, macro.group, macro.value, macro.count) == ("accuracy_macro", "overall", pytest.approx(1 / 3), 2)
    assert macro.stderr is None
    assert [(g.group, g.value, g.count) for g in groups] == [("art", 0.0, 1), ("law", pytest.approx(2 / 3), 3)]


def test_a_group_with_a_slash_counts_under_its_subject_and_macro_is_over_subjects() -> None:
    metrics = accuracy_by_group([("His/2019", 1.0), ("His/2020", 0.0), ("His/2020", 0.0), ("Eng/2019", 0.0)])
    by_group = {m.group: m.value for m in metrics if m.group != "overall"}
    assert by_group == {"Eng": 0.0, "Eng/2019": 0.0, "His": pytest.approx(1 / 3), "His/2019": 1.0, "His/2020": 0.0}
    assert metrics[1].count == 2
    assert metrics[1].value == pytest.approx((0 + 1 / 3) / 2)


def test_nothing_to_score_gives_no_metric_rather_than_zero() -> None:
    assert accuracy_by_group([]) == []
    assert mean_metrics([], ("f1",), "overall") == []
