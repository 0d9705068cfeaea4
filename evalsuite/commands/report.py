"""Make one HTML page of runs: scores, speed-ups, verdicts, where the work went, and every question.

RUN is a run's folder, a results folder (every run in it), or JSON saved by pytest-benchmark. Of each case the
newest record of those with the most questions is shown, and all of them as its history. The file needs no network and
holds the questions' text.
"""

from __future__ import annotations

import argparse
import gc
import sys
from pathlib import Path

from evalsuite.errors import ConfigError
from evalsuite.report.numbers import si
from evalsuite.report.page import render, without_answers
from evalsuite.report.saved import read_saved, shown
from evalsuite.results import DEFAULT_FOLDER
from evalsuite.runs import latest_answered_runs


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="*",
        metavar="RUN",
        type=Path,
        help=f"what to show (default: the newest run with answers in {DEFAULT_FOLDER}/, of all its workers)",
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: %(default)s")
    parser.add_argument("--without-prompts", action="store_true", help="leave the text of the prompts out")


def run(arguments: argparse.Namespace) -> int:
    """Write the page; 0, whatever the runs show, if at least one can be read."""
    runs = arguments.runs or _newest(Path(DEFAULT_FOLDER))
    gc.disable()  # a hundred thousand lines are read and none dropped: looking for cycles takes a quarter of the time
    try:
        saved = read_saved(runs)
        chosen = shown(saved)
        page = render(chosen, with_prompts=not arguments.without_prompts)
    finally:
        gc.enable()
    try:
        arguments.output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{arguments.output}: expected a file that can be written, got {error.strerror or error}; "
            "choose another with -o FILE"
        ) from error
    for reason in saved.damaged:
        print(f"evalsuite report: left out: {reason}", file=sys.stderr)
    if chosen.unanswered:
        print(f"evalsuite report: {without_answers(chosen)}", file=sys.stderr)
    size = si(len(page.encode()), "B")
    print(f"{arguments.output}: {size}")
    return 0


def _newest(folder: Path) -> list[Path]:
    """The newest run with answers, of all its workers. Says which others it passed over, and which folders it is in."""
    runs, passed_over = latest_answered_runs(folder)
    for reason in passed_over:
        print(f"evalsuite report: passed over: {reason}", file=sys.stderr)
    if len(runs) > 1:
        print(
            f"evalsuite report: one run of workers: {', '.join(map(str, runs))}",
            file=sys.stderr,
        )
    return runs
