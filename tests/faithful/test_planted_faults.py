"""Faults that evaluation code is known for, planted one by one: the checks must go red, and are green without them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evalsuite import encoding
from evalsuite.config import GENERATION_STRATEGIES, REFERENCE_STRATEGY, SCORING_STRATEGIES
from evalsuite.generation import padded as padded_generation
from evalsuite.padding import LeftPadded
from evalsuite.runner import ModelRunner
from tests.faithful.verdicts import TEXTS, Plant, generation_verdict, prompt_requests, scoring_verdict
from tests.tiny import ARCHITECTURES, tiny_loaded


def right_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    def pad_right(rows: list[list[int]], *, pad_id: int, device: torch.device) -> LeftPadded:
        longest = max(map(len, rows))
        ids = torch.tensor([list(row) + [pad_id] * (longest - len(row)) for row in rows], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
        positions = torch.arange(longest, device=device).expand(len(rows), longest)
        return LeftPadded(input_ids=ids, attention_mask=mask, position_ids=positions, padding_tokens=1)

    monkeypatch.setattr(padded_generation, "pad_left", pad_right)


def read_at_the_last_column(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are padded on the right and all are read at `[-1]`: padding, but for the longest."""
    real = ModelRunner.logits_at

    def logits_at(
        self: ModelRunner, input_ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        return real(self, input_ids, rows, torch.full_like(columns, input_ids.shape[1] - 1))

    monkeypatch.setattr(ModelRunner, "logits_at", logits_at)


def padded_left_without_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding stands before each row, attended to and counted in its positions."""
    real = ModelRunner.logits_at

    def logits_at(
        self: ModelRunner, input_ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor
    ) -> torch.Tensor:
        padding = (input_ids == self.pad_id).sum(dim=1)  # no text of these tests holds the padding token
        shifted = torch.stack([row.roll(int(n)) for row, n in zip(input_ids, padding, strict=True)])
        return real(self, shifted, rows, columns + padding[rows])

    monkeypatch.setattr(ModelRunner, "logits_at", logits_at)


def mask_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding is attended to. (With no mask at all, transformers reads where rows start off the position ids.)"""
    real = ModelRunner.forward

    def forward(self: ModelRunner, input_ids: torch.Tensor, **inputs: Any) -> Any:
        mask = inputs.get("attention_mask")
        return real(self, input_ids, **(inputs | {"attention_mask": None if mask is None else torch.ones_like(mask)}))

    monkeypatch.setattr(ModelRunner, "forward", forward)


def positions_not_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions count from the start of the padded row, as if padding were text."""
    real = padded_generation.pad_left

    def pad(rows: list[list[int]], *, pad_id: int, device: torch.device) -> LeftPadded:
        batch = real(rows, pad_id=pad_id, device=device)
        positions = torch.arange(batch.input_ids.shape[1], device=device).expand_as(batch.input_ids)
        return LeftPadded(
            input_ids=batch.input_ids,
            attention_mask=batch.attention_mask,
            position_ids=positions,
            padding_tokens=batch.padding_tokens,
        )

    monkeypatch.setattr(padded_generation, "pad_left", pad)


def output_sliced_at_input_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """New tokens are cut out of the padded row at the prompt's own length, so padding shifts them."""
    real = padded_generation.finish

    def finish(runner: ModelRunner, request: Any, token_ids: list[int], logprobs: list[float]) -> Any:
        prompts = encoding.encode_prompts(runner.tokenizer, prompt_requests(TEXTS), window=None)
        longest = max(len(prompt.prompt_ids) for prompt in prompts)
        row = [runner.pad_id] * (longest - len(request.prompt_ids)) + [*request.prompt_ids, *token_ids]
        sliced = row[len(request.prompt_ids) :][: len(token_ids)]
        return real(runner, request, sliced, logprobs)

    monkeypatch.setattr(padded_generation, "finish", finish)


def scored_off_by_one(step: int) -> Plant:
    """Each continuation's log-probability is read `step` positions beside the one that predicts it."""

    def plant(monkeypatch: pytest.MonkeyPatch) -> None:
        real = ModelRunner.logits_at

        def logits_at(
            self: ModelRunner, input_ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor, **positions: Any
        ) -> torch.Tensor:
            return real(self, input_ids, rows, (columns + step).clamp(0, input_ids.shape[1] - 1), **positions)

        monkeypatch.setattr(ModelRunner, "logits_at", logits_at)

    return plant


def generated_off_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first new token is chosen by the logits of the prompt's last token but one."""
    real = ModelRunner.forward

    def forward(self: ModelRunner, input_ids: torch.Tensor, *, logits_to_keep: int = 0, **inputs: Any) -> Any:
        output = real(self, input_ids, logits_to_keep=2, **inputs)
        output.logits = output.logits[:, :1]
        return output

    monkeypatch.setattr(ModelRunner, "forward", forward)


SCORING_FAULTS: list[tuple[str, Plant, tuple[str, ...]]] = [
    ("read at the last column", read_at_the_last_column, ARCHITECTURES),
    ("padded left without mask", padded_left_without_mask, ARCHITECTURES),
    ("read one position early", scored_off_by_one(-1), ARCHITECTURES),
    ("read one position late", scored_off_by_one(+1), ARCHITECTURES),
]
OPTIMISED = tuple(name for name in SCORING_STRATEGIES if name != REFERENCE_STRATEGY)
GENERATION_FAULTS: list[tuple[str, Plant, tuple[str, ...]]] = [
    ("right padding", right_padding, ARCHITECTURES),
    ("mask dropped", mask_dropped, ARCHITECTURES),
    # Rotary positions are relative, so only absolute ones can show it: why a GPT-2 is among the models.
    ("positions not restarted", positions_not_restarted, ("gpt2",)),
    ("output sliced at input length", output_sliced_at_input_length, ARCHITECTURES),
    ("chosen one position early", generated_off_by_one, ARCHITECTURES),
]


def cases(faults: list[tuple[str, Plant, tuple[str, ...]]]) -> list[Any]:
    return [
        pytest.param(plant, architecture, id=f"{name}-{architecture}")
        for name, plant, architectures in faults
        for architecture in architectures
    ]


@pytest.mark.parametrize(("plant", "architecture"), cases(SCORING_FAULTS))
def test_a_fault_in_scoring_goes_red(plant: Plant, architecture: str) -> None:
    sound = scoring_verdict(tiny_loaded(architecture), "padded")
    assert sound.faithful, sound.summary()
    assert not scoring_verdict(tiny_loaded(architecture), "padded", plant).faithful


@pytest.mark.parametrize(
    ("strategy", "step"),
    # per_question's rows end where they are read: nothing stands a position later.
    [(strategy, step) for strategy in OPTIMISED for step in (-1, +1) if (strategy, step) != ("per_question", +1)],
)
def test_every_strategy_that_reads_one_position_beside_goes_red(strategy: str, step: int) -> None:
    sound = scoring_verdict(tiny_loaded("llama"), strategy)
    assert sound.faithful, sound.summary()
    assert not scoring_verdict(tiny_loaded("llama"), strategy, scored_off_by_one(step)).faithful


@pytest.mark.parametrize(("plant", "architecture"), cases(GENERATION_FAULTS))
def test_a_fault_in_generation_goes_red(plant: Plant, architecture: str) -> None:
    sound = generation_verdict(tiny_loaded(architecture), "padded")
    assert sound.faithful, sound.summary()
    assert not generation_verdict(tiny_loaded(architecture), "padded", plant).faithful


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", OPTIMISED)
def test_scoring_without_a_fault_is_green(architecture: str, strategy: str) -> None:
    verdict = scoring_verdict(tiny_loaded(architecture), strategy)
    assert verdict.faithful, verdict.summary()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("strategy", [name for name in GENERATION_STRATEGIES if name != REFERENCE_STRATEGY])
def test_generation_without_a_fault_is_green(architecture: str, strategy: str) -> None:
    verdict = generation_verdict(tiny_loaded(architecture), strategy)
    assert verdict.faithful, verdict.summary()
