"""The gate's options on pytest's command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalsuite.errors import ConfigError

DEFAULT_EXPECTED = Path("benchmarks/expected.json")
REPORT_SUFFIXES = (".xml", ".md")


@dataclass(frozen=True, kw_only=True, slots=True)
class GateOptions:
    """What was asked of the gate."""

    compare: bool = False
    update: bool = False
    expected: Path = DEFAULT_EXPECTED
    """Relative to the rootdir, unless it was given: then to where pytest was called."""
    reports: tuple[Path, ...] = ()

    @property
    def active(self) -> bool:
        """Whether facts of cases are wanted, for comparing or for keeping."""
        return self.compare or self.update


def read_gate_options(getoption: Callable[[str], Any], *, root: Path, called_from: Path) -> GateOptions:
    """Raises `ConfigError` for combinations that cannot be meant, or that could only pass in silence."""
    compare, update = bool(getoption("--gate")), bool(getoption("--update-expected"))
    given, reports = getoption("--expected"), tuple(called_from / path for path in getoption("--gate-report"))
    if compare and update:
        raise ConfigError("--gate: expected it without --update-expected, which would compare a run with itself")
    if given and not (compare or update):
        raise ConfigError("--expected: expected --gate or --update-expected beside it")
    if reports and not compare:
        raise ConfigError("--gate-report: expected --gate beside it")
    check_reports(reports)
    if compare:
        _refuse_silent_passes(getoption)
    return GateOptions(
        compare=compare,
        update=update,
        expected=called_from / given if given else root / DEFAULT_EXPECTED,
        reports=reports,
    )


def check_reports(reports: tuple[Path, ...]) -> None:
    """Raises `ConfigError` for a file whose format its name does not tell."""
    for path in reports:
        if path.suffix not in REPORT_SUFFIXES:
            raise ConfigError(f"--gate-report: expected a name that ends in {' or '.join(REPORT_SUFFIXES)}; got {path}")


def _refuse_silent_passes(getoption: Callable[[str], Any]) -> None:
    """pytest-benchmark compares nothing, and says nothing, where nothing is timed."""
    for flag, name in (
        ("--benchmark-compare", "benchmark_compare"),
        ("--benchmark-compare-fail", "benchmark_compare_fail"),
    ):
        if not getoption(name):
            continue
        if getoption("benchmark_disable") or getoption("benchmark_skip"):
            raise ConfigError(
                f"--gate with {flag}: nothing is timed under --benchmark-disable or --benchmark-skip (and under -n), "
                "so nothing would be compared with the saved run; leave them out"
            )
    if getoption("benchmark_compare_fail") and not getoption("benchmark_compare"):
        raise ConfigError(
            "--gate with --benchmark-compare-fail: expected --benchmark-compare beside it; nothing would be compared"
        )


GATE_OPTIONS: dict[str, dict[str, Any]] = {
    "--gate": {
        "action": "store_true",
        "default": False,
        "help": "compare the run's work, answers, verdicts and speed-ups with what is expected, and fail on any change",
    },
    "--update-expected": {
        "action": "store_true",
        "default": False,
        "help": "write what this run did into the file that --gate compares with",
    },
    "--expected": {"metavar": "FILE", "help": f"the file of expectations (default: {DEFAULT_EXPECTED})"},
    "--gate-report": {
        "action": "append",
        "default": [],
        "metavar": "FILE",
        "help": "write the gate's findings as JUnit XML (.xml) or Markdown (.md); may be given for each",
    },
}
