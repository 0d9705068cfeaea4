"""What runs of test_optimisations.py left on long contexts, trimmed to a record, and the table of it.

python -m benchmarks.long_record OUT.json RUN.json...     RUN.json: the summary.json of a run's results folder
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.trimmed import OF_WAYS_IN_TURNS, measured_cases, one_setting, write_record
from evalsuite.config import KV_CACHE_DTYPES

TEST = "test_long_contexts"


def main(arguments: Sequence[str] | None = None) -> None:
    write_record(arguments, trim, prog="long_record")


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for runs that hold something else, or nothing that was measured, or of different settings."""
    cases = measured_cases(runs, of=TEST, tests=(TEST,), kept=OF_WAYS_IN_TURNS)
    return one_setting(runs) | {"cases": cases}


def long_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a cache format. Seconds are of the fastest round."""
    table: list[tuple[str, ...]] = [
        (
            "cache",
            "requests",
            "tokens of each",
            "seconds",
            "seconds a request",
            "unbatched, seconds a request",
            "peak GiB",
            "allowed GiB",
            "answers",
        )
    ]
    for kept_as in KV_CACHE_DTYPES:
        case = record["cases"].get(f"{TEST}[{kept_as}]")
        if case is None:
            continue
        taken = {way: min(seconds) for way, seconds in case["seconds"].items()}
        a_request = {way: seconds / case["counts"][way] for way, seconds in taken.items()}
        allowed = case["allowed_bytes"]
        table.append(
            (
                kept_as,
                f"{case['counts']['continuous']:,}",
                f"{case['tokens']:,}",
                f"{taken['continuous']:.1f}",
                f"{a_request['continuous']:.2f}",
                f"{a_request['unbatched']:.2f}",
                f"{case['peak_bytes']['continuous'] / 2**30:.1f}",
                "-" if allowed is None else f"{allowed / 2**30:.1f}",
                case.get("verdicts", {}).get("continuous", "not compared"),
            )
        )
    return table


if __name__ == "__main__":
    main()
