"""A plan knows requests and no tasks: those of several tasks share packs, and what their prompts have in common."""

from __future__ import annotations

import pytest

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.evaluation import prepare
from evalsuite.loading import load
from evalsuite.nano import DATA_DIR
from evalsuite.tasks import get_task
from evalsuite.tasks.base import DataSource, limit_examples
from evalsuite.tasks.prompting import Prompting
from evalsuite.types import EncodedChoices

TASKS = ("mmlu", "vmlu", "vnhsge")
LIMIT = 20


def test_tasks_scored_together_take_fewer_packs_and_score_alike() -> None:
    with TransformersEngine(
        load(InferenceConfig(model="nano", device="cpu", dtype="float32")), ExecutionOptions(token_budget=4_096)
    ) as engine:
        tasks = [questions(engine, name) for name in TASKS]
        apart, forwards = {}, 0
        for requests in tasks:
            engine.reset_counters()
            apart.update({outcome.id: outcome.logprobs for outcome in engine.score(requests, "packed")})
            forwards += engine.counters.forward_passes
        engine.reset_counters()
        together = {o.id: o.logprobs for o in engine.score([each for task in tasks for each in task], "packed")}
        work = engine.counters
    assert together.keys() == apart.keys()
    for id_, logprobs in together.items():
        assert logprobs == pytest.approx(apart[id_], abs=1e-4)
    assert work.forward_passes < forwards
    assert work.tokens_computed == work.distinct_tokens


def questions(engine: TransformersEngine, name: str) -> list[EncodedChoices]:
    task = get_task(name)
    data = limit_examples(task.read(DataSource(kind="directory", path=str(DATA_DIR))), LIMIT, seed=0)
    return list(prepare(task, data, engine, Prompting(shots=0)).choices)
