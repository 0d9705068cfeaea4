"""Make one HTML page of runs: scores, speed-ups, verdicts, where the work went, and every question.

RUN is a run's folder, a results folder (every run in it), or JSON saved by pytest-benchmark. Of each case the newest
record is shown, and all of them as its history. The file needs no network and holds the questions' text.
"""

from __future__ import annotations

import argparse
import gc
from pathlib import Path

from evalsuite.errors import ConfigError
from evalsuite.report.page import render
from evalsuite.report.saved import read_saved, shown
from evalsuite.results import DEFAULT_FOLDER
from evalsuite.runs import latest_run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="*", metavar="RUN", type=Path, help=f"what to show (default: the newest run in {DEFAULT_FOLDER}/)"
    )
    parser.add_argument("-o", "--output", type=Path, default=Path("report.html"), help="default: %(default)s")
    parser.add_argument("--without-prompts", action="store_true", help="leave the text of the prompts out")


def run(arguments: argparse.Namespace) -> int:
    """Write the page; 0, whatever the runs show."""
    runs = arguments.runs or [latest_run(Path(DEFAULT_FOLDER))]
    gc.disable()  # a hundred thousand lines are read and none dropped: looking for cycles takes a quarter of the time
    try:
        page = render(shown(read_saved(runs)), with_prompts=not arguments.without_prompts)
    finally:
        gc.enable()
    try:
        arguments.output.write_text(page, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{arguments.output}: expected a file that can be written, got {error.strerror or error}; "
            "choose another with -o FILE"
        ) from error
    print(f"{arguments.output}: {len(page.encode()) / 1e6:.1f} MB")
    return 0
