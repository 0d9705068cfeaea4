"""Plain prompts, chat prompts, and when `auto` takes which."""

from __future__ import annotations

import pytest

from evalsuite.errors import ConfigError
from evalsuite.tasks.base import Example
from evalsuite.tasks.prompting import (
    Prompting,
    choice_request,
    generation_request,
    names_base_model,
    strip_think,
    usable_shots,
)


def example(number: int, answer: str | None = "B", body: str | None = None) -> Example:
    return Example(
        id=f"e/{number}",
        group="g",
        description="Answer.\n\n",
        body=body or f"Q{number}\nAnswer:",
        answer=answer,
        gold=None if answer is None else (answer,),
        choices=("A", "B"),
    )


def test_a_plain_prompt_is_description_solved_shots_and_the_open_question() -> None:
    request = choice_request(example(3), [example(1), example(2, "A")], Prompting(shots=2))
    assert request.context == "Answer.\n\nQ1\nAnswer: B\n\nQ2\nAnswer: A\n\nQ3\nAnswer:"
    assert request.continuations == (" A", " B")


def test_a_chat_prompt_has_shots_as_turns_thinking_off_and_no_space_before_the_letter(chat_tokenizer) -> None:
    request = choice_request(example(2), [example(1)], Prompting(shots=1, chat="on", tokenizer=chat_tokenizer))
    assert request.context == (
        "<|im_start|>system\nAnswer.\n\n<|im_end|>\n"
        "<|im_start|>user\nQ1\nAnswer:<|im_end|>\n"
        "<|im_start|>assistant\nB<|im_end|>\n"
        "<|im_start|>user\nQ2\nAnswer:<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n\n</think>\n\n"
    )
    assert request.continuations == ("A", "B")
    assert request.add_special_tokens is False


def test_a_plain_generation_ends_with_its_line_and_a_chat_one_with_its_turn(chat_tokenizer) -> None:
    plain = generation_request(example(1), [], Prompting(), 64)
    chat = generation_request(example(1), [], Prompting(chat="on", tokenizer=chat_tokenizer), 64)
    assert (plain.stop, plain.add_special_tokens, plain.max_new_tokens) == (("\n",), True, 64)
    assert (chat.stop, chat.add_special_tokens, chat.max_new_tokens) == ((), False, 64)


def test_a_template_without_a_system_role_gets_the_description_in_the_first_turn(chat_tokenizer) -> None:
    refusal = "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    chat_tokenizer.chat_template = refusal + chat_tokenizer.chat_template
    request = choice_request(example(2), [example(1)], Prompting(shots=1, chat="on", tokenizer=chat_tokenizer))
    assert request.context.startswith("<|im_start|>user\nAnswer.\n\nQ1\nAnswer:<|im_end|>\n")
    assert request.context.count("Answer.\n\n") == 1


@pytest.mark.parametrize(
    ("name", "uses_chat"),
    [
        ("Qwen/Qwen3-4B", True),
        ("Qwen/Qwen3-4B-Base", False),
        ("google/gemma-3-1b-pt", False),
        ("google/gemma-3-1b-it", True),
        ("/data/base/Qwen3-4B", True),
        ("/data/Qwen3-4B-Base/", False),
        ("/c/models--Qwen--Qwen3-4B-Base/snapshots/0a1b", False),
        ("/c/models--Qwen--Qwen3-4B/snapshots/0a1b", True),
        ("my/database-chat", True),
    ],
)
def test_auto_is_on_for_a_template_unless_the_name_says_base(chat_tokenizer, name: str, uses_chat: bool) -> None:
    assert names_base_model(name) is not uses_chat
    assert Prompting(chat="auto", tokenizer=chat_tokenizer, model_name=name).uses_chat is uses_chat
    chat_tokenizer.name_or_path = name
    assert Prompting(chat="auto", tokenizer=chat_tokenizer).uses_chat is uses_chat


def test_auto_is_off_without_a_template_and_on_demands_one(chat_tokenizer) -> None:
    chat_tokenizer.chat_template = None
    assert not Prompting(chat="auto", tokenizer=chat_tokenizer).uses_chat
    assert not Prompting(chat="auto").uses_chat
    with pytest.raises(ConfigError, match="needs a tokenizer with a chat template"):
        Prompting(chat="on", tokenizer=chat_tokenizer)


def test_off_beats_any_template(chat_tokenizer) -> None:
    assert not Prompting(chat="off", tokenizer=chat_tokenizer).uses_chat


@pytest.mark.parametrize("bad", [{"shots": -1}, {"chat": "maybe"}])
def test_other_settings_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Prompting(**bad)


def test_shots_skip_the_row_itself_its_doubles_and_unsolved_rows() -> None:
    pool = [example(1), example(2), example(3, None), example(4, body="Q2\nAnswer:"), example(5)]
    chosen = usable_shots(example(2), {"": pool}, 5)
    assert [shot.id for shot in chosen] == ["e/1", "e/5"]
    assert usable_shots(example(2), {"": pool}, 0) == ()
    assert usable_shots(example(2), {"other": pool}, 5) == ()


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        pytest.param("Huế", "Huế", id="none"),
        pytest.param("<think>\n\n</think>\n\nHuế", "Huế", id="empty-block"),
        pytest.param("<think>a\nb</think> Huế <think>c</think>", "Huế", id="two-blocks"),
        pytest.param("a\nb</think>\nHuế", "Huế", id="opened-by-the-prompt"),
        pytest.param("<think>never done", "", id="unfinished"),
    ],
)
def test_think_blocks_are_stripped(text: str, answer: str) -> None:
    assert strip_think(text) == answer
