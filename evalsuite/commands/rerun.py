"""Run a run again by its own command, into a new folder, and say whether its answers were the same.

Exit code 0: every question of every case has the answer that it had. 1: some have not. 2: it could not be run again,
or has no answers, or the new run has none.
A judge's key is taken from the environment: no run keeps it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalsuite.runs import read_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="where the new run's folder goes (default: beside the old one)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Run, compare, print."""
    from evalsuite.rerun import again, changes, compare_cases, report_lines

    then = read_run(arguments.run)
    now = again(then, arguments.results or then.path.resolve().parent)
    for change in changes(then, now):
        print(f"changed since: {change}")
    cases = list(compare_cases(then, now))
    print("\n".join(report_lines(cases)))
    return int(any(case.changed for case in cases))
