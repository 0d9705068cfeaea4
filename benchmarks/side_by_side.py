"""Two ways of answering the same long prompts: timed in turns, the one judged by the answers of the other."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.claims.generating import answer_timed
from benchmarks.claims.turns import in_turns
from evalsuite.errors import RequestError
from evalsuite.evaluation import answer
from evalsuite.faithful import Verdict, compare_generations
from evalsuite.harness.case import ExecutionPath
from evalsuite.harness.plan import CannotRun, refuse_steps_down
from evalsuite.measure.memory import MemoryMeter
from evalsuite.measure.stats import speed_up
from evalsuite.measure.timing import CLOCK, rounds_for

if TYPE_CHECKING:
    from evalsuite.config import InferenceConfig
    from evalsuite.evaluation import Workload
    from evalsuite.generation.teacher_forcing import TeacherForced
    from evalsuite.harness.session import EvaluationSession
    from evalsuite.types import Fallback, Generation

Answers = Mapping[str, "Generation"]


@contextmanager
def named_skips(pytestconfig: pytest.Config) -> Iterator[None]:
    """Skip, with the reason, what this machine cannot run or hold; fail where --require names it."""
    reason, requirement = "", None
    try:
        yield
    except CannotRun as error:
        reason, requirement = str(error), error.requirement
    except RequestError as error:
        if not str(error).startswith("out of memory"):
            raise
        reason = str(error)
    # Outside the handlers, or pytest would show the error twice.
    required = {name for names in pytestconfig.getoption("--require") for name in names.split(",")}
    if reason and requirement in required:
        pytest.fail(f"--require {requirement}: {reason}", pytrace=False)
    if reason:
        pytest.skip(reason)


class Judge:
    """Compares answers by the rule of `evalsuite.faithful`; what fp32 says to a reference's answers is kept."""

    def __init__(self, session: EvaluationSession) -> None:
        self._session = session
        self._forced: dict[object, Mapping[str, TeacherForced]] = {}

    def verdict(
        self, config: InferenceConfig, prompts: Workload, *, reference: Answers, path: Answers, total: int | None = None
    ) -> Verdict:
        """`config`: how the model was loaded for the reference. `total`: questions of the path, if more than these."""
        forced = self._in_fp32(config, prompts, reference)
        return compare_generations(reference=reference, path=path, reference_fp32=forced, total=total)

    def _in_fp32(self, config: InferenceConfig, prompts: Workload, answers: Answers) -> Mapping[str, TeacherForced]:
        from evalsuite.harness.session import fp32_config

        session = self._session
        exact = session.pool.get(config).report.got["dtype"] == "float32"
        path = session.reference_path(config if exact else fp32_config(config))
        key = path.config, tuple((id_, answer.token_ids) for id_, answer in answers.items())
        if key not in self._forced:
            with session.engine(path) as engine:
                forced = engine.teacher_force(prompts.prompts, list(answers.values()))
                self._forced[key] = {one.id: one for one in forced}
        return self._forced[key]


def side_by_side(
    session: EvaluationSession,
    benchmark: Any,
    name: str,
    ways: Mapping[str, tuple[ExecutionPath, Workload]],
    *,
    judge: Judge,
    about: Collection[str],
    warm_up: int | None = None,
) -> Verdict | None:
    """Answer by each way in turns, and keep what came of it in `extra_info` and in the results folder.

    Args:
        name: what the record is called.
        ways: name -> path, and the prompts that it answers. The last is what is measured. One before it is its
            baseline, whose prompts it must answer, too; without one there is nothing to compare with.
        about: what may not have stepped down in the last way: `attention`, `strategy`, ...
        warm_up: how many of a way's prompts are answered twice before the timed rounds; None for all of them.

    Returns:
        The verdict on the last way; None where there is no other.

    Raises:
        CannotRun: it stepped down from what it is about.
    """

    def keep() -> None:
        session.results.add_case(name, dict(benchmark.extra_info))

    try:
        return _compared(session, benchmark, ways, judge, about, warm_up, keep=keep)
    except CannotRun as error:
        benchmark.extra_info["not_measured"] = str(error)  # pytest-benchmark has timed something, but not this
        raise
    finally:
        if benchmark.extra_info:  # also of answers that could not be judged
            keep()


def _compared(
    session: EvaluationSession,
    benchmark: Any,
    ways: Mapping[str, tuple[ExecutionPath, Workload]],
    judge: Judge,
    about: Collection[str],
    warm_up: int | None,
    *,
    keep: Callable[[], None],
) -> Verdict | None:
    answers: dict[str, Answers] = {}
    steps_down: dict[str, list[Fallback]] = {}
    peaks: dict[str, int] = {}
    one_off = {name: _one_off(session, *way, warm_up) for name, way in ways.items()} if benchmark.enabled else {}

    def answer_by(name: str) -> float:
        path, prompts = ways[name]
        with session.engine(path) as engine:
            meter = MemoryMeter(str(engine.loaded.device))
            meter.reset()
            start = CLOCK()
            answers[name] = answer(engine, prompts, path.strategy)
            taken = CLOCK() - start
            steps_down[name] = [*engine.loaded.report.fallbacks, *engine.fallbacks]
        peaks[name] = max(peaks.get(name, 0), meter.peak(beside=session.pool.bytes_beside(path.config)).bytes)
        return taken

    rounds = rounds_for(max(expected for _, expected in one_off.values())) if one_off else 1
    counts = {name: len(prompts) for name, (_, prompts) in ways.items()}
    seconds = in_turns(
        benchmark,
        {name: lambda _, name=name: answer_by(name) for name in ways},
        counts=counts,
        rounds=rounds,
        keep=keep,
    )
    *baselines, last = ways
    path, prompts = ways[last]
    benchmark.extra_info.update(
        {
            "model": path.config.model,
            "tokens": max(prompts.lengths.values()),
            "new_tokens": {name: sum(len(a.token_ids) for a in said.values()) for name, said in answers.items()},
            "one_off_seconds": {name: first for name, (first, _) in one_off.items()},
            "peak_bytes": peaks,
            "fallbacks": [dataclasses.asdict(step) for step in steps_down[last]],
            "got": dict(session.pool.get(path.config).report.got),
            "execution": dataclasses.asdict(path.execution),
        }
    )
    refuse_steps_down(about, steps_down[last])
    if not baselines:
        return None
    keep()  # the reference may be at work for minutes, and a process that is ended then leaves the times
    baseline, asked = ways[baselines[-1]]
    result = speed_up(
        seconds[baselines[-1]],
        seconds[last],
        baseline_questions=counts[baselines[-1]],
        path_questions=counts[last],
    )
    reference = answers[baselines[-1]]
    verdict = judge.verdict(baseline.config, asked, reference=reference, path=answers[last], total=counts[last])
    benchmark.extra_info.update(
        {
            "speed_up": dataclasses.asdict(result),
            "verdicts": {last: verdict.summary()},
            "verdict": verdict.to_dict(),
        }
    )
    return verdict


def _one_off(
    session: EvaluationSession, path: ExecutionPath, prompts: Workload, warm_up: int | None
) -> tuple[float, float]:
    """What a first run takes longer than a second (compiling, choosing kernels), and what one of all prompts takes."""
    some = prompts.only(prompts.ids[:warm_up])
    first, _ = answer_timed(session, path, some)
    second, _ = answer_timed(session, path, some)
    return max(0.0, first - second), second * len(prompts) / len(some)
