"""MMLU: English multiple choice over 57 subjects, scored by log-probability, by every strategy."""

from __future__ import annotations

import pytest

from evalsuite.config import SCORING_STRATEGIES


@pytest.mark.parametrize("strategy", SCORING_STRATEGIES)
def test_mmlu(evaluate_case, strategy):
    evaluate_case("mmlu", strategy)
