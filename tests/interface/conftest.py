"""nano as the older guide's users load it: a bare model and its tokenizer."""

from __future__ import annotations

from typing import Any

import pytest

from evalsuite.loading.report import log_once
from evalsuite.model_utils import load_qwen_model

Pair = tuple[Any, Any]


@pytest.fixture(autouse=True)
def _each_test_logs_anew() -> None:
    log_once.cache_clear()


@pytest.fixture(scope="session")
def nano() -> Pair:
    """(model, tokenizer) in fp32. Shared: do not change it."""
    model, tokenizer, _ = load_qwen_model("nano", dtype="float32", device="cpu")
    return model, tokenizer
