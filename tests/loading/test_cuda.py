"""What only a CUDA device can show: weights drawn there, the ladder's real answer, memory that comes back."""

from __future__ import annotations

import gc

import pytest
import torch

from evalsuite import shapes
from evalsuite.config import InferenceConfig
from evalsuite.loading import load
from evalsuite.pool import ModelPool
from tests.loading.conftest import SaveModel

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SMALL = shapes.Shape(
    hidden_size=256,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=512,
    tie_word_embeddings=True,
)


@pytest.fixture
def small_shape(monkeypatch: pytest.MonkeyPatch) -> InferenceConfig:
    monkeypatch.setitem(shapes.SHAPES, "small", SMALL)
    return InferenceConfig(model="shape:small")


def test_a_shape_is_drawn_on_the_device_within_its_own_size(small_shape: InferenceConfig) -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    loaded = load(small_shape)
    assert loaded.device.type == "cuda"
    assert loaded.report.got["dtype"] == "bfloat16"
    assert loaded.report.got["attention"] in ("flash_attention_3", "flash_attention_2", "sdpa")
    assert loaded.report.peak_memory_bytes - before < 1.5 * 2 * SMALL.parameters + (64 << 20)


def test_files_load_onto_the_device(save_model: SaveModel) -> None:
    loaded = load(InferenceConfig(model=str(save_model())))
    assert {parameter.device.type for parameter in loaded.model.parameters()} == {"cuda"}
    assert loaded.report.got["device"] == f"cuda:{torch.cuda.current_device()}"


def test_the_pool_gives_device_memory_back(small_shape: InferenceConfig) -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    pool = ModelPool()
    pool.get(small_shape)
    assert torch.cuda.memory_allocated() > before
    pool.clear()
    assert torch.cuda.memory_allocated() <= before


def test_flash_attention_in_float32_steps_down_with_its_reason(small_shape: InferenceConfig) -> None:
    loaded = load(small_shape.replace(dtype="float32", attention="flash_attention_2"))
    assert loaded.report.got["attention"] == "sdpa"
    assert "not in float32" in loaded.report.fallbacks[0].reason
