"""Time a base and this working tree in turns, and fail where a case became slower.

The base is checked out into a temporary worktree; the head is the tree as it is, uncommitted changes included. Both run
the same benchmarks in fresh processes, one pair after the other, so that what else the machine does meets both alike.

exit codes: 0 green; 1 red, a case is slower; 2 the call cannot be meant; 3 nothing was compared; 4 a run failed
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from evalsuite.errors import ConfigError
from evalsuite.gate.options import check_reports
from evalsuite.gate.report import result_lines, write_report
from evalsuite.gate.times import PAIRS, THRESHOLD, Seconds, SpeedOfHead, judge_times
from evalsuite.gate.trees import (
    RunFailed,
    Tree,
    base_tree,
    describe,
    repository_root,
    require_own_code,
    time_benchmarks,
)
from evalsuite.harness.table import aligned

GREEN, RED, NOTHING_COMPARED, FAILED_RUN = 0, 1, 3, 4
EVALUATIONS = (
    "benchmarks",
    *(f"--ignore=benchmarks/test_{name}.py" for name in ("optimisations", "attention", "claims")),
)
"""What is timed where nothing else is asked for."""
FEWEST_PAIRS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--base", required=True, metavar="REV", help="the git revision to compare this tree with")
    parser.add_argument("-k", metavar="EXPRESSION", help="only these cases, as in pytest -k")
    parser.add_argument(
        "--pairs",
        type=int,
        default=PAIRS,
        metavar="N",
        help=f"runs of each side (default: {PAIRS}; at least {FEWEST_PAIRS})",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        default=THRESHOLD,
        metavar="SPEED",
        help="red where the upper end of the 95%% interval on head's speed, base's being 1, is below this "
        f"(default: {THRESHOLD})",
    )
    parser.add_argument(
        "--pytest-args",
        default="",
        metavar="'ARGS'",
        help="further arguments of pytest for both sides, in one string; paths replace the five evaluations",
    )
    parser.add_argument(
        "--gate-report",
        action="append",
        type=Path,
        default=[],
        metavar="FILE",
        help="write the result as JUnit XML (.xml) or Markdown (.md); may be given for each",
    )


def run(arguments: argparse.Namespace) -> int:
    """The exit code; see the module's text."""
    check_reports(tuple(arguments.gate_report))
    if arguments.pairs < FEWEST_PAIRS:
        raise ConfigError(
            f"--pairs: expected at least {FEWEST_PAIRS}, or an interval means little; got {arguments.pairs}"
        )
    if not 0 < arguments.threshold <= 1:
        raise ConfigError(f"--threshold: expected a speed above 0 and up to 1, got {arguments.threshold:g}")
    root = repository_root(Path.cwd())
    try:
        with base_tree(root, arguments.base) as base:
            head = Tree(name="head", path=root)
            of_base, of_head = _in_turns(base, head, pytest_arguments(arguments), arguments.pairs)
    except RunFailed as error:
        print(f"evalsuite gate: {error}", file=sys.stderr)
        return FAILED_RUN
    against = f"base {describe(root, arguments.base)}"
    result, speeds = judge_times(of_base, of_head, threshold=arguments.threshold, against=against)
    print("\n".join([*time_lines(speeds), "", *result_lines(result)]))
    for path in arguments.gate_report:
        write_report(path, result)
    if not result.compared:
        print("evalsuite gate: nothing was compared: no case was timed in every run of both sides", file=sys.stderr)
        return NOTHING_COMPARED
    return RED if result.red else GREEN


def pytest_arguments(arguments: argparse.Namespace) -> list[str]:
    """For both sides alike; only what a base of any age understands."""
    given = shlex.split(arguments.pytest_args)
    has_path = any(argument.startswith("benchmarks") for argument in given)
    chosen = [] if has_path else list(EVALUATIONS)
    return [*chosen, *given, *(["-k", arguments.k] if arguments.k else [])]


def time_lines(speeds: Sequence[SpeedOfHead]) -> list[str]:
    """One row a case."""
    if not speeds:
        return []
    rows = [(s.case.rsplit("::", 1)[-1], f"{s.base_seconds:.4f}", f"{s.head_seconds:.4f}", s.says) for s in speeds]
    return aligned([("case", "base s", "head s", "head's speed, base's being 1 (95 %)"), *rows])


def _in_turns(base: Tree, head: Tree, arguments: Sequence[str], pairs: int) -> tuple[list[Seconds], list[Seconds]]:
    """Every other pair begins with head, so that neither side is always the one that comes later."""
    for tree in (base, head):
        require_own_code(tree)
    runs: dict[str, list[Seconds]] = {base.name: [], head.name: []}
    for pair in range(pairs):
        for tree in (base, head) if pair % 2 == 0 else (head, base):
            runs[tree.name].append(time_benchmarks(tree, arguments))
            if not runs[tree.name][-1]:
                return runs[base.name] or [{}], runs[head.name] or [{}]
        print(f"pair {pair + 1} of {pairs} done", file=sys.stderr, flush=True)
    return runs[base.name], runs[head.name]
