"""Layers run compiled within the context only; all of one kind share what was compiled; the model is left as it was."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch._dynamo.utils import counters

from evalsuite.loading import fusing
from evalsuite.loading.fusing import decoder_layers, fused_layers, fusing_failure, give_up_fusing
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
        with fused_layers(model):
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
    copied = copy.deepcopy(model)
    for parameter in copied.parameters():
        parameter.data.zero_()
    with torch.inference_mode(), fused_layers(copied):
        assert not copied(IDS, use_cache=False).logits.any(), "a copy runs its own layers"


def test_a_layer_that_was_replaced_runs() -> None:
    model, other = make_model("qwen3"), make_model("qwen3", seed=1)
    with torch.inference_mode():
        with fused_layers(model):
            model(IDS, use_cache=False)
        model.model.layers[0] = other.model.layers[0]
        expected = model(IDS, use_cache=False).logits
        with fused_layers(model):
            assert torch.allclose(model(IDS, use_cache=False).logits, expected, atol=1e-5)


def test_a_layers_own_patch_is_put_back() -> None:
    model = make_model("qwen3")
    layer = decoder_layers(model)[0]
    patched = layer.forward
    layer.forward = patched
    with fused_layers(model):
        assert layer.forward is not patched
    assert vars(layer)["forward"] is patched


def test_layers_that_did_not_compile_are_not_tried_again() -> None:
    model = make_model("qwen3")
    give_up_fusing(model, "no compiler")
    with torch.inference_mode(), fused_layers(model):
        model(IDS, use_cache=False)
    assert "unique_graphs" not in counters["stats"]
    assert fusing_failure(model) == "no compiler"
    assert fusing_failure(make_model("qwen3")) is None


def test_what_was_compiled_goes_with_its_model() -> None:
    model = make_model("qwen3")
    with fused_layers(model):
        pass
    gone, kept = weakref.ref(model), len(fusing._COMPILED)
    del model
    gc.collect()
    assert gone() is None
    assert len(fusing._COMPILED) < kept
