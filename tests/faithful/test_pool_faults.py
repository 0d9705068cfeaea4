"""Faults of a pool of keys and values, planted one by one: the verdict must go red, and is green without them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evalsuite.config import REFERENCE_STRATEGY, ExecutionOptions
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.faithful import Verdict, compare_generations
from evalsuite.generation import _schedule
from evalsuite.generation._pooled import PooledForward
from evalsuite.generation._schedule import DecodeRound, PrefillRound, Row, Schedule
from evalsuite.generation.stopping import StopWatcher
from evalsuite.types import GenerationRequest
from tests.faithful.verdicts import Plant
from tests.tiny import ARCHITECTURES, tiny_loaded

FEW_ROWS = ExecutionOptions(batch_size=3)
"""So few that prompts wait until others have been answered."""
SHARED = "Sông nào dài nhất trong số các sông này?"
# Beginnings that are shared to the last token but one, and answers of several lengths.
TEXTS = [f"{SHARED} {ending}" for ending in ("a", "e", "An đi học", "An đi chơi", "zz", "z")]


def requests(stop: tuple[str, ...] = ()) -> list[GenerationRequest]:
    return [GenerationRequest(id=str(i), prompt=text, max_new_tokens=4 + i, stop=stop) for i, text in enumerate(TEXTS)]


def verdict(architecture: str, plant: Plant | None = None, stop: tuple[str, ...] = ()) -> Verdict:
    """The reference answers soundly; then the fault is planted."""
    loaded = tiny_loaded(architecture)
    with TransformersEngine(loaded, FEW_ROWS) as engine, pytest.MonkeyPatch.context() as patch:
        prompts = engine.encode_prompts(requests(stop))
        answers = list(engine.generate(prompts, REFERENCE_STRATEGY))
        fp32 = {o.id: o for o in engine.teacher_force(prompts, answers)}
        if plant:
            plant(patch)
        path = {o.id: o for o in engine.generate(prompts, "continuous")}
    return compare_generations(reference={o.id: o for o in answers}, path=path, reference_fp32=fp32)


def shared_after_it_diverged(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row goes on from the last token of the prompt beside it, as if they were still one."""
    real = Schedule._admit

    def admit(self: Schedule, pack: Any) -> PrefillRound:
        round_ = real(self, pack)
        rows = []
        for own in round_.admitted:
            slots = own.slots.copy()
            for beside in self.running.values():
                slots[own.prompt - 1] = beside.slots[beside.prompt - 1]
            rows.append(replace(own, slots=slots))
        return replace(round_, admitted=tuple(rows))

    monkeypatch.setattr(Schedule, "_admit", admit)
    monkeypatch.setattr(_schedule.Slots, "release", lambda self, slots: None)  # which would be the next fault


def stale_after_replacement(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that takes another's place is read by the other's table."""
    real = PooledForward._compose

    def compose(self: PooledForward, round_: DecodeRound, schedule: Schedule) -> None:
        for row in round_.batch:
            if row.place in self._sent:
                self._sent[row.place] = row
        real(self, round_, schedule)

    monkeypatch.setattr(PooledForward, "_compose", compose)


def position_off_by_one_after_a_fork(monkeypatch: pytest.MonkeyPatch) -> None:
    """What leaves a shared beginning counts its positions from one too many."""
    real = Schedule._admit

    def admit(self: Schedule, pack: Any) -> PrefillRound:
        forked = np.repeat(pack.ancestors > 0, pack.lengths)
        return real(self, replace(pack, positions=pack.positions + forked.astype(np.int32)))

    monkeypatch.setattr(Schedule, "_admit", admit)


def fed_at_the_position_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first new token takes the place of the prompt's last one."""
    real = PooledForward._compose

    def compose(self: PooledForward, round_: DecodeRound, schedule: Schedule) -> None:
        real(self, replace(round_, batch=tuple(_shorter(row) for row in round_.batch)), schedule)

    monkeypatch.setattr(PooledForward, "_compose", compose)


def _shorter(row: Row) -> Row:
    return replace(row, prompt=row.prompt - 1)


def stopped_a_token_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop string is noticed when the token after it is there."""
    real = StopWatcher.stops
    monkeypatch.setattr(StopWatcher, "stops", lambda self, ids, stop: real(self, ids[:-1], stop))
    monkeypatch.setattr(StopWatcher, "may_stop", lambda self, ids, stop: np.ones(len(ids), dtype=np.bool_))


FAULTS: list[tuple[Plant, tuple[str, ...]]] = [
    (shared_after_it_diverged, ARCHITECTURES),
    (stale_after_replacement, ARCHITECTURES),
    # Rotary positions are relative, but the shared beginning keeps its own.
    (position_off_by_one_after_a_fork, ARCHITECTURES),
    (fed_at_the_position_before, ARCHITECTURES),
]


@pytest.mark.parametrize(
    ("plant", "architecture"),
    [
        pytest.param(plant, architecture, id=f"{plant.__name__}-{architecture}")
        for plant, architectures in FAULTS
        for architecture in architectures
    ],
)
def test_a_fault_in_the_pool_goes_red(plant: Plant, architecture: str) -> None:
    sound = verdict(architecture)
    assert sound.faithful, sound.summary()
    assert not verdict(architecture, plant).faithful


def test_a_stop_that_is_honoured_a_token_late_goes_red() -> None:
    """The stop string is a character that a row writes before its end."""
    loaded = tiny_loaded("qwen3")
    with TransformersEngine(loaded, FEW_ROWS) as engine:
        texts = {o.id: o.text for o in engine.generate(engine.encode_prompts(requests()), REFERENCE_STRATEGY)}
    stop = next(character for text in texts.values() for character in text[1:-2] if character.strip())
    sound = verdict("qwen3", stop=(stop,))
    assert sound.faithful, sound.summary()
    assert not verdict("qwen3", stopped_a_token_late, stop=(stop,)).faithful
