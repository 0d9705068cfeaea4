"""The ceiling is a rate that was kept up: products counted, seconds measured, the first half left out."""

from __future__ import annotations

import pytest
import torch

from evalsuite.measure import ceiling
from evalsuite.measure.ceiling import measure_ceiling


def test_it_counts_two_operations_for_each_product_of_two_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[int] = []

    def products(left: torch.Tensor, right: torch.Tensor, count: int) -> float:
        counted.append(count)
        return 0.01 * count  # ten milliseconds each

    monkeypatch.setattr(ceiling, "_products", products)
    measured = measure_ceiling(torch.device("cpu"), torch.float32)
    assert measured.flops_per_second == pytest.approx(2 * 1024**3 / 0.01)
    assert counted == [1, 2, 10, 10], "as many again as warmed the device up"
    assert (measured.size, measured.dtype, measured.seconds) == (1024, "float32", pytest.approx(0.1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_real_measurement_is_a_rate(dtype: torch.dtype) -> None:
    measured = measure_ceiling(torch.device("cpu"), dtype)
    assert measured.flops_per_second > 1e6
    assert measured.seconds > 0
