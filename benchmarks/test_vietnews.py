"""VietNews: Vietnamese news summarisation, generated, by every strategy."""

from __future__ import annotations

import pytest

from evalsuite.config import GENERATION_STRATEGIES


@pytest.mark.parametrize("strategy", GENERATION_STRATEGIES)
def test_vietnews(evaluate_case, strategy):
    evaluate_case("vietnews", strategy)
