"""The packed strategy on every kind of model: sliding windows, soft caps, grouped heads; and models that it refuses."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    GptOssForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.runner import model_shape
from evalsuite.scoring._packing import PackForward
from evalsuite.types import ChoiceScores, EncodedChoices
from tests.tiny import EOS, PAD, WINDOW, tiny_loaded, tiny_tokenizer, wrap

SLIDING = 5
COMMON = {
    "vocab_size": len(tiny_tokenizer()),
    "bos_token_id": None,
    "eos_token_id": EOS,
    "pad_token_id": PAD,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "initializer_range": 0.3,
}
_LLAMA_LIKE = {**COMMON, "intermediate_size": 48, "num_key_value_heads": 2, "max_position_embeddings": WINDOW}


def family(name: str) -> Any:
    torch.manual_seed(0)
    if name == "gemma2":  # every other layer slides, scores are capped
        config = Gemma2Config(**_LLAMA_LIKE, head_dim=8, sliding_window=SLIDING, attn_implementation="eager")
        return Gemma2ForCausalLM(config).eval()
    if name == "gemma3":
        return Gemma3ForCausalLM(Gemma3TextConfig(**_LLAMA_LIKE, head_dim=8, sliding_window=SLIDING)).eval()
    if name == "mistral":
        return MistralForCausalLM(MistralConfig(**_LLAMA_LIKE, sliding_window=SLIDING)).eval()
    if name == "qwen2":
        config = Qwen2Config(**_LLAMA_LIKE, use_sliding_window=True, sliding_window=SLIDING, max_window_layers=1)
        return Qwen2ForCausalLM(config).eval()
    if name == "gpt_neox":
        config = GPTNeoXConfig(**COMMON, intermediate_size=48, max_position_embeddings=WINDOW)
        return GPTNeoXForCausalLM(config).eval()
    if name == "bloom":  # position biases of its own, outside the attention interface
        return BloomForCausalLM(BloomConfig(**COMMON)).eval()
    # Attention sinks: a layer argument that tree attention does not know.
    sinks = GptOssConfig(**_LLAMA_LIKE, head_dim=8, num_local_experts=2, num_experts_per_tok=1, sliding_window=SLIDING)
    return GptOssForCausalLM(sinks).eval()


FAMILIES = ("gemma2", "gemma3", "mistral", "qwen2", "gpt_neox")
REFUSED = {
    "bloom": "does not take its attention from transformers' attention interface",
    "gpt_oss": "s_aux",
}
token = st.integers(2, len(tiny_tokenizer()) - 1)
LOADED: dict[str, Any] = {}


def loaded(name: str) -> Any:
    if name not in LOADED:
        LOADED[name] = wrap(family(name))
    return LOADED[name]


def score(model: Any, strategy: str, batch: list[EncodedChoices], **options: Any) -> dict[str, ChoiceScores]:
    with TransformersEngine(model, ExecutionOptions(**options)) as engine:
        return {outcome.id: outcome for outcome in engine.score(batch, strategy)}


@st.composite
def requests(draw: st.DrawFn) -> list[EncodedChoices]:
    """Contexts that share a beginning longer than the window, and choices of one to three tokens."""
    prefix = tuple(draw(st.lists(token, min_size=0, max_size=2 * SLIDING)))
    contexts = draw(st.lists(st.lists(token, min_size=1, max_size=2 * SLIDING).map(tuple), min_size=1, max_size=5))
    choices = st.lists(st.lists(token, min_size=1, max_size=3).map(tuple), min_size=2, max_size=4).map(tuple)
    return [
        EncodedChoices(id=str(i), context_ids=prefix + context, continuation_ids=draw(choices))
        for i, context in enumerate(contexts)
    ]


@pytest.mark.parametrize("name", FAMILIES)
@given(batch=requests(), budget=st.sampled_from([16, 64, 1_000]))
def test_every_family_scores_as_the_reference_does(name: str, batch: list[EncodedChoices], budget: int) -> None:
    expected, got = (
        score(loaded(name), REFERENCE_STRATEGY, batch),
        score(loaded(name), "packed", batch, token_budget=budget),
    )
    assert got.keys() == expected.keys()
    for id_, outcome in expected.items():
        assert got[id_].logprobs == pytest.approx(outcome.logprobs, abs=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_a_model_that_cannot_run_on_a_tree_is_padded_and_the_reason_recorded(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    batch = [EncodedChoices(id=str(i), context_ids=(2, 3, 4 + i), continuation_ids=((9,), (11,))) for i in range(3)]
    expected = score(loaded(name), REFERENCE_STRATEGY, batch)
    attention = loaded(name).model.config._attn_implementation
    with TransformersEngine(loaded(name), ExecutionOptions()) as engine:
        got = {outcome.id: outcome for outcome in engine.score(batch, "packed")}
        [fallback] = engine.fallbacks
    for id_, outcome in expected.items():
        assert got[id_].logprobs == pytest.approx(outcome.logprobs, abs=1e-4)
    assert (fallback.what, fallback.asked, fallback.got) == ("strategy", "packed", "padded")
    assert REFUSED[name] in fallback.reason
    assert len([r for r in caplog.records if REFUSED[name] in r.message]) == 1
    assert loaded(name).model.config._attn_implementation == attention, "the model is as it was"


def test_a_pack_that_runs_out_of_memory_is_cut_in_two_and_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [
        EncodedChoices(id=str(i), context_ids=(2, 3, *[4 + i] * 6), continuation_ids=((9,), (11,))) for i in range(12)
    ]
    expected = score(tiny_loaded("qwen3"), "packed", batch)
    model, tried = tiny_loaded("qwen3").model, []
    real = type(model).forward

    def forward(self, input_ids, **kwargs):  # type: ignore[no-untyped-def]
        tried.append(input_ids.numel())
        if input_ids.numel() > 40:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
        return real(self, input_ids=input_ids, **kwargs)

    monkeypatch.setattr(type(model), "forward", forward)
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        got = {outcome.id: outcome for outcome in engine.score(batch, "packed")}
        fallbacks = [fallback.what for fallback in engine.fallbacks]
    assert got.keys() == expected.keys()
    for id_, outcome in expected.items():
        assert got[id_].logprobs == pytest.approx(outcome.logprobs, abs=1e-5)
    assert fallbacks == ["batch"]
    assert tried[0] == 74 and max(tried[1:]) <= 40


def test_the_next_pack_is_under_way_before_results_are_drawn() -> None:
    batch = [EncodedChoices(id=str(i), context_ids=(2 + i,) * 8, continuation_ids=((9,), (11,))) for i in range(8)]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions(token_budget=16)) as engine:
        next(engine.score(batch, "packed"))
        assert engine.counters.forward_passes == 2


def test_duplicates_are_computed_once_and_answered_each() -> None:
    batch = [EncodedChoices(id=str(i), context_ids=(2, 3, 4), continuation_ids=((9,), (11,))) for i in range(5)]
    with TransformersEngine(tiny_loaded("qwen3"), ExecutionOptions()) as engine:
        outcomes = list(engine.score(batch, "packed"))
        assert engine.counters.tokens_computed == 3
    assert len({outcome.logprobs for outcome in outcomes}) == 1
    assert sorted(outcome.id for outcome in outcomes) == ["0", "1", "2", "3", "4"]


def test_a_run_that_is_given_up_half_way_leaves_the_model_as_it_was() -> None:
    batch = [EncodedChoices(id=str(i), context_ids=(2 + i,) * 8, continuation_ids=((9,), (11,))) for i in range(8)]
    model = tiny_loaded("llama").model
    with TransformersEngine(tiny_loaded("llama"), ExecutionOptions(token_budget=16)) as engine:
        stream = engine.score(batch, "packed")
        next(stream)
        assert model.config._attn_implementation == "sdpa"
        model(torch.tensor([[2, 3]]))  # while the stream waits


def test_a_kernel_that_cannot_be_launched_gives_way_to_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    class OutOfResources(Exception):
        """As Triton raises where a GPU has too little shared memory."""

    OutOfResources.__module__ = "triton.runtime.errors"

    def unlaunchable(*_: Any, **__: Any) -> Any:
        raise OutOfResources("out of resource: shared memory, Required: 166912, Hardware limit: 101376")

    batch = [EncodedChoices(id=str(i), context_ids=(2, 3, 4 + i), continuation_ids=((9,), (11,))) for i in range(3)]
    expected = score(tiny_loaded("llama"), REFERENCE_STRATEGY, batch)
    monkeypatch.setitem(
        sys.modules, "evalsuite.attention.fused", SimpleNamespace(fused_attention=lambda *_: unlaunchable)
    )
    real = PackForward.__init__

    def with_kernel(self: PackForward, runner: Any) -> None:
        real(self, runner)
        self._fused_kernel = True

    monkeypatch.setattr(PackForward, "__init__", with_kernel)
    with TransformersEngine(tiny_loaded("llama"), ExecutionOptions()) as engine:
        got = {outcome.id: outcome for outcome in engine.score(batch, "packed")}
        [fallback] = engine.fallbacks
    for id_, outcome in expected.items():
        assert got[id_].logprobs == pytest.approx(outcome.logprobs, abs=1e-4)
    assert (fallback.what, fallback.got) == ("tree_attention", "by segment")
    assert "out of resource: shared memory" in fallback.reason


def test_layers_of_several_widths_are_counted_layer_by_layer() -> None:
    gemma4 = pytest.importorskip("transformers.models.gemma4.configuration_gemma4", reason="needs Gemma 4")
    config = gemma4.Gemma4TextConfig(
        **_LLAMA_LIKE,
        head_dim=8,
        global_head_dim=16,
        sliding_window=SLIDING,
        layer_types=["sliding_attention", "full_attention"],
        num_kv_shared_layers=0,
        hidden_size_per_layer_input=0,
        vocab_size_per_layer_input=len(tiny_tokenizer()),
    )
    model = wrap(AutoModelForCausalLM.from_config(config).eval())
    batch = [
        EncodedChoices(id=str(i), context_ids=(2, 3, *[4 + i] * 9), continuation_ids=((9,), (11,))) for i in range(3)
    ]
    expected = score(model, REFERENCE_STRATEGY, batch)
    for strategy in ("padded", "packed"):
        got = score(model, strategy, batch)
        for id_, outcome in expected.items():
            assert got[id_].logprobs == pytest.approx(outcome.logprobs, abs=1e-4)
    assert model_shape(model.model).query_width == 4 * 8 + 4 * 16
