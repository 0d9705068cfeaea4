"""`python -m benchmarks.judging`: that it grades what was answered, and all of it within its times."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import judging


@pytest.mark.parametrize("task", ["viquad", "vietnews"])
def test_every_answer_is_graded_by_the_clock(task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "record.json"
    judging.main(["--model", "nano", "--device", "cpu", "--task", task, "--limit", "6", "--out", str(out)])
    record = json.loads(out.read_text(encoding="utf-8"))
    assert record["questions"] == 6
    assert (record["missing"], record["reused"]) == (0, 0)  # none was known from the warm-up
    assert record["counters"]["answering"]["tokens_computed"] > 0
    header, answering, grading = capsys.readouterr().out.splitlines()[-3:]
    assert header.split()[-2:] == ["x", "answering"]
    assert answering.split()[0] == "answering" and answering.split()[-1] == "1.00"
    assert grading.split()[0] == "grading"
