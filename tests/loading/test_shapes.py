"""`shape:` models have the real figures, seeded weights, and a tokenizer for any text."""

from __future__ import annotations

import unicodedata

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evalsuite import shapes
from evalsuite.config import InferenceConfig
from evalsuite.loading import estimate_bytes, load
from evalsuite.shape_tokenizer import shape_tokenizer

SMALL = shapes.Shape(
    hidden_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=96,
    tie_word_embeddings=True,
    num_key_value_heads=2,
    head_dim=16,
)


@pytest.fixture
def small_shape(monkeypatch: pytest.MonkeyPatch) -> InferenceConfig:
    monkeypatch.setitem(shapes.SHAPES, "small", SMALL)
    return InferenceConfig(model="shape:small", device="cpu", dtype="float32")


@pytest.mark.parametrize(
    ("name", "published_billions"),
    [
        ("qwen3-0.6b", 0.596),
        ("qwen3-1.7b", 1.721),
        ("qwen3-4b", 4.022),
        ("qwen3-8b", 8.191),
        ("qwen3-14b", 14.768),
        ("qwen3-32b", 32.762),
    ],
)
def test_a_shape_has_as_many_parameters_as_the_released_model(name: str, published_billions: float) -> None:
    shape = shapes.SHAPES[name]
    assert shape.parameters / 1e9 == pytest.approx(published_billions, abs=0.0006)
    with torch.device("meta"):
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_config(shapes.shape_config(shape, eos_token_id=0))
    assert sum(parameter.numel() for parameter in model.parameters()) == shape.parameters
    assert model.config.rope_parameters["rope_theta"] == 1e6
    assert model.model.layers[0].self_attn.q_proj.weight.shape == (shape.num_attention_heads * 128, shape.hidden_size)


def test_random_weights_have_the_deviation_of_an_untrained_model(small_shape: InferenceConfig) -> None:
    model = load(small_shape).model
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            assert torch.all(parameter == 1), name
        else:
            assert parameter.std() == pytest.approx(shapes.WEIGHT_DEVIATION, rel=0.05), name
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_positions_matter_to_a_random_model(small_shape: InferenceConfig) -> None:
    """Rotary frequencies are buffers, which an uninitialised model would leave as garbage or zero."""
    model = load(small_shape).model
    inverse = model.model.rotary_emb.inv_freq
    torch.testing.assert_close(inverse, 1e6 ** -(torch.arange(0, 16, 2) / 16))
    with torch.inference_mode():
        assert torch.isfinite(model(input_ids=torch.tensor([[5, 6, 7]])).logits).all()


def test_the_seed_makes_the_model(small_shape: InferenceConfig) -> None:
    one, same, other = (load(small_shape.replace(seed=seed)) for seed in (0, 0, 1))
    weights = [loaded.model.model.layers[1].mlp.up_proj.weight for loaded in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert one.report.model_fingerprint == same.report.model_fingerprint != other.report.model_fingerprint


def test_drawing_weights_leaves_the_global_generator_alone(small_shape: InferenceConfig) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load(small_shape)
    assert torch.equal(torch.rand(1), expected)


def test_a_shapes_accuracy_means_nothing_and_its_memory_is_known_beforehand(small_shape: InferenceConfig) -> None:
    assert not small_shape.accuracy_is_meaningful
    assert estimate_bytes(small_shape) == ("cpu", SMALL.parameters * 4)
    assert load(small_shape).report.parameters == SMALL.parameters


def test_every_token_has_an_embedding() -> None:
    assert max(shape_tokenizer().get_vocab().values()) < min(shape.vocab_size for shape in shapes.SHAPES.values())


def test_the_shape_tokenizer_is_fast_and_adds_nothing() -> None:
    tokenizer = shape_tokenizer()
    assert tokenizer.is_fast
    assert tokenizer("")["input_ids"] == []
    assert tokenizer.eos_token_id not in tokenizer("A")["input_ids"]


@given(st.text())
def test_any_text_survives_the_shape_tokenizer(text: str) -> None:
    tokenizer = shape_tokenizer()
    text = text.replace("<|endoftext|>", "")
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("letter", "ABCDEFGHIJ")
@pytest.mark.parametrize("context", ["...\nAnswer:", "Đáp án:"])
def test_a_choice_is_one_token_after_its_context(context: str, letter: str) -> None:
    tokenizer = shape_tokenizer()
    head, whole = tokenizer(context)["input_ids"], tokenizer(f"{context} {letter}")["input_ids"]
    assert whole[:-1] == head
    assert tokenizer.convert_ids_to_tokens(whole[-1]) == f" {letter}"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        (
            "Photosynthesis is the process by which green plants use the energy of the sun to turn water and carbon "
            "dioxide into sugar. Which of the following statements best describes the role of the membrane?",
            3.5,
            5.5,
        ),
        (
            "Hà Nội là thủ đô của nước Cộng hòa xã hội chủ nghĩa Việt Nam, nằm ở vùng đồng bằng sông Hồng. Thành phố "
            "có nhiều hồ nước và những con đường rợp bóng cây xanh.",
            3.0,
            4.5,
        ),
    ],
    ids=["english", "vietnamese"],
)
def test_characters_a_token_are_like_those_of_a_real_tokenizer(text: str, least: float, most: float) -> None:
    assert least <= len(text) / len(shape_tokenizer()(text)["input_ids"]) <= most
