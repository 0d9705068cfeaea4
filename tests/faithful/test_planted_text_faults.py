"""Faults that eat text: truncation at the wrong end, and padding that is told from text by its id.

A path is judged against a reference that encodes soundly. A truncation that both share changes neither's agreement;
tests/engines/test_oracle.py and tests/engines/test_encoding.py hold that one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from evalsuite import encoding
from evalsuite.config import REFERENCE_STRATEGY, SCORING_STRATEGIES, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.generation import padded as padded_generation
from evalsuite.loading import LoadedModel
from evalsuite.padding import LeftPadded
from evalsuite.runner import ModelRunner
from tests.faithful.verdicts import TEXTS, Plant, generation_verdict, prompt_requests, scoring_verdict
from tests.tiny import ARCHITECTURES, WINDOW, tiny_loaded, tiny_tokenizer, wrap

EOS_TEXT = "<|endoftext|>"
LONG_TEXTS = [f"Which of these rivers is the longest of all, {text}? " * 8 for text in TEXTS]
TEXTS_WITH_EOS = [f"Thủ đô?{EOS_TEXT}" * (1 + i % 3) + text for i, text in enumerate(TEXTS)]


def with_padding_token(architecture: str, token: str) -> LoadedModel:
    """A tiny model whose tokenizer pads with `token`, as the loader settles it where a tokenizer has none."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=tiny_tokenizer().backend_tokenizer, eos_token=EOS_TEXT)
    tokenizer.pad_token = token
    return wrap(tiny_loaded(architecture).model, tokenizer)


def padded_with_its_own_words(architecture: str) -> LoadedModel:
    """The same, padding with the token that the model itself writes most often."""
    plain = with_padding_token(architecture, EOS_TEXT)
    with TransformersEngine(plain, ExecutionOptions()) as engine:
        answers = list(engine.generate(engine.encode_prompts(prompt_requests(TEXTS)), REFERENCE_STRATEGY))
    written = Counter(token for answer in answers for token in answer.token_ids if token not in plain.eos_token_ids)
    return with_padding_token(architecture, plain.tokenizer.convert_ids_to_tokens(written.most_common(1)[0][0]))


def truncated_on_the_right(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a tokenizer's own `truncation=True` does unless told otherwise: "Answer:" is cut off, and the question."""
    real = encoding._fit

    def fit(ids: Sequence[int], window: int | None, to_come: int, request_id: str) -> tuple[tuple[int, ...], int]:
        kept, cut = real(ids, window, to_come, request_id)
        return tuple(ids[: len(kept)]), cut

    monkeypatch.setattr(encoding, "_fit", fit)


def masked_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mask is made of `input_ids != pad_id`, so text that equals the padding is not attended to."""
    real = padded_generation.pad_left

    def pad(rows: list[list[int]], *, pad_id: int, device: torch.device) -> LeftPadded:
        batch = real(rows, pad_id=pad_id, device=device)
        mask = (batch.input_ids != pad_id).long()
        return LeftPadded(
            input_ids=batch.input_ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(dim=1) - 1).clamp(min=0),
            padding_tokens=batch.padding_tokens,
        )

    monkeypatch.setattr(padded_generation, "pad_left", pad)


def length_counted_by_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row is read at `(input_ids != pad_id).sum() - 1`, too early by each token of text that equals the padding."""
    real = ModelRunner.logits_at

    def logits_at(
        self: ModelRunner, input_ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        lengths = (input_ids != self.pad_id).sum(dim=1)
        return real(self, input_ids, rows, lengths[rows] - 1)

    monkeypatch.setattr(ModelRunner, "logits_at", logits_at)


def padding_trimmed_off_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Finished rows are filled with padding, and it is taken out again by its id."""
    real = padded_generation.finish

    def finish(runner: ModelRunner, request: Any, token_ids: list[int], logprobs: list[float]) -> Any:
        kept = [i for i, token in enumerate(token_ids) if token != runner.pad_id]
        return real(runner, request, [token_ids[i] for i in kept], [logprobs[i] for i in kept])

    monkeypatch.setattr(padded_generation, "finish", finish)


def stopped_at_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row counts as ended once it writes the padding token."""
    real = padded_generation._choose

    def choose(runner: ModelRunner, rows: Sequence[Any], logits: torch.Tensor) -> torch.Tensor:
        chosen = real(runner, rows, logits)
        for row in rows:
            row.done = row.done or row.token_ids[-1] == runner.pad_id
        return chosen

    monkeypatch.setattr(padded_generation, "_choose", choose)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", [name for name in SCORING_STRATEGIES if name != REFERENCE_STRATEGY])
def test_choices_truncated_on_the_right_go_red(architecture: str, strategy: str) -> None:
    loaded = tiny_loaded(architecture)
    assert all(len(tiny_tokenizer()(text)["input_ids"]) > WINDOW for text in LONG_TEXTS)
    sound = scoring_verdict(loaded, strategy, texts=LONG_TEXTS)
    assert sound.faithful, sound.summary()
    assert not scoring_verdict(loaded, strategy, truncated_on_the_right, texts=LONG_TEXTS).faithful


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_prompts_truncated_on_the_right_go_red(architecture: str) -> None:
    loaded = tiny_loaded(architecture)
    sound = generation_verdict(loaded, "padded", texts=LONG_TEXTS)
    assert sound.faithful, sound.summary()
    assert not generation_verdict(loaded, "padded", truncated_on_the_right, texts=LONG_TEXTS).faithful


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_choices_read_by_counting_what_is_not_padding_go_red_where_the_text_holds_eos(architecture: str) -> None:
    loaded = with_padding_token(architecture, EOS_TEXT)
    sound = scoring_verdict(loaded, "padded", texts=TEXTS_WITH_EOS)
    assert sound.faithful, sound.summary()
    assert scoring_verdict(loaded, "padded", length_counted_by_id, texts=TEXTS).faithful, "harmless without eos in it"
    assert not scoring_verdict(loaded, "padded", length_counted_by_id, texts=TEXTS_WITH_EOS).faithful


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_mask_made_of_ids_goes_red_where_the_text_holds_eos(architecture: str) -> None:
    loaded = with_padding_token(architecture, EOS_TEXT)
    sound = generation_verdict(loaded, "padded", texts=TEXTS_WITH_EOS)
    assert sound.faithful, sound.summary()
    assert generation_verdict(loaded, "padded", masked_by_id, texts=TEXTS).faithful, "harmless without eos in it"
    assert not generation_verdict(loaded, "padded", masked_by_id, texts=TEXTS_WITH_EOS).faithful


@pytest.mark.parametrize("plant", [padding_trimmed_off_answers, stopped_at_padding], ids=lambda plant: plant.__name__)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_answers_that_end_or_shrink_at_the_padding_token_go_red_where_it_is_a_word(
    architecture: str, plant: Plant
) -> None:
    loaded = padded_with_its_own_words(architecture)
    sound = generation_verdict(loaded, "padded")
    assert sound.faithful, sound.summary()
    assert not generation_verdict(loaded, "padded", plant).faithful
