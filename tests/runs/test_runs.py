"""What a run left on disk is read back, whole or torn; what is no run is refused with what was expected."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest

from evalsuite.errors import DataError
from evalsuite.results import ResultsRun
from evalsuite.runs import latest_answered_runs, latest_run, read_run
from evalsuite.types import ChoiceScores, Graded


@pytest.fixture
def run(tmp_path: Path) -> Path:
    results = ResultsRun(tmp_path / "results", label="nano")
    with results.open_case("test_mmlu[padded]") as log:
        for i in range(2):
            log.write(
                ChoiceScores(id=str(i), logprobs=(-1.0, -float("inf"))),
                Graded(id=str(i), group="g", prediction="A", gold=("A",), scores={"accuracy": 1.0}),
                prompt_hash="0" * 16,
                main_metric="accuracy",
            )
    results.add_case("test_mmlu[padded]", {"task": "mmlu"})
    results.add_case("test_memory[x]", {"peak": 1})
    return results.path


def test_cases_and_their_answers_are_read(run: Path) -> None:
    for given in (run, run / "summary.json"):
        read = read_run(given)
        assert (read.path, read.name, list(read.cases)) == (run, run.name, ["test_mmlu[padded]", "test_memory[x]"])
        assert read.cases["test_mmlu[padded]"].record["task"] == "mmlu"
        assert [line["id"] for line in read.cases["test_mmlu[padded]"].lines()] == ["0", "1"]
        assert list(read.cases["test_memory[x]"].lines()) == []


def test_a_torn_last_line_is_left_out_and_said(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (run / "test_mmlu-padded.jsonl").open("a") as file:
        file.write('{"id": "2", "pre')
    with caplog.at_level(logging.WARNING):
        assert [line["id"] for line in read_run(run).cases["test_mmlu[padded]"].lines()] == ["0", "1"]
    assert "test_mmlu-padded.jsonl:3: a torn last line" in caplog.text


def test_a_broken_line_in_the_middle_is_an_error_that_names_it(run: Path) -> None:
    path = run / "test_mmlu-padded.jsonl"
    path.write_text("nonsense\n" + path.read_text())
    with pytest.raises(DataError, match=r"test_mmlu-padded\.jsonl:1: expected one JSON object"):
        list(read_run(run).cases["test_mmlu[padded]"].lines())


@pytest.mark.parametrize("damaged", [b"nonsense\n{}\n", b"5\n{}\n", b"\xff\xfe\n{}\n", None])
def test_damaged_answers_are_an_error_that_says_what_to_do(run: Path, damaged: bytes | None) -> None:
    path = run / "test_mmlu-padded.jsonl"
    path.unlink() if damaged is None else path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"test_mmlu-padded\.jsonl.*with --resume=.*" + run.name):
        list(read_run(run).cases["test_mmlu[padded]"].lines())


def test_a_damaged_summary_is_said_to_be_there_and_what_to_do(run: Path) -> None:
    summary = run / "summary.json"
    summary.write_bytes(summary.read_bytes()[:40])
    with pytest.raises(DataError, match=rf"the file is there, but damaged: .*with --resume={run}"):
        read_run(run)
    shutil.rmtree(run / "journal")
    with pytest.raises(DataError, match="no journal that it could be made anew from: run it again"):
        read_run(run)


def test_missing_answers_are_an_error_that_names_the_file(run: Path) -> None:
    (run / "test_mmlu-padded.jsonl").unlink()
    with pytest.raises(DataError, match=r"test_mmlu-padded\.jsonl: expected the answers of test_mmlu\[padded\]"):
        list(read_run(run).cases["test_mmlu[padded]"].lines())


@pytest.mark.parametrize("text", ["", "[]", json.dumps({"cases": [1]}), json.dumps({"cases": {"a": 1}})])
def test_what_is_no_summary_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(DataError, match="expected"):
        read_run(tmp_path)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a run's folder"):
        read_run(tmp_path)
    with pytest.raises(DataError, match="found none"):
        latest_run(tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("gone", "{}: expected a run's folder, but there is nothing of that name; "),
        ("empty", "{}: expected a run's folder, but there is no summary.json in this one; "),
        ("file.txt", "{}: expected a run's folder, but this is a file; "),
    ],
)
def test_where_no_run_is_one_sentence_says_why_and_what_to_give(tmp_path: Path, given: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    with pytest.raises(DataError) as raised:
        read_run(tmp_path / given)
    what_to_do = "give one of the folders in .evalsuite/ or in what --results named"
    assert str(raised.value) == message.format(tmp_path / given) + what_to_do


def test_for_a_folder_of_runs_one_is_to_be_given(run: Path) -> None:
    with pytest.raises(DataError, match=r"there is no summary\.json in this one; give one of the folders in it$"):
        read_run(run.parent)


@pytest.mark.parametrize(
    ("about", "session"),
    [({}, None), ({"provenance": {"pid": 1}}, None), ({"provenance": {"session": "a1"}}, "a1")],
)
def test_the_session_of_workers_is_read_and_older_runs_have_none(
    tmp_path: Path, about: dict, session: str | None
) -> None:
    assert read_run(ResultsRun(tmp_path, label="nano", about=about).path).session == session


def test_the_latest_answered_run_is_of_all_its_workers_and_names_those_without_answers(tmp_path: Path) -> None:
    cases = {"test_mmlu[padded]": {"answers": "x.jsonl"}}
    for name, found, session in (
        ("1-before", cases, "before"),
        ("2-first", cases, "now"),
        ("3-idle", {}, "now"),
        ("4-alone", cases, None),
        ("5-second", cases, "now"),
        ("6-mistyped", {}, None),
    ):
        (tmp_path / name).mkdir()
        document = {"run": name, "provenance": {"session": session}, "cases": found}
        (tmp_path / name / "summary.json").write_text(json.dumps(document))
    found, passed_over = latest_answered_runs(tmp_path)
    assert [path.name for path in found] == ["5-second", "2-first"]
    assert [reason.partition(":")[0] for reason in passed_over] == [str(tmp_path / n) for n in ("6-mistyped", "3-idle")]
    shutil.rmtree(tmp_path / "5-second")
    assert latest_answered_runs(tmp_path)[0] == [tmp_path / "4-alone"]


def test_the_latest_run_is_the_one_that_began_last(tmp_path: Path) -> None:
    for name in ("20260101-000000-nano-9", "20260102-000000-nano-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text('{"run": "x", "cases": {}}')
    assert latest_run(tmp_path).name == "20260102-000000-nano-1"
