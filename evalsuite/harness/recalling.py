"""What a case's answers depend on, and what is kept of a measured case so that a later process need not measure it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from evalsuite.capability import environment
from evalsuite.harness.case import BaselineTimes, ExecutionPath, Measurement
from evalsuite.json_values import finite
from evalsuite.measure.memory import PeakMemory
from evalsuite.resume.key import Key, code_fingerprint, versions_that_matter
from evalsuite.types import Fallback, Generation

if TYPE_CHECKING:
    from evalsuite.engines.transformers import TransformersEngine
    from evalsuite.evaluation import Workload
    from evalsuite.harness.case import Case
    from evalsuite.harness.session import EvaluationSession
    from evalsuite.resume.journal import Journal


def answers_key(engine: TransformersEngine, path: ExecutionPath, workload: Workload, **more: object) -> Key:
    """Model, data, prompts, configuration asked and got, execution, strategy, code, versions and hardware."""
    report = engine.loaded.report
    return Key(
        parts={
            "task": workload.task.name,
            "strategy": path.strategy,
            "questions": {"count": len(workload), "ids": _hash("\n".join(workload.ids))},
            "data": workload.data.fingerprint,
            "prompts": workload.prompts_fingerprint,
            "model": report.model_fingerprint,
            "config": dataclasses.asdict(path.config),
            "got": dict(report.got),
            "execution": dataclasses.asdict(path.execution),
            "code": code_fingerprint(),
            "versions": versions_that_matter(environment(), str(engine.loaded.device)),
            **more,
        }
    )


def answers_hash(answers: Iterable[Generation]) -> str:
    """Twelve hex digits over generated answers, token by token."""
    return _hash("\n".join(f"{answer.id} {answer.token_ids}" for answer in answers))


def measured_facts(measured: Measurement, *, timed: bool) -> dict[str, Any]:
    """All of a measurement but its answers, as JSON values."""
    kept = ("in_turns", "one_off_seconds", "seconds", "counters", "padding_share", "load_report")
    return finite(  # type: ignore[no-any-return]
        {name: getattr(measured, name) for name in kept}
        | {
            "timed": timed,
            "baseline": dataclasses.asdict(measured.baseline),
            "peak_memory": measured.peak_memory and dataclasses.asdict(measured.peak_memory),
            "fallbacks": [dataclasses.asdict(fallback) for fallback in measured.fallbacks],
            "ceiling": measured.ceiling and dataclasses.asdict(measured.ceiling),
            "resume": measured.resume,
        }
    )


def from_facts(facts: Mapping[str, Any], workload: Workload) -> Measurement:
    """The measurement that `measured_facts` describes, still without answers."""
    from evalsuite.measure.ceiling import Ceiling

    own = {name: facts[name] for name in ("in_turns", "one_off_seconds", "counters", "padding_share", "load_report")}
    return Measurement(
        workload=workload,
        seconds=list(facts["seconds"]),
        baseline=BaselineTimes(**facts["baseline"]),
        peak_memory=PeakMemory(**facts["peak_memory"]) if facts["peak_memory"] else None,
        fallbacks=[Fallback(**fallback) for fallback in facts["fallbacks"]],
        ceiling=Ceiling(**facts["ceiling"]) if facts["ceiling"] else None,
        resume=facts["resume"],
        **own,
    )


def resume_facts(session: EvaluationSession, case: Case, journal: Journal, key: Key, recomputed: int) -> Any:
    """The `resume` of a record; None where one process answered everything and nothing earlier was left aside."""
    not_used = session.results.journals.not_used(session.results.stem(case.name), key)
    if not journal.batches_recalled and not not_used:
        return None
    return {
        "parts": journal.parts,
        "batches_recalled": journal.batches_recalled,
        "batches_run": journal.batches_run,
        "recomputed_tokens": recomputed,
        "not_used": not_used,
    }


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
