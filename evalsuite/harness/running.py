"""Run one case: warm up, time the path and its baseline in turns, write every answer, judge, record."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from evalsuite.engines.transformers import TransformersEngine
from evalsuite.errors import EvalsuiteError
from evalsuite.evaluation import Workload, answer, grade
from evalsuite.harness import judging
from evalsuite.harness.case import BaselineTimes, Case, Measurement
from evalsuite.harness.plan import CannotRun, refuse_steps_down
from evalsuite.harness.recalling import answers_key, from_facts, measured_facts, resume_facts
from evalsuite.harness.record import REFERENCE, case_record, judged, not_judged
from evalsuite.harness.session import SLOW_STRATEGIES, EvaluationSession, Reference
from evalsuite.measure.memory import MemoryMeter
from evalsuite.measure.timing import CLOCK, GATED_ROUNDS, QUICK_ROUNDS, rounds_for, timing_question_count, timing_subset
from evalsuite.results import finite
from evalsuite.types import Outcome

if TYPE_CHECKING:
    from evalsuite.faithful import Verdict
    from evalsuite.resume.journal import Journal

WARM_UP_QUESTIONS = (8, 64, 512)
"""A few, then more as long as the few are quick: large batches are what a fast path is fast by."""
QUICK_SECONDS = 0.2


class Benchmark(Protocol):
    """The part of pytest-benchmark's fixture that a case needs."""

    enabled: bool
    extra_info: dict[str, Any]

    def pedantic(
        self, target: Callable[[], None], *, setup: Callable[[], None], rounds: int, warmup_rounds: int
    ) -> object: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CaseResult:
    """The record of a case: what `extra_info`, summary.json and the table are made of."""

    record: dict[str, Any]
    """Plain JSON values."""
    verdict: Verdict | None
    """None for the reference itself."""
    problem: str = ""
    """Why the case fails although it was answered and recorded; empty where it does not."""


def run_case(session: EvaluationSession, case: Case, benchmark: Benchmark) -> CaseResult:
    """Answer every question once at least, and as often as timing wants; compare and record."""
    judge = judging.open_for(session, case)
    measured = _measure(session, case, benchmark)
    try:
        refuse_steps_down(case.about, measured.fallbacks)
    except CannotRun as error:
        benchmark.extra_info["not_measured"] = str(error)  # pytest-benchmark has timed something, but not this
        raise
    if case.is_reference:
        answered = Reference(outcomes=measured.outcomes, seconds=measured.seconds[0])
        session.keep_reference(case.reference, case.task, answered)
    try:
        verdict = None if case.is_reference else session.verdict(case.reference, case.task, measured.outcomes)
    except EvalsuiteError as error:  # such as an fp32 reference that does not fit: what was measured is kept
        _keep(session, case, benchmark, measured, not_judged(error))
        raise
    said = REFERENCE if verdict is None else judged(verdict)
    # Also before the judge is asked: whoever ends a long grading keeps what was measured.
    record = _keep(session, case, benchmark, measured, said)
    if judge is None:
        return CaseResult(record=record, verdict=verdict)
    grading = judging.grade_case(session, case, measured, judge)
    record = _keep(session, case, benchmark, measured, said, grading)
    return CaseResult(record=record, verdict=verdict, problem=grading.problem)


def _keep(
    session: EvaluationSession,
    case: Case,
    benchmark: Benchmark,
    measured: Measurement,
    verdict: Mapping[str, Any],
    grading: judging.Grading | None = None,
) -> dict[str, Any]:
    """Hand the case's record to pytest-benchmark and to the results folder."""
    full = case_record(session, case, measured, verdict, grading) | {"timed": benchmark.enabled}
    record: dict[str, Any] = finite(full)
    benchmark.extra_info.update(record)
    session.results.add_case(case.name, record)
    return record


def _measure(session: EvaluationSession, case: Case, benchmark: Benchmark) -> Measurement:
    """Run the path. No engine outlives this function, so that its model can make room for the next one."""
    if session.results.journals.resumed and (played := _played_back(session, case, benchmark)) is not None:
        return played
    in_turns = benchmark.enabled and not case.is_reference
    alone = in_turns and not session.fit_together(case.path.config, case.baseline.config)
    before = _baseline_alone(session, case) if alone else None
    with session.engine(case.path) as engine:
        measured = Measurement(workload=_questions(session, case, engine))
        key, stem = answers_key(engine, case.path, measured.workload), session.results.stem(case.name)
        begun = session.results.journals.holds(stem, key)
        with closing(session.results.journals.open(stem, key)) as journal:
            answer_once = _first_round_recorded(session, case, engine, measured, journal)
            if not in_turns:
                benchmark.pedantic(answer_once, setup=_nothing, rounds=1, warmup_rounds=0)
            elif before is not None:
                measured.baseline, measured.in_turns = before, False
                _warmed_up(engine, case, measured)
                rounds = len(before.seconds)
                _answer_untimed(measured, answer_once, begun and rounds > 1)
                benchmark.pedantic(answer_once, setup=_nothing, rounds=rounds, warmup_rounds=0)
            else:
                with session.engine(case.baseline) as baseline_engine:
                    expected = _warmed_up(engine, case, measured)
                    time_baseline = _baseline_timer(session, case, baseline_engine, measured.baseline, expected)
                    if case.is_optimisation:
                        time_baseline()  # once for warming up
                        measured.baseline.seconds.clear()
                    rounds = _rounds(session, expected)
                    _answer_untimed(measured, answer_once, begun and rounds > 1)
                    benchmark.pedantic(answer_once, setup=time_baseline, rounds=rounds, warmup_rounds=0)
            measured.fallbacks = [*engine.loaded.report.fallbacks, *engine.fallbacks]
            measured.load_report = engine.loaded.report.to_dict()
            measured.resume = resume_facts(session, case, journal, key, engine.recomputed_tokens)
            if benchmark.enabled:
                measured.ceiling = session.ceiling(engine.loaded)
            journal.finish(measured_facts(measured, timed=benchmark.enabled))
    return measured


def _questions(session: EvaluationSession, case: Case, engine: TransformersEngine) -> Workload:
    """What the case answers: slow strategies and optimisations a sample, the others everything."""
    workload = session.workload(engine, case.task)
    return session.sample(workload) if case.path.strategy in SLOW_STRATEGIES or case.is_optimisation else workload


def _answer_untimed(measured: Measurement, answer_once: Callable[[], None], wanted: bool) -> None:
    """Answer what an earlier process left, off the clock: a round of which a part is recalled is no clean timing."""
    if wanted:
        answer_once()
        measured.seconds.clear()


def _played_back(session: EvaluationSession, case: Case, benchmark: Benchmark) -> Measurement | None:
    """The case as an earlier process measured it, with its times; None where none did, or where it did not time it."""
    with session.engine(case.path) as engine:
        workload = _questions(session, case, engine)
        key, stem = answers_key(engine, case.path, workload), session.results.stem(case.name)
        facts = session.results.journals.measured(stem, key)
        if facts is None or (benchmark.enabled and not facts["timed"]):
            return None
        measured = from_facts(facts, workload)
        with (
            closing(session.results.journals.open(stem, key)) as journal,
            _recorder(session, case, measured, journal) as record,
            engine.keeping(journal),
        ):
            measured.outcomes = answer(engine, workload, case.path.strategy, on_outcome=record)
        before = (facts["resume"] or {}).get("recomputed_tokens", 0)
        measured.resume = resume_facts(session, case, journal, key, before + engine.recomputed_tokens)
    taken = iter(measured.seconds)
    rounds = len(measured.seconds) if benchmark.enabled else 1
    benchmark.pedantic(lambda: CLOCK.advance(next(taken)), setup=_nothing, rounds=rounds, warmup_rounds=0)
    return measured


def _baseline_alone(session: EvaluationSession, case: Case) -> BaselineTimes:
    """All rounds of the baseline before the path's first: the two models do not fit into memory together."""
    times = BaselineTimes()
    with session.engine(case.baseline) as engine:
        sample = session.sample(session.workload(engine, case.task))
        time_baseline = _baseline_timer(session, case, engine, times)
        for _ in range(rounds_for(_warm_up(engine, sample, case.baseline.strategy).expected_seconds)):
            time_baseline()
    return times


def _first_round_recorded(
    session: EvaluationSession, case: Case, engine: TransformersEngine, measured: Measurement, journal: Journal
) -> Callable[[], None]:
    """The function to time. Its first call writes and grades every answer, and counts the work, off the clock."""
    meter = MemoryMeter(str(engine.loaded.device))
    workload = measured.workload

    def answer_and_record() -> None:
        with _recorder(session, case, measured, journal) as record, engine.keeping(journal):
            with CLOCK.paused():
                engine.reset_counters()
                meter.reset()
            start = CLOCK()
            measured.outcomes = answer(engine, workload, case.path.strategy, on_outcome=record)
            measured.seconds.append(CLOCK() - start)
            with CLOCK.paused():
                if not journal.batches_recalled:  # or the largest batch may have run in another process
                    measured.peak_memory = meter.peak(beside=session.pool.bytes_beside(case.path.config))
                measured.counters = engine.counters.to_dict()
                measured.padding_share = engine.counters.padding_share

    def answer_once() -> None:
        if not measured.outcomes:
            answer_and_record()
            return
        if unmetered := measured.peak_memory is None:
            with CLOCK.paused():
                meter.reset()
        measured.seconds.append(_seconds(engine, workload, case.path.strategy))
        if unmetered:
            with CLOCK.paused():
                measured.peak_memory = meter.peak(beside=session.pool.bytes_beside(case.path.config))

    return answer_once


@contextmanager
def _recorder(
    session: EvaluationSession, case: Case, measured: Measurement, journal: Journal
) -> Iterator[Callable[[Outcome], None]]:
    """The function that grades and writes one answer. Opening and closing the file is off the clock, too."""
    workload = measured.workload
    with ExitStack() as stack:
        with CLOCK.paused():
            log = stack.enter_context(session.results.open_case(case.name))
            measured.answers_file = log.path
            tick = stack.enter_context(session.progress.bar(case.name, len(workload)))

        def record(outcome: Outcome) -> None:
            if journal.batches_run:
                log.settle()
            graded = grade(workload, outcome)
            if not case.path.config.accuracy_is_meaningful:
                graded = replace(graded, scores={})
            measured.graded.append(graded)
            hash_ = workload.prompt_hashes[outcome.id]
            log.write(outcome, graded, prompt_hash=hash_, main_metric=workload.task.main_metric)
            tick()

        try:
            yield record
            log.settle()
        finally:
            with CLOCK.paused():
                stack.close()


def _baseline_timer(
    session: EvaluationSession, case: Case, engine: TransformersEngine, times: BaselineTimes, path_seconds: float = 0.0
) -> Callable[[], None]:
    """The function that times one round of the baseline, on a subset that costs little beside the path's round."""
    sample = session.sample(session.workload(engine, case.task))
    if case.is_optimisation:
        # The same questions on both sides: batches of a subset would be others, and their cost too.
        return _timer(engine, sample, case.baseline.strategy, times)
    if case.baseline == session.reference_path(case.reference):
        expected_seconds = session.reference(case.reference, case.task).seconds
    else:
        expected_seconds = _warm_up(engine, sample, case.baseline.strategy).expected_seconds
    count = timing_question_count(expected_seconds / len(sample), path_seconds=path_seconds)
    subset = sample.only(timing_subset(sample.lengths, count))
    return _timer(engine, subset, case.baseline.strategy, times)


def _rounds(session: EvaluationSession, expected_seconds: float) -> int:
    quick_rounds = GATED_ROUNDS if session.options.gate.active else QUICK_ROUNDS
    return rounds_for(expected_seconds, quick_rounds=quick_rounds)


def _timer(engine: TransformersEngine, questions: Workload, strategy: str, times: BaselineTimes) -> Callable[[], None]:
    times.questions = len(questions)

    def time_once() -> None:
        times.seconds.append(_seconds(engine, questions, strategy))

    return time_once


def _warmed_up(engine: TransformersEngine, case: Case, measured: Measurement) -> float:
    """Warm the path up and keep what that cost once: expected seconds for all questions."""
    warm = _warm_up(engine, measured.workload, case.path.strategy)
    measured.one_off_seconds = warm.one_off_seconds
    return warm.expected_seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class _WarmUp:
    expected_seconds: float
    """For all questions."""
    one_off_seconds: float
    """What first times took longer than second ones: compilation, caches."""


def _warm_up(engine: TransformersEngine, workload: Workload, strategy: str) -> _WarmUp:
    """Run some questions twice, telling the first time (compilation, caches) from the second."""
    expected = one_off = 0.0
    for count in WARM_UP_QUESTIONS:
        some = workload.only(timing_subset(workload.lengths, count))
        first, second = _seconds(engine, some, strategy), _seconds(engine, some, strategy)
        one_off += max(0.0, first - second)
        expected = second / len(some) * len(workload)
        if second > QUICK_SECONDS:
            break
    return _WarmUp(expected_seconds=expected, one_off_seconds=one_off)


def _seconds(engine: TransformersEngine, questions: Workload, strategy: str) -> float:
    start = CLOCK()
    answer(engine, questions, strategy)
    return CLOCK() - start


def _nothing() -> None:
    pass
