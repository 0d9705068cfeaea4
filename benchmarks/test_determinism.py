"""The same bits alone and in any company, on the session's own model and questions; what it costs is nothing extra."""

from __future__ import annotations

import dataclasses

import pytest

from evalsuite.determinism import why_not
from evalsuite.harness.case import ExecutionPath
from evalsuite.selftest import GENERATION, SCORING, companies, compare, summary_rows

QUESTIONS, ALONE = 300, 10


@pytest.mark.parametrize(
    ("task", "strategy"), [("mmlu", SCORING), ("viquad", GENERATION)], ids=["questions", "prompts"]
)
def test_same_bits(evaluation_session, benchmark, task, strategy):
    session = evaluation_session
    execution = dataclasses.replace(session.options.execution, deterministic=True)
    path = ExecutionPath(config=session.options.config, execution=execution, strategy=strategy)
    if (reason := why_not(path.strategy, session.pool.get(path.config).report.got["device"])) is not None:
        pytest.skip(f"deterministic {strategy}: {reason}")
    with session.engine(path) as engine:
        requests = session.workload(engine, task).questions[:QUESTIONS]
        asked = companies([request.id for request in requests], seed=0, alone=ALONE)
        found = benchmark.pedantic(lambda: list(compare(engine, requests, asked)), rounds=1)
    benchmark.extra_info["companies"] = summary_rows(found)
    assert [comparison.differing for comparison in found] == [()] * len(found)
