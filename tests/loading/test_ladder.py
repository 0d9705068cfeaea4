"""What cannot run is found, named, stepped over, logged once, and refused where the configuration is strict."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from evalsuite import capability
from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError, ModelLoadError
from evalsuite.loading import LoadedModel, load
from evalsuite.loading.ladder import RUNGS, attention_rungs
from tests.loading.conftest import SaveModel


def load_cpu(model: Path, **changes: object) -> LoadedModel:
    return load(InferenceConfig(model=str(model), device="cpu", dtype="float32").replace(**changes))


def able(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Pretend that the machine runs exactly these attentions."""
    monkeypatch.setattr(
        capability,
        "attention_reason",
        lambda name, device, dtype, *, head_dim: None if name in names else f"{name} is not here",
    )


def test_auto_takes_the_first_rung_that_runs(save_model: SaveModel) -> None:
    loaded = load_cpu(save_model())
    assert loaded.report.got["attention"] == loaded.model.config._attn_implementation == "sdpa"
    assert [(step.asked, step.got) for step in loaded.report.fallbacks] == [
        ("flash_attention_3", "sdpa"),
        ("flash_attention_2", "sdpa"),
        ("flex_attention", "sdpa"),
    ]


def test_the_ladder_keeps_its_order_from_the_rung_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, *RUNGS)
    assert [name for name, _ in attention_rungs("auto", "cpu", "float32", head_dim=8)] == [
        "flash_attention_3",
        "flash_attention_2",
        "flex_attention",
        "sdpa",
        "eager",
    ]
    assert [name for name, _ in attention_rungs("sdpa", "cpu", "float32", head_dim=8)] == ["sdpa", "eager"]


def test_flex_attention_runs_only_when_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch, "flex_attention", "sdpa", "eager")
    by_auto = dict(attention_rungs("auto", "cpu", "float32", head_dim=8))
    by_name = dict(attention_rungs("flex_attention", "cpu", "float32", head_dim=8))
    assert by_auto["flex_attention"] is not None
    assert "new batch shape" in by_auto["flex_attention"]
    assert by_name["flex_attention"] is None


def test_flex_attention_that_is_named_on_the_cpu_becomes_sdpa_which_does_the_same(save_model: SaveModel) -> None:
    loaded = load_cpu(save_model(), attention="flex_attention")
    assert loaded.model.config._attn_implementation == "sdpa"
    (step,) = loaded.report.fallbacks
    assert (step.asked, step.got) == ("flex_attention", "sdpa")
    assert step.reason == "flex_attention is used on CUDA only: on cpu, sdpa does the same without compiling kernels"
    with pytest.raises(ConfigError, match="flex_attention cannot be had: flex_attention is used on CUDA only"):
        load_cpu(save_model(), attention="flex_attention", strict_config=True)


def test_a_named_attention_without_its_package_falls_back_with_one_warning(
    save_model: SaveModel, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "evalsuite"):
        loaded = load_cpu(save_model(), attention="flash_attention_2")
        load_cpu(save_model(), attention="flash_attention_2")
    assert loaded.report.asked["attention"] == "flash_attention_2"
    assert loaded.report.got["attention"] == "sdpa"
    assert [record.getMessage() for record in caplog.records if record.name == "evalsuite"] == [
        "attention: flash_attention_2 -> sdpa: flash_attention_2 runs on CUDA devices, not on cpu"
    ]


def test_auto_steps_down_without_a_warning(save_model: SaveModel, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "evalsuite"):
        load_cpu(save_model())
    levels = {record.levelno for record in caplog.records if record.name == "evalsuite"}
    assert levels == {logging.INFO}


def test_a_named_attention_that_cannot_be_had_is_an_error_where_strict(save_model: SaveModel) -> None:
    with pytest.raises(ConfigError, match=r"flash_attention_2 cannot be had: .*--attention auto.*--strict-config"):
        load_cpu(save_model(), attention="flash_attention_2", strict_config=True)


def test_auto_may_step_down_where_strict(save_model: SaveModel) -> None:
    assert load_cpu(save_model(), strict_config=True).report.got["attention"] == "sdpa"


def test_a_load_that_fails_for_its_attention_is_survived(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine claims to run FlashAttention; transformers itself, inside from_pretrained, finds no package."""
    able(monkeypatch, "flash_attention_2", "sdpa", "eager")
    loaded = load_cpu(save_model(), attention="flash_attention_2")
    assert loaded.report.got["attention"] == loaded.model.config._attn_implementation == "sdpa"
    step = loaded.report.fallbacks[0]
    assert (step.asked, step.got) == ("flash_attention_2", "sdpa")
    assert step.reason.startswith("ImportError: FlashAttention2")


def test_an_attention_that_loads_but_does_not_run_is_stepped_over_without_loading_again(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = []
    from_pretrained = AutoModelForCausalLM.from_pretrained

    def counted(*args: Any, **kwargs: Any) -> Any:
        loads.append(kwargs["attn_implementation"])
        return from_pretrained(*args, **kwargs)

    def no_kernel(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: no kernel image is available")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", counted)
    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", no_kernel)
    loaded = load_cpu(save_model())
    assert loads == ["sdpa"]
    assert loaded.report.got["attention"] == loaded.model.config._attn_implementation == "eager"
    assert "no kernel image" in loaded.report.fallbacks[-1].reason


@pytest.mark.filterwarnings("error")
def test_an_attention_that_warns_is_taken_where_warnings_are_errors(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = torch.nn.functional.scaled_dot_product_attention

    def deprecated(*args: Any, **kwargs: Any) -> torch.Tensor:
        warnings.warn("this still works for now", DeprecationWarning, stacklevel=2)
        return attend(*args, **kwargs)

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", deprecated)
    loaded = load_cpu(save_model())
    assert loaded.report.got["attention"] == "sdpa"
    with pytest.raises(DeprecationWarning, match="still works"):  # no batch is spared it
        loaded.model(input_ids=torch.zeros(1, 2, dtype=torch.long))


def test_no_rung_left_is_an_error_that_lists_them_all(save_model: SaveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    able(monkeypatch)
    with pytest.raises(ModelLoadError, match=r"flash_attention_3: flash_attention_3 is not here; .*eager: eager is"):
        load_cpu(save_model())


def test_the_models_own_head_dimension_is_what_is_probed(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = set()

    def reason(name: str, device: str, dtype: str, *, head_dim: int) -> str | None:
        seen.add(head_dim)
        return None if name == "sdpa" else "no"

    monkeypatch.setattr(capability, "attention_reason", reason)
    load_cpu(save_model())
    load_cpu(save_model("gpt2"))
    assert seen == {8}


def test_a_dtype_that_the_device_lacks_becomes_float32(save_model: SaveModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        capability, "dtype_reason", lambda dtype, device: None if dtype == "float32" else "no such arithmetic"
    )
    loaded = load_cpu(save_model(), dtype="bfloat16")
    assert loaded.report.got["dtype"] == "float32"
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    assert next(step for step in loaded.report.fallbacks if step.what == "dtype").reason == "no such arithmetic"
    with pytest.raises(ConfigError, match=r"bfloat16 cannot be had: .*Ask for --dtype float32"):
        load_cpu(save_model(), dtype="bfloat16", strict_config=True)


def test_a_device_that_is_absent_becomes_the_best_there_is(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    loaded = load_cpu(save_model(), device="cuda:1")
    assert loaded.report.asked["device"] == "cuda:1"
    assert loaded.report.got["device"] == "cpu"
    assert loaded.report.fallbacks[0].what == "device"
    with pytest.raises(ConfigError, match=r"cuda:1 cannot be had: .*Ask for --device cpu"):
        load_cpu(save_model(), device="cuda:1", strict_config=True)
