"""What a record keeps of the run that it was trimmed from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.turns import UNFINISHED


def write_record(
    arguments: Sequence[str] | None, trim: Callable[[Sequence[Mapping[str, Any]]], dict[str, Any]], *, prog: str
) -> None:
    """The command line of what makes a record: OUT.json, and the `summary.json` of one run or several."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{prog}")
    parser.add_argument("out", type=Path, metavar="OUT.json")
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN.json", help="summary.json of a run's results folder")
    given = parser.parse_args(arguments)
    record = trim([json.loads(run.read_text(encoding="utf-8")) for run in given.runs])
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def setting_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """Of a run's `summary.json`: which model, how, by what; nothing of whose machine it was."""
    provenance = run["provenance"]
    config = provenance["options"]["config"]
    return {"model": config["model"], "dtype": config["dtype"], "versions": provenance["versions"]}


def one_setting(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """`setting_of` all of them; ValueError where they differ.

    Of runs on a GPU, whose hosts may have more threads or fewer, all numbers of threads are named.
    """
    settings = [setting_of(run) for run in runs]
    threads = dict.fromkeys(setting["versions"].get("threads") for setting in settings)
    if len(threads) > 1 and settings[0]["versions"]["device"] != "cpu":
        for setting in settings:
            setting["versions"] = {**setting["versions"], "threads": ", ".join(map(str, threads))}
    if any(setting != settings[0] for setting in settings):
        raise ValueError(f"expected runs of one model by one set of versions, got {settings}")
    return settings[0]


def measured_cases(
    runs: Sequence[Mapping[str, Any]], *, of: str, tests: Sequence[str], kept: Sequence[str]
) -> dict[str, dict[str, Any]]:
    """What was timed of `tests`, by a case's name, trimmed to `kept`; a later run's stands for an earlier one's.

    Args:
        of: where the tests are, for the message.

    Raises:
        ValueError: a run holds something else, or nothing was measured.
    """
    cases = {name: case for run in runs for name, case in run["cases"].items()}
    other = [name for name in cases if name.partition("[")[0] not in tests]
    measured = {
        name: case
        for name, case in cases.items()
        if "seconds" in case and not {"not_measured", UNFINISHED} & case.keys()
    }
    if other or not measured:
        raise ValueError(f"expected measured cases of {of}, got {', '.join(other) or 'none'}")
    return {name: {key: case[key] for key in kept if key in case} for name, case in measured.items()}
