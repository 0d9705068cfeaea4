"""A model that the caller loaded himself: taken as it is, left as it was, refused where it would answer wrongly."""

from __future__ import annotations

import copy
import gc
import logging
import weakref
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchmarks.mmlu_eval import compute_logprobs_for_all_choices_batched, predict_mmlu_single
from benchmarks.viquad_eval import generate_viquad_answers_batched
from evalsuite.errors import ConfigError, ModelLoadError
from evalsuite.loading import adopt, adopting
from evalsuite.model_utils import load_qwen_model, load_report
from evalsuite.nano import MODEL_DIR
from tests.interface.conftest import Pair
from tests.tiny import make_model, tiny_tokenizer

PROMPT = "Question\nA. x\nB. y\nAnswer:"


@pytest.fixture(scope="module")
def own() -> Pair:
    """nano by the public classes, as a user loads any model."""
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype=torch.float32)
    return model, AutoTokenizer.from_pretrained(MODEL_DIR)


def test_a_model_loaded_by_the_caller_answers_as_one_loaded_here(own: Pair, nano: Pair) -> None:
    assert compute_logprobs_for_all_choices_batched(*own, PROMPT, ["x", "y"]) == pytest.approx(
        compute_logprobs_for_all_choices_batched(*nano, PROMPT, ["x", "y"]), abs=1e-5
    )


def test_its_report_says_who_loaded_it_and_what_it_runs_on(own: Pair) -> None:
    report = adopt(*own).report
    assert report.notes[0].startswith("loaded by the caller")
    assert (report.got["device"], report.got["dtype"], report.got["attention"]) == ("cpu", "float32", "sdpa")
    assert report.parameters == 984_128
    assert load_report(own[0]) is report


def test_it_is_left_as_it_was() -> None:
    model, tokenizer = make_model("qwen3"), copy.deepcopy(tiny_tokenizer())
    tokenizer.pad_token = None
    model.generation_config.update(do_sample=True, temperature=0.6, top_k=20)
    before, settings = set(vars(model)), model.generation_config.to_dict()
    compute_logprobs_for_all_choices_batched(model, tokenizer, PROMPT, ["x", "y"])
    generate_viquad_answers_batched(model, tokenizer, ["x"], ["y"], max_new_tokens=2, use_batching=False)
    assert set(vars(model)) == before
    assert hook_count(model) == 0
    assert model.generation_config.to_dict() == settings
    assert tokenizer.pad_token is None
    assert all(parameter.requires_grad for parameter in model.parameters())
    copy.deepcopy(model)


def test_a_model_in_training_mode_is_switched_to_eval_mode_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = make_model("gpt2").train()  # with dropout
    expected = compute_logprobs_for_all_choices_batched(make_model("gpt2"), tiny_tokenizer(), PROMPT, ["x", "y", "z"])
    with caplog.at_level(logging.WARNING, "evalsuite"):
        got = compute_logprobs_for_all_choices_batched(model, tiny_tokenizer(), PROMPT, ["x", "y", "z"])
    assert got == pytest.approx(expected, abs=1e-5)
    assert not model.training
    assert [record.getMessage() for record in caplog.records if "training mode" in record.getMessage()] != []


def test_a_thousand_calls_leave_no_hook_and_inspect_the_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, tokenizer = make_model("qwen3"), tiny_tokenizer()
    inspected, hooks_within = [], []
    check = adopting._check_model
    monkeypatch.setattr(adopting, "_check_model", lambda model: inspected.append(model) or check(model))
    model.model.register_forward_hook(lambda *_: hooks_within.append(hook_count(model)))
    for _ in range(1000):
        predict_mmlu_single(model, tokenizer, "?", ["a", "b", "c", "d"])
    assert len(hooks_within) == 1000  # one forward a question
    assert len(set(hooks_within)) == 1
    assert hook_count(model) == 0
    assert len(inspected) == 1


def test_a_compiled_forward_that_fails_is_given_up_once_and_the_report_keeps_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    failures = []

    def broken(*_: object, **__: object) -> Any:
        def call(*_: object, **__: object) -> None:
            failures.append(1)
            raise torch._dynamo.exc.TorchDynamoException("the compiler crashed")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    model, tokenizer, _ = load_qwen_model("nano", dtype="float32", torch_compile=True, device="cpu")
    expected = compute_logprobs_for_all_choices_batched(model, tokenizer, PROMPT, ["x", "y"])
    assert compute_logprobs_for_all_choices_batched(model, tokenizer, PROMPT, ["x", "y"]) == expected
    assert len(failures) == 1
    report = load_report(model)
    assert (report.asked["torch_compile"], report.got["torch_compile"]) == ("on", "off")
    assert "the compiler crashed" in report.fallbacks[-1].reason


def test_nothing_keeps_an_adopted_model_alive() -> None:
    model = make_model("qwen3")
    compute_logprobs_for_all_choices_batched(model, tiny_tokenizer(), PROMPT, ["x", "y"])
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None


def test_a_model_may_change_its_dtype_between_calls() -> None:
    model = make_model("qwen3")
    compute_logprobs_for_all_choices_batched(model, tiny_tokenizer(), PROMPT, ["x", "y"])
    model.to(torch.bfloat16)
    compute_logprobs_for_all_choices_batched(model, tiny_tokenizer(), PROMPT, ["x", "y"])
    assert load_report(model).got["dtype"] == "bfloat16"


def test_generation_ends_where_the_callers_own_settings_say(own: Pair) -> None:
    model, tokenizer = copy.deepcopy(own[0]), own[1]
    model.generation_config.eos_token_id = [5, 7]
    assert adopt(model, tokenizer).eos_token_ids == (5, 7, tokenizer.eos_token_id)


class Wrapper(torch.nn.Module):
    """As PEFT, DataParallel and torch.compile wrap a model: their forwards hide which inputs the model takes."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (Wrapper, r"expected a transformers model .* got Wrapper\. Of a wrapper, give the model inside"),
        (torch.compile, r"expected a transformers model .*torch\.compile: model\._orig_mod"),
        (lambda model: model.model, r"Qwen3Model has no projection onto the vocabulary\. Load it by AutoModelForC"),
        (lambda model: model.to("meta"), r"expected all weights on one device, found them on meta"),
        (lambda _: tiny_tokenizer(), r"model: expected a transformers model .* got TokenizersBackend"),
    ],
    ids=["wrapper", "compiled", "headless", "meta", "tokenizer"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch, importing its own compiler
def test_a_model_that_would_not_run_rightly_is_refused_with_a_remedy(spoil: Any, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message):
        compute_logprobs_for_all_choices_batched(spoil(make_model("qwen3")), tiny_tokenizer(), PROMPT, ["x", "y"])


def test_a_model_over_two_devices_is_refused() -> None:
    model = make_model("qwen3")
    model.model.layers[1].to("meta")
    with pytest.raises(ModelLoadError, match=r"one device, found them on cpu, meta\. .*device_map"):
        adopt(model, tiny_tokenizer())


def test_a_dtype_that_strategies_do_not_run_in_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"dtype: expected one of bfloat16, float16, float32; got 'float64'"):
        adopt(make_model("qwen3").double(), tiny_tokenizer())


def test_another_models_tokenizer_is_refused(nano: Pair) -> None:
    with pytest.raises(ModelLoadError, match=r"tokenizer: its 3,\d\d\d tokens exceed the model's 373 embeddings"):
        adopt(make_model("qwen3"), nano[1])
    with pytest.raises(ModelLoadError, match=r"tokenizer: expected a transformers tokenizer .* got NoneType"):
        adopt(make_model("qwen3"), None)


def hook_count(model: torch.nn.Module) -> int:
    """Hooks on the model itself and on its projection."""
    head = model.get_output_embeddings()
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in (model, head))
