"""Whole runs: killed and gone on with, refused, and run again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from evalsuite.runs import latest_run, read_run
from tests.resume.comparing import assert_same_results

ROOT = Path(__file__).parents[2]
KILLER = ROOT / "tests" / "resume" / "killer.py"
NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
KILLS, LIMIT = (50, 40) if NIGHTLY else (3, 8)
STRATEGIES = () if NIGHTLY else ("--strategy=padded,packed,continuous",)
MOST_BYTES = 3_000


def test_a_run_that_is_killed_again_and_again_gives_the_results_of_an_unbroken_one(tmp_path):
    arguments = [
        *("benchmarks/test_mmlu.py", "benchmarks/test_viquad.py", "--benchmark-disable", "--token-budget=512"),
        *(*STRATEGIES, f"--limit={LIMIT}", "-q", "-p", "no:cacheprovider"),
    ]

    command = [sys.executable, str(KILLER), str(tmp_path / "runs"), str(KILLS), "0", str(MOST_BYTES), *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert json.loads(process.stdout) == {"unbroken": 0, "killed": KILLS, "code": 0}
    killed = tmp_path / "runs" / "killed" / "runs"
    (run,) = killed.glob("*/summary.json")
    assert len(json.loads(run.read_text())["resumed"]) >= 1
    assert_same_results(killed, tmp_path / "runs" / "whole" / "runs")


def unfinished(results: Path) -> Path:
    """The latest run, as if it had been killed after its last case's answers."""
    run = latest_run(results)
    summary = json.loads((run / "summary.json").read_text())
    del summary["finished"]
    (run / "summary.json").write_text(json.dumps(summary))
    return run


def test_a_measured_case_is_played_back_with_its_times_and_its_answers(run_suite, project):
    run_suite("--results=out", "--strategy=padded,unbatched").assert_outcomes(passed=2)
    run = unfinished(project.path / "out")
    before = read_run(run)
    result = run_suite("--results=out", "--strategy=padded,unbatched", "--resume")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines([f"--resume: goes on with out/{run.name}", "*batches recalled*, 0 run"])
    after = read_run(run)
    for name, case in before.cases.items():
        played = dict(after.cases[name].record)
        assert played.pop("resume")["batches_run"] == 0
        assert played == {field: value for field, value in case.record.items() if field != "resume"}
        assert list(after.cases[name].lines()) == list(case.lines())


def test_a_changed_number_in_the_journal_is_answered_again_and_the_run_says_so(run_suite, project):
    options = ("--results=out", "--strategy=padded", "--benchmark-disable")
    run_suite(*options).assert_outcomes(passed=1)
    run = unfinished(project.path / "out")
    (answers,) = (run / "journal").glob("test_*.jsonl")
    lines = answers.read_text().splitlines()
    number = next(index for index, line in enumerate(lines) if '"r":[' in line)
    digit = lines[number].index(",-") + 2
    lines[number] = lines[number][:digit] + str(9 - int(lines[number][digit])) + lines[number][digit + 1 :]
    answers.write_text("\n".join([*lines, ""]))
    (before,) = (list(case.lines()) for case in read_run(run).cases.values())
    result = run_suite(*options, "--resume")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*not used: 1 damaged line is left out of *.jsonl; what stood there was done again"])
    (after,) = (list(case.lines()) for case in read_run(run).cases.values())
    assert after == before
    assert "damaged" not in run_suite(*options, f"--resume={run}").stdout.str()


def test_a_finished_run_is_not_gone_on_with_unless_it_is_named(run_suite, project):
    options = ("--results=out", "--strategy=padded", "--benchmark-disable")
    run_suite(*options).assert_outcomes(passed=1)
    run_suite(*options, "--resume").stdout.fnmatch_lines(["--resume: no unfinished run to go on with*a new one"])
    assert len(list((project.path / "out").iterdir())) == 2
    named = min((project.path / "out").iterdir())
    run_suite(*options, f"--resume={named}").stdout.fnmatch_lines([f"--resume: goes on with {named}"])
    refused = run_suite("--strategy=padded", "--limit=3", f"--resume={named}")
    refused.stderr.fnmatch_lines(["*was asked for something else: options.limit: None -> 3*"])
    refused = run_suite("--resume=data")
    refused.stderr.fnmatch_lines(["*expected a run's folder*got data*at the end of the command line"])


def test_changed_data_are_answered_anew_and_the_run_says_why(run_suite, project):
    options = ("--results=out", "--strategy=padded", "--benchmark-disable")
    run_suite(*options).assert_outcomes(passed=1)
    unfinished(project.path / "out")
    file = project.path / "data" / "mmlu" / "test" / "sums_test.csv"
    file.write_text(file.read_text().replace("one", "won"))
    result = run_suite(*options, "--resume")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["*answers of an earlier process are not used: data: * -> *; prompts: * -> *"])
    (case,) = read_run(latest_run(project.path / "out")).cases.values()
    assert case.record["resume"]["batches_recalled"] == 0


def test_a_run_again_says_whether_its_answers_are_the_same(run_suite, project):
    run_suite("--results=out", "--strategy=padded", "--benchmark-disable").assert_outcomes(passed=1)
    result = project.run(sys.executable, "-m", "evalsuite", "rerun", str(latest_run(project.path / "out")))
    assert result.ret == 0
    result.stdout.fnmatch_lines(["the same answers (6 questions in 1 cases)"])
    assert len(list((project.path / "out").iterdir())) == 2
