"""What a run of test_optimisations.py left on `--compile` for generation, trimmed to a record, and the table of it.

python -m benchmarks.compiled_record OUT.json RUN.json...     RUN.json: the summary.json of a run's results folder
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.trimmed import OF_WAYS_IN_TURNS, measured_cases, one_setting, write_record

TEST = "test_compiled_generation"


def main(arguments: Sequence[str] | None = None) -> None:
    write_record(arguments, trim, prog="compiled_record")


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for runs that hold something else, or nothing that was measured, or of different settings."""
    return one_setting(runs) | {"cases": measured_cases(runs, of=TEST, tests=(TEST,), kept=OF_WAYS_IN_TURNS)}


def compiled_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """As it is and compiled, one row each. Seconds are of the fastest round."""
    header = (
        "forward",
        "prompts",
        "new tokens",
        "seconds",
        "rounds",
        "tokens/s",
        "before the first round, s",
        "answers",
    )
    table: list[tuple[str, ...]] = [header]
    for case in record["cases"].values():
        for way, seconds in case["seconds"].items():
            table.append(
                (
                    way,
                    f"{case['counts'][way]:,}",
                    f"{case['new_tokens'][way]:,}",
                    f"{min(seconds):.2f}",
                    f"{len(seconds)}",
                    f"{case['new_tokens'][way] / min(seconds):.1f}",
                    f"{case['one_off_seconds'][way]:.1f}" if way in case["one_off_seconds"] else "-",
                    case.get("verdicts", {}).get(way, "the reference"),
                )
            )
    return table


if __name__ == "__main__":
    main()
