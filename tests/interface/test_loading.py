"""`load_qwen_model` and `_INFERENCE_CONFIG` as the older guide uses them; what cannot be meant is named."""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen3ForCausalLM

from evalsuite import loading, model_utils
from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError, ModelLoadError
from evalsuite.model_utils import full_name, load_qwen_model, load_report
from evalsuite.nano import MODEL_DIR
from tests.tiny import make_model, tiny_tokenizer, wrap


@pytest.fixture(autouse=True)
def _settings_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_utils, "_INFERENCE_CONFIG", dict(model_utils._INFERENCE_CONFIG))


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[InferenceConfig]]:
    """What the loader was asked for; nothing is loaded."""
    configs: list[InferenceConfig] = []

    def load(config: InferenceConfig) -> Any:
        configs.append(config)
        return wrap(make_model("qwen3"))

    monkeypatch.setattr(loading, "load", load)
    yield configs


def test_a_model_its_tokenizer_and_the_path_of_its_weights_come_back() -> None:
    model, tokenizer, path = load_qwen_model("nano", dtype="fp32", device="cpu")
    assert isinstance(model, Qwen3ForCausalLM)
    assert not model.training
    assert tokenizer.encode("Hà Nội")
    assert Path(path) == MODEL_DIR


@pytest.mark.parametrize(
    ("dtype", "name"),
    [
        ("bf16", "bfloat16"),
        ("bfloat16", "bfloat16"),
        ("torch.bfloat16", "bfloat16"),
        ("BF16", "bfloat16"),
        (torch.bfloat16, "bfloat16"),
        ("fp16", "float16"),
        ("half", "float16"),
        ("torch.float16", "float16"),
        (torch.float16, "float16"),
        ("fp32", "float32"),
        ("float", "float32"),
        (torch.float32, "float32"),
    ],
    ids=repr,
)
def test_a_dtype_goes_by_any_of_its_names(asked: list[InferenceConfig], dtype: Any, name: str) -> None:
    load_qwen_model("nano", dtype=dtype)
    assert asked[0].dtype == name


@pytest.mark.parametrize("dtype", ["int8", "auto", torch.int8, 16, ""], ids=repr)
def test_a_dtype_that_models_do_not_run_in_is_named(dtype: Any) -> None:
    with pytest.raises(ConfigError, match=r"dtype: expected one of bfloat16, .*, or a torch\.dtype of these; got "):
        load_qwen_model("nano", dtype=dtype)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("Qwen3-4B", "Qwen/Qwen3-4B"),
        ("Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"),
        ("Qwen/Qwen3-4B", "Qwen/Qwen3-4B"),
        ("nano", "nano"),
        ("shape:qwen3-4b", "shape:qwen3-4b"),
        ("gpt2", "gpt2"),
        ("./Qwen3-4B", "./Qwen3-4B"),
        ("models/Qwen3-4B", "models/Qwen3-4B"),
    ],
)
def test_a_short_name_is_one_of_qwens(name: str, full: str) -> None:
    assert full_name(name) == full


def test_a_directory_of_a_short_name_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_model("qwen3").save_pretrained("Qwen3-4B")
    tiny_tokenizer().save_pretrained("Qwen3-4B")
    assert load_qwen_model("Qwen3-4B", device="cpu")[2] == "Qwen3-4B"


def test_a_checkpoint_replaces_the_weights(tmp_path: Path) -> None:
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    make_model("qwen3", seed=0).save_pretrained(base)
    make_model("qwen3", seed=1).save_pretrained(tuned)
    tiny_tokenizer().save_pretrained(base)
    model, _, path = load_qwen_model(str(base), checkpoint_path=tuned, dtype="float32", device="cpu")
    assert path == str(tuned)
    assert torch.equal(model.model.embed_tokens.weight, make_model("qwen3", seed=1).model.embed_tokens.weight)


def test_the_configuration_stands_for_what_a_call_leaves_open_and_an_edit_takes_effect(
    asked: list[InferenceConfig],
) -> None:
    load_qwen_model("nano")
    model_utils._INFERENCE_CONFIG["dtype"] = torch.float16
    model_utils._INFERENCE_CONFIG["use_flash_attention_2"] = True
    model_utils._INFERENCE_CONFIG["torch_compile"] = True
    model_utils._INFERENCE_CONFIG["low_cpu_mem_usage"] = False
    load_qwen_model("nano")
    load_qwen_model("nano", dtype="float32", use_flash_attention_2=False, torch_compile=False)
    found = [(c.dtype, c.attention, c.torch_compile, c.low_cpu_mem_usage) for c in asked]
    assert found == [
        ("bfloat16", "auto", False, True),
        ("float16", "flash_attention_2", True, False),
        ("float32", "sdpa", False, False),
    ]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("dtypes", "bf16", r"_INFERENCE_CONFIG: no such key: 'dtypes'\. It has dtype, use_flash_attention_2, "),
        ("dtype", None, r"dtype: expected one of .*; got None"),
        ("use_flash_attention_2", "yes", r"use_flash_attention_2: expected True, False, None; got 'yes'"),
        ("torch_compile", None, r"torch_compile: expected True, False; got None"),
        ("low_cpu_mem_usage", 1, r"low_cpu_mem_usage: expected True, False; got 1"),
    ],
)
def test_an_unknown_key_or_a_bad_value_in_the_configuration_is_named(key: str, value: Any, message: str) -> None:
    model_utils._INFERENCE_CONFIG[key] = value
    with pytest.raises(ConfigError, match=message):
        load_qwen_model("nano")


def test_flash_attention_that_cannot_be_had_is_named_once_and_survived(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "evalsuite"):
        for _ in range(2):
            model, _, _ = load_qwen_model("nano", use_flash_attention_2=True, dtype="float32", device="cpu")
    assert [record.getMessage() for record in caplog.records if record.name == "evalsuite"] == [
        "attention: flash_attention_2 -> sdpa: flash_attention_2 runs on CUDA devices, not on cpu"
    ]
    report = load_report(model)
    assert (report.asked["attention"], report.got["attention"]) == ("flash_attention_2", "sdpa")


def test_the_report_of_a_model_that_nobody_knows_is_an_error() -> None:
    with pytest.raises(ModelLoadError, match=r"nothing is known of this Qwen3ForCausalLM: .* load_qwen_model"):
        load_report(make_model("qwen3"))


def test_nothing_keeps_a_loaded_model_alive() -> None:
    model, _, _ = load_qwen_model("nano", device="cpu")
    alive = weakref.ref(model)
    del model
    gc.collect()
    assert alive() is None
