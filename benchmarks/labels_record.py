"""Verdicts of runs, trimmed to a record: which labels are not the reference's, and how near a tie they are.

python -m benchmarks.labels_record OUT.json RUN.json...     RUN.json: the summary.json of a results folder
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.trimmed import setting_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.labels_record", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    given = parser.parse_args(arguments)
    record = trim([json.loads(run.read_text(encoding="utf-8")) for run in given.runs])
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for runs of different models or versions, and where a case has no verdict."""
    settings = [setting_of(run) for run in runs]
    if any(setting != settings[0] for setting in settings):
        raise ValueError(f"expected runs of one model by one set of versions, got {settings}")
    cases = [case for run in runs for case in run["cases"].values()]
    if not cases or any((case.get("verdict") or {}).get("compared", 0) == 0 for case in cases):
        raise ValueError("expected a verdict on every case, with answers compared")
    return settings[0] | {
        "cases": [
            {
                "task": case["task"],
                "strategy": case["strategy"],
                "shots": case["prompting"]["shots"],
                "verdict": case["verdict"],
                "fallbacks": case["fallbacks"],
            }
            for case in cases
        ]
    }


def label_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a case. Margins are in fp32, nats."""
    table: list[tuple[str, ...]] = [
        (
            "task",
            "shots",
            "strategy",
            "labels compared",
            "the reference's",
            "others, below noise",
            "largest margin",
            "noise",
            "changed",
            "other in fp32",
        )
    ]
    for case in record["cases"]:
        verdict = case["verdict"]
        excused = [flip for flip in verdict["flips"] if flip["excused"]]
        table.append(
            (
                case["task"],
                str(case["shots"]),
                case["strategy"],
                f"{verdict['compared']:,}",
                f"{verdict['compared'] - len(verdict['flips']):,}",
                str(len(excused)),
                f"{max(flip['margin'] for flip in excused):.3f}" if excused else "-",
                f"{verdict['noise']:.3f}",
                str(len(verdict["flips"]) - len(excused)),
                str(verdict["reference_flips"]),
            )
        )
    return table


if __name__ == "__main__":
    main()
