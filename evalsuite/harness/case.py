"""One benchmark case: warm up, time the path and its baseline in turns, write every answer, judge, record."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from evalsuite.capability import environment
from evalsuite.config import REFERENCE_STRATEGY, InferenceConfig
from evalsuite.engines.transformers import TransformersEngine
from evalsuite.evaluation import Workload, answer, grade
from evalsuite.harness.options import SEED
from evalsuite.harness.session import SLOW_STRATEGIES, EvaluationSession, ExecutionPath, Reference
from evalsuite.measure.memory import MemoryMeter, PeakMemory
from evalsuite.measure.stats import SpeedUp, speed_up
from evalsuite.measure.timing import CLOCK, ROUNDS, RoundPlan, plan_rounds, timing_question_count, timing_subset
from evalsuite.results import finite
from evalsuite.types import Fallback, Generation, Graded, Metric, Outcome

if TYPE_CHECKING:
    from evalsuite.faithful import Verdict


WARM_UP_QUESTIONS = 8
ALONE_NOTE = "baseline timed before the path, not in turns with it: both models do not fit into memory together"


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that a case needs."""

    enabled: bool
    extra_info: dict[str, Any]

    def pedantic(
        self, target: Callable[[], None], *, setup: Callable[[], None], rounds: int, warmup_rounds: int
    ) -> object: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """What to measure, against what."""

    name: str
    """`test_mmlu[padded]`: names the results file and the row of the table."""
    task: str
    path: ExecutionPath
    baseline: ExecutionPath
    """What the path is timed against."""
    reference: InferenceConfig
    """How the model is loaded for the reference that the path is judged by."""

    @property
    def is_reference(self) -> bool:
        return self.path.strategy == REFERENCE_STRATEGY and self.path.config == self.reference


@dataclass(kw_only=True, slots=True)
class BaselineTimes:
    """How long the baseline took over its subset of the questions."""

    questions: int = 0
    seconds: list[float] = field(default_factory=list)
    """One a round."""


@dataclass(kw_only=True, slots=True)
class Measurement:
    """What running a path gave. Filled in by the first round; later rounds only add seconds."""

    workload: Workload
    plan: RoundPlan
    seconds: list[float] = field(default_factory=list)
    """One a round."""
    baseline: BaselineTimes = field(default_factory=BaselineTimes)
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    graded: list[Graded] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    padding_share: float = 0.0
    peak_memory: PeakMemory | None = None
    fallbacks: list[Fallback] = field(default_factory=list)
    """Steps down of loading and of running."""
    load_report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """The record of a case: what `extra_info`, summary.json and the table are made of."""

    record: dict[str, Any]
    """Plain JSON values."""
    verdict: Verdict | None
    """None for the reference itself."""


def run_case(session: EvaluationSession, case: Case, benchmark: Benchmark) -> CaseResult:
    """Answer every question once at least, and as often as timing wants; compare and record."""
    measured = _measure(session, case, benchmark)
    if case.is_reference:
        answered = Reference(outcomes=measured.outcomes, seconds=measured.seconds[0])
        session.keep_reference(case.reference, case.task, answered)
    verdict = None if case.is_reference else session.verdict(case.reference, case.task, measured.outcomes)
    record = finite(_record(session, case, measured, verdict) | {"timed": benchmark.enabled})
    benchmark.extra_info.update(record)
    session.results.add_case(case.name, record)
    return CaseResult(record=record, verdict=verdict)


def _measure(session: EvaluationSession, case: Case, benchmark: Benchmark) -> Measurement:
    """Run the path. No engine outlives this function, so that its model can make room for the next one."""
    in_turns = benchmark.enabled and not case.is_reference
    alone = in_turns and not session.fit_together(case.path.config, case.baseline.config)
    before = _baseline_alone(session, case) if alone else None
    with session.engine(case.path) as engine:
        workload = session.workload(engine, case.task)
        if case.path.strategy in SLOW_STRATEGIES:
            workload = session.sample(workload)
        measured = Measurement(workload=workload, plan=RoundPlan(rounds=1, note=""))
        answer_once = _first_round_recorded(session, case, engine, measured)
        if not in_turns:
            benchmark.pedantic(answer_once, setup=_nothing, rounds=1, warmup_rounds=0)
        elif before is not None:
            measured.baseline, measured.plan = before, RoundPlan(rounds=len(before.seconds), note=ALONE_NOTE)
            _warm_up(engine, workload, case.path.strategy)
            benchmark.pedantic(answer_once, setup=_nothing, rounds=len(before.seconds), warmup_rounds=0)
        else:
            with session.engine(case.baseline) as baseline_engine:
                time_baseline = _baseline_timer(session, case, baseline_engine, measured.baseline)
                measured.plan = plan_rounds(_warm_up(engine, workload, case.path.strategy))
                benchmark.pedantic(answer_once, setup=time_baseline, rounds=measured.plan.rounds, warmup_rounds=0)
        measured.fallbacks = [*engine.loaded.report.fallbacks, *engine.fallbacks]
        measured.load_report = engine.loaded.report.to_dict()
    return measured


def _baseline_alone(session: EvaluationSession, case: Case) -> BaselineTimes:
    """All rounds of the baseline before the path's first: the two models do not fit into memory together."""
    times = BaselineTimes()
    with session.engine(case.baseline) as engine:
        time_baseline = _baseline_timer(session, case, engine, times)
        for _ in range(ROUNDS):
            time_baseline()
    return times


def _first_round_recorded(
    session: EvaluationSession, case: Case, engine: TransformersEngine, measured: Measurement
) -> Callable[[], None]:
    """The function to time. Its first call writes and grades every answer, and counts the work, off the clock."""
    meter = MemoryMeter(str(engine.loaded.device))
    workload = measured.workload

    def answer_and_record() -> None:
        with _recorder(session, case, measured) as record:
            with CLOCK.paused():
                engine.reset_counters()
                meter.reset()
            start = CLOCK()
            measured.outcomes = answer(engine, workload, case.path.strategy, on_outcome=record)
            measured.seconds.append(CLOCK() - start)
            with CLOCK.paused():
                measured.peak_memory = meter.peak()
                measured.counters = engine.counters.to_dict()
                measured.padding_share = engine.counters.padding_share

    def answer_once() -> None:
        if not measured.seconds:
            answer_and_record()
            return
        start = CLOCK()
        answer(engine, workload, case.path.strategy)
        measured.seconds.append(CLOCK() - start)

    return answer_once


@contextmanager
def _recorder(session: EvaluationSession, case: Case, measured: Measurement) -> Iterator[Callable[[Outcome], None]]:
    """The function that grades and writes one answer. Opening and closing the file is off the clock, too."""
    workload = measured.workload
    with ExitStack() as stack:
        with CLOCK.paused():
            log = stack.enter_context(session.results.open_case(case.name))
            tick = stack.enter_context(session.progress.bar(case.name, len(workload)))

        def record(outcome: Outcome) -> None:
            graded = grade(workload, outcome)
            measured.graded.append(graded)
            hash_ = workload.prompt_hashes[outcome.id]
            log.write(outcome, graded, prompt_hash=hash_, main_metric=workload.task.main_metric)
            tick()

        try:
            yield record
        finally:
            with CLOCK.paused():
                stack.close()


def _baseline_timer(
    session: EvaluationSession, case: Case, engine: TransformersEngine, times: BaselineTimes
) -> Callable[[], None]:
    """The function that times one round of the baseline, on a subset that costs about `BASELINE_SECONDS`."""
    sample = session.sample(session.workload(engine, case.task))
    if case.baseline == session.reference_path(case.reference):
        expected_seconds = session.reference(case.reference, case.task).seconds
    else:
        expected_seconds = _warm_up(engine, sample, case.baseline.strategy)
    count = timing_question_count(expected_seconds / len(sample))
    subset = sample.only(timing_subset(sample.lengths, count))
    times.questions = len(subset)

    def time_baseline() -> None:
        start = CLOCK()
        answer(engine, subset, case.baseline.strategy)
        times.seconds.append(CLOCK() - start)

    return time_baseline


def _warm_up(engine: TransformersEngine, workload: Workload, strategy: str) -> float:
    """Run a few questions twice, dropping the first time (compilation, caches); expected seconds for all of them."""
    few = workload.only(timing_subset(workload.lengths, WARM_UP_QUESTIONS))
    start = CLOCK()
    for _ in range(2):
        start = CLOCK()
        answer(engine, few, strategy)
    return (CLOCK() - start) / len(few) * len(workload)


def _record(
    session: EvaluationSession,
    case: Case,
    measured: Measurement,
    verdict: Verdict | None,
) -> dict[str, Any]:
    workload, options = measured.workload, session.options
    data = workload.data
    metrics = workload.task.summarise(measured.graded) if case.path.config.accuracy_is_meaningful else []
    return {
        "case": case.name,
        "task": case.task,
        "strategy": case.path.strategy,
        "model": case.path.config.model,
        "config": dataclasses.asdict(case.path.config),
        "execution": dataclasses.asdict(case.path.execution),
        "prompting": {"shots": options.shots, "chat_template": workload.uses_chat},
        "score": _main_score(metrics, workload.task.main_metric),
        "metrics": [dataclasses.asdict(metric) for metric in metrics],
        "questions": len(workload),
        "questions_in_data": len(data.examples),
        "left_out": data.left_out,
        "excluded": dict(data.excluded),
        "notes": dict(data.notes),
        "truncated": workload.truncated,
        "unscored": sum(graded.gold is None for graded in measured.graded),
        "speed_up": _speed_up_record(case, measured),
        **_rates(measured),
        "peak_memory": dataclasses.asdict(measured.peak_memory) if measured.peak_memory else None,
        "counters": measured.counters,
        "padding_share": measured.padding_share,
        "verdict": _verdict_record(verdict),
        "fallbacks": [dataclasses.asdict(fallback) for fallback in measured.fallbacks],
        "load_report": measured.load_report,
        "fingerprints": {
            "data": data.fingerprint,
            "model": measured.load_report["model_fingerprint"],
            "config": case.path.config.fingerprint(),
        },
        "data": {"source": data.source, "split": data.split},
        "seeds": {"sampling": SEED, "model": case.path.config.seed},
        "versions": environment(),
        "results": str(session.results.path),
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
        seed=SEED,
    )
    return dataclasses.asdict(result) | {
        "baseline": dataclasses.asdict(case.baseline),
        "baseline_seconds": measured.baseline.seconds,
        "path_seconds": measured.seconds,
        "note": measured.plan.note,
    }


def _rates(measured: Measurement) -> dict[str, float]:
    """Throughput of the fastest round. `tokens_per_s` counts distinct tokens: what had to be computed, once."""
    seconds = max(min(measured.seconds), 1e-9)
    new_tokens = sum(len(o.token_ids) for o in measured.outcomes.values() if isinstance(o, Generation))
    rates = {
        "questions_per_s": len(measured.workload) / seconds,
        "tokens_per_s": measured.counters["distinct_tokens"] / seconds,
    }
    return rates | ({"new_tokens_per_s": new_tokens / seconds} if new_tokens else {})


def _verdict_record(verdict: Verdict | None) -> Mapping[str, Any]:
    if verdict is None:
        return {"faithful": True, "summary": "reference"}
    return verdict.to_dict() | {"summary": verdict.summary()}


def _nothing() -> None:
    pass
