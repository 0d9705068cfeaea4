"""Records of claims: what runs left, trimmed to what the table needs and to what says where it came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.claims.turns import UNFINISHED
from benchmarks.claims.verdicts import Figure
from evalsuite.measure.stats import speed_up

FROM_CASES = (
    *("task", "strategy", "model", "questions", "questions_in_data", "speed_up", "one_off_seconds", "peak_memory"),
    *("counters", "padding_share"),
)
"""What a record keeps of an evaluation's; the rest (answers, metrics of random weights, paths) proves no claim."""
FROM_CLAIMS = (
    *(
        "seconds",
        "counts",
        UNFINISHED,
        "model",
        "verdicts",
        "new_tokens",
        "same_answers",
        "costs",
        "weights_bytes",
        "peak_bytes",
    ),
)


class RecordError(Exception):
    """A record that does not hold what a claim rests on. The message names both."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What one machine measured, by the benchmark's name."""

    machine: str
    """`h200` or `cpu`: the end of the file's name."""
    cases: Mapping[str, Mapping[str, Any]]
    """`test_dtype[bfloat16]` -> what its `extra_info` held, trimmed."""

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
        cases = dict(json.loads(file.read_text(encoding="utf-8"))["cases"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RecordError(f"{file}: expected a record made by `record`: {type(error).__name__}: {error}") from error
    return Record(machine=file.stem.rsplit("-", 1)[-1], cases=cases)


def trim(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One record of several runs of one machine, each the summary.json of a results folder or pytest-benchmark's JSON.

    Raises:
        RecordError: there is none, or one that is in two runs, could not run, or was broken off in its first round.
    """
    cases: dict[str, Mapping[str, Any]] = {}
    for run in runs:
        for name, info in _infos(run).items():
            if name in cases:
                raise RecordError(f"{name} is in two runs: leave one of them out")
            if "not_measured" in info:
                raise RecordError(f"{name} was not measured: {info['not_measured']}")
            cases[name] = _whole_rounds(name, info)
    if not cases:
        raise RecordError("expected at least one benchmark in these runs, got none")
    versions = next(iter(cases.values()))["versions"]
    return {"versions": versions, "cases": {name: _trimmed(info, versions) for name, info in cases.items()}}


def _whole_rounds(name: str, info: Mapping[str, Any]) -> Mapping[str, Any]:
    """What was broken off in the middle of a round, without that round."""
    if "versions" in info and UNFINISHED not in info:
        return info
    done = min(map(len, info.get("seconds", {}).values()), default=0)
    if not done:
        raise RecordError(f"{name} was broken off in its first round, or before it; run it again")
    return {**info, "seconds": {way: taken[:done] for way, taken in info["seconds"].items()}}


def _infos(run: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    if "cases" in run:
        return run["cases"]
    return {benchmark["name"]: benchmark["extra_info"] for benchmark in run["benchmarks"]}


def _trimmed(info: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """What is kept of one benchmark; its versions only where they differ from the first one's."""
    kept = {name: info[name] for name in (FROM_CASES if "case" in info else FROM_CLAIMS) if name in info}
    if "case" in info:
        report, verdict = info["load_report"], info["verdict"]
        kept |= {"got": report["got"], "parameters": report["parameters"]}
        kept |= {"verdict": verdict["summary"], "noise": verdict.get("noise")}
    differing = {name: value for name, value in info["versions"].items() if versions.get(name) != value}
    return kept | ({"versions": differing} if differing else {})
