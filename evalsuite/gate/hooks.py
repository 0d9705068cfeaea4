"""The gate among pytest's hooks: it gathers what cases did, in this process or from workers, and has the last word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from evalsuite.errors import EvalsuiteError, first_line
from evalsuite.gate.compare import CaseRun
from evalsuite.gate.facts import case_facts, read_answers
from evalsuite.gate.findings import Finding, GateResult
from evalsuite.gate.floors import gain_of
from evalsuite.gate.margins import NEAR_TIES
from evalsuite.gate.report import result_lines, write_report
from evalsuite.gate.running import NOTHING, Ran, compare_run, record_device, update_expected
from evalsuite.gate.saved import SavedRuns, compare_findings, other_work_lines
from evalsuite.gate.selection import Collected, scope_of
from evalsuite.gate.work import Work, work_of
from evalsuite.runs import read_run

if TYPE_CHECKING:
    import pytest

    from evalsuite.harness.options import SuiteOptions

hookimpl = pluggy.HookimplMarker("pytest")

PASSED, FAILED, NO_TESTS = 0, 1, 5
"""pytest's exit codes; every other means that the run ended early."""


class Gate:
    """Compares, or updates, when the session ends. Registered where --gate or --update-expected was given."""

    def __init__(self, config: Any, options: SuiteOptions, *, record: str) -> None:
        """`config`: pytest's. `record`: name of the user property that carries a case's record."""
        self._config, self._options, self._gate, self._record = config, options, options.gate, record
        self._collected, self._benchmarks, self._saved = Collected(), Collected(), SavedRuns()
        self._records: dict[str, Mapping[str, Any]] = {}
        self._ties: dict[str, Mapping[str, Any]] = {}
        self._skipped: dict[str, str] = {}
        self._failed: dict[str, str] = {}
        self._lines: list[str] = []
        self.result: GateResult | None = None

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        self._collected.deselected.update(item.nodeid for item in items if _is_case(item))
        self._benchmarks.deselected.update(item.nodeid for item in items if _is_benchmark(item))

    @hookimpl(trylast=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._collected.kept.update(item.nodeid for item in session.items if _is_case(item))
        self._benchmarks.kept.update(item.nodeid for item in session.items if _is_benchmark(item))

    @hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """xdist's controller collects nothing itself."""
        if collected := getattr(node, "workeroutput", {}).get(NEAR_TIES):
            self._collected.add(collected)

    @hookimpl(optionalhook=True)
    def pytest_benchmark_compare_machine_info(
        self, machine_info: Mapping[str, Any], compared_benchmark: Mapping[str, Any]
    ) -> None:
        self._saved.add(machine_info, compared_benchmark)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        properties: dict[str, Any] = dict(report.user_properties)
        if report.when == "call" and self._record in properties:
            self._records[report.nodeid] = properties[self._record]
            self._ties[report.nodeid] = properties.get(NEAR_TIES, {})
        if report.skipped and isinstance(report.longrepr, (tuple, list)):
            self._skipped[report.nodeid] = str(report.longrepr[2]).removeprefix("Skipped: ")
        elif report.failed:
            self._failed[report.nodeid] = (report.longreprtext.strip().splitlines() or ["failed"])[-1][:200]

    @hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self._config, "workerinput"):
            self._config.workeroutput[NEAR_TIES] = self._collected.to_dict()
            return
        if self._config.option.collectonly:
            return
        try:
            if self._gate.update:
                self._lines = self._update(int(exitstatus))
            else:
                self.result = self._compare(int(exitstatus))
        except EvalsuiteError as error:
            problem = Finding(case="", what=NOTHING, expected="a comparison", got="none", note=str(error))
            self.result = GateResult(against=str(self._gate.expected), findings=[problem])
        if self.result is None:
            return
        self._lines = result_lines(self.result)
        for path in self._gate.reports:
            write_report(path, self.result)
        if self.result.red and int(exitstatus) == PASSED:
            session.exitstatus = FAILED

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._lines:
            return
        red = self.result is not None and self.result.red
        terminalreporter.section("evalsuite gate", red=red, green=self.result is not None and not red)
        for line in self._lines:
            terminalreporter.write_line(line)

    def _compare(self, exitstatus: int) -> GateResult:
        path = self._gate.expected
        if exitstatus not in (PASSED, FAILED, NO_TESTS):
            ended = Finding(
                case="", what=NOTHING, expected="a whole run", got=f"exit code {exitstatus}", note="it ended early"
            )
            return GateResult(against=str(path), findings=[ended])
        ran = self._ran()
        result = compare_run(ran, path)
        if self._config.getoption("benchmark_compare"):
            findings, notes = compare_findings(self._saved, _timed(self._config), self._benchmarks, ran.scope)
            result.findings += findings
            result.notes += notes
        return result

    def _update(self, exitstatus: int) -> list[str]:
        if exitstatus not in (PASSED, FAILED) or not self._records:
            return [f"{self._gate.expected} was left as it was: no case was measured (exit code {exitstatus})"]
        return update_expected(self._ran(), self._gate.expected)

    def _ran(self) -> Ran:
        config, option = self._config, self._config.getoption
        ran = Ran(
            options=self._options,
            device=record_device(list(self._records.values())) or self._device(),
            collected=self._collected,
            scope=scope_of(
                config.args,
                root=config.rootpath,
                called_from=config.invocation_params.dir,
                ignored=map(str, option("ignore") or ()),
                ignored_globs=map(str, option("ignore_glob") or ()),
                only_failed=bool(option("lf", False) or option("stepwise", False)),
            ),
            skipped={case: reason for case, reason in self._skipped.items() if self._is_known(case)},
            failed={case: why for case, why in self._failed.items() if self._is_known(case)},
        )
        for case, record in self._records.items():
            try:
                ran.cases[case] = self._case_run(case, record)
            except EvalsuiteError as error:
                ran.failed[case] = f"its answers cannot be read: {first_line(error)}"
        return ran

    def _case_run(self, case: str, record: Mapping[str, Any]) -> CaseRun:
        lines = read_run(Path(record["results"])).cases[record["case"]].lines()
        answers = read_answers(lines, self._ties[case])
        return CaseRun(case=case, facts=case_facts(record, answers), answers=answers, gain=gain_of(record))

    def _is_known(self, case: str) -> bool:
        """Other tests may fail and skip beside the cases."""
        return case in self._collected.kept

    def _device(self) -> str:
        from evalsuite.capability import best_device

        asked = self._options.config.device
        return best_device() if asked == "auto" else asked


class OtherWork:
    """Says under pytest-benchmark's table which of its comparisons are of other work: red under --gate, here a line.

    Registered where --benchmark-compare was given without --gate.
    """

    def __init__(self, config: Any) -> None:
        """`config`: pytest's."""
        self._config, self._saved = config, SavedRuns()

    @hookimpl(optionalhook=True)
    def pytest_benchmark_compare_machine_info(
        self, machine_info: Mapping[str, Any], compared_benchmark: Mapping[str, Any]
    ) -> None:
        self._saved.add(machine_info, compared_benchmark)

    @hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        for line in other_work_lines(self._saved, _timed(self._config)):
            terminalreporter.write_line(line)


def _timed(config: Any) -> dict[str, Work]:
    """What pytest-benchmark timed: full names, which are node ids, with the work that was done."""
    session = config.pluginmanager.get_plugin("pytest-benchmark")
    return {b.fullname: work_of(b.extra_info) for b in session.benchmarks if not b.has_error}


def _is_benchmark(item: pytest.Item) -> bool:
    return "benchmark" in getattr(item, "fixturenames", ())


def _is_case(item: pytest.Item) -> bool:
    return "evaluate_case" in getattr(item, "fixturenames", ())
