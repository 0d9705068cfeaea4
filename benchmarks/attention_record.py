"""What a run of test_attention.py left, trimmed to a record, and the table of it.

python -m benchmarks.attention_record OUT.json RUN.json     RUN.json: the summary.json of its results folder
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.trimmed import setting_of
from evalsuite.config import ATTENTIONS

NAMES = tuple(name for name in reversed(ATTENTIONS) if name != "auto")
"""The plain ones first."""
FORWARD, GENERATION = "test_one_forward", "test_short_generation"
KEPT = ("seconds", "counts", "new_tokens", "one_off_seconds", "peak_bytes", "alone", "fallbacks", "verdicts", "verdict")
"""What a record keeps of each case. A ratio follows from the seconds."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.attention_record", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("run", type=Path)
    given = parser.parse_args(arguments)
    record = trim(json.loads(given.run.read_text(encoding="utf-8")))
    given.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def trim(run: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ValueError for a run that holds something else, or nothing that was measured."""
    cases = run["cases"]
    other = [name for name in cases if name.partition("[")[0] not in (FORWARD, GENERATION)]
    measured = {name: case for name, case in cases.items() if "seconds" in case and "not_measured" not in case}
    if other or not measured:
        raise ValueError(f"expected measured cases of test_attention.py, got {', '.join(other) or 'none'}")
    return setting_of(run) | {
        "cases": {name: {key: case[key] for key in KEPT if key in case} for name, case in measured.items()},
    }


def attention_rows(record: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """One row a length and attention that was measured. Every pass of an attention counts, whichever test it was in."""
    cases = record["cases"]
    table: list[tuple[str, ...]] = [
        ("tokens", "attention", "seconds a forward", "passes", "peak GiB", "first token", "generated tokens")
    ]
    for tokens in _lengths(record):
        forwards = [case for name, case in cases.items() if name.startswith(FORWARD) and name.endswith(f"-{tokens}]")]
        for attention in NAMES:
            own = [case for case in forwards if attention in case["seconds"]]
            if not own:
                continue
            taken = [second / case["counts"][attention] for case in own for second in case["seconds"][attention]]
            peak = max(case["peak_bytes"][attention] for case in own) / 2**30
            verdicts = (
                cases.get(f"{test}[{attention}-{tokens}]", {}).get("verdicts", {}).get(attention, "-")
                for test in (FORWARD, GENERATION)
            )
            table.append((f"{tokens:,}", attention, _between(taken), str(len(taken)), f"{peak:.0f}", *verdicts))
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
    low, high = (f"{value:.3f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


if __name__ == "__main__":
    main()
