"""The pytest plugin: options, the `evaluate_case` fixture, and the table that closes a run.

Loaded by `pytest_plugins = ["evalsuite.plugin"]` in the root conftest.py, or by `pytest -p evalsuite.plugin`. It is no
entry point on purpose: options as plain as --model and --data are not for every pytest run of an environment.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from evalsuite.config import InferenceConfig
from evalsuite.errors import ConfigError, EvalsuiteError, ResultsError
from evalsuite.harness.last_line import nothing_selected, unfinished
from evalsuite.harness.options import SuiteOptions, add_options, read_options
from evalsuite.harness.progress import Progress
from evalsuite.harness.table import closing_lines, flip_lines
from evalsuite.measure.timing import seconds
from evalsuite.provenance import provenance
from evalsuite.results import ResultsRun, case_names
from evalsuite.resume.choosing import choose

if TYPE_CHECKING:
    from evalsuite.harness.session import EvaluationSession
    from evalsuite.harness.workers import Worker

OPTIONS = pytest.StashKey[SuiteOptions]()
RESULTS = pytest.StashKey[ResultsRun]()
NAMES = pytest.StashKey[dict[str, str]]()
"""Test id to the name of its case."""
OFFERED = pytest.StashKey[bool]()
"""Whether any benchmark of evalsuite was collected, before -k and --strategy chose."""
LAST_LINE = pytest.StashKey[str]()
"""What to do next, below everything else."""
RECORD = "evalsuite"
"""Name of the user property that carries a case's record from an xdist worker to the terminal."""

NO_TIMING_UNDER_XDIST = (
    "benchmarks cannot be timed by several workers at once: they would slow each other down. "
    "Leave out -n (or give -n 0), or give --benchmark-disable to run evaluations and verdicts without timing."
)
NO_RESUME_UNDER_XDIST = "--resume goes on with the run of one process: leave out -n (or give -n 0)"


def pytest_addoption(parser: pytest.Parser) -> None:
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    try:
        config.stash[OPTIONS] = read_options(config)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error
    if _would_time_under_xdist(config):
        raise pytest.UsageError(NO_TIMING_UNDER_XDIST)
    if config.stash[OPTIONS].resume is not None and config.getoption("dist", "no") != "no":
        raise pytest.UsageError(NO_RESUME_UNDER_XDIST)
    options = config.stash[OPTIONS]
    if options.gate.active:
        from evalsuite.gate.hooks import Gate

        # Before the table: what is registered first speaks last.
        config.pluginmanager.register(Gate(config, options, record=RECORD), "evalsuite-gate")
    if config.getoption("benchmark_compare", None) and not options.gate.compare:
        from evalsuite.gate.hooks import OtherWork

        config.pluginmanager.register(OtherWork(config), "evalsuite-other-work")
    config.pluginmanager.register(ClosingTable(), "evalsuite-table")


def pytest_sessionstart(session: pytest.Session) -> None:
    options = session.config.stash[OPTIONS]
    if not options.require or session.config.option.collectonly:
        return
    from evalsuite.capability import missing_requirements

    _take_gpu(session.config)  # before a probe opens a context on another worker's
    try:
        missing = missing_requirements(options.require)
    except ConfigError as error:
        raise pytest.UsageError(str(error)) from error
    if missing:
        raise pytest.UsageError("; ".join(f"--require {name}: {reason}" for name, reason in missing.items()))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect other strategies, give each case the clock that waits for the device, and group cases by model."""
    options = config.stash[OPTIONS]
    config.stash[OFFERED] = any(map(_uses_session, items))
    unwanted = [item for item in items if _is_case(item) and not _is_wanted(item, options)]
    if unwanted:
        config.hook.pytest_deselected(items=unwanted)
        items[:] = [item for item in items if not _is_case(item) or _is_wanted(item, options)]
    cases = [item for item in items if _is_case(item)]
    for item in cases:
        item.add_marker(pytest.mark.benchmark(timer=seconds))
    ordered = iter(by_configuration(cases, options.config))
    items[:] = [next(ordered) if _is_case(item) else item for item in items]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the results folder before anything is computed, so that a bad one costs nothing."""
    config = session.config
    if config.stash.get(OFFERED, False) and not session.items:
        config.stash[LAST_LINE] = nothing_selected(by_strategy=bool(config.getoption("--strategy")))
    cases = [item for item in session.items if _uses_session(item)]
    if config.option.collectonly or not cases:
        return
    config.stash[NAMES] = case_names([(item.nodeid, item.name) for item in cases])
    try:
        config.stash[RESULTS] = _open_results(config)
    except (ConfigError, ResultsError) as error:
        raise pytest.UsageError(str(error)) from error


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """A run in which something was not come to is left unfinished, for --resume."""
    results = session.config.stash.get(RESULTS, None)
    if results is None:
        return
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    finished = ended and not session.shouldstop and not session.shouldfail
    if not finished:
        session.config.stash[LAST_LINE] = unfinished(results.path)
    try:
        results.close(finished=finished)
    except ResultsError as error:
        _say(session.config, f"{type(error).__name__}: {error}")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Not among the summaries, which pytest leaves out after an internal error."""
    if LAST_LINE in config.stash:
        _say(config, config.stash[LAST_LINE])


def _open_results(config: pytest.Config) -> ResultsRun:
    """A new run's folder, or that of the run to go on with. Raises `ConfigError` or `ResultsError`."""
    options, called = config.stash[OPTIONS], config.invocation_params
    inputs = getattr(config, "workerinput", None)  # of an xdist worker
    about = provenance(
        options,
        arguments=list(map(str, inputs["mainargv"][1:] if inputs else called.args)),
        directory=called.dir,
        root=config.rootpath,
        session=inputs["testrunuid"] if inputs else None,
    )
    resume = None
    if options.resume is not None:
        resume, said = choose(options.results, options.resume, about)
        _say(config, f"--resume: {said}")
    label = options.config.model.rstrip("/").rsplit("/", 1)[-1]
    return ResultsRun(options.results, label=label, about={"provenance": about}, resume=resume)


def _say(config: pytest.Config, line: str) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None:
        reporter.write_line(line)


@pytest.fixture(scope="session")
def evaluation_session(pytestconfig: pytest.Config) -> Iterator[EvaluationSession]:
    """Models, encoded questions and references, shared by all cases of the session."""
    from evalsuite.capability import environment
    from evalsuite.harness.session import EvaluationSession

    options, results = pytestconfig.stash[OPTIONS], pytestconfig.stash[RESULTS]
    session = EvaluationSession(options, results, _progress(pytestconfig), worker=_take_gpu(pytestconfig))
    results.describe(versions=environment())
    yield session
    session.close()


@pytest.fixture
def evaluate_case(
    request: pytest.FixtureRequest, evaluation_session: EvaluationSession, benchmark: Any
) -> Callable[..., None]:
    """`evaluate_case(task, strategy, change={}, baseline={})` runs, times, judges and records one case.

    `change` holds fields of `InferenceConfig` or `ExecutionOptions` that differ from the command line's.
    `baseline` holds those of what the case is timed against, and its `strategy` where that is another; without it
    that is the unbatched reference.
    """

    def evaluate(
        task: str,
        strategy: str,
        *,
        change: Mapping[str, object] | None = None,
        baseline: Mapping[str, object] | None = None,
    ) -> None:
        __tracebackhide__ = True
        from evalsuite.harness.plan import CannotRun, plan_case
        from evalsuite.harness.running import run_case

        if hasattr(request.config, "workerinput") and not request.config.getoption("benchmark_disable"):
            pytest.fail(NO_TIMING_UNDER_XDIST, pytrace=False)
        failure = skipped = None
        try:
            case = plan_case(
                evaluation_session,
                request.config.stash[NAMES][request.node.nodeid],
                task,
                strategy,
                change=change or {},
                baseline=baseline,
            )
            result = run_case(evaluation_session, case, benchmark)
        except CannotRun as error:
            required = error.requirement in request.config.stash[OPTIONS].require
            failure, skipped = (f"--require {error.requirement}: {error}", None) if required else (None, str(error))
        except EvalsuiteError as error:
            failure = f"{type(error).__name__}: {error}"
            if isinstance(error, ResultsError):  # nor could any further case be kept
                request.session.shouldstop = "results cannot be written"
        # Outside the handlers, or pytest would show the error twice.
        if skipped is not None:
            pytest.skip(skipped)
        if failure is not None:
            if "verdict" in benchmark.extra_info:  # it was measured, and could not be judged
                request.node.user_properties.append((RECORD, dict(benchmark.extra_info)))
            pytest.fail(failure, pytrace=False)
        request.node.user_properties.append((RECORD, result.record))
        if evaluation_session.options.gate.active:
            from evalsuite.gate.margins import NEAR_TIES, near_ties

            request.node.user_properties.append((NEAR_TIES, near_ties(evaluation_session, case)))
        lines = [result.problem] if result.problem else []
        if result.verdict is not None and not result.verdict.faithful:
            lines = [*flip_lines(case.name, result.verdict), *lines]
        if lines:
            pytest.fail("\n".join(lines), pytrace=False)

    return evaluate


class ClosingTable:
    """Gathers the records of finished cases, from this process or from workers, and prints them at the end."""

    def __init__(self) -> None:
        self._records: list[Mapping[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._records += [value for name, value in report.user_properties if name == RECORD]  # type: ignore[misc]

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        try:
            lines = closing_lines(self._records)
        except Exception as error:  # a summary must not turn a finished run into a crash
            lines = [f"the table could not be made: {type(error).__name__}: {error}"]
        if lines:
            terminalreporter.section("evalsuite")
            for line in lines:
                terminalreporter.write_line(line)


def by_configuration(cases: list[pytest.Item], base: InferenceConfig) -> list[pytest.Item]:
    """Cases of one model configuration next to each other, in order of first appearance: each is loaded once.

    A case's configuration is `base` with those of its parameters that are named as fields of `InferenceConfig`.
    """
    fields = {field.name for field in dataclasses.fields(InferenceConfig)}
    order: dict[InferenceConfig, list[pytest.Item]] = {base: []}
    for item in cases:
        changes = {name: value for name, value in _params(item).items() if name in fields}
        order.setdefault(base.replace(**changes), []).append(item)
    return [item for group in order.values() for item in group]


def _is_case(item: pytest.Item) -> bool:
    return "evaluate_case" in getattr(item, "fixturenames", ())


def _uses_session(item: pytest.Item) -> bool:
    """Every case does, and so may a benchmark that measures by other means."""
    return "evaluation_session" in getattr(item, "fixturenames", ())


def _is_wanted(item: pytest.Item, options: SuiteOptions) -> bool:
    """Cases that are not about a strategy are not chosen by it."""
    return _params(item).get("strategy", options.strategies[0]) in options.strategies


def _params(item: pytest.Item) -> Mapping[str, Any]:
    return item.callspec.params if hasattr(item, "callspec") else {}


def _would_time_under_xdist(config: pytest.Config) -> bool:
    """Whether this is xdist's controller, timing is on, and the arguments reach a folder named benchmarks."""
    spread = config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput")
    if not spread or config.getoption("benchmark_disable", False) or config.getoption("benchmark_skip", False):
        return False
    folder = config.rootpath / "benchmarks"
    given = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    return any(path.is_relative_to(folder) or folder.is_relative_to(path) for path in given) and folder.is_dir()


def _take_gpu(config: pytest.Config) -> Worker | None:
    """None where this is no xdist worker."""
    if not hasattr(config, "workerinput"):
        return None
    from evalsuite.harness.workers import take_gpu

    inputs = config.workerinput
    return take_gpu(config.stash[OPTIONS].config.device, inputs["workerid"], inputs["workercount"])


def _progress(config: pytest.Config) -> Progress:
    terminal = config.get_terminal_writer()
    shown = terminal.hasmarkup and not hasattr(config, "workerinput")
    return Progress(terminal if shown else None)
