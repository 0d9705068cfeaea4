"""Records and runs as the gate sees them, without a model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evalsuite.config import ExecutionOptions, InferenceConfig
from evalsuite.gate.compare import CaseRun
from evalsuite.gate.facts import Facts, case_facts, read_answers
from evalsuite.gate.floors import gain_of
from evalsuite.gate.running import Ran
from evalsuite.gate.selection import Collected, scope_of
from evalsuite.harness.options import ALL_STRATEGIES, SuiteOptions

MMLU = "benchmarks/test_mmlu.py::test_mmlu"
COUNTERS = {"forward_passes": 3, "tokens_computed": 600, "padding_tokens": 60}
ALL_KNOWN: Mapping[str, Any] = {"noise": 0.01, "margins": {}, "known": None, "problem": ""}


def options(**changes: Any) -> SuiteOptions:
    plain = SuiteOptions(
        config=InferenceConfig(),
        execution=ExecutionOptions(),
        strategies=ALL_STRATEGIES,
        shots=0,
        chat_template="auto",
        limit=None,
        reference_limit=None,
        data="sample",
        split=None,
        results=Path(".evalsuite"),
        require=(),
        judge=None,
    )
    return dataclasses.replace(plain, **changes)


def record(**changes: Any) -> dict[str, Any]:
    loaded = {"device": "cpu", "dtype": "bfloat16", "attention": "sdpa", "torch_compile": "off"}
    return {
        "questions": 4,
        "fingerprints": {"data": "d" * 12, "prompts": "p" * 12, "model": "w" * 12},
        "verdict": {"faithful": True, "summary": "faithful, 4 of 4 compared"},
        "load_report": {"got": loaded, "asked": {**loaded, "attention": "auto"}},
        "counters": dict(COUNTERS),
        "fallbacks": [{"what": "attention", "asked": "flash_attention_2", "got": "sdpa", "reason": "no CUDA"}],
        "speed_up": None,
    } | changes


def timing(*ratios: float, **changes: Any) -> dict[str, Any]:
    """The `speed_up` of a record whose rounds gained so much."""
    return {
        "path_questions": 4,
        "baseline_questions": 4,
        "baseline_seconds": list(ratios),
        "path_seconds": [1.0] * len(ratios),
        "low": 1.0 if len(ratios) > 1 else None,
    } | changes


def lines(answers: Mapping[str, str] | None = None, **logprobs: Sequence[float]) -> list[dict[str, Any]]:
    answers = {"q1": "A", "q2": "B", "q3": "C", "q4": "D"} if answers is None else answers
    return [
        {"id": id_, "group": "sums", "prediction": answer, "logprobs": logprobs.get(id_, [-0.1, -9.0])}
        for id_, answer in answers.items()
    ]


def case(
    name: str = "padded",
    *,
    said: Sequence[Mapping[str, Any]] | None = None,
    ties: Mapping[str, Any] = ALL_KNOWN,
    **changes: Any,
) -> CaseRun:
    made = record(**changes)
    answers = read_answers(lines() if said is None else said, ties)
    return CaseRun(case=f"{MMLU}[{name}]", facts=case_facts(made, answers), answers=answers, gain=gain_of(made))


def ran(
    *cases: CaseRun,
    paths: Sequence[str] = ("benchmarks",),
    deselected: Sequence[str] = (),
    skipped: Mapping[str, str] | None = None,
    failed: Mapping[str, str] | None = None,
    **changes: Any,
) -> Ran:
    ended = {**(skipped or {}), **(failed or {})}
    return Ran(
        options=options(**changes),
        device="cpu",
        collected=Collected(kept={*(run.case for run in cases), *ended}, deselected=set(deselected)),
        scope=scope_of(paths, root=Path("/project"), called_from=Path("/project")),
        cases={run.case: run for run in cases},
        skipped=dict(skipped or {}),
        failed=dict(failed or {}),
    )


def without(facts: Facts, *names: str) -> Facts:
    return {name: value for name, value in facts.items() if name not in names}
