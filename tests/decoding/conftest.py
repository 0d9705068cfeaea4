"""The case that candidates are tried on."""

from __future__ import annotations

import pytest

from benchmarks.decoding.layouts import BLOCK
from benchmarks.decoding.workloads import Case
from tests.decoding.made import case_from


@pytest.fixture(scope="module")
def case() -> Case:
    """Rows of 1 to 300 keys: less than a block, one in whole, and more; two share a page in whole."""
    shared = tuple(range(270))
    return case_from([(900,), (*shared, 1, 2), (*shared, 3), (*shared[:100], 4), (5,) * BLOCK, (6,) * 300])
