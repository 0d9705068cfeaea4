"""The record of a finished case: what `extra_info`, summary.json and the closing table are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from evalsuite.capability import environment
from evalsuite.harness.case import Case, Measurement
from evalsuite.harness.judging import Grading, not_graded
from evalsuite.harness.options import SEED
from evalsuite.measure.stats import SpeedUp, speed_up
from evalsuite.types import Generation, Metric

if TYPE_CHECKING:
    from evalsuite.faithful import Verdict
    from evalsuite.harness.session import EvaluationSession


REFERENCE: Mapping[str, Any] = {"faithful": True, "summary": "reference"}
"""The verdict on the reference itself."""


def judged(verdict: Verdict) -> Mapping[str, Any]:
    return verdict.to_dict() | {"summary": verdict.summary()}


def not_judged(error: Exception) -> Mapping[str, Any]:
    """In place of a verdict that could not be reached."""
    return {"faithful": None, "summary": f"NOT JUDGED: {error}"}


def case_record(
    session: EvaluationSession,
    case: Case,
    measured: Measurement,
    verdict: Mapping[str, Any],
    grading: Grading | None = None,
) -> dict[str, Any]:
    """Everything that a result depends on and shows, as JSON values but for NaN.

    `verdict` is one of `REFERENCE`, `judged` and `not_judged`.
    """
    workload, options = measured.workload, session.options
    data = workload.data
    metrics = workload.task.summarise(measured.graded) if case.path.config.accuracy_is_meaningful else []
    if grading is not None:
        metrics += grading.summary.metrics
    return {
        "case": case.name,
        "task": case.task,
        "strategy": case.path.strategy,
        "model": case.path.config.model,
        "config": dataclasses.asdict(case.path.config),
        "execution": dataclasses.asdict(case.path.execution),
        "prompting": {
            "shots": options.shots,
            "shots_shown": {str(shots): count for shots, count in sorted(workload.shots_shown.items())},
            "chat_template": workload.uses_chat,
        },
        "score": _main_score(metrics, workload.task.main_metric),
        "metrics": [dataclasses.asdict(metric) for metric in metrics],
        "judge": not_graded(session, case) if grading is None else grading.to_dict(),
        "questions": len(workload),
        "questions_in_data": len(data.examples),
        "left_out": data.left_out,
        "excluded": dict(data.excluded),
        "notes": dict(data.notes),
        "truncated": workload.truncated,
        "unscored": sum(graded.gold is None for graded in measured.graded),
        "speed_up": _speed_up_record(case, measured),
        "one_off_seconds": measured.one_off_seconds,
        **_rates(measured),
        **_share_of_ceiling(measured),
        "peak_memory": dataclasses.asdict(measured.peak_memory) if measured.peak_memory else None,
        "counters": measured.counters,
        "padding_share": measured.padding_share,
        "verdict": dict(verdict),
        "fallbacks": [dataclasses.asdict(fallback) for fallback in measured.fallbacks],
        "load_report": measured.load_report,
        "resume": measured.resume,
        "worker": dataclasses.asdict(session.worker) if session.worker else None,
        "fingerprints": {
            "data": data.fingerprint,
            "prompts": workload.prompts_fingerprint,
            "model": measured.load_report["model_fingerprint"],
            "config": case.path.config.fingerprint(),
        },
        "data": {"source": data.source, "split": data.split, "shots_source": list(data.shots_source)},
        "seeds": {"sampling": SEED, "model": case.path.config.seed},
        "versions": environment(),
        "results": str(session.results.path),
    }


def _share_of_ceiling(measured: Measurement) -> dict[str, Any]:
    """FLOPs that had to be done, over the fastest round's seconds, over the rate of matrix products in this run."""
    if measured.ceiling is None or not measured.seconds:
        return {"ceiling": None, "share_of_ceiling": None}
    rate = measured.counters["flops"] / max(min(measured.seconds), 1e-9)
    return {
        "ceiling": dataclasses.asdict(measured.ceiling),
        "share_of_ceiling": rate / measured.ceiling.flops_per_second,
    }


def _main_score(metrics: list[Metric], name: str) -> dict[str, Any] | None:
    """The overall value of the metric that stands for the task; None where nothing was scored."""
    metric = next((m for m in metrics if m.name == name and m.group == "overall"), None)
    return None if metric is None else dataclasses.asdict(metric)


def _speed_up_record(case: Case, measured: Measurement) -> dict[str, Any] | None:
    """None where nothing was timed. The reference against itself is 1 by definition."""
    if case.is_reference:
        return {"ratio": 1.0, "low": None, "high": None, "rounds": 1, "note": "the reference itself"}
    if not measured.baseline.seconds:
        return None
    result: SpeedUp = speed_up(
        measured.baseline.seconds,
        measured.seconds,
        baseline_questions=measured.baseline.questions,
        path_questions=len(measured.workload),
        paired=measured.in_turns,
    )
    return dataclasses.asdict(result) | {
        "baseline": dataclasses.asdict(case.baseline),
        "baseline_seconds": measured.baseline.seconds,
        "path_seconds": measured.seconds,
        "note": _timing_note(measured),
    }


def _timing_note(measured: Measurement) -> str:
    if not measured.in_turns:
        return "baseline timed before the path, not in turns with it: both models do not fit into memory together"
    if len(measured.seconds) == 1 and measured.resume and measured.resume["parts"] > 1:
        return f"timed once, as the sum of what its parts took in {measured.resume['parts']} processes"
    return f"timed once: a round takes {measured.seconds[0]:.0f} s" if len(measured.seconds) == 1 else ""


def _rates(measured: Measurement) -> dict[str, float]:
    """Throughput of the fastest round. `tokens_per_s` counts distinct tokens: what had to be computed, once."""
    seconds = max(min(measured.seconds), 1e-9)
    new_tokens = sum(len(o.token_ids) for o in measured.outcomes.values() if isinstance(o, Generation))
    rates = {
        "questions_per_s": len(measured.workload) / seconds,
        "tokens_per_s": measured.counters["distinct_tokens"] / seconds,
    }
    return rates | ({"new_tokens_per_s": new_tokens / seconds} if new_tokens else {})
