"""Records of claims: pytest-benchmark's JSON, trimmed to what the table needs and to what says where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims.verdicts import Figure
from evalsuite.measure.stats import speed_up

STATS = ("min", "max", "mean", "stddev", "median", "rounds")
FROM_CASES = (
    *("task", "strategy", "model", "questions", "questions_in_data", "speed_up", "one_off_seconds", "peak_memory"),
    *("counters", "padding_share"),
)
"""What a record keeps of an evaluation's; the rest (answers, metrics of random weights, paths) proves no claim."""
FROM_CLAIMS = (
    *("seconds", "counts", "model", "verdicts", "new_tokens", "same_answers", "costs", "weights_bytes", "peak_bytes"),
)


class RecordError(Exception):
    """A record that does not hold what a claim rests on. The message names both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What one machine measured, by the benchmark's name."""

    machine: str
    """`h200` or `cpu`: the end of the file's name."""
    cases: Mapping[str, Mapping[str, Any]]
    """`test_dtype[bfloat16]` -> its `extra_info`."""

    def case(self, name: str) -> Mapping[str, Any]:
        """Raises RecordError if the benchmark is not there, or could not run."""
        if name not in self.cases:
            raise RecordError(f"claims-{self.machine}.json lacks {name}; run it and `record` again")
        return self.cases[name]

    def ratio(self, name: str, *, path: str | None = None, baseline: str | None = None) -> Figure:
        """Seconds per question of the baseline over the path's: of an evaluation, or of two ways that took turns."""
        case = self.case(name)
        if path is None or baseline is None:
            kept = case["speed_up"]
            seconds = kept["baseline_seconds"], kept["path_seconds"]
            counts = kept["baseline_questions"], kept["path_questions"]
            paired = kept["low"] is not None
        else:
            seconds = case["seconds"][baseline], case["seconds"][path]
            counts = case["counts"][baseline], case["counts"][path]
            paired = True
        result = speed_up(*seconds, baseline_questions=counts[0], path_questions=counts[1], paired=paired)
        return Figure(value=result.ratio, low=result.low, high=result.high)


def read_record(file: Path) -> Record:
    """Raises RecordError for a file that is no record."""
    try:
        benchmarks = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
        cases = {benchmark["name"]: benchmark["extra_info"] for benchmark in benchmarks}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{file}: expected a record made by `record`: {type(error).__name__}: {error}") from error
    return Record(machine=file.stem.rsplit("-", 1)[-1], cases=cases)


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One record of several runs of one machine. Raises RecordError if a benchmark is in two of them."""
    kept: dict[str, dict[str, Any]] = {}
    for run in runs:
        for benchmark in run["benchmarks"]:
            if benchmark["name"] in kept:
                raise RecordError(f"{benchmark['name']} is in two runs: name one of them")
            kept[benchmark["name"]] = _trimmed(benchmark)
    machine = runs[0]["machine_info"]
    return {
        "machine": {"cpu": machine["cpu"].get("brand_raw"), "python": machine["python_version"]},
        "datetime": [run["datetime"] for run in runs],
        "benchmarks": list(kept.values()),
    }


def _trimmed(benchmark: Mapping[str, Any]) -> dict[str, Any]:
    info = benchmark["extra_info"]
    if "not_measured" in info:
        raise RecordError(f"{benchmark['name']} was not measured: {info['not_measured']}")
    names = FROM_CASES if "case" in info else FROM_CLAIMS
    extra = {name: info[name] for name in names if name in info} | {"versions": info["versions"]}
    if "case" in info:
        extra["got"] = info["load_report"]["got"]
        extra["parameters"] = info["load_report"]["parameters"]
        extra["verdict"] = info["verdict"]["summary"]
        extra["noise"] = info["verdict"].get("noise")
    stats = {name: benchmark["stats"][name] for name in STATS}
    return {"name": benchmark["name"], "fullname": benchmark["fullname"], "stats": stats, "extra_info": extra}
