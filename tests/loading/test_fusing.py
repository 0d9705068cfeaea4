"""Layers run compiled within the context only; all of one kind share what was compiled; the model is left as it was."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch._dynamo.utils import counters

from evalsuite.loading import fusing
from evalsuite.loading.fusing import decoder_layers, fused_layers
from tests.tiny import ARCHITECTURES, make_model

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(autouse=True)
def without_code_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are traced and run as they are: what is tested is what is compiled, and when."""
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **settings: real(function, backend="eager", **settings))
    torch._dynamo.reset()
    counters.clear()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_layers_of_one_kind_share_one_graph_and_give_the_same_logits(architecture: str) -> None:
    model = make_model(architecture)
    with torch.inference_mode():
        expected = model(IDS, use_cache=False).logits
        with fused_layers(model) as fused:
            assert fused
            got = model(IDS, use_cache=False).logits
            assert counters["stats"]["unique_graphs"] == 1
        with fused_layers(model):
            model(IDS, use_cache=False)
            assert counters["stats"]["unique_graphs"] == 1, "what was compiled is kept"
    assert torch.allclose(got, expected, atol=1e-5)
    assert len(decoder_layers(model)) == model.config.get_text_config().num_hidden_layers


def test_the_model_is_left_as_it_was_and_can_be_copied() -> None:
    model = make_model("qwen3")
    before = set(vars(model))
    with pytest.raises(ZeroDivisionError), fused_layers(model):
        raise ZeroDivisionError
    assert set(vars(model)) == before
    assert not any("forward" in vars(layer) for layer in decoder_layers(model))
    copy.deepcopy(model)


def test_what_was_compiled_goes_with_its_model() -> None:
    model = make_model("qwen3")
    with fused_layers(model):
        pass
    gone, kept = weakref.ref(model), len(fusing._COMPILED)
    del model
    gc.collect()
    assert gone() is None
    assert len(fusing._COMPILED) < kept
