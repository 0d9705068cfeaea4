"""Verdicts of runs, trimmed to a record: which labels are not the reference's, and how near a tie they are.

python -m benchmarks.labels_record OUT.json RUN.json...     RUN.json: the summary.json of a results folder
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.trimmed import one_setting, write_record


def main(arguments: Sequence[str] | None = None) -> None:
    write_record(arguments, trim, prog="labels_record")


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for runs of different models or versions, and where a case has no verdict."""
    setting = one_setting(runs)
    cases = [case for run in runs for case in run["cases"].values()]
    if not cases or any((case.get("verdict") or {}).get("compared", 0) == 0 for case in cases):
        raise ValueError("expected a verdict on every case, with answers compared")
    return setting | {
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
