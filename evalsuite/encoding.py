"""Text to token ids: the pair (context, continuation) tokenised together, truncation from the left.

A continuation scored alone is another continuation: after "Answer:" the text holds " A", one token in
most vocabularies, and never the token "A". So the pair is tokenised as one string and split at the
context's length, as lm-evaluation-harness's `TemplateLM._encode_pair` does.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from evalsuite.errors import RequestError
from evalsuite.text_parts import Text, encode_texts
from evalsuite.types import ChoiceRequest, EncodedChoices, EncodedPrompt, GenerationRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

logger = logging.getLogger("evalsuite")

OnMismatch = Callable[[str], object]


def encode_choices(
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[ChoiceRequest],
    *,
    window: int | None,
    on_mismatch: OnMismatch = logger.warning,
) -> list[EncodedChoices]:
    """Token ids of each request, in order.

    Args:
        window: most tokens in one forward; longer contexts lose tokens on the left. None never cuts.
        on_mismatch: as for `encode_texts`.

    Raises:
        RequestError: a request without continuations, a continuation that adds no token to its
            context, or one that alone fills the window.
    """
    texts: list[Text] = []
    for request in requests:
        context, continuations = _move_trailing_space(request)
        texts += [(context + text, request.add_special_tokens) for text in ("", *continuations)]
    ids = encode_texts(tokenizer, texts, on_mismatch=on_mismatch)
    encoded, index = [], 0
    for request in requests:
        context_ids = ids[index]
        choices = range(index + 1, index + 1 + len(request.continuations))
        continuation_ids = tuple(tuple(ids.after(choice, len(context_ids))) for choice in choices)
        encoded.append(_split(tokenizer, request, context_ids, continuation_ids, window))
        index = choices.stop
    return encoded


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[GenerationRequest],
    *,
    window: int | None,
    on_mismatch: OnMismatch = logger.warning,
) -> list[EncodedPrompt]:
    """Token ids of each prompt, in order, cut on the left so that `max_new_tokens` more fit the window.

    Raises:
        RequestError: `max_new_tokens` below zero, or no room for a single prompt token.
    """
    encoded = []
    texts = [(request.prompt, request.add_special_tokens) for request in requests]
    all_ids = encode_texts(tokenizer, texts, on_mismatch=on_mismatch)
    for request, ids in zip(requests, all_ids, strict=True):
        if request.max_new_tokens < 0:
            raise RequestError(f"{request.id}: max_new_tokens: expected at least 0, got {request.max_new_tokens}")
        if any(not stop for stop in request.stop):
            raise RequestError(f"{request.id}: stop: an empty stop string would end every answer at once; leave it out")
        ids = ids or _prefix_token(tokenizer, request.id)
        kept, truncated = _fit(ids, window, request.max_new_tokens, request.id)
        encoded.append(
            EncodedPrompt(
                id=request.id,
                prompt_ids=kept,
                max_new_tokens=request.max_new_tokens,
                stop=request.stop,
                truncated_tokens=truncated,
            )
        )
    return encoded


def _move_trailing_space(request: ChoiceRequest) -> tuple[str, tuple[str, ...]]:
    """Trailing spaces of the context join the continuation, where most vocabularies keep them."""
    stripped = request.context.rstrip()
    space = request.context[len(stripped) :]
    return stripped, tuple(space + continuation for continuation in request.continuations)


def _split(
    tokenizer: PreTrainedTokenizerBase,
    request: ChoiceRequest,
    context_ids: Sequence[int],
    continuation_ids: tuple[tuple[int, ...], ...],
    window: int | None,
) -> EncodedChoices:
    if not request.continuations:
        raise RequestError(f"{request.id}: expected at least one continuation to score, got none")
    for text, ids in zip(request.continuations, continuation_ids, strict=True):
        if not ids:
            raise RequestError(
                f"{request.id}: continuation {text!r} adds no token to its context, so it has no probability; "
                "give each choice some text of its own"
            )
    longest = max(map(len, continuation_ids))
    # The last token of a continuation is predicted, never fed.
    kept, truncated = _fit(context_ids or _prefix_token(tokenizer, request.id), window, longest - 1, request.id)
    return EncodedChoices(
        id=request.id, context_ids=kept, continuation_ids=continuation_ids, truncated_tokens=truncated
    )


def _fit(ids: Sequence[int], window: int | None, tokens_to_come: int, request_id: str) -> tuple[tuple[int, ...], int]:
    """The right end of `ids` that leaves room for `tokens_to_come`, and how many tokens were cut."""
    if window is None:
        return tuple(ids), 0
    room = window - tokens_to_come
    if room < 1:
        raise RequestError(
            f"{request_id}: {tokens_to_come} tokens to come fill the model's window of {window}; "
            "shorten the continuation or max_new_tokens"
        )
    return tuple(ids[-room:]), max(0, len(ids) - room)


def _prefix_token(tokenizer: PreTrainedTokenizerBase, request_id: str) -> list[int]:
    """Something to condition on when the context is empty: BOS, else EOS."""
    for token_id in (tokenizer.bos_token_id, tokenizer.eos_token_id):
        if token_id is not None:
            return [token_id]
    raise RequestError(
        f"{request_id}: the context is empty and the tokenizer has neither a BOS nor an EOS token to begin with"
    )
