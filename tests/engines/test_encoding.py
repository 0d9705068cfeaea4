"""A continuation is tokenised with its context, truncation takes the left, and what has no probability is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from evalsuite.encoding import encode_choices, encode_prompts
from evalsuite.errors import RequestError
from evalsuite.types import ChoiceRequest, EncodedChoices, GenerationRequest
from tests.tiny import tiny_tokenizer

TOKENIZER = tiny_tokenizer()


def encode(context: str, *continuations: str, window: int | None = None) -> EncodedChoices:
    request = ChoiceRequest(id="q1", context=context, continuations=continuations)
    return encode_choices(TOKENIZER, [request], window=window)[0]


def test_a_choice_keeps_the_space_before_its_letter() -> None:
    encoded = encode("Question\nAnswer:", " A", " B")
    assert encoded.continuation_ids == (
        (TOKENIZER.convert_tokens_to_ids("ĠA"),),
        (TOKENIZER.convert_tokens_to_ids("ĠB"),),
    )


def test_a_space_that_ends_the_context_moves_to_the_continuation() -> None:
    assert encode("Answer: ", "A") == encode("Answer:", " A")


@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1))
def test_context_and_continuation_are_the_tokens_of_the_whole_text(context: str, continuation: str) -> None:
    encoded = encode(context, continuation)
    whole = TOKENIZER(context.rstrip() + context[len(context.rstrip()) :] + continuation)["input_ids"]
    assert list(encoded.continuation_ids[0]) == whole[len(encoded.context_ids) :]


def test_a_long_context_loses_its_left_end_and_says_how_much() -> None:
    whole = encode("river " * 50 + "Answer:", " A", " Vietnam")
    cut = encode("river " * 50 + "Answer:", " A", " Vietnam", window=20)
    longest = max(map(len, whole.continuation_ids))
    assert len(cut.context_ids) + longest - 1 == 20
    assert cut.context_ids == whole.context_ids[-len(cut.context_ids) :]
    assert cut.truncated_tokens == len(whole.context_ids) - len(cut.context_ids)
    assert cut.continuation_ids == whole.continuation_ids


def test_a_prompt_leaves_room_for_the_tokens_to_come() -> None:
    request = GenerationRequest(id="p", prompt="river " * 50, max_new_tokens=8)
    (encoded,) = encode_prompts(TOKENIZER, [request], window=20)
    assert len(encoded.prompt_ids) == 12
    assert encoded.truncated_tokens > 0


@pytest.mark.parametrize(
    ("continuations", "message"),
    [((), "q1: expected at least one continuation"), ((" A", ""), "q1: continuation '' adds no token")],
)
def test_a_request_that_has_no_probability_is_refused_by_name(continuations: tuple[str, ...], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        encode("Answer:", *continuations)


def test_a_continuation_that_fills_the_window_is_refused() -> None:
    with pytest.raises(RequestError, match="fill the model's window of 4"):
        encode("Answer:", " a much longer continuation", window=4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"max_new_tokens": -1}, "expected at least 0"),
        ({"stop": ("",)}, "empty stop"),
        ({"max_new_tokens": 20}, "window"),
    ],
)
def test_a_prompt_that_cannot_be_continued_is_refused(changes: dict[str, object], message: str) -> None:
    request = GenerationRequest(**{"id": "p", "prompt": "x", "max_new_tokens": 4} | changes)  # type: ignore[arg-type]
    with pytest.raises(RequestError, match=message):
        encode_prompts(TOKENIZER, [request], window=20)


def test_an_empty_context_begins_with_a_special_token() -> None:
    assert encode("", " A").context_ids == (TOKENIZER.eos_token_id,)


def test_special_tokens_are_added_once_and_not_to_a_rendered_template() -> None:
    # The constructor copies the backend, so the shared tokenizer stays as it is.
    with_bos = PreTrainedTokenizerFast(tokenizer_object=TOKENIZER.backend_tokenizer, bos_token="<|endoftext|>")
    with_bos.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|endoftext|> $A", special_tokens=[("<|endoftext|>", 0)]
    )
    requests = [
        ChoiceRequest(id="plain", context="Answer:", continuations=(" A",)),
        ChoiceRequest(id="has bos", context="<|endoftext|>Answer:", continuations=(" A",)),
        ChoiceRequest(id="chat", context="Answer:", continuations=(" A",), add_special_tokens=False),
    ]
    plain, has_bos, chat = encode_choices(with_bos, requests, window=None)
    assert plain.context_ids == has_bos.context_ids == (0, *chat.context_ids)
    assert plain.continuation_ids == chat.continuation_ids
