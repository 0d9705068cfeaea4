"""Layers run compiled within the context only; all of one kind share what was compiled; the model is left as it was."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._dynamo.utils import counters

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.loading import fusing
from evalsuite.loading.compiling import compile_forward
from evalsuite.loading.fusing import (
    decoder_layers,
    fused_layers,
    fusing_failure,
    give_up_fusing,
    part_of_layer,
    run_as_it_is,
)
from evalsuite.loading.report import LoadedModel, StepsDown
from evalsuite.planning.rows import shared_rows
from evalsuite.runner import ModelRunner
from evalsuite.scoring._packing import PackForward
from evalsuite.types import EncodedChoices
from tests.loading.conftest import CompileWith
from tests.tiny import ARCHITECTURES, make_model, wrap

IDS = torch.tensor([[5, 6, 7, 8]])


@pytest.fixture(autouse=True)
def without_code_generation(compile_with: CompileWith) -> None:
    """Graphs are traced and run as they are: what is tested is what is compiled, and when."""
    compile_with("eager")
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


def through(forward: Callable[..., Any], hidden: torch.Tensor) -> torch.Tensor:
    return 2 * forward(hidden)


def test_a_part_of_a_layer_is_compiled_where_the_layers_are() -> None:
    model = make_model("gpt2")
    layer, hidden = decoder_layers(model)[-1], torch.ones(1, 4, 32)
    with torch.inference_mode():
        expected = 2 * layer(hidden)
        assert torch.allclose(part_of_layer(through, layer)(hidden), expected, atol=1e-5)
        assert "unique_graphs" not in counters["stats"]
        for _ in range(2):
            with fused_layers(model):
                assert torch.allclose(part_of_layer(through, layer)(hidden), expected, atol=1e-5)
            assert counters["stats"]["unique_graphs"] == 1


def test_a_layer_may_be_run_as_it_is_between_others() -> None:
    model = make_model("gpt2")
    first, last = decoder_layers(model)
    hidden = torch.ones(1, 4, 32)
    with torch.inference_mode(), fused_layers(model):
        run_as_it_is(last)
        last(hidden)
        assert "unique_graphs" not in counters["stats"]
        first(hidden)
        assert counters["stats"]["unique_graphs"] == 1
        run_as_it_is(None)
        last(hidden[:, :2])
        assert counters["stats"]["unique_graphs"] == 2


QUESTIONS = [
    EncodedChoices(id=str(i), context_ids=(2, 3, 4, *[5 + i] * (6 + i % 4)), continuation_ids=((9,), (11,)))
    for i in range(12)
]


def score_in_packs(loaded: LoadedModel, *, fused: bool, fixed: bool = False) -> dict[str, float]:
    """Log-probabilities of the questions' choices. As on CUDA: layers `fused`, and packs of one `fixed` shape."""
    with ModelRunner(loaded, ExecutionOptions(token_budget=48)) as runner, torch.inference_mode():
        forward = PackForward(runner)
        if fixed:
            forward.max_sites = 8
            forward.padded_size = lambda used: max(used, 48)  # type: ignore[method-assign]
        rows = [(number, row) for number, question in enumerate(QUESTIONS) for row in shared_rows(question)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(forward, "_fused_layers", fused)
            done = [each for packed in forward.plan(rows) for each in forward.score(packed)]
    return {f"{number} {choice}": nats for number, choices in done for choice, nats in choices.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packs_take_two_graphs_and_no_other_model_of_the_kind_takes_more(architecture: str) -> None:
    """A layer, and the last one up to its keys and values; what is read of that is too little to compile for."""
    for seed in (0, 1):
        loaded = wrap(make_model(architecture, seed=seed))
        expected = score_in_packs(loaded, fused=False)
        assert score_in_packs(loaded, fused=True, fixed=True) == pytest.approx(expected, abs=2e-5)
        assert counters["stats"]["unique_graphs"] == 2


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_packs_of_any_size_take_two_graphs_under_compile(architecture: str) -> None:
    loaded, plain = wrap(make_model(architecture)), wrap(make_model(architecture))
    steps = StepsDown(strict=True)
    assert compile_forward(loaded.model, InferenceConfig(torch_compile=True, device="cpu"), "cpu", steps)
    assert score_in_packs(loaded, fused=False) == pytest.approx(score_in_packs(plain, fused=False), abs=2e-5)
    assert counters["stats"]["unique_graphs"] == 2
