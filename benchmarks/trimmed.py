"""What a record keeps of the run that it was trimmed from."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.claims.turns import UNFINISHED

OF_WAYS_IN_TURNS = (
    "seconds",
    "counts",
    "tokens",
    "new_tokens",
    "one_off_seconds",
    "peak_bytes",
    "allowed_bytes",
    "fallbacks",
    "verdicts",
    "verdict",
    "execution",
)
"""What a record keeps of a case of `benchmarks.side_by_side`, where it has that. A ratio follows from the seconds."""


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

    Runs on a GPU may be of hosts with more threads or fewer, on which no figure of theirs rests: all are named then.
    """
    settings = [setting_of(run) for run in runs]
    first, *others = (_without_threads(setting) for setting in settings)
    if any(other != first for other in others):
        raise ValueError(f"expected runs of one model by one set of versions, got {settings}")
    threads = dict.fromkeys(t for setting in settings if (t := setting["versions"].get("threads")) is not None)
    if not threads or "threads" in first["versions"]:
        return first
    return {**first, "versions": {**first["versions"], "threads": ", ".join(threads)}}


def _without_threads(setting: Mapping[str, Any]) -> dict[str, Any]:
    """But on the CPU, where figures rest on them."""
    versions = setting["versions"]
    keeps = versions["device"] == "cpu"
    return {**setting, "versions": {key: value for key, value in versions.items() if keeps or key != "threads"}}


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
