"""Compare two runs on the same questions: paired tests, intervals, what changed, speed.

A and B are runs' folders, their summary.json, or sample logs of lm-evaluation-harness (samples_TASK_*.jsonl or a folder
of them). `PATH:CASE` names one case. Cases of one name are compared; where a task has one case on each side, these.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

from evalsuite.compare.comparing import Comparison, compare
from evalsuite.compare.opening import find_case, open_side
from evalsuite.compare.showing import markdown, text_lines, to_json
from evalsuite.compare.sides import Side
from evalsuite.errors import ConfigError

WORSE = 1
"""Exit code of --fail-if-worse."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", metavar="A", help="a run's folder or a sample log, with :CASE or without")
    parser.add_argument("b", metavar="B", nargs="?", help="the other one; may be left out with --cases")
    parser.add_argument("--cases", nargs=2, metavar=("X", "Y"), help="compare case X of A with case Y of B, or of A")
    parser.add_argument(
        "--case", action="append", default=[], metavar="TEXT", help="only cases whose name holds this; repeatable"
    )
    parser.add_argument("--all", action="store_true", help="show every changed answer, whole")
    parser.add_argument(
        "--other-prompts", action="store_true", help="compare questions also where they were shown in other words"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write everything here, every changed answer included"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables here")
    parser.add_argument(
        "--fail-if-worse",
        action="store_true",
        help=f"exit with {WORSE} where B is worse beyond chance (Holm's p < 0.05) in any row, or where a case of A "
        "could not be compared; a difference is no failure otherwise",
    )


def run(arguments: argparse.Namespace) -> int:
    """0, or `WORSE` where that was asked for."""
    a, b = _sides(arguments)
    comparison = compare(a, b, only=arguments.case, other_prompts=arguments.other_prompts)
    print("\n".join(text_lines(comparison, every_change=arguments.all)))
    _write(arguments, comparison)
    if not arguments.fail_if_worse or not comparison.worse:
        return 0
    print("\nB is worse:\n" + "\n".join(comparison.worse), file=sys.stderr)
    return WORSE


def _sides(arguments: argparse.Namespace) -> tuple[Side, Side]:
    a = open_side(arguments.a)
    if arguments.b is None and not arguments.cases:
        raise ConfigError("expected A and B, or A and --cases X Y for two cases of one run")
    b = a if arguments.b is None else open_side(arguments.b)
    if arguments.cases:
        first, second = arguments.cases
        a, b = (
            dataclasses.replace(a, only=find_case(a, first).name),
            dataclasses.replace(b, only=find_case(b, second).name),
        )
    return a, b


def _write(arguments: argparse.Namespace, comparison: Comparison) -> None:
    try:
        if arguments.json:
            text = json.dumps(to_json(comparison), ensure_ascii=False, indent=1)
            arguments.json.write_text(text + "\n", encoding="utf-8")
        if arguments.markdown:
            arguments.markdown.write_text(markdown(comparison, every_change=arguments.all), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{error.filename}: expected a file that can be written, got {error.strerror}") from error
