"""Sharing beginnings pays on any machine: five-shot questions, whose prompts are mostly the same few examples."""

from __future__ import annotations

import time

import pytest

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.evaluation import Workload, answer, prepare
from evalsuite.loading import load
from evalsuite.nano import DATA_DIR
from evalsuite.tasks import get_task
from evalsuite.tasks.base import DataSource
from evalsuite.tasks.prompting import Prompting

FLOOR = 1.5
"""Generous: five times is what two quiet cores give."""


@pytest.fixture(scope="module")
def engine():  # type: ignore[no-untyped-def]
    with TransformersEngine(load(InferenceConfig(model="nano", device="cpu")), ExecutionOptions()) as engine:
        yield engine


def five_shot(engine: TransformersEngine) -> Workload:
    task = get_task("mmlu")
    data = task.read(DataSource(kind="directory", path=str(DATA_DIR)), shots=5)
    return prepare(task, data, engine, Prompting(shots=5))


def test_five_shot_questions_are_scored_faster_than_padded_ones(engine: TransformersEngine) -> None:
    workload = five_shot(engine)

    def seconds(strategy: str) -> float:
        start = time.process_time()
        answer(engine, workload, strategy)
        return time.process_time() - start

    for strategy in ("padded", "packed"):
        seconds(strategy)  # warm
    ratios = [seconds("padded") / seconds("packed") for _ in range(3)]
    assert max(ratios) > FLOOR, ratios


def test_every_distinct_token_is_computed_once(engine: TransformersEngine) -> None:
    engine.reset_counters()
    answer(engine, five_shot(engine), "packed")
    counters = engine.counters
    assert counters.tokens_computed == counters.distinct_tokens
    assert counters.padding_tokens == 0
