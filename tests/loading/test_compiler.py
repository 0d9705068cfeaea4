"""What a run compiles is compiled so that no bit of it depends on how long something took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from evalsuite.config import InferenceConfig
from evalsuite.generation._pooled import _compiled_choose
from evalsuite.loading.artefacts import INDUCTOR_VARIABLE, TRITON_VARIABLE
from evalsuite.loading.compiler import compiled
from evalsuite.loading.compiling import compile_forward
from evalsuite.loading.fusing import advice_is_no_error, decoder_layers, fused_layers, part_of_layer
from evalsuite.loading.report import StepsDown
from tests.tiny import make_model

CUDA = torch.cuda.is_available()
IDS = torch.tensor([[5, 6, 7, 8]])
TOKENS, HIDDEN = 16_384, 2_560
"""As many as a pack and a Qwen3-4B have: a norm of so many numbers has variants that take the same time."""


BY_HEURISTIC = {"deterministic": True}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, Any]]]:
    """With what each graph is given to torch's own compiler; it runs as it was traced."""
    given: list[dict[str, Any]] = []

    def compile_fx(
        graph: torch.fx.GraphModule, _: object, *, config_patches: dict[str, Any], **rest: object
    ) -> Callable[..., Any]:
        given.append(config_patches)
        return graph.forward

    monkeypatch.setattr("torch._inductor.compile_fx.compile_fx", compile_fx)
    torch._dynamo.reset()
    yield given
    torch._dynamo.reset()  # what ran as it was traced would do so in the tests to come


def through(forward: Callable[..., Any], hidden: torch.Tensor) -> torch.Tensor:
    return 2 * forward(hidden)


def test_layers_and_their_parts_are_compiled_by_heuristic(settings: list[dict[str, Any]]) -> None:
    model, parted = make_model("qwen3"), make_model("gpt2")
    with torch.inference_mode():
        for dynamic in (False, True):
            with fused_layers(model, dynamic=dynamic):
                model(IDS, use_cache=False)
            with fused_layers(parted, dynamic=dynamic):
                part_of_layer(through, decoder_layers(parted)[-1])(torch.ones(1, 4, 32))
    assert settings == [BY_HEURISTIC] * 4


@pytest.mark.parametrize("use_cache", [False, True])
def test_a_compiled_forward_is_compiled_by_heuristic(settings: list[dict[str, Any]], use_cache: bool) -> None:
    model = make_model("qwen3")
    assert compile_forward(model, InferenceConfig(torch_compile=True, device="cpu"), "cpu", StepsDown(strict=True))
    with torch.inference_mode():
        model(IDS, use_cache=use_cache)
    assert settings == [BY_HEURISTIC]


def test_the_choice_of_a_token_is_compiled_by_heuristic(settings: list[dict[str, Any]]) -> None:
    with torch.inference_mode():
        _compiled_choose.__wrapped__()(torch.randn(2, 16), None, None)
    assert settings == [BY_HEURISTIC]


def projected(hidden: torch.Tensor, gain: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What a decoder layer begins with: a norm, as transformers has it, and a matrix product."""
    wide = hidden.float()
    normed = gain * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)).to(hidden.dtype)
    return normed @ weight


def projected_and_doubled(hidden: torch.Tensor, gain: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return 2 * projected(hidden, gain, weight)


@pytest.fixture
def compiled_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing was compiled before, in this process or another, and nothing is kept."""
    for variable in (INDUCTOR_VARIABLE, TRITON_VARIABLE):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("compiled_anew")
def test_the_setting_holds_for_every_graph_of_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.graph import GraphLowering

    found: list[bool] = []

    def lowering(*_: object, **__: object) -> None:
        found.append(torch._inductor.config.deterministic)
        raise ZeroDivisionError  # what comes of it takes a compiler of C++, and long

    monkeypatch.setattr(GraphLowering, "__init__", lowering)
    for function in (torch.sin, torch.cos):
        with torch.inference_mode(), advice_is_no_error(), pytest.raises(torch._dynamo.exc.BackendCompilerFailed):
            compiled(function, dynamic=False)(torch.ones(4))
    assert found == [True, True]


def bits_before_and_after(
    compile_: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, torch.Tensor]:
    """What a graph gives before and after another one with the same norm is compiled, where of its variants first the
    one and then the other is the quickest."""
    from torch._inductor.runtime.triton_heuristics import CachingAutotuner

    sign = 1

    def bench(_: object, launcher: Any, *args: object, **kwargs: object) -> float:
        return float(sign * launcher.config.kwargs.get("R0_BLOCK", 0))

    monkeypatch.setattr(CachingAutotuner, "bench", bench)
    drawn = torch.Generator("cuda").manual_seed(0)
    kind: dict[str, Any] = {"device": "cuda", "dtype": torch.bfloat16}
    hidden = torch.randn(TOKENS, HIDDEN, generator=drawn, **kind)
    gain, weight = torch.ones_like(hidden[0]), torch.randn(HIDDEN, 256, generator=drawn, **kind)
    with torch.inference_mode(), advice_is_no_error():
        functions = projected, projected_and_doubled
        first, second = (compile_(function, dynamic=False, fullgraph=True) for function in functions)
        before = first(hidden, gain, weight)
        sign = -1
        second(hidden, gain, weight)
        after = first(hidden, gain, weight)
    return before, after


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
def test_a_graph_keeps_its_bits_when_another_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    before, after = bits_before_and_after(compiled, monkeypatch)
    assert torch.equal(before, after)


@pytest.mark.usefixtures("compiled_anew")
@pytest.mark.skipif(not CUDA, reason="needs a CUDA device")
@pytest.mark.skipif(not torch.__version__.startswith("2.11."), reason="seen in torch 2.11 alone")
def test_left_to_itself_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail."""
    before, after = bits_before_and_after(torch.compile, monkeypatch)
    assert not torch.equal(before, after)
