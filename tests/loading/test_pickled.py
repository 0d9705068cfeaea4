"""Weights as `pytorch_model.bin`, from before safetensors: loaded the same, and named where they are damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from evalsuite.config import InferenceConfig
from evalsuite.errors import ModelFilesError, ModelLoadError
from evalsuite.loading import LoadedModel, estimate_bytes, load
from tests.loading.conftest import SaveModel


def config_of(model: Path) -> InferenceConfig:
    return InferenceConfig(model=str(model), device="cpu", dtype="float32")


def logits(loaded: LoadedModel) -> torch.Tensor:
    with torch.inference_mode():
        return loaded.model(input_ids=torch.tensor([[5, 6, 7]])).logits


def pickle_weights(directory: Path, shards: int = 1) -> list[Path]:
    """Replace the safetensors file by pickled ones, with an index if there are several."""
    weights = load_file(directory / "model.safetensors")
    (directory / "model.safetensors").unlink()
    if shards == 1:
        torch.save(weights, directory / "pytorch_model.bin")
        return [directory / "pytorch_model.bin"]
    names = [f"pytorch_model-{n + 1:05}-of-{shards:05}.bin" for n in range(shards)]
    placed = {key: names[n % shards] for n, key in enumerate(sorted(weights))}
    for name in names:
        torch.save({key: weights[key] for key, home in placed.items() if home == name}, directory / name)
    (directory / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": placed}))
    return [directory / name for name in names]


@pytest.mark.parametrize("shards", [1, 3])
def test_pickled_weights_load_as_safetensors_do(save_model: SaveModel, own_model: SaveModel, shards: int) -> None:
    files = pickle_weights(own_model(), shards)
    loaded = load(config_of(files[0].parent))
    assert torch.equal(logits(loaded), logits(load(config_of(save_model()))))
    assert estimate_bytes(loaded.config) == ("cpu", sum(file.stat().st_size for file in files))


def test_safetensors_are_preferred_where_both_are_there(save_model: SaveModel, own_model: SaveModel) -> None:
    directory = own_model()
    (directory / "pytorch_model.bin").write_bytes(b"not read")
    assert torch.equal(logits(load(config_of(directory))), logits(load(config_of(save_model()))))


@pytest.mark.parametrize("shards", [1, 3])
def test_a_damaged_pickle_is_named_with_the_remedy(own_model: SaveModel, shards: int) -> None:
    file = pickle_weights(own_model(), shards)[-1]
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ModelLoadError, match=r"the weights do not load: .*copy them again"):
        load(config_of(file.parent))


def test_a_missing_shard_is_named(own_model: SaveModel) -> None:
    file = pickle_weights(own_model(), 3)[-1]
    file.unlink()
    with pytest.raises(ModelLoadError, match=rf"1 of 3 shards are missing: {file.name}"):
        load(config_of(file.parent))


@pytest.mark.parametrize("content", ["an object", "nothing", "a pointer"])
def test_a_file_of_anything_but_tensors_is_refused_and_not_run(own_model: SaveModel, content: str) -> None:
    (file,) = pickle_weights(own_model())
    if content == "an object":
        torch.save({"lm_head.weight": Path("x")}, file)  # a class that is not torch's stands for any code
    else:
        file.write_bytes(b"" if content == "nothing" else b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelFilesError, match=r"pytorch_model\.bin: expected tensors .* not run\. Copy it again"):
        load(config_of(file.parent))
