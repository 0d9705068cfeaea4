"""Write a run in the results and samples format of lm-evaluation-harness (0.4.13), for dashboards that read it.

One folder a case: OUT/CASE/MODEL/results_DATE.json and samples_TASK_DATE.jsonl.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from evalsuite.errors import DataError
from evalsuite.runs import read_run, why_no_answers

FOLDER = "lm_eval"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    parser.add_argument("-o", "--output", type=Path, metavar="OUT", help=f"default: {FOLDER} in the run's folder")


def run(arguments: argparse.Namespace) -> int:
    """Write and name the files."""
    from evalsuite.lm_eval_format import export

    given = read_run(arguments.run)
    if not any(case.answers for case in given.cases.values()):
        raise DataError(f"{given.path}: expected a run with a case with answers; {why_no_answers(given)}")
    for file in export(given, arguments.output or given.path / FOLDER):
        print(file)
    return 0
