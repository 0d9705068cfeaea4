"""What has to be the same in a run that was killed and in one that was not."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from evalsuite.runs import latest_run, read_run

SAME = ("score", "metrics", "questions", "unscored", "truncated", "counters", "padding_share", "fallbacks", "seeds")
SAME_PRINTS = ("data", "prompts", "model", "config")
ROUNDING = 1e-4
"""Nats. A pack that is taken up from the middle is handed keys and values that were computed in another shape."""


def assert_same_results(killed: Path, whole: Path) -> None:
    """Answers in the same order with the same numbers, counters, scores and verdicts, in every case."""
    runs = [read_run(latest_run(folder)) for folder in (killed, whole)]
    assert runs[0].cases.keys() == runs[1].cases.keys()
    for one, other in zip(runs[0].cases.values(), runs[1].cases.values(), strict=True):
        assert {name: one.record[name] for name in SAME} == {name: other.record[name] for name in SAME}, one.name
        prints = [{name: case.record["fingerprints"][name] for name in SAME_PRINTS} for case in (one, other)]
        assert prints[0] == prints[1], one.name
        assert _verdict(one.record) == _verdict(other.record), one.name
        rounding = ROUNDING if one.record["strategy"] == "packed" else 0.0
        lines = [list(case.lines()) for case in (one, other)]
        assert [_said(line) for line in lines[0]] == [_said(line) for line in lines[1]], one.name
        numbers = [[number for line in each for number in line.get("logprobs", ())] for each in lines]
        assert numbers[0] == pytest.approx(numbers[1], abs=rounding, rel=0), one.name


def _said(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name != "logprobs"}


def _verdict(record: Mapping[str, Any]) -> dict[str, Any]:
    verdict = record["verdict"]
    return {name: verdict.get(name) for name in ("faithful", "compared", "total", "summary")}
