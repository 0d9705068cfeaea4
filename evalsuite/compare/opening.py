"""From what the command line names to a side: a run, its summary, a sample log, each with `:CASE` or without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from evalsuite.compare import lm_eval_logs, runs
from evalsuite.compare.sides import Side, SideCase
from evalsuite.errors import DataError
from evalsuite.runs import SUMMARY


def open_side(given: str) -> Side:
    """Read `PATH` or `PATH:CASE`. Raises `DataError` that says what was expected there."""
    path, case = _split(given)
    if path.name != SUMMARY and not (path / SUMMARY).is_file() and lm_eval_logs.is_log(path):
        side = lm_eval_logs.read_side(path)
    else:
        side = runs.read_side(path)
    return side if case is None else dataclasses.replace(side, only=find_case(side, case).name)


def find_case(side: Side, name: str) -> SideCase:
    """The case of that name, or the only one whose name holds it. Raises `DataError` listing them."""
    if name in side.cases:
        return side.cases[name]
    found = [case for case in side.cases.values() if name in case.name]
    if len(found) != 1:
        which = "several" if found else "none"
        cases = ", ".join(case.name for case in found or side.cases.values())
        raise DataError(f"{side.name}: expected one case {name!r}, found {which}; its cases: {cases}")
    return found[0]


def _split(given: str) -> tuple[Path, str | None]:
    """At the first colon behind a path that is there: both paths and names of cases may hold colons."""
    if Path(given).exists():
        return Path(given), None
    for at, character in enumerate(given):
        if character == ":" and Path(given[:at]).exists():
            return Path(given[:at]), given[at + 1 :]
    raise DataError(f"{given}: expected a run's folder, its {SUMMARY}, or a sample log of lm-evaluation-harness there")
