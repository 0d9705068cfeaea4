"""VNHSGE-V: Vietnamese high-school graduation exams, scored by log-probability, by every strategy."""

from __future__ import annotations

import pytest

from evalsuite.config import SCORING_STRATEGIES


@pytest.mark.parametrize("strategy", SCORING_STRATEGIES)
def test_vnhsge(evaluate_case, strategy):
    evaluate_case("vnhsge", strategy)
