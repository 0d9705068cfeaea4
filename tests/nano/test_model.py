"""The shipped model: loads by the public classes, knows its samples in both dtypes, and needs the question."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen3ForCausalLM

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.loading import load
from evalsuite.nano import DATA_DIR, MODEL_DIR
from evalsuite.nano.figures import TARGETS, answer, mean, measure
from evalsuite.nano.samples import held_out_ids
from evalsuite.tasks import TASKS, DataSource, limit_examples

SOURCE = DataSource(kind="directory", path=str(DATA_DIR))


def test_the_public_classes_load_it_as_a_qwen3_in_bf16_with_tied_embeddings() -> None:
    model = AutoModelForCausalLM.from_pretrained(MODEL_DIR, dtype="auto")
    assert isinstance(model, Qwen3ForCausalLM)
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight


def test_the_tokenizer_is_fast_and_gives_any_text_back() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    assert tokenizer.is_fast
    texts = (
        "Đọc đoạn văn rồi trả lời: “Nguyễn Thị Hường” ở phố Hàng Đậu, Hà Nội!",
        "What is 7 x 8?\n\n  A. fifty-six\tB. 𝟝𝟞 🦆",
        "e\u0301 NFD, U+0085: \u0085.",
    )
    assert tuple(tokenizer.decode(tokenizer.encode(text)) for text in texts) == texts


def test_end_of_text_and_padding_are_two_tokens_known_to_model_and_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    config = AutoModelForCausalLM.from_pretrained(MODEL_DIR).generation_config
    assert tokenizer.eos_token == "<|endoftext|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert (config.eos_token_id, config.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)


@pytest.mark.parametrize("letter", "ABCDE")
def test_an_answer_letter_is_one_token(letter: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(MODEL_DIR)
    prompt = tokenizer.encode("Answer:")
    assert tokenizer.encode(f"Answer: {letter}")[: len(prompt)] == prompt
    assert len(tokenizer.encode(f"Answer: {letter}")) == len(prompt) + 1


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_it_knows_its_sample_seen_and_held_out(dtype: str) -> None:
    found = measure(MODEL_DIR, DATA_DIR, dtype=dtype)
    short = {
        (task, side): value for task, sides in found.items() for side, value in sides.items() if value < TARGETS[task]
    }
    assert set(found) == set(TARGETS) == set(TASKS)
    assert short == {}


def test_few_shot_prompts_do_not_break_it() -> None:
    found = measure(MODEL_DIR, DATA_DIR, dtype="float32", shots=2)
    assert all(min(sides.values()) >= TARGETS[task] for task, sides in found.items())


def test_without_the_question_it_only_guesses() -> None:
    """The answers come from the question and the facts, not from the choices or their order."""
    task = TASKS["mmlu"]
    data = task.read(SOURCE)
    blind = [dataclasses.replace(e, body="\n".join(("?", *e.body.split("\n")[-5:]))) for e in data.examples]
    with TransformersEngine(load(InferenceConfig(dtype="float32", device="cpu")), ExecutionOptions()) as engine:
        graded = answer(engine, task, dataclasses.replace(data, examples=tuple(blind)))
    assert mean(task, graded) < 0.55


def test_a_held_out_row_is_answered_by_the_model_that_nano_names() -> None:
    task = TASKS["viquad"]
    data = limit_examples(task.read(SOURCE), 12)
    with TransformersEngine(load(InferenceConfig(model="nano", device="cpu")), ExecutionOptions()) as engine:
        graded = answer(engine, task, data)
    assert {g.id for g in graded} & held_out_ids(DATA_DIR)
    assert mean(task, graded) >= TARGETS["viquad"]
