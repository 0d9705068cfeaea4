"""`torch.compile` wraps the forward or its layers, not the module, and can be dropped with its reason."""

from __future__ import annotations

import logging
import warnings

import pytest
import torch

from evalsuite import capability
from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError
from evalsuite.loading import LoadedModel, drop_compile, load
from tests.loading.conftest import CompileWith, SaveModel


@pytest.fixture
def compiled_with(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """torch.compile replaced by a forward that fails at its first call; the options that it was given."""
    calls: list[dict[str, object]] = []

    def broken(forward: object, **options: object) -> object:
        calls.append(options)

        def call(*_: object, **__: object) -> None:
            raise RuntimeError("the compiler crashed")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    return calls


def load_compiled(save_model: SaveModel, **changes: object) -> LoadedModel:
    config = InferenceConfig(model=str(save_model()), device="cpu", dtype="float32", torch_compile=True)
    return load(config.replace(**changes))


def test_a_compiled_forward_is_used_and_the_module_stays_itself(
    save_model: SaveModel, compiled_with: list[dict[str, object]]
) -> None:
    loaded = load_compiled(save_model)
    assert loaded.report.got["torch_compile"] == "on"
    assert [each["dynamic"] for each in compiled_with] == [True]
    assert type(loaded.model).__name__ == "Qwen3ForCausalLM"
    for use_cache in (True, False):
        with pytest.raises(RuntimeError, match="the compiler crashed"):
            loaded.model(input_ids=torch.tensor([[1, 2]]), use_cache=use_cache)


@pytest.fixture
def graphs(compile_with: CompileWith) -> list[torch.fx.GraphModule]:
    """What is compiled, in that order; it runs as it was traced."""
    traced: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        traced.append(graph)
        return graph.forward

    compile_with(backend)
    return traced


def attentions(graph: torch.fx.GraphModule) -> int:
    """How many layers a graph holds."""
    return sum(getattr(node.target, "__name__", "") == "scaled_dot_product_attention" for node in graph.graph.nodes)


def test_without_a_cache_one_graph_of_one_layer_serves_all_of_them_and_batches_of_any_size(
    save_model: SaveModel, graphs: list[torch.fx.GraphModule]
) -> None:
    loaded, plain = load_compiled(save_model), load(InferenceConfig(model=str(save_model()), dtype="float32"))
    assert loaded.model.config.num_hidden_layers > 1
    with torch.inference_mode():
        for rows, tokens in ((2, 5), (3, 7), (5, 4)):
            ids = torch.arange(rows * tokens).reshape(rows, tokens) % loaded.model.config.vocab_size
            got = loaded.model(input_ids=ids, use_cache=False).logits
            assert torch.allclose(got, plain.model(input_ids=ids, use_cache=False).logits, atol=1e-5)
    assert [attentions(graph) for graph in graphs] == [1]


def test_with_a_cache_one_graph_holds_all_layers(save_model: SaveModel, graphs: list[torch.fx.GraphModule]) -> None:
    loaded = load_compiled(save_model)
    with torch.inference_mode():
        loaded.model(input_ids=torch.tensor([[1, 2], [3, 4]]), use_cache=True)
    assert [attentions(graph) for graph in graphs] == [loaded.model.config.num_hidden_layers]


@pytest.mark.parametrize("use_cache", [True, False])
def test_the_compilers_advice_ends_no_compilation(
    save_model: SaveModel, compile_with: CompileWith, use_cache: bool
) -> None:
    advice: list[str] = []

    def backend(graph: torch.fx.GraphModule, _: object) -> object:
        advice.append("TensorFloat32 tensor cores are not enabled")
        warnings.warn_explicit(advice[-1], UserWarning, "compile_fx.py", 1, module="torch._inductor.compile_fx")
        return graph.forward

    compile_with(backend)
    loaded = load_compiled(save_model)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        loaded.model(input_ids=torch.tensor([[1, 2], [3, 4]]), use_cache=use_cache)
    assert advice


def test_a_layer_that_no_graph_can_hold_is_compiled_in_parts(
    save_model: SaveModel, graphs: list[torch.fx.GraphModule]
) -> None:
    loaded = load_compiled(save_model)
    for layer in loaded.model.model.layers:
        layer.mlp.register_forward_pre_hook(lambda *_: torch._dynamo.graph_break())
    with torch.inference_mode():
        loaded.model(input_ids=torch.tensor([[1, 2], [3, 4]]), use_cache=False)
    assert len(graphs) > 1
    assert loaded.report.got["torch_compile"] == "on"


@pytest.mark.usefixtures("compiled_with")
def test_dropping_it_restores_the_eager_forward_and_says_why(
    save_model: SaveModel, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_compiled(save_model)
    with caplog.at_level(logging.WARNING, "evalsuite"):
        drop_compile(loaded, "the compiler crashed")
    assert loaded.report.got["torch_compile"] == "off"
    assert loaded.report.asked["torch_compile"] == "on"
    assert loaded.report.fallbacks[-1].reason == "the compiler crashed"
    assert "torch_compile: on -> off: the compiler crashed" in caplog.text
    for use_cache in (True, False):
        logits = loaded.model(input_ids=torch.tensor([[1, 2]]), use_cache=use_cache).logits
        assert logits.shape == (1, 2, loaded.model.config.vocab_size)


@pytest.mark.usefixtures("compiled_with")
def test_dropping_it_twice_is_one_step(save_model: SaveModel) -> None:
    loaded = load_compiled(save_model)
    drop_compile(loaded, "once")
    before = loaded.report
    drop_compile(loaded, "twice")
    assert loaded.report is before


@pytest.mark.usefixtures("compiled_with")
def test_a_compile_that_fails_is_an_error_where_strict(save_model: SaveModel) -> None:
    loaded = load_compiled(save_model, strict_config=True)
    with pytest.raises(ConfigError, match=r"the compiler crashed.*Leave out --compile"):
        drop_compile(loaded, "the compiler crashed")


def test_a_torch_that_cannot_compile_is_survived(save_model: SaveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(*_: object, **__: object) -> None:
        raise RuntimeError("torch.compile is not supported on Python 3.99")

    monkeypatch.setattr(torch, "compile", unsupported)
    loaded = load_compiled(save_model)
    assert loaded.report.got["torch_compile"] == "off"
    assert "not supported on Python 3.99" in loaded.report.fallbacks[-1].reason


def test_without_a_compiler_it_is_dropped_at_once(save_model: SaveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capability.shutil, "which", lambda name: None)
    loaded = load_compiled(save_model)
    assert loaded.report.got["torch_compile"] == "off"
    assert "C++ compiler" in loaded.report.fallbacks[-1].reason
    assert "forward" not in vars(loaded.model)
    with pytest.raises(ConfigError, match=r"C\+\+ compiler.*Leave out --compile"):
        load_compiled(save_model, strict_config=True)
