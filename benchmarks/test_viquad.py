"""UIT-ViQuAD 2.0: Vietnamese reading comprehension, generated, by every strategy."""

from __future__ import annotations

import pytest

from evalsuite.config import GENERATION_STRATEGIES


@pytest.mark.parametrize("strategy", GENERATION_STRATEGIES)
def test_viquad(evaluate_case, strategy):
    evaluate_case("viquad", strategy)
