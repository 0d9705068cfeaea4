"""Every way a model cannot be loaded ends in an error that names the place and the remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, T5Config

from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError, ModelFilesError, ModelLoadError
from evalsuite.loading import load, memory
from tests.loading.conftest import SaveModel


def load_cpu(model: Path | str, **changes: object) -> None:
    load(InferenceConfig(model=str(model), device="cpu", dtype="float32").replace(**changes))


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_no_such_path(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"no such directory: .*gone.*hub name such as"):
        load_cpu(tmp_path / "gone")


def test_a_file_instead_of_a_directory(save_model: SaveModel) -> None:
    with pytest.raises(ModelLoadError, match="is a file; give the directory"):
        load_cpu(save_model() / "model.safetensors")


def test_no_such_checkpoint(save_model: SaveModel, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"checkpoint: no such directory: .*gone"):
        load_cpu(save_model(), checkpoint=str(tmp_path / "gone"))


@pytest.mark.parametrize(
    ("offline", "said"),
    [
        (True, "nor in the hub's cache, and HF_HUB_OFFLINE is set"),
        (False, r"and the hub was not reached: \[Errno -2\] Name or service not known"),
    ],
)
def test_a_hub_that_is_not_reached_is_no_misspelt_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: bool, said: str
) -> None:
    import huggingface_hub

    def unreached(*_: object, **__: object) -> None:
        raise OSError("[Errno -2] Name or service not known")

    def snapshot_download(*_: object, **__: object) -> None:
        try:
            unreached()
        except OSError as error:
            raise huggingface_hub.errors.LocalEntryNotFoundError("Got: ConnectError. Check your connection") from error

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", offline)
    if not offline:
        monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(
        ModelFilesError, match=rf"'someone/tiny' is no directory here, {said}\. .*HF_HUB_OFFLINE=1"
    ) as caught:
        load_cpu("someone/tiny")
    assert "spelling" not in str(caught.value)


def test_a_hub_that_answers_tells_what_it_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def snapshot_download(*_: object, **__: object) -> None:
        raise OSError("404 Client Error. Repository Not Found")  # as its RepositoryNotFoundError is one

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    with pytest.raises(ModelFilesError, match=r"the hub gave no such model: 404 Client Error.*Check the spelling"):
        load_cpu("someone/tiny")


def test_a_name_that_no_hub_could_have() -> None:
    with pytest.raises(ModelLoadError, match="neither a directory here nor a valid hub name"):
        load_cpu("some one/tiny")


def test_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"config\.json: no such file"):
        load_cpu(tmp_path)


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        (T5Config(), "t5 is an encoder-decoder"),
        (BertConfig(architectures=["BertForMaskedLM"]), "it was saved as BertForMaskedLM"),
        (BertConfig(), "bert reads in both directions"),
    ],
    ids=["t5", "saved-as-masked-lm", "bert"],
)
def test_not_a_causal_language_model(tmp_path: Path, config: object, reason: str) -> None:
    config.save_pretrained(tmp_path)  # type: ignore[attr-defined]
    with pytest.raises(ModelLoadError, match=f"not a causal language model: {reason}"):
        load_cpu(tmp_path)


def test_an_architecture_that_transformers_does_not_know(own_model: SaveModel) -> None:
    directory = own_model()
    edit(directory / "config.json", model_type="qwen99")
    with pytest.raises(ModelLoadError, match=r"config\.json: transformers does not know this architecture: .*qwen99"):
        load_cpu(directory)


def test_a_missing_tokenizer(own_model: SaveModel) -> None:
    directory = own_model()
    for file in directory.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelLoadError, match=r"tokenizer missing: expected one of tokenizer\.json.*Copy"):
        load_cpu(directory)


def test_a_damaged_tokenizer(own_model: SaveModel) -> None:
    directory = own_model()
    (directory / "tokenizer.json").write_text('{"model": 3}')
    with pytest.raises(ModelLoadError, match=r"the tokenizer does not load: .*Copy"):
        load_cpu(directory)


def test_a_tokenizer_of_another_model(own_model: SaveModel) -> None:
    directory = own_model()
    weights = load_file(directory / "model.safetensors")
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:100].clone()
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    edit(directory / "config.json", vocab_size=100)
    with pytest.raises(ModelLoadError, match=r"its \d+ tokens exceed the model's 100 embeddings"):
        load_cpu(directory)


def test_no_weights(own_model: SaveModel) -> None:
    directory = own_model()
    (directory / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"expected model\.safetensors, .* found none"):
        load_cpu(directory)


@pytest.mark.parametrize("kept", [-1, 40, 4, 0], ids=["last-byte", "in-header", "in-length", "empty"])
def test_a_truncated_checkpoint(own_model: SaveModel, kept: int) -> None:
    file = own_model() / "model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ModelLoadError, match=r"model\.safetensors: checkpoint truncated or damaged: .*again"):
        load_cpu(file.parent)


def test_a_truncated_shard_is_named(own_model: SaveModel) -> None:
    file = max(own_model(shard_size="20KB").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ModelLoadError, match=rf"{file.name}: checkpoint truncated"):
        load_cpu(file.parent)


def test_a_missing_shard_is_named(own_model: SaveModel) -> None:
    file = max(own_model(shard_size="20KB").glob("*.safetensors"))
    file.unlink()
    with pytest.raises(ModelLoadError, match=rf"1 of \d+ shards are missing: {file.name}"):
        load_cpu(file.parent)


def test_missing_weights_are_named(own_model: SaveModel) -> None:
    directory = own_model()
    weights = load_file(directory / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, directory / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelLoadError, match=r"1 weights are missing: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_cpu(directory)


def test_left_over_weights_are_named(own_model: SaveModel) -> None:
    directory = own_model()
    edit(directory / "config.json", num_hidden_layers=1, layer_types=["full_attention"])
    with pytest.raises(ModelLoadError, match=r"weights are unexpected: model\.layers\.1\..* and \d+ more"):
        load_cpu(directory)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"intermediate_size": 64},
            r"6 weights are of another shape than .*config\.json says, the first is "
            r"model\.layers\.0\.mlp\.down_proj\.weight: expected \[32, 64\], got \[32, 48\]\.",
        ),
        (
            {"vocab_size": 500},
            r"1 weights are .*config\.json .*model\.embed_tokens\.weight: expected \[500, 32\], got \[373, 32\]\.",
        ),
    ],
    ids=["intermediate_size", "vocab_size"],
)
def test_weights_of_another_size_are_named_in_one_line(
    own_model: SaveModel, caplog: pytest.LogCaptureFixture, changes: dict[str, int], said: str
) -> None:
    directory = own_model()
    edit(directory / "config.json", **changes)
    with pytest.raises(ModelFilesError, match=said) as caught:
        load_cpu(directory)
    assert "\n" not in str(caught.value)
    assert "ignore_mismatched_sizes" not in str(caught.value)
    assert "LOAD REPORT" not in caplog.text


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_hidden_layers": 3}, r"`num_hidden_layers` \(3\) must be equal to the number of `layer_types` \(2\)"),
        ({"hidden_size": "x"}, "Field 'hidden_size' expected int, got str"),
    ],
    ids=["contradiction", "type"],
)
def test_a_configuration_that_cannot_be_is_named(own_model: SaveModel, changes: dict[str, object], said: str) -> None:
    directory = own_model()
    edit(directory / "config.json", **changes)
    with pytest.raises(ModelFilesError, match=rf"config\.json: expected .*{said}") as caught:
        load_cpu(directory)
    assert "\n" not in str(caught.value)


def test_too_little_memory_is_found_before_a_weight_is_read(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "free_bytes", lambda device: 1000)
    needed = r"not enough memory: float32 weights and working room need .* GiB, cpu has .* free\. Free"
    with pytest.raises(ModelLoadError, match=needed):
        load_cpu(save_model())


def test_memory_that_runs_out_while_loading_is_no_matter_of_attention(
    save_model: SaveModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("tried to allocate 2.00 GiB for attention")

    monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", fail)
    with pytest.raises(ModelLoadError, match=r"not enough memory while loading: tried to allocate"):
        load_cpu(save_model())


def test_a_device_that_is_none(save_model: SaveModel) -> None:
    with pytest.raises(ConfigError, match="device: expected auto, cpu, cuda"):
        load_cpu(save_model(), device="gpu")


def test_a_shape_that_is_none() -> None:
    with pytest.raises(ConfigError, match=r"expected shape: and one of qwen3-0\.6b, .*; got 'shape:qwen3-5b'"):
        load_cpu("shape:qwen3-5b")


def test_a_checkpoint_for_a_shape(save_model: SaveModel) -> None:
    with pytest.raises(ModelLoadError, match="has random weights by definition"):
        load_cpu("shape:qwen3-0.6b", checkpoint=str(save_model()))
