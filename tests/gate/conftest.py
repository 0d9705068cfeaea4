"""Benchmark projects: one with cases that only say what they did, one that runs a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.plugin.conftest import PYTEST_INI, ROOT, project, run_suite, tiny_model

__all__ = ["project", "run_suite", "tiny_model"]

CONFTEST = """
import json, pathlib, time
import pytest
from evalsuite.gate.margins import NEAR_TIES
from evalsuite.plugin import RECORD
from tests.gate import facts_made

pytest_plugins = ["evalsuite.plugin"]

@pytest.fixture
def evaluate_case(request, benchmark):
    def evaluate(task, strategy):
        plan = json.loads(pathlib.Path("plan.json").read_text()).get(strategy, {})
        if "skip" in plan:
            pytest.skip(plan["skip"])
        benchmark.pedantic(lambda: time.sleep(0.001), rounds=1)
        folder = pathlib.Path("results", strategy).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        name = request.node.name
        record = facts_made.record(**plan.get("record", {})) | {
            "case": name, "results": str(folder), "answers": "answers.jsonl", "timed": benchmark.enabled,
        }
        benchmark.extra_info.update(record)
        lines = facts_made.lines(plan.get("answers"))
        folder.joinpath("answers.jsonl").write_text("".join(json.dumps(line) + "\\n" for line in lines))
        folder.joinpath("summary.json").write_text(json.dumps({"run": "r", "cases": {name: record}}))
        request.node.user_properties.append((RECORD, record))
        request.node.user_properties.append((NEAR_TIES, dict(facts_made.ALL_KNOWN)))
        assert "fail" not in plan, plan["fail"]
    return evaluate
"""
BENCHMARK = """
import pytest

@pytest.mark.parametrize("strategy", {strategies})
def test_mmlu(evaluate_case, strategy):
    evaluate_case("mmlu", strategy)

def test_not_a_case(): ...
"""

Gated = Callable[..., pytest.RunResult]


@pytest.fixture
def gated(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Gated:
    """Run benchmarks whose cases do as planned: `gated("--gate", padded={"record": {...}, "answers": {...}})`."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.syspath_prepend(str(ROOT))
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER_COUNT", raising=False)
    pytester.makefile(".ini", pytest=PYTEST_INI)
    pytester.makeconftest(CONFTEST)
    pytester.mkdir("benchmarks")

    def run(
        *options: str, strategies: tuple[str, ...] = ("unbatched", "padded"), path: str = "benchmarks", **plan: Any
    ) -> pytest.RunResult:
        file = pytester.path / "benchmarks" / "test_mmlu.py"
        file.write_text(BENCHMARK.format(strategies=list(strategies)))
        pytester.path.joinpath("plan.json").write_text(json.dumps(plan))
        return pytester.runpytest_inprocess(path, "-p", "no:cacheprovider", *options)

    return run
