"""A run made again: its command, what it compares, what it says."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from evalsuite.cli import main
from evalsuite.errors import DataError
from evalsuite.provenance import git_state, without_secrets
from evalsuite.rerun import again, changes, command_again, compare_cases, report_lines
from evalsuite.results import ResultsRun
from evalsuite.runs import Run, read_run
from evalsuite.types import ChoiceScores, Graded


def made(folder: Path, answers: dict[str, str], *, logprob: float = -1.0, code: str = "a") -> Run:
    about = {"provenance": {"code": code, "command": ["benchmarks"], "directory": "/nowhere", "environment": {}}}
    run = ResultsRun(folder, label="nano", about=about)
    with run.open_case("test_mmlu[padded]") as log:
        for id_, letter in answers.items():
            graded = Graded(id=id_, group="g", prediction=letter, gold=("A",), scores={"accuracy": 1.0})
            log.write(ChoiceScores(id=id_, logprobs=(logprob,)), graded, prompt_hash="h", main_metric="accuracy")
    run.add_case("test_mmlu[padded]", {"fingerprints": {"data": "d"}})
    run.close(finished=True)
    return read_run(run.path)


def test_the_same_answers_are_counted_and_so_are_the_same_numbers(tmp_path):
    then = made(tmp_path / "then", {"a": "A", "b": "B"})
    (same,) = compare_cases(then, made(tmp_path / "now", {"a": "A", "b": "B"}))
    assert (same.questions, same.same_answers, same.same_numbers, same.changed) == (2, 2, 2, ())
    (rounded,) = compare_cases(then, made(tmp_path / "rounded", {"a": "A", "b": "B"}, logprob=-1.0000001))
    assert (rounded.same_answers, rounded.same_numbers) == (2, 0)
    assert report_lines([same])[-1] == "the same answers (2 questions in 1 cases)"


def test_changed_missing_and_new_answers_are_named(tmp_path):
    then = made(tmp_path / "then", {"a": "A", "b": "B"})
    (case,) = compare_cases(then, made(tmp_path / "now", {"a": "C", "c": "A"}))
    assert case.changed == (("a", "A", "C"), ("b", "B", "missing"), ("c", "missing", "A"))
    assert (case.same_answers, case.same_numbers) == (0, 1)
    assert "test_mmlu[padded]: a: 'A' -> 'C'" in report_lines([case])


def test_a_case_that_is_gone_has_no_answer_that_is_the_same(tmp_path):
    then = made(tmp_path / "then", {"a": "A"})
    empty = ResultsRun(tmp_path / "now", label="nano")
    (case,) = compare_cases(then, read_run(empty.path))
    assert case.changed == (("a", "A", "missing"),)


def test_what_is_not_as_it_was_is_named(tmp_path):
    then, now = made(tmp_path / "then", {"a": "A"}), made(tmp_path / "now", {"a": "A"}, code="b")
    assert changes(then, now) == ["code: a -> b"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (["benchmarks", "--results", "out", "-k", "mmlu"], ["benchmarks", "-k", "mmlu"]),
        (["benchmarks", "--results=out", "--resume"], ["benchmarks"]),
        (["--resume=old", "benchmarks"], ["benchmarks"]),
        (["benchmarks", "--resume", "old", "-q"], ["benchmarks", "-q"]),
        (["-n", "2", "benchmarks", "-n3", "--dist=load", "-nauto"], ["benchmarks"]),
    ],
)
def test_the_command_is_the_same_but_for_where_it_writes_and_who_runs_it(given, kept):
    assert command_again(given) == kept


def test_a_directory_that_is_gone_is_named(tmp_path):
    with pytest.raises(DataError, match="/nowhere; it is not there"):
        again(made(tmp_path, {"a": "A"}), tmp_path)


def test_a_key_is_in_no_argument(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    given = ["--judge-api-key", "sk-given", "--judge-api-key=sk-given", "--judge", "http://user:word@host/v1"]
    assert without_secrets([*given, "-k", "sk-environment"]) == ["--judge", "http://***@host/v1", "-k", "***"]
    assert without_secrets(["-q --judge-api-key sk-given -x"]) == ["-q  -x"]


def test_git_s_state_names_the_commit_and_changes_with_what_differs_from_it(tmp_path):
    assert git_state(tmp_path) is None
    author = "-c user.name=a -c user.email=a@b.c"
    (tmp_path / "file").write_text("1")
    assert os.system(f"cd {tmp_path} && git init -q && git add file && git {author} commit -qm one") == 0
    clean = git_state(tmp_path)
    assert clean is not None
    assert (len(clean["commit"]), clean["dirty"], clean["diff"]) == (40, False, None)
    (tmp_path / "new").write_text("1")
    untracked = git_state(tmp_path)
    (tmp_path / "file").write_text("2")
    edited = git_state(tmp_path)
    assert untracked is not None
    assert edited is not None
    assert untracked["dirty"]
    assert len({None, untracked["diff"], edited["diff"]}) == 3


def test_a_summary_says_what_is_needed_to_run_it_again(tmp_path):
    run = made(tmp_path, {"a": "A"})
    summary = json.loads((run.path / "summary.json").read_text())
    assert summary["finished"] is True
    assert summary["provenance"]["command"] == ["benchmarks"]


@pytest.mark.parametrize(("now", "code"), [("A", 0), ("B", 1)])
def test_the_exit_code_says_whether_every_answer_is_the_same(tmp_path, monkeypatch, capsys, now, code):
    then, later = made(tmp_path / "then", {"a": "A"}), made(tmp_path / "now", {"a": now})
    monkeypatch.setattr("evalsuite.rerun.again", lambda run, results: later)
    assert main(["rerun", str(then.path)]) == code
    assert ("the same answers" in capsys.readouterr().out) is (code == 0)


def ended_early(folder: Path, *, command: Sequence[str] = ("benchmarks",)) -> Path:
    """A run whose every case failed before its first answer, as with a model that is not there."""
    known = {"command": [*command], "directory": str(folder.parent), "environment": {}}
    run = ResultsRun(folder, label="nano", about={"provenance": known})
    run.close(finished=True)
    return run.path


def test_a_run_without_answers_is_refused_before_anything_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("subprocess.Popen", lambda *_, **__: pytest.fail("something was run"))
    path = ended_early(tmp_path / "then")
    assert main(["rerun", str(path)]) == 2
    shown = capsys.readouterr()
    assert f"{path}: expected a run with answers, to compare new ones with; it was ended before its first" in shown.err
    assert "the same answers" not in shown.out


def test_a_run_whose_new_one_has_no_answers_was_not_run_again(tmp_path, monkeypatch, capsys):
    """The command is a program that leaves a run without answers and ends as pytest does where tests failed."""
    (tmp_path / "later").mkdir()
    then = made(tmp_path / "then", {"a": "A"})
    summary = json.loads((then.path / "summary.json").read_text())
    summary["provenance"]["directory"] = str(tmp_path)
    (then.path / "summary.json").write_text(json.dumps(summary))
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\n"
        "import json, os, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[sys.argv.index('--results') + 1]) / f'run-{os.getpid()}'\n"
        "folder.mkdir()\n"
        "(folder / 'summary.json').write_text(json.dumps({'cases': {}}))\n"
        "sys.exit(1)\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert main(["rerun", str(then.path), "--results", str(tmp_path / "later")]) == 2
    shown = capsys.readouterr()
    assert f"expected answers, to compare with those of {then.path}; it was ended before its first answer" in shown.err
    assert "ended with code 1" in shown.err
    assert "answers" not in shown.out


def test_no_questions_are_not_the_same_answers():
    assert report_lines([])[-1] == "nothing compared: there is no answer in either run"
