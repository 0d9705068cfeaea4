"""One model at a time unless both fit, and memory that comes back."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path

import pytest

from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError, EvalsuiteError, ModelLoadError
from evalsuite.loading import LoadedModel, load
from evalsuite.pool import ModelPool
from tests.loading.conftest import SaveModel


@pytest.fixture
def one(save_model: SaveModel) -> InferenceConfig:
    return InferenceConfig(model=str(save_model()), device="cpu", dtype="float32")


@pytest.fixture
def two(save_model: SaveModel) -> InferenceConfig:
    return InferenceConfig(model=str(save_model("llama")), device="cpu", dtype="float32")


def cramped() -> ModelPool:
    """A pool on a device without room for a second model."""
    return ModelPool(free_bytes=lambda device: 1000)


def test_the_same_configuration_is_loaded_once(one: InferenceConfig) -> None:
    pool = ModelPool()
    assert pool.get(one) is pool.get(one.replace())


def test_bytes_beside_a_model_are_the_other_models_weights(one: InferenceConfig, two: InferenceConfig) -> None:
    pool = ModelPool()
    pool.get(one)
    assert pool.bytes_beside(one) == 0
    beside = pool.get(two)
    assert pool.bytes_beside(one) == 4 * beside.report.parameters


def test_models_that_both_fit_stay(one: InferenceConfig, two: InferenceConfig) -> None:
    pool = ModelPool()
    first = pool.get(one)
    pool.get(two)
    assert pool.resident == (one, two)
    assert pool.get(one) is first


def test_a_model_that_does_not_fit_beside_another_takes_its_place(one: InferenceConfig, two: InferenceConfig) -> None:
    pool = cramped()
    weights = weakref.ref(pool.get(one).model.get_input_embeddings().weight)
    gc.disable()
    try:
        pool.get(two)
        assert weights() is None
    finally:
        gc.enable()
    assert pool.resident == (two,)


def test_the_old_model_is_gone_before_the_new_one_is_loaded(one: InferenceConfig, two: InferenceConfig) -> None:
    alive: list[bool] = []
    models: list[weakref.ref[object]] = []

    def watched(config: InferenceConfig) -> object:
        alive.append(any(model() is not None for model in models))
        loaded = load(config)
        models.append(weakref.ref(loaded.model))
        return loaded

    pool = ModelPool(loader=watched, free_bytes=lambda device: 1000)  # type: ignore[arg-type]
    for config in (one, two, one):
        pool.get(config)
    assert alive == [False, False, False]


def test_only_as_many_leave_as_must(one: InferenceConfig, two: InferenceConfig) -> None:
    free = {"bytes": 10**12}
    pool = ModelPool(free_bytes=lambda device: free["bytes"])
    third = one.replace(dtype="bfloat16")
    pool.get(one)
    pool.get(two)
    answers = iter([1000, 10**12])
    pool._free_bytes = lambda device: next(answers)
    pool.get(third)
    assert pool.resident == (two, third)


def test_unknown_free_memory_counts_as_none(one: InferenceConfig, two: InferenceConfig) -> None:
    pool = ModelPool(free_bytes=lambda device: None)
    pool.get(one)
    pool.get(two)
    assert pool.resident == (two,)


def test_clear_gives_everything_back(one: InferenceConfig, two: InferenceConfig) -> None:
    pool = ModelPool()
    models = [weakref.ref(pool.get(config).model) for config in (one, two)]
    pool.clear()
    assert pool.resident == ()
    assert [model() for model in models] == [None, None]


def test_a_compiled_model_is_given_back_too(one: InferenceConfig) -> None:
    pool = ModelPool()
    model = weakref.ref(pool.get(one.replace(torch_compile=True)).model)
    pool.clear()
    assert model() is None


def test_a_model_that_someone_still_holds_is_reported(one: InferenceConfig, caplog: pytest.LogCaptureFixture) -> None:
    pool = ModelPool()
    held = pool.get(one)
    with caplog.at_level(logging.WARNING, "evalsuite"):
        pool.clear()
    assert "something still holds it" in caplog.text
    assert held.model is not None


def test_a_model_that_cannot_be_loaded_is_tried_once_whatever_its_dtype(tmp_path: Path) -> None:
    tried = []

    def loader(config: InferenceConfig) -> LoadedModel:
        tried.append(config)
        return load(config)

    pool = ModelPool(loader=loader)
    gone = InferenceConfig(model=str(tmp_path / "gone"), device="cpu")
    with pytest.raises(ModelLoadError, match=r"no such directory: .*gone.*Check the path"):
        pool.get(gone)
    for config in (gone, gone.replace(dtype="float32")):
        with pytest.raises(ModelLoadError, match=r"gone could not be loaded; the first case .* says why") as error:
            pool.get(config)
        assert "Check the path" not in str(error.value)
    assert tried == [gone]


def test_what_one_dtype_fails_for_is_no_reason_to_refuse_another(one: InferenceConfig) -> None:
    def loader(config: InferenceConfig) -> LoadedModel:
        if config.dtype == "float32":
            raise ModelLoadError("not enough memory")
        return load(config)

    pool = ModelPool(loader=loader)
    with pytest.raises(ModelLoadError, match=r"^not enough memory"):
        pool.get(one)
    assert pool.get(one.replace(dtype="bfloat16")).config.dtype == "bfloat16"
    with pytest.raises(ModelLoadError, match=r"could not be loaded; .*: not enough memory"):
        pool.get(one)


def test_a_device_that_is_none_is_explained_once(one: InferenceConfig) -> None:
    pool = ModelPool()
    with pytest.raises(ConfigError, match=r"^device: expected auto, .*, got 'cuba'"):
        pool.get(one.replace(device="cuba"))
    with pytest.raises(ConfigError, match=r"could not be loaded; the first case that needed it says why"):
        pool.get(one.replace(device="cuba", attention="eager"))


def test_a_model_that_cannot_be_loaded_evicts_nobody(one: InferenceConfig, tmp_path: Path) -> None:
    pool = cramped()
    pool.get(one)
    with pytest.raises(ModelLoadError):
        pool.get(one.replace(model=str(tmp_path / "gone")))
    assert pool.resident == (one,)


def test_a_model_is_looked_for_without_loading_it(one: InferenceConfig, tmp_path: Path) -> None:
    pool = ModelPool(loader=lambda config: pytest.fail("loaded"))
    for config in (one, one.replace(model="nano"), one.replace(model="shape:qwen3-4b")):
        pool.look_for(config)
    tmp_path.joinpath("bare").mkdir()
    for model, reason in (
        ("shape:nothing", "expected shape: and one of"),
        (str(tmp_path / "gone"), "no such directory"),
        (str(tmp_path / "bare"), r"config\.json: no such file"),
    ):
        with pytest.raises(EvalsuiteError, match=reason):
            pool.look_for(one.replace(model=model))
        with pytest.raises(EvalsuiteError, match="the first case that needed it says why"):
            pool.get(one.replace(model=model))


def test_a_hub_model_is_looked_for_by_its_configuration_alone(
    one: InferenceConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *what: asked.append(what))
    ModelPool().look_for(one.replace(model="someone/tiny"))
    assert asked == [("someone/tiny", "config.json")]
