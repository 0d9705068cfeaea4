"""What comes out of `load` is the model that was saved, ready for inference."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from evalsuite.config import InferenceConfig
from evalsuite.loading import LoadedModel, load, load_model
from tests.loading.conftest import SaveModel
from tests.tiny import make_model


def on_cpu(model: Path | str, **changes: object) -> InferenceConfig:
    return InferenceConfig(model=str(model), device="cpu", dtype="float32").replace(**changes)


def logits(model: object) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([[5, 6, 7, 8]])).logits  # type: ignore[operator]


@pytest.mark.parametrize("architecture", ["qwen3", "llama", "gpt2"])
@pytest.mark.parametrize("shard_size", ["1GB", "20KB"])
def test_a_loaded_model_computes_what_the_saved_one_did(
    save_model: SaveModel, architecture: str, shard_size: str
) -> None:
    directory = save_model(architecture, shard_size=shard_size)
    assert len(list(directory.glob("*.safetensors"))) > 1 or shard_size == "1GB"
    loaded = load(on_cpu(directory))
    torch.testing.assert_close(logits(loaded.model), logits(make_model(architecture)))
    assert loaded.path == str(directory)


def test_a_loaded_model_is_for_inference_only(save_model: SaveModel) -> None:
    loaded = load(on_cpu(save_model()))
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert loaded.device == torch.device("cpu")


def test_load_model_gives_model_tokenizer_and_path(save_model: SaveModel) -> None:
    model, tokenizer, path = load_model(on_cpu(save_model()))
    assert path == str(save_model())
    assert tokenizer.is_fast
    assert model.config.vocab_size == len(tokenizer)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_weights_have_the_dtype_that_the_report_names(save_model: SaveModel, dtype: str) -> None:
    loaded = load(on_cpu(save_model(), dtype=dtype))
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {getattr(torch, loaded.report.got["dtype"])}


def test_the_report_says_what_was_asked_what_runs_and_what_it_took(save_model: SaveModel) -> None:
    loaded = load(on_cpu(save_model(), attention="eager", low_cpu_mem_usage=False))
    report = loaded.report
    assert report.asked == {
        "device": "cpu",
        "dtype": "float32",
        "attention": "eager",
        "torch_compile": "off",
        "low_cpu_mem_usage": "off",
    }
    assert report.got == {**report.asked, "low_cpu_mem_usage": "on"}
    assert report.fallbacks == ()
    assert any("low_cpu_mem_usage" in note and "ignores" in note for note in report.notes)
    assert report.parameters == sum(parameter.numel() for parameter in make_model("qwen3").parameters())
    assert report.load_seconds > 0
    assert report.peak_memory_bytes > 0
    assert json.loads(json.dumps(report.to_dict()))["got"] == dict(report.got)


def test_a_checkpoint_replaces_the_weights_and_lends_its_absent_tokenizer_from_the_model(
    save_model: SaveModel, own_model: SaveModel
) -> None:
    checkpoint = own_model(seed=1)
    for file in [*checkpoint.glob("tokenizer*"), checkpoint / "config.json"]:
        file.unlink()
    loaded = load(on_cpu(save_model(), checkpoint=str(checkpoint)))
    torch.testing.assert_close(logits(loaded.model), logits(make_model("qwen3", seed=1)))
    assert loaded.path == str(checkpoint)
    assert loaded.tokenizer.decode(loaded.tokenizer("Hà Nội A")["input_ids"]) == "Hà Nội A"


def test_a_checkpoint_without_a_generation_config_ends_texts_as_its_model_does(
    own_model: SaveModel,
) -> None:
    model, checkpoint = own_model(), own_model(seed=1)
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    (checkpoint / "generation_config.json").unlink()
    assert load(on_cpu(model, checkpoint=str(checkpoint))).eos_token_ids == (7, 9, 0)
    (checkpoint / "generation_config.json").write_text(json.dumps({"eos_token_id": 5}))
    assert load(on_cpu(model, checkpoint=str(checkpoint))).eos_token_ids == (5, 0)


@pytest.mark.parametrize("model_says", [True, False])
def test_a_checkpoint_of_weights_alone_ends_texts_as_its_model_does(own_model: SaveModel, model_says: bool) -> None:
    model, checkpoint = own_model(), own_model(seed=1)
    for file in checkpoint.iterdir():
        if file.suffix != ".safetensors":
            file.unlink()
    (model / "generation_config.json").write_text(json.dumps({"eos_token_id": [7, 9]}))
    if not model_says:
        (model / "generation_config.json").unlink()
    loaded = load(on_cpu(model, checkpoint=str(checkpoint)))
    assert loaded.eos_token_ids == ((7, 9, 0) if model_says else (0,))


def test_a_checkpoint_with_a_tokenizer_brings_it(save_model: SaveModel, own_model: SaveModel) -> None:
    checkpoint = own_model(seed=1)
    file = checkpoint / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "chat_template": "from the checkpoint"}))
    (checkpoint / "chat_template.jinja").unlink(missing_ok=True)
    loaded = load(on_cpu(save_model(), checkpoint=str(checkpoint)))
    assert loaded.tokenizer.chat_template == "from the checkpoint"


def test_sampling_settings_of_the_files_neither_warn_nor_matter(own_model: SaveModel) -> None:
    directory = own_model()
    settings = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "top_k": 20, "eos_token_id": [0, 7]}
    (directory / "generation_config.json").write_text(json.dumps(settings))
    loaded = load(on_cpu(directory))
    ids = torch.tensor([[5, 6, 7, 8]])
    runs = [
        loaded.model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=4, pad_token_id=1).tolist()
        for _ in range(2)
    ]
    assert runs[0] == runs[1]
    assert runs[0][0][4] == int(logits(loaded.model)[0, -1].argmax())


@pytest.mark.parametrize(("configured", "expected"), [([7, 9], (7, 9, 0)), (7, (7, 0)), (0, (0,)), (None, (0,))])
def test_every_configured_end_of_text_counts_and_the_tokenizers_too(
    own_model: SaveModel, configured: object, expected: tuple[int, ...]
) -> None:
    directory = own_model()
    (directory / "generation_config.json").write_text(json.dumps({"eos_token_id": configured}))
    assert load(on_cpu(directory)).eos_token_ids == expected


def test_a_tokenizer_without_padding_pads_with_end_of_text_and_says_so(own_model: SaveModel) -> None:
    directory = own_model()
    file = directory / "tokenizer_config.json"
    settings = json.loads(file.read_text())
    del settings["pad_token"]
    file.write_text(json.dumps(settings))
    loaded = load(on_cpu(directory))
    assert loaded.tokenizer.pad_token_id == loaded.tokenizer.eos_token_id == 0
    assert any("padding" in note for note in loaded.report.notes)
    assert not any("padding" in note for note in load(on_cpu(own_model("llama"))).report.notes)


def test_a_hub_model_comes_from_the_cache_when_the_hub_is_out_of_reach(
    save_model: SaveModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--someone--tiny"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    shutil.copytree(save_model(), cached / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    loaded = load(on_cpu("someone/tiny"))
    torch.testing.assert_close(logits(loaded.model), logits(make_model("qwen3")))


def fingerprint(config: InferenceConfig) -> str:
    loaded: LoadedModel = load(config)
    return loaded.report.model_fingerprint


def test_the_fingerprint_is_the_models_and_not_the_settings(save_model: SaveModel, own_model: SaveModel) -> None:
    one = fingerprint(on_cpu(save_model()))
    assert len(one) == 12
    assert one == fingerprint(on_cpu(own_model(), attention="eager", dtype="float16"))
    assert len({one, fingerprint(on_cpu(save_model(seed=1))), fingerprint(on_cpu(save_model("llama")))}) == 3


def test_the_fingerprint_changes_with_one_weight_one_setting_or_the_tokenizer(own_model: SaveModel) -> None:
    directory = own_model()
    seen = [fingerprint(on_cpu(directory))]
    weights = directory / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    seen.append(fingerprint(on_cpu(directory)))
    file = directory / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "rms_norm_eps": 1e-5}))
    seen.append(fingerprint(on_cpu(directory)))
    (directory / "chat_template.jinja").write_text("{{ messages }}")
    seen.append(fingerprint(on_cpu(directory)))
    assert len(set(seen)) == 4
