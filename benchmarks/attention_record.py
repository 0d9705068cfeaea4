"""What runs of test_attention.py left, trimmed to a record, and the table of it.

python -m benchmarks.attention_record OUT.json RUN.json...     RUN.json: the summary.json of a run's results folder
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.trimmed import measured_cases, one_setting, write_record
from evalsuite.config import ATTENTIONS

NAMES = tuple(name for name in reversed(ATTENTIONS) if name != "auto")
"""The plain ones first."""
FORWARD, GENERATION = "test_one_forward", "test_short_generation"
KEPT = ("seconds", "counts", "new_tokens", "one_off_seconds", "peak_bytes", "alone", "fallbacks", "verdicts", "verdict")
"""What a record keeps of each case. A ratio follows from the seconds."""


def main(arguments: Sequence[str] | None = None) -> None:
    write_record(arguments, trim, prog="attention_record")


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for runs that hold something else, or nothing that was measured, or of different settings."""
    cases = measured_cases(runs, of="test_attention.py", tests=(FORWARD, GENERATION), kept=KEPT)
    return one_setting(runs) | {"cases": cases}


def attention_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a length and attention that was measured. Every pass of an attention counts, whichever test it was in."""
    cases = record["cases"]
    table: list[tuple[str, ...]] = [
        (
            "tokens",
            "attention",
            "seconds a forward",
            "passes",
            "seconds a generation",
            "passes",
            "peak GiB",
            "first token",
            "generated tokens",
        )
    ]
    for tokens in _lengths(record):
        for attention in NAMES:
            own = {
                test: [
                    case
                    for name, case in cases.items()
                    if name.startswith(test) and name.endswith(f"-{tokens}]") and attention in case["seconds"]
                ]
                for test in (FORWARD, GENERATION)
            }
            if not any(own.values()):
                continue
            passes = {
                test: [second / case["counts"][attention] for case in of for second in case["seconds"][attention]]
                for test, of in own.items()
            }
            peak = max(case["peak_bytes"][attention] for of in own.values() for case in of) / 2**30
            verdicts = (
                cases.get(f"{test}[{attention}-{tokens}]", {}).get("verdicts", {}).get(attention, "-")
                for test in (FORWARD, GENERATION)
            )
            times = (cell for taken in passes.values() for cell in (_between(taken), str(len(taken))))
            table.append((f"{tokens:,}", attention, *times, f"{peak:.0f}", *verdicts))
    return table


def missing(record: Mapping[str, Any]) -> Iterator[str]:
    """A line for what has no row: an attention of which nothing was measured, and what did not fit, with the reason."""
    cases = record["cases"]
    for attention in NAMES:
        if not any(attention in case["seconds"] for case in cases.values()):
            yield f"{attention}: not measured."
    for tokens in _lengths(record):
        for test in (FORWARD, GENERATION):
            if reason := cases.get(f"{test}[sdpa-{tokens}]", {}).get("alone"):
                yield f"{tokens:,} tokens, {'a forward' if test == FORWARD else 'a generation'}: {reason}."


def _lengths(record: Mapping[str, Any]) -> list[int]:
    return sorted({int(name.rstrip("]").rpartition("-")[2]) for name in record["cases"]})


def _between(values: Sequence[float]) -> str:
    if not values:
        return "-"
    low, high = (f"{value:.3f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
